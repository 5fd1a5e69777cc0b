//! Files in memory: what comes with the binary.

use std::collections::BTreeMap;

use crate::{
    path::{OutsideRoot, TreePath},
    ports::{Files, FilesError, Listing},
};

/// Files in memory.
#[derive(Debug, Clone, Default)]
pub struct Embedded {
    files: BTreeMap<TreePath, Vec<u8>>,
}

impl Embedded {
    /// Files by their paths, relative to the root.
    ///
    /// # Errors
    /// [`OutsideRoot`] for a path that leads out of it.
    pub fn new(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Self, OutsideRoot> {
        let files = files
            .into_iter()
            .map(|(path, bytes)| match TreePath::parse(&path)? {
                absolute if absolute.is_absolute() => Err(OutsideRoot(path)),
                relative => Ok((relative, bytes)),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { files })
    }
}

impl Files for Embedded {
    fn title(&self) -> String {
        "built in".to_owned()
    }

    fn list(&self) -> Result<Listing, FilesError> {
        let size = |bytes: &Vec<u8>| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let files = self.files.iter().map(|(path, bytes)| (path.clone(), size(bytes))).collect();
        Ok(Listing { files, skipped: Vec::new() })
    }

    fn read(&self, path: &TreePath, limit: u64) -> Result<Vec<u8>, FilesError> {
        if path.is_absolute() {
            return Err(OutsideRoot(path.to_string()).into());
        }
        let bytes = self.files.get(path).ok_or_else(|| FilesError::NotFound(path.clone()))?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > limit {
            return Err(FilesError::TooLarge { path: path.clone(), size, limit });
        }
        Ok(bytes.clone())
    }
}
