//! Where the bytes of artifacts are kept: a directory of this machine, or an object store.
//!
//! Both have the same layout below their location, `<store>/<two characters>/<name>`, so that a
//! directory can be copied into a bucket as it is.

mod directory;
mod http;
mod objects;
mod s3;

pub use directory::DirectoryBlobs;
pub use objects::ObjectBlobs;

use std::{path::Path, sync::Arc};

use crate::{
    artifact::StoreId,
    config::{ArtifactConfig, Location},
    error::Result,
    ports::BlobStore,
};

/// The directory of artifacts in the data directory.
pub const DIRECTORY: &str = "artifacts";

/// Opens the location that `config` names, else a directory in `data_dir`. An object store is not asked
/// anything yet.
///
/// # Errors
/// `Invalid` when the configuration makes no sense, and what the file system says.
pub async fn open(
    config: &ArtifactConfig,
    data_dir: &Path,
    store: &StoreId,
) -> Result<Arc<dyn BlobStore>> {
    Ok(match config.place()? {
        None => Arc::new(DirectoryBlobs::open(data_dir.join(DIRECTORY), store).await?),
        Some(Location::Directory(path)) => Arc::new(DirectoryBlobs::open(path, store).await?),
        Some(Location::S3 { bucket, prefix }) => {
            let bucket = s3::open(&config.s3, &bucket)?;
            Arc::new(ObjectBlobs::new(bucket, &prefix, store, config.s3.part.as_usize()))
        }
    })
}
