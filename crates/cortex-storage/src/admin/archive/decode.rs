//! Reading an archive as its bytes arrive.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    ArchiveError, FORMAT, Header, MAGIC, MAX_PAYLOAD, Totals, digest_text,
    frame::{self, CHECK_BYTES, HEAD_BYTES},
};
use crate::admin::table::{Row, TableHasher};

/// What an archive holds next.
#[derive(Debug)]
pub enum Archived {
    /// What it is of. Comes first.
    Header(Header),
    /// Rows of the table of this number in the header.
    Rows {
        /// The table.
        table: usize,
        /// The rows.
        rows: Vec<Row>,
    },
    /// The table of this number is complete.
    TableEnd(usize),
    /// An artifact's content begins.
    Blob {
        /// What the database calls it.
        name: String,
        /// How many bytes follow.
        size: u64,
    },
    /// The next bytes of it.
    BlobBytes(Bytes),
    /// The content is complete.
    BlobEnd,
    /// It is complete. Nothing may follow.
    End(Totals),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Header,
    /// Within this table.
    Table(usize),
    /// Between blobs, or before the trailer.
    Blobs,
    /// So many bytes of a blob are missing.
    Blob(u64),
    End,
}

/// Reads an archive: bytes in by [`Decoder::push`], what they say out by [`Decoder::pull`], and at their
/// end [`Decoder::finish`].
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// Where the buffer begins in the archive.
    at: u64,
    place: Place,
    header: Header,
    whole: blake3::Hasher,
    table: TableHasher,
    totals: Totals,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            buffer: BytesMut::new(),
            at: 0,
            place: Place::Start,
            header: Header {
                schema_version: 0,
                backend: String::new(),
                product: String::new(),
                snapshot_at: 0,
                without_artifacts: false,
                tables: Vec::new(),
            },
            whole: blake3::Hasher::new(),
            table: TableHasher::default(),
            totals: Totals::default(),
        }
    }
}

impl Decoder {
    /// Takes in the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// What the bytes say next; none when more are needed.
    ///
    /// # Errors
    /// When they are no archive, one of a later program, or not what was written.
    pub fn pull(&mut self) -> Result<Option<Archived>, ArchiveError> {
        if self.place == Place::Start && !self.start()? {
            return Ok(None);
        }
        // A content without bytes, or whose last ones were read, ends without a frame.
        if self.place == Place::Blob(0) {
            self.place = Place::Blobs;
            return Ok(Some(Archived::BlobEnd));
        }
        let Some((kind, payload)) = self.frame()? else { return Ok(None) };
        let at = self.at;
        let length = (HEAD_BYTES + payload.len() + CHECK_BYTES) as u64;
        let read = self.read(kind, payload);
        let read = read.map_err(|problem| ArchiveError::Damaged { at, problem })?;
        self.at += length;
        Ok(Some(read))
    }

    /// The digest of the archive, whose bytes are all there.
    ///
    /// # Errors
    /// `Cut` when more should have followed.
    pub fn finish(self) -> Result<String, ArchiveError> {
        if self.place == Place::Start && !MAGIC.starts_with(&self.buffer) {
            return Err(ArchiveError::Foreign);
        }
        if self.place != Place::End {
            return Err(ArchiveError::Cut { bytes: self.at + self.buffer.len() as u64 });
        }
        Ok(digest_text(self.whole.finalize().as_bytes()))
    }

    fn start(&mut self) -> Result<bool, ArchiveError> {
        let seen = self.buffer.len().min(MAGIC.len());
        if self.buffer[..seen] != MAGIC[..seen] {
            return Err(ArchiveError::Foreign);
        }
        if self.buffer.len() < MAGIC.len() + 2 {
            return Ok(false);
        }
        let start = self.buffer.split_to(MAGIC.len() + 2);
        self.whole.update(&start);
        self.at = start.len() as u64;
        self.place = Place::Header;
        let format = (&start[MAGIC.len()..]).get_u16_le();
        if format > FORMAT {
            return Err(ArchiveError::TooNew { format });
        }
        if format == 0 {
            return Err(ArchiveError::Foreign);
        }
        Ok(true)
    }

