//! Writing a backup.

use bytes::Bytes;
use futures::StreamExt;

use super::{
    archive::{Encoder, Header},
    progress::{Outlet, Pace, Progress, Unit},
};
use crate::{
    artifact::Depot,
    error::{Result, StorageError},
    ports::{AdminStore, Blob, BlobStore, Dump, DumpScope},
    time::Stamp,
};

/// Bytes of one piece at most.
const PIECE: usize = 64 << 10;

/// The next bytes of an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupPiece {
    /// The bytes.
    pub bytes: Bytes,
    /// How far it is; absent: as before.
    pub progress: Option<Progress>,
    /// In the first piece: a name for the archive.
    pub file_name: Option<String>,
    /// In the last piece: its digest.
    pub digest: Option<String>,
}

/// Writes an archive of everything that was acknowledged before, piece by piece; with the bytes of
/// artifacts, if it is told where they are. The caller is admitted, so that none of them is deleted
/// meanwhile.
///
/// # Errors
/// What the database says; `Closed` when nobody takes the pieces.
pub async fn backup(
    store: &dyn AdminStore,
    depot: Option<&Depot>,
    out: &Outlet<BackupPiece>,
) -> Result<()> {
    let mut dump = store.dump(DumpScope::Backup).await?;
    let facts = dump.facts();
    let header = Header {
        schema_version: facts.schema_version,
        backend: facts.backend.to_owned(),
        product: env!("CARGO_PKG_VERSION").to_owned(),
        snapshot_at: facts.snapshot_at.micros(),
        without_artifacts: depot.is_none(),
        tables: facts.tables.clone(),
    };
    let mut writing = Writing::begin(&header, out);
    for table in 0..header.tables.len() {
        writing.table(&mut *dump, table, &header).await?;
    }
    if let Some(depot) = depot {
        writing.blobs(&mut *dump, depot.blobs()).await?;
    }
    writing.finish().await
}

struct Writing<'a> {
    encoder: Encoder,
    buffer: Vec<u8>,
    pace: Pace,
    file_name: Option<String>,
    out: &'a Outlet<BackupPiece>,
}

impl<'a> Writing<'a> {
    fn begin(header: &Header, out: &'a Outlet<BackupPiece>) -> Self {
        let mut buffer = Vec::with_capacity(2 * PIECE);
        let encoder = Encoder::begin(header, &mut buffer);
        let file_name = Some(file_name(Stamp::from_micros(header.snapshot_at)));
        Self { encoder, buffer, pace: Pace::new("header", 0, Unit::Rows), file_name, out }
    }

    async fn table(&mut self, dump: &mut dyn Dump, table: usize, header: &Header) -> Result<()> {
        let shape = &header.tables[table];
        let number = u16::try_from(table).unwrap_or(u16::MAX);
        self.pace.enter(shape.name.replace('_', " "), shape.rows, Unit::Rows);
        loop {
            let rows = dump.rows(table).await?;
            if rows.is_empty() {
                break;
            }
            for some in in_frames(&rows) {
                self.encoder.rows(number, some, &mut self.buffer);
                self.send(i64::try_from(some.len()).unwrap_or(i64::MAX)).await?;
            }
        }
        self.encoder.end_table(number, &mut self.buffer);
        Ok(())
    }

    async fn blobs(&mut self, dump: &mut dyn Dump, blobs: &dyn BlobStore) -> Result<()> {
        self.pace.enter("bytes of artifacts", 0, Unit::Bytes);
        let mut after = String::new();
        loop {
            let found = dump.blobs(&after).await?;
            let Some(last) = found.last() else { return Ok(()) };
            last.name.as_str().clone_into(&mut after);
            for blob in &found {
                self.blob(blob, blobs).await?;
            }
        }
    }

    async fn blob(&mut self, blob: &Blob, blobs: &dyn BlobStore) -> Result<()> {
        let gone = || {
            let detail = format!("the bytes {} of artifacts are damaged or gone", blob.name);
            StorageError::Corrupt { detail }
        };
        self.encoder.blob(blob.name.as_str(), blob.size, &mut self.buffer);
        let mut left = blob.size;
        let mut bytes = blobs.read(&blob.name, 0..blob.size).await?.ok_or_else(gone)?;
        while let Some(mut piece) = bytes.next().await.transpose()? {
            left = left.checked_sub(piece.len() as u64).ok_or_else(gone)?;
            while !piece.is_empty() {
                let some = piece.split_to(piece.len().min(FRAME));
                self.encoder.blob_bytes(&some, &mut self.buffer);
                self.send(i64::try_from(some.len()).unwrap_or(i64::MAX)).await?;
            }
        }
        if left == 0 { Ok(()) } else { Err(gone()) }
    }

    /// Sends what is there in pieces, if it is worth one.
    async fn send(&mut self, done: i64) -> Result<()> {
        let mut progress = self.pace.advance(done);
        if self.buffer.len() < PIECE {
            return Ok(());
        }
        let mut bytes =
            Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(2 * PIECE)));
        while !bytes.is_empty() {
            let next = bytes.split_to(bytes.len().min(PIECE));
            self.piece(next, progress.take(), None).await?;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<()> {
        let digest = self.encoder.clone().finish(&mut self.buffer);
        let mut bytes = Bytes::from(std::mem::take(&mut self.buffer));
        while bytes.len() > PIECE {
            let next = bytes.split_to(PIECE);
            self.piece(next, None, None).await?;
        }
        let progress = self.pace.here();
        self.piece(bytes, Some(progress), Some(digest)).await
    }

    async fn piece(
        &mut self,
        bytes: Bytes,
        progress: Option<Progress>,
        digest: Option<String>,
    ) -> Result<()> {
        let file_name = self.file_name.take();
        self.out.tell(BackupPiece { bytes, progress, file_name, digest }).await
    }
}

/// Bytes of one frame of rows, nearly: what one step of encoding takes on.
const FRAME: usize = 128 << 10;

/// The rows in groups, none of which is much larger than a frame.
fn in_frames(rows: &[super::Row]) -> impl Iterator<Item = &[super::Row]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let end = rest.iter().position(|row| {
            let full = bytes >= FRAME;
            bytes += row.iter().map(super::Cell::size).sum::<usize>();
            full
        });
        let (some, more) = rest.split_at(end.unwrap_or(rest.len()));
        rest = more;
        (!some.is_empty()).then_some(some)
    })
}

/// A name for an archive, with the time that it shows.
fn file_name(at: Stamp) -> String {
    let seconds = Stamp::from_micros(at.micros().div_euclid(1_000_000) * 1_000_000);
    let time = prost_types::Timestamp::from(seconds).to_string().replace([':', '-'], "");
    format!("cortex-{time}.backup")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Cell;

    #[test]
    fn a_file_name_shows_the_time() {
        let at = Stamp::from_micros(1_700_000_000_123_456);
        assert_eq!(file_name(at), "cortex-20231114T221320Z.backup");
    }

    #[test]
    fn frames_are_bounded_and_lose_nothing() {
        let rows: Vec<super::super::Row> =
            (0..300).map(|_| vec![Cell::Bytes(vec![0; 1000])]).collect();
        let frames: Vec<_> = in_frames(&rows).map(<[_]>::len).collect();
        assert_eq!(frames.iter().sum::<usize>(), 300);
        assert!(frames.len() > 1 && frames.iter().all(|len| *len <= FRAME / 1000 + 1));
        let large = vec![vec![Cell::Bytes(vec![0; 3 * FRAME])]; 3];
        assert_eq!(in_frames(&large).count(), 3);
    }
}
