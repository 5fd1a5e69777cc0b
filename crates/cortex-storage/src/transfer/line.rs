//! The lines of an export: one JSON object for the session, then one for each entry.
//!
//! What is written here is read here. A field that is wrong is named by its line, from 1, and its name:
//! `lines[17].sequence`.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cortex_transcode::JsonCodec;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    error::{Result, StorageError},
    journal::{CommandKind, Delta, Entry, EntryKind, Mark, ObjectText, Payload, Sequence},
    ports::Whole,
    time::Stamp,
};

/// What the first line says that it is.
const FORMAT: &str = "cortex.session";
/// The version of the format that is written, and the only one that is read.
const VERSION: i64 = 1;
/// A payload whose JSON is longer than so many times its bytes is written as bytes.
const LONGEST_JSON: usize = 4;

/// The first line.
#[derive(Serialize)]
struct SessionLine<'a> {
    format: &'static str,
    version: i64,
    session_id: &'a str,
    agent_name: &'a str,
    user_id: &'a str,
    manifest_digest: &'a str,
    created_at: String,
    head_sequence: Sequence,
    quiescent: bool,
    message_count: i64,
    metadata: ObjectText,
    state: ObjectText,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    marks: Vec<MarkLine>,
}

/// The line of an entry.
#[derive(Serialize)]
struct EntryLine<'a> {
    sequence: Sequence,
    kind: &'static str,
    r#type: &'a str,
    created_at: String,
    epoch: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_bytes: Option<PayloadBytes>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    marks: Vec<MarkLine>,
}

/// A payload that is not written as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PayloadBytes {
    type_url: String,
    base64: String,
}

/// A mark; where it stands says the rest.
#[derive(Serialize)]
struct MarkLine {
    at: String,
    quiescent: bool,
    #[serde(skip_serializing_if = "Delta::is_empty")]
    changes: Delta,
}

impl MarkLine {
    fn all(marks: Vec<Mark>) -> Vec<Self> {
        let line =
            |mark: Mark| Self { at: time(mark.at), quiescent: mark.quiescent, changes: mark.delta };
        marks.into_iter().map(line).collect()
    }
}

fn time(at: Stamp) -> String {
    prost_types::Timestamp::from(at).to_string()
}

/// The line of a session, without its end.
///
/// # Errors
/// `Internal` when it cannot be written.
pub(super) fn write_session(whole: &Whole, marks: Vec<Mark>) -> Result<String> {
    let session = &whole.session;
    write(&SessionLine {
        format: FORMAT,
        version: VERSION,
        session_id: session.session_id.as_str(),
        agent_name: &session.agent_name,
        user_id: &session.user_id,
        manifest_digest: &session.manifest_digest,
        created_at: time(session.created_at),
        head_sequence: whole.head.head,
        quiescent: whole.head.is_quiescent(),
        message_count: whole.head.message_count,
        metadata: ObjectText(session.metadata.clone()),
        state: ObjectText(whole.state.data.clone()),
        marks: MarkLine::all(marks),
    })
}

/// The line of an entry, without its end.
///
/// # Errors
/// `Internal` when it cannot be written.
pub(super) fn write_entry(codec: &JsonCodec, entry: &Entry, marks: Vec<Mark>) -> Result<String> {
    let payload = json(codec, &entry.payload);
    let payload_bytes = match payload {
        Some(_) => None,
        None => Some(PayloadBytes {
            type_url: entry.payload.type_url.to_string(),
            base64: BASE64.encode(&entry.payload.value),
        }),
    };
    write(&EntryLine {
        sequence: entry.sequence,
        kind: entry.kind.name(),
        r#type: &entry.name,
        created_at: time(entry.created_at),
        epoch: entry.epoch,
        payload,
        payload_bytes,
        marks: MarkLine::all(marks),
    })
}

