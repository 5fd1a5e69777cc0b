//! Reading a backup into an empty installation.

use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::{
    archive::{Archived, Decoder, Header},
    stats::RowCounts,
    table::{Cell, Row},
};
use crate::{
    artifact::{BlobName, Depot, Digest},
    error::{Result, StorageError},
    ports::{AdminStore, BlobStore, BlobWriter, Fill},
    time::Stamp,
};

/// The table whose bytes are payloads.
const CONTENTS: &str = "contents";

/// How an archive is to be restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// Only if the archive has this digest.
    pub expected_digest: Option<String>,
    /// Read and check it, and restore nothing.
    pub validate_only: bool,
}

/// What was restored, or could be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Which moment the archive shows.
    pub snapshot_at: Stamp,
    /// Rows of each collection.
    pub rows: RowCounts,
    /// Bytes of artifacts and payloads.
    pub content_bytes: i64,
}

/// Fills an empty installation from an archive: all of it or nothing. Dropping the future leaves the
/// installation empty. The caller is admitted, so that bytes are not deleted before anything refers to
/// them.
///
/// # Errors
/// `NotEmpty`, `BackupInvalid`, `BackupTooNew`, `DiskFull`, what the database says, and what `bytes`
/// ends with.
pub async fn restore(
    store: &dyn AdminStore,
    depot: &Depot,
    options: RestoreOptions,
    bytes: impl Stream<Item = Result<Bytes>> + Send,
) -> Result<Restored> {
    let mut reading = Reading {
        store,
        blobs: depot.blobs(),
        options,
        header: None,
        fill: None,
        blob: None,
        placed: Vec::new(),
        told: Restored::default(),
    };
    let restored = reading.all(bytes).await;
    if restored.is_err() {
        reading.discard().await;
    }
    restored
}

struct Reading<'a> {
    store: &'a dyn AdminStore,
    options: RestoreOptions,
    blobs: &'a dyn BlobStore,
    header: Option<Header>,
    /// Absent when nothing is to be restored.
    fill: Option<Box<dyn Fill>>,
    /// Bytes that are being read.
    blob: Option<Arriving>,
    /// Bytes that were written.
    placed: Vec<BlobName>,
    told: Restored,
}

/// An artifact's bytes on their way.
struct Arriving {
    name: String,
    hasher: blake3::Hasher,
    /// Absent when nothing is to be restored.
    writer: Option<Box<dyn BlobWriter>>,
}

impl Reading<'_> {
    async fn all(&mut self, bytes: impl Stream<Item = Result<Bytes>> + Send) -> Result<Restored> {
        let mut decoder = Decoder::default();
        let mut bytes = std::pin::pin!(bytes);
        while let Some(piece) = bytes.next().await {
            decoder.push(&piece?);
            while let Some(archived) = decoder.pull()? {
                self.take(archived).await?;
            }
        }
        let digest = decoder.finish()?;
        self.finish(&digest).await
    }

    /// Deletes the bytes that were written: nothing will refer to them.
    async fn discard(&mut self) {
        self.fill = None;
        for name in &self.placed {
            if let Err(error) = self.blobs.delete(name).await {
                tracing::warn!(%error, %name, "bytes of a restore that failed are left");
            }
        }
    }

    async fn begin_blob(&mut self, name: String) -> Result<()> {
        let writer = match &self.fill {
            Some(_) => Some(self.blobs.create().await.map_err(no_room)?),
            None => None,
        };
        self.blob = Some(Arriving { name, hasher: blake3::Hasher::new(), writer });
        Ok(())
    }

    async fn blob_bytes(&mut self, bytes: Bytes) -> Result<()> {
        let missing = || StorageError::internal("bytes of nothing");
        let blob = self.blob.as_mut().ok_or_else(missing)?;
        blob.hasher.update(&bytes);
        self.told.content_bytes += i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        match &mut blob.writer {
            Some(writer) => writer.write(bytes).await.map_err(no_room),
            None => Ok(()),
        }
    }

    async fn end_blob(&mut self) -> Result<()> {
        let Some(Arriving { name, hasher, writer }) = self.blob.take() else { return Ok(()) };
        let (Some(writer), Some(fill)) = (writer, &mut self.fill) else { return Ok(()) };
        let digest = Digest::from(hasher.finalize());
        let placed = writer.finish(&digest).await.map_err(no_room)?;
        self.placed.push(placed.clone());
        if !fill.place(&name, &digest, &placed).await.map_err(disk_full)? {
            let detail = format!("no artifact has the bytes {name}");
            return Err(StorageError::BackupInvalid { detail });
        }
        Ok(())
    }

    async fn take(&mut self, archived: Archived) -> Result<()> {
        match archived {
            Archived::Header(header) => self.begin(header).await,
            Archived::Rows { table, rows } => self.rows(table, rows).await,
            Archived::Blob { name, .. } => self.begin_blob(name).await,
            Archived::BlobBytes(bytes) => self.blob_bytes(bytes).await,
            Archived::BlobEnd => self.end_blob().await,
            Archived::TableEnd(_) | Archived::End(_) => Ok(()),
        }
    }

    async fn begin(&mut self, header: Header) -> Result<()> {
        self.told.snapshot_at = Stamp::from_micros(header.snapshot_at);
        let (version, tables) = (header.schema_version, &header.tables);
        if self.options.validate_only {
            self.store.accepts(version, tables).await?;
        } else {
            self.fill = Some(self.store.fill(version, tables).await?);
        }
        self.header = Some(header);
        Ok(())
    }

    async fn rows(&mut self, table: usize, rows: Vec<Row>) -> Result<()> {
        let shape = self.header.as_ref().and_then(|header| header.tables.get(table));
        let shape = shape.ok_or_else(|| StorageError::internal("rows of no table"))?;
        if let Some(collection) = &shape.collection {
            let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
            *self.told.rows.entry(collection.clone()).or_default() += count;
        }
        if shape.name == CONTENTS {
            self.told.content_bytes += rows.iter().map(|row| content_bytes(row)).sum::<i64>();
        }
        match &mut self.fill {
            Some(fill) => fill.write(table, rows).await.map_err(disk_full),
            None => Ok(()),
        }
    }

    async fn finish(&mut self, digest: &str) -> Result<Restored> {
        if let Some(expected) = &self.options.expected_digest
            && expected != digest
        {
            let detail = format!("the archive has digest {digest}, not {expected}");
            return Err(StorageError::BackupInvalid { detail });
        }
        if let Some(mut fill) = self.fill.take() {
            if self.header.as_ref().is_some_and(|header| header.without_artifacts) {
                fill.forget_bytes().await.map_err(disk_full)?;
            }
            fill.orphan().await.map_err(disk_full)?;
            fill.commit().await.map_err(disk_full)?;
        }
        Ok(self.told.clone())
    }
}

/// The bytes of a row of contents: its longest cell.
fn content_bytes(row: &[Cell]) -> i64 {
    let longest = row.iter().filter_map(|cell| match cell {
        Cell::Bytes(bytes) => Some(bytes.len()),
        _ => None,
    });
    i64::try_from(longest.max().unwrap_or_default()).unwrap_or(i64::MAX)
}

/// A full disk where the bytes of artifacts are kept.
fn no_room(error: StorageError) -> StorageError {
    match error {
        StorageError::Full => StorageError::DiskFull { what: "the bytes of artifacts".to_owned() },
        other => other,
    }
}

/// A full disk, by what it kept from being done.
pub(super) fn disk_full(error: StorageError) -> StorageError {
    match error {
        StorageError::Full => StorageError::DiskFull { what: "the database".to_owned() },
        other => other,
    }
}
