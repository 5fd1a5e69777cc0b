//! The files of a tool or relic as one tar archive that depends on nothing but names and contents:
//! sorted, without times, owners or the manifest itself. Directories with manifests of their own
//! belong to those.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{
    canonical,
    error::RegistryError,
    manifest::{Manifest, Source},
    path::TreePath,
    snapshot::Snapshot,
};

/// Most files of a bundle.
const MAX_FILES: usize = 2_000;

/// An archive and its digest.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// BLAKE3 of the archive.
    pub digest: String,
    /// The archive.
    pub archive: Bytes,
}

/// The files beside a manifest. None: it has no directory of its own.
///
/// # Errors
/// [`RegistryError::BundleTooLarge`], or [`RegistryError::Directory`] when a file cannot be read.
pub fn build(
    manifest: &Manifest,
    snapshot: &Snapshot,
    max_bytes: u64,
) -> Result<Option<Bundle>, RegistryError> {
    let Source::File { path, layer } = &manifest.source else { return Ok(None) };
    let directory = path.parent();
    let tree = &snapshot.tree;
    let mut files = tree.below(*layer, &directory);
    let others: BTreeSet<TreePath> = files
        .iter()
        .filter(|(file, _)| snapshot.is_manifest(file))
        .map(|(file, _)| file.parent())
        .filter(|home| *home != directory)
        .collect();
    files.retain(|(file, _)| {
        let foreign = others.iter().any(|home| file.is_within(home));
        !foreign && !snapshot.is_manifest(file) && file.extension() != "pyc"
    });
    let too_large = |reason| RegistryError::BundleTooLarge { id: manifest.id().clone(), reason };
    if files.len() > MAX_FILES {
        return Err(too_large(format!(
            "are {} files; at most {MAX_FILES} are bundled",
            files.len()
        )));
    }
    let total: u64 = files.iter().map(|(_, size)| *size).sum();
    if total > max_bytes {
        return Err(too_large(format!("have {total} bytes; at most {max_bytes} are bundled")));
    }
    let mut archive = tar::Builder::new(Vec::new());
    for (file, _) in files {
        let bytes = tree.read_from(*layer, &file, max_bytes)?;
        let name = file.relative_to(&directory).unwrap_or(file.as_str());
        append(&mut archive, name, &bytes).map_err(|source| unwritable(&file, source))?;
    }
    let archive = archive.into_inner().map_err(|source| unwritable(&directory, source))?;
    Ok(Some(Bundle { digest: canonical::of_bytes(&archive), archive: archive.into() }))
}

fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(bytes.len() as u64);
    // Whether a file is a program is for the tool to know; the file systems of users often do not.
    header.set_mode(0o755);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    archive.append_data(&mut header, name, bytes)
}

fn unwritable(path: &TreePath, source: std::io::Error) -> RegistryError {
    crate::ports::FilesError::Unreadable { path: path.to_string(), source }.into()
}
