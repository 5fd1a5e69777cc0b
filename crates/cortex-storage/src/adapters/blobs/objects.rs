//! Bytes as objects of an object store.
//!
//! An object is there when its upload is complete, and not before. Memory per upload is bounded by two
//! parts: one that fills and one that is being sent. An object store shows nobody the parts of an
//! upload that was never completed; those of a crash go by a lifecycle rule of the bucket.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    Error as ObjectError, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt,
    buffered::BufWriter, memory::InMemory, path::Path,
};
use tokio::io::AsyncWriteExt;

use crate::{
    artifact::{BlobEntry, BlobName, Digest, StoreId},
    error::{Result, StorageError},
    ports::{BlobStore, BlobStream, BlobWriter},
    time::Stamp,
};

/// Bytes as objects of an object store.
#[derive(Debug, Clone)]
pub struct ObjectBlobs {
    objects: Arc<dyn ObjectStore>,
    root: Path,
    part: usize,
}

impl ObjectBlobs {
    /// Keeps bytes of `store` below `prefix`. What has at least `part` bytes is sent in parts of so
    /// many.
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: &str, store: &StoreId, part: usize) -> Self {
        Self { objects, root: Path::from(prefix).join(store.as_str()), part }
    }

    /// Keeps bytes in memory, for tests.
    pub fn in_memory(store: &StoreId) -> Self {
        Self::new(Arc::new(InMemory::new()), "", store, 1 << 20)
    }

    fn path(&self, name: &BlobName) -> Path {
        self.root.clone().join(name.directory()).join(name.as_str())
    }
}

#[tonic::async_trait]
impl BlobStore for ObjectBlobs {
    async fn create(&self) -> Result<Box<dyn BlobWriter>> {
        let name = BlobName::generate();
        let writer = BufWriter::with_capacity(self.objects.clone(), self.path(&name), self.part);
        let writer = Some(writer.with_max_concurrency(1));
        Ok(Box::new(ObjectWriter { name, writer }))
    }

    async fn read(&self, name: &BlobName, range: Range<u64>) -> Result<Option<BlobStream>> {
        // No bytes cannot be asked for.
        let wanted = (!range.is_empty()).then_some(GetRange::Bounded(range.clone()));
        let options = GetOptions { range: wanted, head: range.is_empty(), ..Default::default() };
        match self.objects.get_opts(&self.path(name), options).await {
            Ok(found) if range.is_empty() => {
                drop(found);
                Ok(Some(futures::stream::empty().boxed()))
            }
            Ok(found) => Ok(Some(found.into_stream().map_err(StorageError::from).boxed())),
            Err(ObjectError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete(&self, name: &BlobName) -> Result<()> {
        match self.objects.delete(&self.path(name)).await {
            Ok(()) | Err(ObjectError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn list(&self) -> BoxStream<'_, Result<BlobEntry>> {
        let listing = self.objects.list(Some(&self.root)).map_err(StorageError::from);
        // What has no name of ours is not ours.
        listing.try_filter_map(|object| async move { Ok(entry(&object)) }).boxed()
    }

    /// There is nothing that could be seen.
    async fn sweep_unfinished(&self, _: Stamp) -> Result<u64> {
        Ok(0)
    }
}

fn entry(object: &ObjectMeta) -> Option<BlobEntry> {
    let name = BlobName::parse(object.location.filename()?).ok()?;
    let written_at = Stamp::from_micros(object.last_modified.timestamp_micros());
    Some(BlobEntry { name, written_at })
}

/// An object on its way.
struct ObjectWriter {
    name: BlobName,
    writer: Option<BufWriter>,
}

impl ObjectWriter {
    fn writer(&mut self) -> Result<&mut BufWriter> {
        self.writer.as_mut().ok_or_else(|| StorageError::internal("an upload that has ended"))
    }
}

#[tonic::async_trait]
impl BlobWriter for ObjectWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        Ok(self.writer()?.put(bytes).await?)
    }

    async fn finish(mut self: Box<Self>, _: &Digest) -> Result<BlobName> {
        // It ends itself when it fails.
        let mut writer = self.writer.take();
        if let Some(writer) = &mut writer {
            writer.shutdown().await?;
        }
        Ok(self.name.clone())
    }
}

impl Drop for ObjectWriter {
    fn drop(&mut self) {
        let (Some(mut writer), Ok(runtime)) =
            (self.writer.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let name = self.name.clone();
        // Ends by itself: every request has its time.
        drop(runtime.spawn(async move {
            if let Err(error) = writer.abort().await {
                tracing::warn!(%error, %name, "the parts of a cut upload are left to the bucket");
            }
        }));
    }
}

impl From<ObjectError> for StorageError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::PermissionDenied { .. } | ObjectError::Unauthenticated { .. } => {
                Self::Denied { detail: cortex_rpc::chain(&error) }
            }
            error => Self::Io { detail: cortex_rpc::chain(&error) },
        }
    }
}
