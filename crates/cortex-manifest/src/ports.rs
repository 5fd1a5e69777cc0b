//! What the registry needs of the outside world.

use std::{collections::BTreeMap, io};

use tonic::async_trait;

use crate::path::{OutsideRoot, TreePath};

/// Where manifests, prompts and scripts are read from: one layer of the tree. Blocking.
pub trait Files: Send + Sync + 'static {
    /// What people call it, for example the directory.
    fn title(&self) -> String;

    /// Every file.
    ///
    /// # Errors
    /// [`FilesError::Unreadable`] when the root itself cannot be read.
    fn list(&self) -> Result<Listing, FilesError>;

    /// The content of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`FilesError`].
    fn read(&self, path: &TreePath, limit: u64) -> Result<Vec<u8>, FilesError>;

    /// The path in the tree of an absolute path of the machine that lies in it.
    fn in_tree(&self, _absolute: &str) -> Option<TreePath> {
        None
    }
}

/// The files of one layer.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Each file and its size in bytes.
    pub files: BTreeMap<TreePath, u64>,
    /// What was left out, and why.
    pub skipped: Vec<(TreePath, String)>,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// There is no such file.
    #[error("no file '{0}'")]
    NotFound(TreePath),
    /// It is larger than what is read.
    #[error("'{path}' has {size} bytes; at most {limit} are read")]
    TooLarge {
        /// The file.
        path: TreePath,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// It lies where nothing may be read.
    #[error(transparent)]
    Outside(#[from] OutsideRoot),
    /// The system refuses.
    #[error("'{path}' cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Where manifests that were applied by a call are kept.
#[async_trait]
pub trait AppliedStore: Send + Sync + 'static {
    /// Everything that is kept: keys and texts.
    async fn load(&self) -> Result<Vec<(String, String)>, StoreError>;

    /// Keeps `text` under `key`.
    async fn put(&self, key: &str, text: &str) -> Result<(), StoreError>;

    /// Forgets `key`. It is no error if it is not there.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;
}

/// Why applied manifests cannot be kept or read.
#[derive(Debug, thiserror::Error)]
#[error("storage cannot be reached for applied manifests: {0}")]
pub struct StoreError(pub String);