/// The payload as JSON that fits on a line, if the same bytes come of it again.
fn json(codec: &JsonCodec, payload: &Payload) -> Option<Box<RawValue>> {
    let text = codec.exact_any(&payload.type_url, &payload.value)?;
    let most = LONGEST_JSON * payload.value.len() + 1024;
    if text.len() > most || text.contains(['\n', '\r']) {
        return None;
    }
    RawValue::from_string(text).ok()
}

fn write(line: &impl Serialize) -> Result<String> {
    serde_json::to_string(line).map_err(|error| StorageError::internal(error.to_string()))
}

/// What the first line says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) agent_name: String,
    pub(super) user_id: String,
    pub(super) manifest_digest: String,
    pub(super) metadata: String,
    pub(super) state: String,
    pub(super) head: Sequence,
    pub(super) quiescent: bool,
    pub(super) message_count: i64,
    pub(super) marks: Vec<Marked>,
}

/// A mark as a line says it; where it stands says the rest.
#[derive(Debug)]
pub(super) struct Marked {
    pub(super) at: Stamp,
    pub(super) quiescent: bool,
    pub(super) delta: Delta,
}

/// An object under reading: what it is called, and its fields that nobody has asked for yet.
struct Fields<'l> {
    name: String,
    raw: HashMap<String, &'l RawValue>,
}

impl<'l> Fields<'l> {
    fn parse(name: String, text: &'l str) -> Result<Self> {
        match serde_json::from_str(text) {
            Ok(raw) => Ok(Self { name, raw }),
            Err(error) => Err(StorageError::invalid(name, format!("is no JSON object: {error}"))),
        }
    }

    fn line(number: u64, text: &'l str) -> Result<Self> {
        Self::parse(format!("lines[{number}]"), text)
    }

    fn wrong(&self, field: &str, problem: impl Into<String>) -> StorageError {
        StorageError::invalid(format!("{}.{field}", self.name), problem)
    }

    fn optional<T: DeserializeOwned>(&mut self, field: &str) -> Result<Option<T>> {
        let Some(raw) = self.raw.remove(field) else { return Ok(None) };
        let value = serde_json::from_str(raw.get());
        value.map(Some).map_err(|error| self.wrong(field, error.to_string()))
    }

    fn required<T: DeserializeOwned>(&mut self, field: &str) -> Result<T> {
        self.optional(field)?.ok_or_else(|| self.wrong(field, "is missing"))
    }

    fn marks(&mut self) -> Result<Vec<Marked>> {
        let lines: Vec<Box<RawValue>> = self.optional("marks")?.unwrap_or_default();
        let read = |(place, raw): (usize, &RawValue)| {
            let name = format!("{}.marks[{place}]", self.name);
            Fields::parse(name, raw.get())?.mark()
        };
        lines.iter().map(|raw| &**raw).enumerate().map(read).collect()
    }

    fn mark(mut self) -> Result<Marked> {
        let at: String = self.required("at")?;
        let at = parse_time(&at).map_err(|problem| self.wrong("at", problem))?;
        let quiescent = self.required("quiescent")?;
        let delta = match self.optional::<Box<RawValue>>("changes")? {
            Some(raw) => {
                Delta::from_json(raw.get()).map_err(|problem| self.wrong("changes", problem))?
            }
            None => Delta::default(),
        };
        self.finish()?;
        Ok(Marked { at, quiescent, delta })
    }

    /// Refuses fields that nobody has asked for.
    fn finish(self) -> Result<()> {
        match self.raw.keys().min() {
            Some(field) => {
                Err(self.wrong(&field.chars().take(80).collect::<String>(), "is not a known field"))
            }
            None => Ok(()),
        }
    }
}

/// A wrong field of a line.
pub(super) fn wrong(number: u64, field: &str, problem: impl Into<String>) -> StorageError {
    StorageError::invalid(format!("lines[{number}].{field}"), problem)
}

