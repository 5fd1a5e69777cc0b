//! Writing an archive.

use super::{
    FORMAT, Header, MAGIC, Totals, digest_text,
    frame::{self, HEAD_BYTES},
};
use crate::admin::table::{Row, TableHasher};

/// Writes an archive. Every step adds its bytes to a buffer of the caller.
#[derive(Debug, Clone)]
pub struct Encoder {
    /// Over everything that was written.
    whole: blake3::Hasher,
    table: TableHasher,
    totals: Totals,
}

impl Encoder {
    /// Begins an archive.
    pub fn begin(header: &Header, out: &mut Vec<u8>) -> Self {
        let mut encoder = Self {
            whole: blake3::Hasher::new(),
            table: TableHasher::default(),
            totals: Totals::default(),
        };
        let start = out.len();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        encoder.whole.update(&out[start..]);
        let json = serde_json::to_vec(header).unwrap_or_default();
        encoder.frame(frame::HEADER, out, |out| out.extend_from_slice(&json));
        encoder
    }

    /// Adds rows of the table of this number in the header.
    pub fn rows(&mut self, table: u16, rows: &[Row], out: &mut Vec<u8>) {
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let begin = out.len() + HEAD_BYTES + 6;
        let end = self.frame(frame::ROWS, out, |out| {
            out.extend_from_slice(&table.to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
            for row in rows {
                frame::put_row(out, row);
            }
        });
        self.table.add_encoded(i64::from(count), &out[begin..end]);
        self.totals.rows += i64::from(count);
    }

    /// Ends a table. Every table of the header is ended, in order.
    pub fn end_table(&mut self, table: u16, out: &mut Vec<u8>) {
        let digest = std::mem::take(&mut self.table).finish();
        self.frame(frame::TABLE_END, out, |out| {
            out.extend_from_slice(&table.to_le_bytes());
            out.extend_from_slice(&digest.rows.to_le_bytes());
            out.extend_from_slice(&digest.hash);
        });
    }

    /// Begins the bytes of an artifact's content: as many as `size`.
    pub fn blob(&mut self, name: &str, size: u64, out: &mut Vec<u8>) {
        self.totals.blobs += 1;
        self.frame(frame::BLOB, out, |out| {
            out.extend_from_slice(&size.to_le_bytes());
            out.extend_from_slice(name.as_bytes());
        });
    }

    /// Adds bytes to the content that was begun last.
    pub fn blob_bytes(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.totals.blob_bytes += i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        self.frame(frame::BLOB_BYTES, out, |out| out.extend_from_slice(bytes));
    }

    /// Ends the archive, and answers its digest.
    pub fn finish(mut self, out: &mut Vec<u8>) -> String {
        let before = *self.whole.finalize().as_bytes();
        let json = serde_json::to_vec(&self.totals).unwrap_or_default();
        self.frame(frame::TRAILER, out, |out| {
            out.extend_from_slice(&before);
            out.extend_from_slice(&json);
        });
        digest_text(self.whole.finalize().as_bytes())
    }

    /// Adds a frame, and answers where its payload ends.
    fn frame(&mut self, kind: u8, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) -> usize {
        let start = out.len();
        out.extend_from_slice(&[kind, 0, 0, 0, 0]);
        payload(out);
        let end = out.len();
        let length = u32::try_from(end - start - HEAD_BYTES).unwrap_or(u32::MAX);
        out[start + 1..start + HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
        let check = frame::check(&out[start..end]);
        out.extend_from_slice(&check);
        self.whole.update(&out[start..]);
        end
    }
}
