//! Taking in the bytes of one upload, piece by piece.

use bytes::Bytes;

use super::{BlobName, Digest};
use crate::{
    error::{Result, StorageError},
    ports::BlobWriter,
};

/// Bytes that are hashed in one go, in well under half a millisecond.
const STEP: usize = 256 * 1024;

/// What an upload must turn out to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its digest.
    pub digest: Option<Digest>,
    /// How many bytes it has.
    pub size: Option<u64>,
}

/// The bytes of one upload on their way. Dropping it drops what has come.
pub(super) struct Ingest {
    writer: Box<dyn BlobWriter>,
    hasher: blake3::Hasher,
    size: u64,
    limit: u64,
    expected: Expected,
}

impl Ingest {
    /// An upload of at most `limit` bytes.
    pub(super) fn new(writer: Box<dyn BlobWriter>, limit: u64, expected: Expected) -> Self {
        Self { writer, hasher: blake3::Hasher::new(), size: 0, limit, expected }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// `TooLarge`, `SizeMismatch` when there are more than were announced, or what writing says.
    pub(super) async fn push(&mut self, mut bytes: Bytes) -> Result<()> {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size > self.limit {
            let (bytes, limit) = (self.size, self.limit);
            return Err(StorageError::TooLarge { field: "content", bytes, limit });
        }
        if let Some(expected) = self.expected.size.filter(|expected| self.size > *expected) {
            return Err(StorageError::SizeMismatch { expected, found: self.size });
        }
        while !bytes.is_empty() {
            let step = bytes.split_to(bytes.len().min(STEP));
            self.hasher.update(&step);
            self.writer.write(step).await?;
        }
        Ok(())
    }

    /// Makes what has come durable, if it is what it must be. Nothing refers to it yet.
    ///
    /// # Errors
    /// `SizeMismatch`, `DigestMismatch`, or what writing says.
    pub(super) async fn finish(self) -> Result<(Digest, u64, BlobName)> {
        let digest = Digest::from(self.hasher.finalize());
        if let Some(expected) = self.expected.size.filter(|expected| self.size != *expected) {
            return Err(StorageError::SizeMismatch { expected, found: self.size });
        }
        if let Some(expected) = self.expected.digest.filter(|expected| digest != *expected) {
            let (expected, found) = (expected.to_string(), digest.to_string());
            return Err(StorageError::DigestMismatch { expected, found });
        }
        let blob = self.writer.finish(&digest).await?;
        Ok((digest, self.size, blob))
    }
}
