//! Importing: JSON lines become a session that nobody sees before all of it is there.
//!
//! Entries and marks are staged in bounded batches under the number of a session that does not exist
//! yet; the last step creates it, in one commit. What was staged and never finished is cleared away
//! when the import's lease is over, whatever became of who imported.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use cortex_transcode::JsonCodec;

use super::line::{self, Header, Marked};
use crate::{
    convert,
    entry_text::EntryText,
    error::{Result, StorageError},
    journal::{Cut, Entry, EntryKind, Fingerprint, Fold, Mark, Projection, RequestId, SessionNo},
    ports::{FinishImport, TransferStore},
    session::{NewSession, Session},
    tenant::Tenant,
};

/// Bytes of entries and marks that one commit stages, nearly.
const BATCH_BYTES: usize = 1024 * 1024;
/// Entries that one commit stages at most.
const BATCH_ENTRIES: usize = 1024;
/// Lines that are read between two looks whether somebody else has work.
const LINES: u64 = 16;

/// Bounds of an import.
#[derive(Debug, Clone, Copy)]
pub struct ImportLimits {
    /// Bytes of the whole.
    pub content: u64,
    /// Bytes of one line.
    pub line: u64,
    /// Bytes of the payload of an entry, and of the content of a message.
    pub message: u64,
    /// Bytes of the state.
    pub state: u64,
    /// Bytes of the metadata of a session.
    pub metadata: u64,
}

/// One import under way.
pub struct Importer {
    store: Arc<dyn TransferStore>,
    tenant: Tenant,
    codec: Arc<JsonCodec>,
    limits: ImportLimits,
    /// What has no line end yet.
    rest: BytesMut,
    bytes: u64,
    hash: blake3::Hasher,
    lines: u64,
    header: Option<Header>,
    fold: Fold,
    /// The end of what was read.
    end: Cut,
    /// The last quiescent point of what was read.
    quiescent: Cut,
    /// Where entries and marks are staged, once there was enough for a batch.
    staged: Option<SessionNo>,
    entries: Vec<Entry>,
    marks: Vec<Mark>,
    batch: usize,
    /// Texts that stand in entries, with line and field.
    places: Vec<(u64, String, EntryText)>,
}

impl Importer {
    /// An import of nothing so far.
    pub fn new(
        store: Arc<dyn TransferStore>,
        tenant: Tenant,
        codec: Arc<JsonCodec>,
        limits: ImportLimits,
    ) -> Self {
        Self {
            store,
            tenant,
            codec,
            limits,
            rest: BytesMut::new(),
            bytes: 0,
            hash: blake3::Hasher::new(),
            lines: 0,
            header: None,
            fold: Fold::default(),
            end: Cut::default(),
            quiescent: Cut::default(),
            staged: None,
            entries: Vec::new(),
            marks: Vec::new(),
            batch: 0,
            places: Vec::new(),
        }
    }

