//! The archive of a backup: one file, written and read in one pass with bounded memory.
//!
//! ```text
//! "cortex-backup\n"  format: u16
//! frame*                        kind: u8, length: u32, payload, check: 8 bytes
//!   1 header      JSON: Header
//!   2 rows        table: u16, rows: u32, the rows; a table's frames follow each other
//!   3 table end   table: u16, rows: u64, BLAKE3 of the table's encoded rows
//!   4 blob        size: u64, name: the rest; then its bytes
//!   5 blob bytes  the next bytes
//!   6 trailer     BLAKE3 of everything before this frame, JSON: Totals
//! ```
//!
//! Numbers are little-endian. The check of a frame is the beginning of the BLAKE3 of its kind, length
//! and payload. A row is its cells: a byte that says which kind, then a zigzag varint, 8 bytes, or a
//! varint length and as many bytes. Nothing follows the trailer.

mod decode;
mod encode;
mod frame;

pub use decode::{Archived, Decoder};
pub use encode::Encoder;
pub(super) use frame::put_row;

use serde::{Deserialize, Serialize};

use super::table::TableShape;
use crate::error::StorageError;

/// How an archive begins.
const MAGIC: &[u8; 14] = b"cortex-backup\n";
/// The format that this program writes. It reads this and all before.
const FORMAT: u16 = 1;
/// Bytes of a frame's payload at most: what one row may bring, with room to spare.
const MAX_PAYLOAD: usize = 64 << 20;
/// The media type of an archive.
pub const MEDIA_TYPE: &str = "application/vnd.cortex.backup";

/// What an archive is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the database's schema.
    pub schema_version: i64,
    /// `sqlite` or `postgresql`.
    pub backend: String,
    /// The version of the program that wrote it.
    pub product: String,
    /// The moment that it shows, in microseconds since 1970.
    pub snapshot_at: i64,
    /// Whether the bytes of artifacts were left out.
    pub without_artifacts: bool,
    /// The tables, in the order in which they can be filled.
    pub tables: Vec<TableShape>,
}

/// What an archive held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Rows of all tables.
    pub rows: i64,
    /// Artifacts' contents.
    pub blobs: i64,
    /// Their bytes.
    pub blob_bytes: i64,
}

/// Why an archive cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It is something else.
    #[error("this is no archive of a backup")]
    Foreign,
    /// It was written by a later program.
    #[error("the archive has format {format}, and this program reads up to {FORMAT}")]
    TooNew {
        /// Its format.
        format: u16,
    },
    /// It ends too early.
    #[error("the archive is cut off after {bytes} bytes")]
    Cut {
        /// How long it is.
        bytes: u64,
    },
    /// It is not what was written.
    #[error("the archive is damaged at byte {at}: {problem}")]
    Damaged {
        /// Where the frame begins that is wrong.
        at: u64,
        /// What is wrong.
        problem: String,
    },
}

impl From<ArchiveError> for StorageError {
    fn from(error: ArchiveError) -> Self {
        let detail = error.to_string();
        match error {
            ArchiveError::TooNew { .. } => Self::BackupTooNew { detail },
            _ => Self::BackupInvalid { detail },
        }
    }
}

