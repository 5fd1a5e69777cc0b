//! Giving out the bytes of an artifact, in small pieces.

use std::ops::Range;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

use super::{Artifact, Digest};
use crate::{
    error::{Result, StorageError},
    ports::BlobStream,
};

/// Bytes of one piece of a download at most.
pub const PIECE: usize = 64 * 1024;

/// A download: what it is, and the bytes that were asked for.
pub struct Download {
    /// The artifact.
    pub artifact: Artifact,
    /// The digest of all of its bytes.
    pub digest: Digest,
    /// Which of them come.
    pub range: Range<u64>,
    pub(super) bytes: BlobStream,
}

impl Download {
    /// The bytes, in pieces of at most [`PIECE`]. When all of them are asked for, the last piece comes
    /// only if they have the artifact's digest.
    pub fn pieces(self) -> impl Stream<Item = Result<Bytes>> + Send + use<> {
        let whole = self.range == (0..u64::try_from(self.artifact.size).unwrap_or_default());
        let pieces = Pieces {
            artifact_id: self.artifact.artifact_id.to_string(),
            check: whole.then(|| (blake3::Hasher::new(), self.digest)),
            left: self.range.end - self.range.start,
            bytes: self.bytes,
            pending: Bytes::new(),
        };
        stream::try_unfold(pieces, |mut pieces| async move {
            Ok(pieces.next().await?.map(|piece| (piece, pieces)))
        })
    }
}

struct Pieces {
    artifact_id: String,
    /// Of whole downloads: what has come, and what it must be.
    check: Option<(blake3::Hasher, Digest)>,
    /// Bytes that are still to come.
    left: u64,
    bytes: BlobStream,
    pending: Bytes,
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        while self.pending.is_empty() {
            self.pending = self.bytes.next().await.ok_or_else(|| self.damaged())??;
        }
        let piece = self.pending.split_to(self.pending.len().min(PIECE));
        self.left = self.left.checked_sub(piece.len() as u64).ok_or_else(|| self.damaged())?;
        if let Some((hasher, digest)) = &mut self.check {
            hasher.update(&piece);
            if self.left == 0 && Digest::from(hasher.finalize()) != *digest {
                return Err(self.damaged());
            }
        }
        Ok(Some(piece))
    }

    fn damaged(&self) -> StorageError {
        StorageError::BytesDamaged { artifact_id: self.artifact_id.clone() }
    }
}

#[cfg(test)]
mod tests {
    use cortex_core::{ArtifactId, SessionId};
    use futures::TryStreamExt;

    use super::*;
    use crate::{artifact::About, time::Stamp};

    fn download(promised: &[u8], range: Range<u64>, stored: &[&'static [u8]]) -> Download {
        let digest = Digest::of(promised);
        let artifact = Artifact {
            artifact_id: ArtifactId::generate(),
            session_id: SessionId::generate(),
            about: About::default(),
            size: promised.len() as i64,
            digest: Some(digest),
            created_at: Stamp::default(),
            updated_at: Stamp::default(),
        };
        let stored: Vec<_> = stored.iter().map(|bytes| Ok(Bytes::from_static(bytes))).collect();
        Download { artifact, digest, range, bytes: stream::iter(stored).boxed() }
    }

    async fn collect(download: Download) -> Result<Vec<Bytes>> {
        download.pieces().try_collect().await
    }

    #[tokio::test]
    async fn pieces_are_small() -> Result<()> {
        static LARGE: [u8; 150_000] = [7; 150_000];
        let pieces = collect(download(&LARGE, 0..150_000, &[&LARGE])).await?;
        let sizes: Vec<_> = pieces.iter().map(Bytes::len).collect();
        assert_eq!(sizes, [PIECE, PIECE, 150_000 - 2 * PIECE]);
        Ok(())
    }

    #[tokio::test]
    async fn bytes_that_are_damaged_or_missing_are_not_passed_for_whole() {
        let damaged = |result| matches!(result, Err(StorageError::BytesDamaged { .. }));
        assert!(damaged(collect(download(b"abc", 0..3, &[b"abd"])).await));
        assert!(damaged(collect(download(b"abc", 0..3, &[b"ab"])).await));
        assert!(damaged(collect(download(b"abc", 0..3, &[b"abcd"])).await));
        assert!(!damaged(collect(download(b"abc", 0..3, &[b"a", b"", b"bc"])).await));
        assert!(damaged(collect(download(b"abc", 1..3, &[b"b"])).await));
    }
}