    /// The next frame whose bytes are all there, checked.
    fn frame(&mut self) -> Result<Option<(u8, Bytes)>, ArchiveError> {
        let damaged =
            |problem: &str| ArchiveError::Damaged { at: self.at, problem: problem.into() };
        if self.place == Place::End {
            let problem = "something follows the end";
            return if self.buffer.is_empty() { Ok(None) } else { Err(damaged(problem)) };
        }
        let Some(mut head) = self.buffer.get(..HEAD_BYTES) else { return Ok(None) };
        let (kind, length) = (head.get_u8(), head.get_u32_le() as usize);
        if length > MAX_PAYLOAD || !(frame::HEADER..=frame::TRAILER).contains(&kind) {
            return Err(damaged("this is no frame"));
        }
        let end = HEAD_BYTES + length;
        if self.buffer.len() < end + CHECK_BYTES {
            return Ok(None);
        }
        if frame::check(&self.buffer[..end]) != self.buffer[end..end + CHECK_BYTES] {
            return Err(damaged("its check does not fit"));
        }
        if kind == frame::TRAILER
            && self.buffer.get(HEAD_BYTES..HEAD_BYTES + 32)
                != Some(self.whole.finalize().as_bytes())
        {
            return Err(damaged("it does not add up"));
        }
        let mut bytes = self.buffer.split_to(end + CHECK_BYTES).freeze();
        self.whole.update(&bytes);
        bytes.truncate(end);
        bytes.advance(HEAD_BYTES);
        Ok(Some((kind, bytes)))
    }

    fn read(&mut self, kind: u8, payload: Bytes) -> Result<Archived, String> {
        match (kind, self.place) {
            (frame::HEADER, Place::Header) => self.header(&payload),
            (frame::ROWS, Place::Table(table)) => self.rows(table, &payload),
            (frame::TABLE_END, Place::Table(table)) => self.table_end(table, &payload),
            (frame::BLOB, Place::Blobs) => self.blob(&payload),
            (frame::BLOB_BYTES, Place::Blob(left)) => self.blob_bytes(left, payload),
            (frame::TRAILER, Place::Blobs) => self.trailer(&payload),
            _ => Err(format!("a frame of kind {kind} stands at a wrong place")),
        }
    }

    fn header(&mut self, payload: &[u8]) -> Result<Archived, String> {
        let header = serde_json::from_slice(payload);
        self.header = header.map_err(|error| format!("its header cannot be read: {error}"))?;
        self.enter(0);
        Ok(Archived::Header(self.header.clone()))
    }

    fn enter(&mut self, table: usize) {
        let more = table < self.header.tables.len();
        self.place = if more { Place::Table(table) } else { Place::Blobs };
    }

    fn rows(&mut self, table: usize, mut payload: &[u8]) -> Result<Archived, String> {
        self.number(table, &mut payload)?;
        let count = payload.try_get_u32_le().map_err(|error| error.to_string())?;
        self.table.add_encoded(i64::from(count), payload);
        self.totals.rows += i64::from(count);
        let columns = &self.header.tables[table].columns;
        let mut rows = Vec::new();
        for _ in 0..count {
            rows.push(frame::take_row(&mut payload, columns)?);
        }
        if !payload.is_empty() {
            return Err("bytes are left after the last row".to_owned());
        }
        Ok(Archived::Rows { table, rows })
    }

    fn number(&self, table: usize, payload: &mut &[u8]) -> Result<(), String> {
        let found = payload.try_get_u16_le().map_err(|error| error.to_string())?;
        if usize::from(found) != table {
            let (found, table) = (usize::from(found), &self.header.tables[table].name);
            return Err(format!("rows of table {found} stand among those of {table}"));
        }
        Ok(())
    }

    fn table_end(&mut self, table: usize, mut payload: &[u8]) -> Result<Archived, String> {
        self.number(table, &mut payload)?;
        let rows = payload.try_get_i64_le().map_err(|error| error.to_string())?;
        let digest = std::mem::take(&mut self.table).finish();
        if rows != digest.rows || payload != digest.hash {
            return Err(format!("rows of {} are missing", self.header.tables[table].name));
        }
        self.enter(table + 1);
        Ok(Archived::TableEnd(table))
    }

    fn blob(&mut self, mut payload: &[u8]) -> Result<Archived, String> {
        let size = payload.try_get_u64_le().map_err(|error| error.to_string())?;
        let name = std::str::from_utf8(payload).map_err(|error| error.to_string())?.to_owned();
        self.totals.blobs += 1;
        self.place = Place::Blob(size);
        Ok(Archived::Blob { name, size })
    }

    fn blob_bytes(&mut self, left: u64, payload: Bytes) -> Result<Archived, String> {
        let length = payload.len() as u64;
        if length == 0 || length > left {
            return Err("a content has more bytes than it should".to_owned());
        }
        self.totals.blob_bytes += i64::try_from(length).unwrap_or(i64::MAX);
        self.place = Place::Blob(left - length);
        Ok(Archived::BlobBytes(payload))
    }

    fn trailer(&mut self, payload: &[u8]) -> Result<Archived, String> {
        let totals: Totals = serde_json::from_slice(payload.get(32..).unwrap_or_default())
            .map_err(|error| format!("its trailer cannot be read: {error}"))?;
        if totals != self.totals {
            return Err("its totals do not fit".to_owned());
        }
        self.place = Place::End;
        Ok(Archived::End(totals))
    }
}
