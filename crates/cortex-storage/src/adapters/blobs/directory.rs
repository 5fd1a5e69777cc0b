//! Bytes as files of a directory.
//!
//! A file is written under `uploads`, synchronised, and renamed to its name, and its directory is
//! synchronised too: what is named is whole and survives a loss of power. Files that are open stay
//! readable after they are deleted.

use std::{
    fs, io,
    ops::Range,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream, stream::BoxStream};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio_util::io::ReaderStream;

use crate::{
    artifact::{BlobEntry, BlobName, Digest, PIECE, StoreId},
    error::{Result, StorageError},
    ports::{BlobStore, BlobStream, BlobWriter},
    time::Stamp,
};

/// Where files are until they are whole.
const UPLOADS: &str = "uploads";

/// Bytes as files of a directory.
#[derive(Debug, Clone)]
pub struct DirectoryBlobs(Arc<Path>);

impl DirectoryBlobs {
    /// Keeps bytes of `store` below `location`, which is created if it is missing.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn open(location: PathBuf, store: &StoreId) -> Result<Self> {
        let root = location.join(store.as_str());
        let uploads = root.join(UPLOADS);
        blocking(move || create_directories(&uploads)).await?;
        Ok(Self(root.into()))
    }

    fn path(&self, name: &BlobName) -> PathBuf {
        self.0.join(name.directory()).join(name.as_str())
    }
}

#[tonic::async_trait]
impl BlobStore for DirectoryBlobs {
    async fn create(&self) -> Result<Box<dyn BlobWriter>> {
        let path = self.0.join(UPLOADS).join(BlobName::generate().as_str());
        let unfinished = Unfinished(Some(path.clone()));
        let open = move || fs::File::options().write(true).create_new(true).mode(0o600).open(path);
        let file = tokio::fs::File::from_std(blocking(open).await?);
        Ok(Box::new(FileWriter { blobs: self.clone(), file, unfinished }))
    }

    async fn read(&self, name: &BlobName, range: Range<u64>) -> Result<Option<BlobStream>> {
        let mut file = match tokio::fs::File::open(self.path(name)).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if range.start > 0 {
            file.seek(io::SeekFrom::Start(range.start)).await?;
        }
        let file = file.take(range.end - range.start);
        let stream = ReaderStream::with_capacity(file, PIECE);
        Ok(Some(stream.map_err(StorageError::from).boxed()))
    }

    async fn delete(&self, name: &BlobName) -> Result<()> {
        let path = self.path(name);
        blocking(move || remove(&path)).await
    }

    fn list(&self) -> BoxStream<'_, Result<BlobEntry>> {
        let directories = stream::once(blocking({
            let root = self.0.clone();
            move || directories(&root)
        }));
        let directories = directories.map_ok(|found| stream::iter(found.into_iter().map(Ok)));
        directories.try_flatten().and_then(files).try_flatten().boxed()
    }

    async fn sweep_unfinished(&self, before: Stamp) -> Result<u64> {
        let uploads = self.0.join(UPLOADS);
        blocking(move || {
            let mut swept = 0;
            for entry in fs::read_dir(uploads)? {
                let entry = entry?;
                if written_at(&entry)?.is_some_and(|at| at < before) {
                    remove(&entry.path())?;
                    swept += 1;
                }
            }
            Ok(swept)
        })
        .await
    }
}

/// A file on its way.
struct FileWriter {
    blobs: DirectoryBlobs,
    file: tokio::fs::File,
    unfinished: Unfinished,
}

#[tonic::async_trait]
impl BlobWriter for FileWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        Ok(self.file.write_all(&bytes).await?)
    }

    async fn finish(mut self: Box<Self>, digest: &Digest) -> Result<BlobName> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let name = BlobName::of(digest);
        let path = self.blobs.path(&name);
        // From here on it is finished, or its file is removed by whoever holds `unfinished`.
        let unfinished = self.unfinished;
        blocking(move || unfinished.rename(&path)).await?;
        Ok(name)
    }
}

/// A file that goes away unless it gets its name.
struct Unfinished(Option<PathBuf>);

impl Unfinished {
    fn rename(mut self, to: &Path) -> io::Result<()> {
        let Some(from) = &self.0 else { return Ok(()) };
        let Some(directory) = to.parent() else { return Ok(()) };
        create_directories(directory)?;
        fs::rename(from, to)?;
        self.0 = None;
        synchronise(directory)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(path) = self.0.take() else { return };
        let remove = move || {
            if let Err(error) = remove(&path) {
                tracing::warn!(%error, path = %path.display(), "a cut upload is left for the sweep");
            }
        };
        match tokio::runtime::Handle::try_current() {
            // Removing a large file takes its time.
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Creates a directory with those above it, and makes them durable.
fn create_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_directories(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => parent.map_or(Ok(()), synchronise),
    }
}

/// Makes the names in a directory durable.
fn synchronise(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The directories that files with names are in.
fn directories(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_name() != UPLOADS && entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The files of one directory. One that goes away meanwhile is none.
async fn files(directory: PathBuf) -> Result<impl Stream<Item = Result<BlobEntry>>> {
    let found = blocking(move || {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            // What has no name of ours is not ours.
            let name = entry.file_name().to_str().and_then(|name| BlobName::parse(name).ok());
            if let (Some(name), Some(written_at)) = (name, written_at(&entry)?) {
                found.push(BlobEntry { name, written_at });
            }
        }
        Ok(found)
    });
    Ok(stream::iter(found.await?.into_iter().map(Ok)))
}

fn written_at(entry: &fs::DirEntry) -> io::Result<Option<Stamp>> {
    let modified = entry.metadata().and_then(|metadata| metadata.modified());
    match modified {
        Ok(time) => Ok(Some(SystemTime::into(time))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Work on the file system, on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| StorageError::internal(format!("work on files: {error}")))??)
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::PermissionDenied => Self::Denied { detail: error.to_string() },
            _ => Self::Io { detail: error.to_string() },
        }
    }
}