fn parse_time(text: &str) -> std::result::Result<Stamp, &'static str> {
    let time: prost_types::Timestamp =
        text.parse().map_err(|_| "must be a time such as 2026-01-31T23:59:59.123456Z")?;
    Ok(Stamp::from(&time))
}

/// Reads the first line.
///
/// # Errors
/// `Invalid` with the first field that is wrong.
pub(super) fn read_session(text: &str) -> Result<Header> {
    const LINE: u64 = 1;
    let mut line = Fields::line(LINE, text)?;
    let format: String = line.required("format")?;
    let version: i64 = line.required("version")?;
    if format != FORMAT {
        return Err(line.wrong("format", format!("must be \"{FORMAT}\"")));
    }
    if version != VERSION {
        let problem = format!("{version} is not read by this release; it reads version {VERSION}");
        return Err(line.wrong("version", problem));
    }
    // Whose these were says nothing about the new session.
    line.optional::<String>("session_id")?;
    line.optional::<String>("created_at")?;
    let header = Header {
        agent_name: line.required("agent_name")?,
        user_id: line.optional("user_id")?.unwrap_or_default(),
        manifest_digest: line.optional("manifest_digest")?.unwrap_or_default(),
        metadata: line.required::<ObjectText>("metadata")?.0,
        state: line.required::<ObjectText>("state")?.0,
        head: line.required("head_sequence")?,
        quiescent: line.required("quiescent")?,
        message_count: line.required("message_count")?,
        marks: line.marks()?,
    };
    line.finish()?;
    Ok(header)
}

/// Reads the line of an entry.
///
/// # Errors
/// `Invalid` with the first field that is wrong.
pub(super) fn read_entry(
    codec: &JsonCodec,
    number: u64,
    text: &str,
) -> Result<(Entry, Vec<Marked>)> {
    let mut line = Fields::line(number, text)?;
    let sequence = line.required("sequence")?;
    let kind: String = line.required("kind")?;
    let kind = EntryKind::from_name(&kind).ok_or_else(|| {
        let kinds = CommandKind::NAMES.map(|(_, name)| name).join(", ");
        line.wrong("kind", format!("must be event or one of {kinds}"))
    })?;
    let name: String = line.required("type")?;
    let name = crate::convert::entry_type(&format!("lines[{number}].type"), &name)?;
    let created_at: String = line.required("created_at")?;
    let created_at =
        parse_time(&created_at).map_err(|problem| line.wrong("created_at", problem))?;
    let epoch: i64 = line.required("epoch")?;
    if epoch < 0 || (epoch > 0 && kind != EntryKind::Event) {
        return Err(line.wrong("epoch", "must not be negative, and 0 for a command"));
    }
    let payload = read_payload(codec, &mut line)?;
    let marks = line.marks()?;
    line.finish()?;
    Ok((Entry { sequence, kind, name, payload, created_at, epoch }, marks))
}

fn read_payload(codec: &JsonCodec, line: &mut Fields<'_>) -> Result<Payload> {
    let json: Option<Box<RawValue>> = line.optional("payload")?;
    let bytes: Option<PayloadBytes> = line.optional("payload_bytes")?;
    match (json, bytes) {
        (Some(json), None) => {
            let (type_url, value) = codec
                .parse_any(json.get())
                .map_err(|error| line.wrong("payload", error.to_string()))?;
            Ok(Payload { type_url: type_url.into(), value: value.into() })
        }
        (None, Some(PayloadBytes { type_url, base64 })) => {
            let value = BASE64
                .decode(base64)
                .map_err(|error| line.wrong("payload_bytes.base64", error.to_string()))?;
            Ok(Payload { type_url: type_url.into(), value: value.into() })
        }
        (None, None) => Err(line.wrong("payload", "is missing, and so is payload_bytes")),
        (Some(_), Some(_)) => {
            Err(line.wrong("payload_bytes", "cannot be given together with payload"))
        }
    }
}
