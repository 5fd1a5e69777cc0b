//! A tool's image from its files: a base image with the bundle in `/tool`.

use std::{
    collections::BTreeSet,
    io::{self, Read as _},
    path::{Component, Path},
};

use bytes::Bytes;

use crate::{error::ContainerError, tool::ToolName};

/// Where a tool's files are in its image, and where it is started.
pub(crate) const DIRECTORY: &str = "/tool";
/// Rises when the same files must become another image.
const VERSION: &str = "1";
/// Files of a bundle at most.
const MAX_FILES: usize = 10_000;

/// The image's name: other files, another base or another way to build is another image.
pub(crate) fn tag(tool: &ToolName, digest: &str, base_id: &str) -> String {
    let recipe = blake3::hash(format!("{VERSION}\n{digest}\n{base_id}").as_bytes()).to_hex();
    format!("cortex/tool-{}:{}", tool.as_image_component(), &recipe[..32])
}

/// The build context: a Dockerfile, and the bundle's files below `tool/`, readable by everybody.
///
/// # Errors
/// [`ContainerError::ImageBuildFailed`] when the bundle is no tar archive of plain files, or has no
/// such entrypoint.
pub(crate) async fn context(
    tool: &ToolName,
    files: Bytes,
    base: &str,
    entrypoint: &str,
) -> Result<Bytes, ContainerError> {
    let dockerfile = format!("FROM {base}\nCOPY tool {DIRECTORY}\nWORKDIR {DIRECTORY}\n");
    let entrypoint = relative(entrypoint)?;
    let packed =
        tokio::task::spawn_blocking(move || pack(&files, dockerfile.as_bytes(), &entrypoint));
    let packed = packed.await.map_err(|error| ContainerError::Internal(error.to_string()))?;
    packed.map_err(|problem| ContainerError::ImageBuildFailed { tool: tool.to_string(), problem })
}

/// A path within a bundle, without `.` and never above it.
pub(crate) fn relative(path: &str) -> Result<String, ContainerError> {
    clean(Path::new(path)).filter(|path| !path.is_empty()).ok_or_else(|| {
        let problem = format!("'{path}' must be a path within the tool's directory");
        ContainerError::invalid("source.entrypoint", problem)
    })
}

fn clean(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(parts.join("/"))
}

fn pack(bundle: &[u8], dockerfile: &[u8], entrypoint: &str) -> Result<Bytes, String> {
    let broken = |error: io::Error| format!("its bundle is no tar archive: {error}");
    let mut archive = tar::Archive::new(bundle);
    let mut builder = tar::Builder::new(Vec::with_capacity(bundle.len() + 4096));
    append(&mut builder, "Dockerfile", 0o644, dockerfile).map_err(broken)?;
    let mut names = BTreeSet::new();
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let shown = path.display().to_string();
        let name =
            clean(&path).ok_or_else(|| format!("'{shown}' in its bundle leads out of it"))?;
        match entry.header().entry_type() {
            tar::EntryType::Directory | tar::EntryType::XGlobalHeader => continue,
            tar::EntryType::Regular => {}
            other => return Err(format!("'{shown}' in its bundle is no plain file but {other:?}")),
        }
        let executable = entry.header().mode().map_err(broken)? & 0o111 != 0 || name == entrypoint;
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(broken)?;
        let mode = if executable { 0o755 } else { 0o644 };
        append(&mut builder, &format!("tool/{name}"), mode, &content).map_err(broken)?;
        names.insert(name);
        if names.len() > MAX_FILES {
            return Err(format!("its bundle has more than {MAX_FILES} files"));
        }
    }
    if !names.contains(entrypoint) {
        let some: Vec<&str> = names.iter().take(10).map(String::as_str).collect();
        return Err(format!("its bundle has no file '{entrypoint}'; it has {}", some.join(", ")));
    }
    builder.into_inner().map(Bytes::from).map_err(broken)
}

/// A tar archive of these files.
pub(crate) fn archive<'a>(
    files: impl IntoIterator<Item = (&'a str, u32, &'a [u8])>,
) -> Result<Bytes, ContainerError> {
    let mut builder = tar::Builder::new(Vec::new());
    let failed = |error: io::Error| ContainerError::Internal(format!("cannot pack: {error}"));
    for (name, mode, content) in files {
        append(&mut builder, name, mode, content).map_err(failed)?;
    }
    builder.into_inner().map(Bytes::from).map_err(failed)
}

/// The owner and the time are fixed: the same files are the same archive.
fn append(
    builder: &mut tar::Builder<Vec<u8>>,
    name: &str,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    builder.append_data(&mut header, name, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(files: &[(&str, u32, &str)]) -> Bytes {
        archive(files.iter().map(|(name, mode, text)| (*name, *mode, text.as_bytes()))).unwrap()
    }

    async fn packed(files: Bytes, entrypoint: &str) -> Result<Vec<(String, u32, String)>, String> {
        let tool = ToolName::parse("t").unwrap();
        let context = context(&tool, files, "base:1", entrypoint).await;
        let context = context.map_err(|error| error.to_string())?;
        let mut archive = tar::Archive::new(context.as_ref());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let name = entry.path().unwrap().display().to_string();
            (name, entry.header().mode().unwrap(), text)
        });
        Ok(entries.collect())
    }

    #[tokio::test]
    async fn files_become_readable_below_tool() {
        let files = bundle(&[("./main.py", 0o600, "print(1)"), ("lib/a.py", 0o600, "")]);
        let packed = packed(files, "./main.py").await.unwrap();
        assert_eq!(packed[0].2, "FROM base:1\nCOPY tool /tool\nWORKDIR /tool\n");
        assert_eq!(packed[1], ("tool/main.py".into(), 0o755, "print(1)".into()));
        assert_eq!(packed[2], ("tool/lib/a.py".into(), 0o644, String::new()));
    }

    #[tokio::test]
    async fn what_is_no_plain_file_within_is_refused() {
        let no_entry = packed(bundle(&[("other.py", 0o644, "")]), "main.py").await.unwrap_err();
        assert!(no_entry.contains("no file 'main.py'; it has other.py"), "{no_entry}");
        assert!(packed(bundle(&[("a", 0o644, "")]), "../a").await.is_err());

        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "main.py", "/etc/passwd").unwrap();
        let link = packed(builder.into_inner().unwrap().into(), "main.py").await.unwrap_err();
        assert!(link.contains("no plain file"), "{link}");

        assert!(packed(Bytes::from_static(&[1; 600]), "main.py").await.is_err());
    }

    #[test]
    fn another_base_is_another_image() {
        let tool = ToolName::parse("Word_Count").unwrap();
        let first = tag(&tool, "b3_1", "sha256:1");
        assert!(first.starts_with("cortex/tool-word-count:"));
        assert_ne!(first, tag(&tool, "b3_1", "sha256:2"));
        assert_ne!(first, tag(&tool, "b3_2", "sha256:1"));
    }
}