    /// Takes in the next bytes. After an error the import is to be [abandoned](Importer::abandon).
    ///
    /// # Errors
    /// `Invalid` with line and field, `TooLarge`, `ImportExpired`.
    pub async fn take(&mut self, bytes: &Bytes) -> Result<()> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.limits.content {
            let (bytes, limit) = (self.bytes, self.limits.content);
            return Err(StorageError::TooLarge { field: "content", bytes, limit });
        }
        self.hash.update(bytes);
        let mut searched = self.rest.len();
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest[searched..].iter().position(|byte| *byte == b'\n') {
            let text = self.rest.split_to(searched + end);
            self.rest.advance(1);
            searched = 0;
            self.line(&text).await?;
        }
        self.check_length(self.rest.len())
    }

    /// Creates the session of what was taken in.
    ///
    /// # Errors
    /// `Invalid` with line and field, `NotQuiescent`, `RequestIdReused`, `ImportExpired`.
    pub async fn finish(&mut self, request_id: Option<RequestId>) -> Result<Session> {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.line(&rest).await?;
        }
        let Some(header) = self.header.take() else {
            return Err(StorageError::invalid(
                "content",
                "is empty; it must be an exported session",
            ));
        };
        let projection = self.check_end(&header)?;
        self.stage().await?;
        let new = NewSession {
            agent_name: header.agent_name,
            user_id: header.user_id,
            metadata: header.metadata,
            initial_state: None,
            manifest_digest: header.manifest_digest,
            request_id,
            fingerprint: Fingerprint::from_hash(&self.hash.finalize()),
        };
        let finish = FinishImport { staged: self.staged, new, end: self.end, projection };
        let session = self.store.finish_import(&self.tenant, finish).await?;
        self.staged = None;
        Ok(session)
    }

    /// Lets what was staged be cleared away at once.
    ///
    /// # Errors
    /// What the database says; then it is cleared away later.
    pub async fn abandon(mut self) -> Result<()> {
        match self.staged.take() {
            Some(staged) => self.store.abandon_import(staged).await,
            None => Ok(()),
        }
    }

    fn check_length(&self, bytes: usize) -> Result<()> {
        let (bytes, limit) = (bytes as u64, self.limits.line);
        if bytes > limit {
            let field = format!("lines[{}]", self.lines + 1);
            return Err(StorageError::invalid(field, format!("is longer than {limit} bytes")));
        }
        Ok(())
    }

    async fn line(&mut self, bytes: &[u8]) -> Result<()> {
        self.check_length(bytes.len())?;
        self.lines += 1;
        if self.lines.is_multiple_of(LINES) {
            tokio::task::yield_now().await;
        }
        let text = std::str::from_utf8(bytes).map_err(|_| {
            StorageError::invalid(format!("lines[{}]", self.lines), "is not UTF-8 text")
        })?;
        if self.header.is_none() {
            return self.first(text);
        }
        if text.trim_ascii().is_empty() {
            return Ok(());
        }
        self.entry(text)?;
        if self.batch >= BATCH_BYTES || self.entries.len() >= BATCH_ENTRIES {
            self.stage().await?;
        }
        Ok(())
    }

    fn first(&mut self, text: &str) -> Result<()> {
        let mut header = line::read_session(text)?;
        for (field, name) in [
            ("agent_name", &header.agent_name),
            ("user_id", &header.user_id),
            ("manifest_digest", &header.manifest_digest),
        ] {
            convert::optional_name(&format!("lines[1].{field}"), name.clone())?;
        }
        if header.agent_name.is_empty() {
            return Err(line::wrong(1, "agent_name", "is empty"));
        }
        for (field, length, limit) in [
            ("metadata", header.metadata.len(), self.limits.metadata),
            ("state", header.state.len(), self.limits.state),
        ] {
            self.fits(field, length, limit)?;
        }
        if header.head < 0 {
            return Err(line::wrong(1, "head_sequence", "must not be negative"));
        }
        let marks = std::mem::take(&mut header.marks);
        self.header = Some(header);
        self.take_marks(marks)
    }

    fn entry(&mut self, text: &str) -> Result<()> {
        let (entry, marks) = line::read_entry(&self.codec, self.lines, text)?;
        let wanted = self.end.sequence + 1;
        if entry.sequence != wanted {
            let problem = format!("must be {wanted}, one more than before, not {}", entry.sequence);
            return Err(line::wrong(self.lines, "sequence", problem));
        }
        let head = self.header.as_ref().map_or(0, |header| header.head);
        if entry.sequence > head {
            let problem = format!("is beyond the head_sequence of the first line, {head}");
            return Err(line::wrong(self.lines, "sequence", problem));
        }
        self.fits("payload", entry.payload.value.len(), self.limits.message)?;
        convert::type_url(&format!("lines[{}].payload", self.lines), &entry.payload.type_url)?;
        self.end.sequence = entry.sequence;
        if matches!(entry.kind, EntryKind::Command(_)) {
            self.end.last_command = entry.sequence;
        }
        self.batch += entry.size();
        self.entries.push(entry);
        self.take_marks(marks)
    }

    fn take_marks(&mut self, marks: Vec<Marked>) -> Result<()> {
        for (place, marked) in marks.into_iter().enumerate() {
            let field = format!("marks[{place}].changes");
            for length in marked.delta.contents() {
                self.fits(&field, length, self.limits.message)?;
            }
            self.end.mark += 1;
            let mark = Mark {
                number: self.end.mark,
                sequence: self.end.sequence,
                last_command: self.end.last_command,
                quiescent: marked.quiescent,
                at: marked.at,
                delta: marked.delta,
            };
            for place in mark.delta.places() {
                self.place(&field, place)?;
            }
            self.fold
                .apply(&mark)
                .map_err(|error| line::wrong(self.lines, &field, error.to_string()))?;
            if mark.quiescent {
                self.quiescent = self.end;
            }
            self.batch += mark.size();
            self.marks.push(mark);
        }
        Ok(())
    }

    /// Notes where a text stands in entries, to be looked up once those are staged.
    fn place(&mut self, field: &str, place: &EntryText) -> Result<()> {
        let last = self.end.sequence;
        if place.first < 1 || place.first > place.last || place.last > last {
            let problem = format!(
                "has a text in entries {} to {}, and the last one is {last}",
                place.first, place.last
            );
            return Err(line::wrong(self.lines, field, problem));
        }
        self.fits(field, usize::try_from(place.bytes).unwrap_or(usize::MAX), self.limits.message)?;
        let path = place.path.len();
        if !(1..=EntryText::MAX_PATH).contains(&path) {
            let problem =
                format!("has a text with a path of {path}; 1 to {} are right", EntryText::MAX_PATH);
            return Err(line::wrong(self.lines, field, problem));
        }
        self.places.push((self.lines, field.to_owned(), place.clone()));
        Ok(())
    }

    /// Checks that the entries hold the texts that messages have in them.
    async fn check_texts(&mut self, staged: SessionNo) -> Result<()> {
        let noted = std::mem::take(&mut self.places);
        let places: Vec<_> = noted.iter().map(|(_, _, place)| place.clone()).collect();
        let sizes = self.store.staged_texts(staged, &places).await?;
        for ((number, field, place), size) in noted.iter().zip(sizes) {
            if size != place.bytes {
                let problem =
                    format!("says {} bytes of text, and the entries hold {size}", place.bytes);
                return Err(line::wrong(*number, field, problem));
            }
        }
        Ok(())
    }

    fn fits(&self, field: &str, bytes: usize, limit: u64) -> Result<()> {
        if bytes as u64 <= limit {
            return Ok(());
        }
        Err(line::wrong(
            self.lines,
            field,
            format!("has {bytes} bytes; at most {limit} are allowed"),
        ))
    }

    /// What the first line promised is there, and the session rests.
    fn check_end(&mut self, header: &Header) -> Result<Projection> {
        let last = self.end.sequence;
        if header.head != last {
            let problem = format!("is {}, but the last entry is {last}", header.head);
            return Err(line::wrong(1, "head_sequence", problem));
        }
        let rests = self.quiescent == self.end;
        if !header.quiescent || !rests {
            let (head, last) = (self.end.sequence, self.quiescent.sequence);
            return Err(StorageError::NotQuiescent { head, last });
        }
        let projection = std::mem::take(&mut self.fold).finish();
        let projection = projection.map_err(|error| line::wrong(1, "state", error.to_string()))?;
        let count = projection.messages.len() as i64;
        if header.message_count != count {
            let problem = format!("is {}, but the marks make {count}", header.message_count);
            return Err(line::wrong(1, "message_count", problem));
        }
        if header.state != projection.state.data {
            return Err(line::wrong(1, "state", "is not what the marks make"));
        }
        Ok(projection)
    }

    async fn stage(&mut self) -> Result<()> {
        self.batch = 0;
        let (entries, marks) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.marks));
        if entries.is_empty() && marks.is_empty() {
            return Ok(());
        }
        let staged = match self.staged {
            Some(staged) => staged,
            None => self.store.begin_import().await?,
        };
        self.staged = Some(staged);
        self.store.extend_import(&self.tenant, staged, entries, marks).await?;
        self.check_texts(staged).await
    }
}