/// A digest as it is told: `b3_` and hex digits.
pub fn digest_text(hash: &[u8; 32]) -> String {
    format!("b3_{}", blake3::Hash::from_bytes(*hash).to_hex())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::admin::table::{Cell, Column, Kind, Row};

    fn header(rows: i64) -> Header {
        let column = |name: &str, kind| Column { name: name.into(), kind };
        let columns = vec![
            column("a", Kind::Int),
            column("b", Kind::Text),
            column("c", Kind::Bytes),
            column("d", Kind::Real),
        ];
        let table = |name: &str, rows| TableShape {
            name: name.into(),
            collection: None,
            columns: columns.clone(),
            rows,
        };
        Header {
            schema_version: 1,
            backend: "sqlite".into(),
            product: "0.0.0".into(),
            snapshot_at: 1,
            without_artifacts: false,
            tables: vec![table("first", rows), table("second", 0)],
        }
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let row = (any::<Option<i64>>(), ".{0,20}", any::<Vec<u8>>(), -1e9..1e9_f64).prop_map(
            |(a, b, c, d)| {
                vec![a.map_or(Cell::Null, Cell::Int), Cell::Text(b), Cell::Bytes(c), Cell::Real(d)]
            },
        );
        proptest::collection::vec(row, 0..20)
    }

    fn written(rows: &[Row], blob: &[u8]) -> (Vec<u8>, String) {
        let header = header(rows.len() as i64);
        let mut out = Vec::new();
        let mut encoder = Encoder::begin(&header, &mut out);
        for rows in rows.chunks(7) {
            encoder.rows(0, rows, &mut out);
        }
        encoder.end_table(0, &mut out);
        encoder.end_table(1, &mut out);
        encoder.blob("b3_x", blob.len() as u64, &mut out);
        for bytes in blob.chunks(5) {
            encoder.blob_bytes(bytes, &mut out);
        }
        let digest = encoder.finish(&mut out);
        (out, digest)
    }

    /// Reads an archive that arrives in pieces of `size` bytes.
    fn read(bytes: &[u8], size: usize) -> Result<(Vec<Row>, Vec<u8>, String), ArchiveError> {
        let mut decoder = Decoder::default();
        let (mut rows, mut blob) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(size) {
            decoder.push(piece);
            while let Some(piece) = decoder.pull()? {
                match piece {
                    Archived::Rows { rows: more, .. } => rows.extend(more),
                    Archived::BlobBytes(bytes) => blob.extend_from_slice(&bytes),
                    _ => {}
                }
            }
        }
        let digest = decoder.finish()?;
        Ok((rows, blob, digest))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rows in rows(), blob: Vec<u8>, size in 1_usize..200) {
            let (bytes, digest) = written(&rows, &blob);
            let (found, found_blob, found_digest) = read(&bytes, size).expect("an archive");
            prop_assert_eq!(found, rows);
            prop_assert_eq!(found_blob, blob);
            prop_assert_eq!(found_digest, digest);
        }

        #[test]
        fn a_cut_archive_is_refused(rows in rows(), at in 0.0..1.0_f64) {
            let (bytes, _) = written(&rows, b"blob");
            let cut = (bytes.len() as f64 * at) as usize;
            prop_assert!(read(&bytes[..cut], 64).is_err());
        }

        #[test]
        fn an_altered_archive_is_refused(rows in rows(), at in 0.0..1.0_f64, flip in 1_u8..) {
            let (mut bytes, _) = written(&rows, b"blob");
            let at = (bytes.len() as f64 * at) as usize;
            bytes[at] ^= flip;
            prop_assert!(read(&bytes, 64).is_err());
        }

        #[test]
        fn noise_is_refused(bytes: Vec<u8>) {
            prop_assert!(read(&bytes, 16).is_err());
            let framed = [MAGIC.as_slice(), &FORMAT.to_le_bytes(), &bytes].concat();
            prop_assert!(read(&framed, 16).is_err());
        }
    }

    #[test]
    fn frames_that_are_left_out_are_missed() {
        let rows = vec![vec![Cell::Int(1), Cell::Null, Cell::Null, Cell::Null]; 14];
        let (bytes, _) = written(&rows, b"");
        let marks = frame::boundaries(&bytes);
        for pair in marks.windows(2) {
            let without = [&bytes[..pair[0]], &bytes[pair[1]..]].concat();
            assert!(read(&without, 64).is_err(), "without the frame at {}", pair[0]);
            let twice = [&bytes[..pair[1]], &bytes[pair[0]..]].concat();
            assert!(read(&twice, 64).is_err(), "with the frame at {} twice", pair[0]);
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        assert!(read(&longer, 64).is_err());
    }

    #[test]
    fn a_later_format_is_told_apart() {
        let (mut bytes, _) = written(&[], b"");
        bytes[MAGIC.len()] = 9;
        assert_eq!(read(&bytes, 64), Err(ArchiveError::TooNew { format: 9 }));
        assert_eq!(read(b"not an archive", 64), Err(ArchiveError::Foreign));
    }
}
