//! Rows as domain values. Columns are read by their place in the lists that stand beside the readers.

use std::{borrow::Cow, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use cortex_core::SessionId;

use super::{
    artifacts::ArtifactFact,
    cache::{OwnedHead, TenantNo},
    encoded::decode_place,
    error::damaged,
    row::Row,
    stored::{CutMark, CutMessage, Cuts, Stored},
    work::CacheFact,
};
use crate::{
    artifact::{About, Artifact, Digest},
    cache::{CacheEntry, CacheKey},
    content::{ContentHash, Pieces},
    error::Result,
    history::{Message, Role},
    journal::{
        CommandKind, Delta, Entry, EntryKind, Execution, ExecutionKind, ExecutionState,
        Fingerprint, Holder, Known, LastAppend, Mark, OpenTurn, Outcome, OutcomeKind, Part,
        Payload, PendingCommand, SessionHead, SessionNo, Wait,
    },
    metric::{Labels, Metric},
    record::{Record, RecordKey},
    session::{Session, SessionStatus},
    time::Stamp,
    wire,
};

/// The bits of a clustered key that hold the position inside the session.
const POSITION_BITS: u32 = 32;

/// The clustered key of a position in a session.
pub(super) fn clustered(session: SessionNo, position: i64) -> i64 {
    (session.0 << POSITION_BITS) | position
}

/// The position in a clustered key.
pub(super) fn position(key: i64) -> i64 {
    key & ((1 << POSITION_BITS) - 1)
}

/// The last position that a session can have.
pub(super) const LAST_POSITION: i64 = (1 << POSITION_BITS) - 1;

fn id<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| damaged("identifier"))
}

fn optional_id<T: FromStr>(text: Option<Cow<str>>) -> Result<Option<T>> {
    text.map(|text| id(&text)).transpose()
}

fn stamp(row: &Row, column: usize) -> Result<Stamp> {
    Ok(Stamp::from_micros(row.try_get(column)?))
}

fn optional_stamp(row: &Row, column: usize) -> Result<Option<Stamp>> {
    Ok(row.try_get::<Option<i64>>(column)?.map(Stamp::from_micros))
}

fn status(row: &Row, column: usize) -> Result<SessionStatus> {
    SessionStatus::from_number(row.try_get(column)?).ok_or_else(|| damaged("session status"))
}

/// The pieces in a column, if something was cut out of the row.
pub(super) fn pieces(row: &Row, column: usize) -> Result<Option<Pieces>> {
    let encoded: Option<&[u8]> = row.try_get(column)?;
    encoded
        .map(|encoded| Pieces::decode(encoded).ok_or_else(|| damaged("list of pieces")))
        .transpose()
}

/// What was cut out of a row, by its columns of tenant and pieces.
pub(super) fn cuts(row: &Row, tenant: usize, column: usize) -> Result<Option<Cuts>> {
    let Some(pieces) = pieces(row, column)? else { return Ok(None) };
    Ok(Some(Cuts { tenant: TenantNo(row.try_get(tenant)?), pieces }))
}

/// The tables of [`content`], joined to rows of tenant and hash.
pub(super) const CONTENTS: &str =
    " v CROSS JOIN contents c ON c.tenant = v.column1 AND c.hash = v.column2";

/// A content with its hash, of `c.hash` and `c.bytes`.
pub(super) fn content(row: &Row) -> Result<(ContentHash, Bytes)> {
    let hash = row.try_get::<&[u8]>(0)?.try_into().map_err(|_| damaged("hash"))?;
    Ok((ContentHash(hash), Bytes::from(row.try_get::<Vec<u8>>(1)?)))
}

/// Columns of [`head`], of `heads h` and `sessions s`.
pub(super) const HEAD: &str = "h.session, h.tenant, s.session_id, s.status, h.head, h.last_command, \
    h.consumed, h.pending, h.epoch, h.holder_id, h.turn_id, h.turn_sequence, h.waiting, h.wake_at, \
    h.queue, h.open_calls, h.message_count, h.last_position, h.history_floor, h.ready_at, h.updated_at, \
    h.last_append, h.marks, h.shared";

/// How many columns [`HEAD`] has.
pub(super) const HEAD_COLUMNS: usize = 24;

/// The tables of [`HEAD`].
pub(super) const HEAD_TABLES: &str = "heads h CROSS JOIN sessions s ON s.session = h.session";

pub(super) fn head(row: &Row) -> Result<OwnedHead> {
    let head = SessionHead {
        session: SessionNo(row.try_get(0)?),
        session_id: row.try_get(2)?,
        status: status(row, 3)?,
        head: row.try_get(4)?,
        last_command: row.try_get(5)?,
        consumed: row.try_get(6)?,
        pending: read_pending(&row.try_get::<Cow<str>>(7)?)?,
        epoch: row.try_get(8)?,
        holder: optional_id(row.try_get(9)?)?,
        turn: turn(row)?,
        queue: serde_json::from_str(&row.try_get::<Cow<str>>(14)?).map_err(|_| damaged("queue"))?,
        open_calls: row.try_get(15)?,
        message_count: row.try_get(16)?,
        last_position: row.try_get(17)?,
        history_floor: row.try_get(18)?,
        last_append: last_append(row.try_get(21)?)?,
        ready_at: optional_stamp(row, 19)?,
        updated_at: stamp(row, 20)?,
        marks: row.try_get(22)?,
        shared: row.try_get(23)?,
    };
    Ok(OwnedHead { tenant: TenantNo(row.try_get(1)?), head })
}

fn turn(row: &Row) -> Result<Option<OpenTurn>> {
    let Some(turn_id) = row.try_get::<Option<_>>(10)? else { return Ok(None) };
    let waiting: bool = row.try_get(12)?;
    let wake_at = optional_stamp(row, 13)?;
    let wait = waiting.then_some(Wait { wake_at });
    Ok(Some(OpenTurn { turn_id, sequence: row.try_get(11)?, wait }))
}

fn last_append(text: Option<Cow<str>>) -> Result<Option<LastAppend>> {
    let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
    parsed.map_err(|_| damaged("last append"))
}

/// The last append as it is stored.
pub(super) fn write_last_append(last: Option<&LastAppend>) -> Option<String> {
    last.map(|last| serde_json::to_string(last).unwrap_or_default())
}

fn read_pending(text: &str) -> Result<Vec<PendingCommand>> {
    let pairs: Vec<(i64, i64)> = serde_json::from_str(text).map_err(|_| damaged("command list"))?;
    pairs
        .into_iter()
        .map(|(sequence, kind)| {
            let kind = CommandKind::from_number(kind).ok_or_else(|| damaged("command kind"))?;
            Ok(PendingCommand { sequence, kind })
        })
        .collect()
}

/// The pending commands as they are stored.
pub(super) fn write_pending(pending: &[PendingCommand]) -> String {
    let pairs: Vec<_> = pending.iter().map(|c| (c.sequence, c.kind.number())).collect();
    serde_json::to_string(&pairs).unwrap_or_default()
}

pub(super) fn holder(row: &Row) -> Result<Holder> {
    let micros: i64 = row.try_get(3)?;
    Ok(Holder {
        holder_id: id(&row.try_get::<Cow<str>>(1)?)?,
        instance: row.try_get(2)?,
        duration: Duration::from_micros(u64::try_from(micros).map_err(|_| damaged("lease"))?),
        expires_at: stamp(row, 4)?,
        voided: row.try_get(5)?,
        voids: optional_id(row.try_get(6)?)?,
    })
}

/// Columns of [`entry`], of `entries e`, `names t`, `names p`, and the entry `s` that `e` begins like:
/// [`MOST`](super::starts::MOST) bytes of it have the field that they share.
pub(super) const ENTRY: &str = "e.entry, e.kind, t.name, p.name, e.payload, e.created_at, e.epoch, e.tenant, e.pieces, \
    substr(s.payload, 1, 64)";

/// The tables of [`ENTRY`].
pub(super) const ENTRY_TABLES: &str = "entries e CROSS JOIN names t ON t.name_no = e.type \
    CROSS JOIN names p ON p.name_no = e.payload_type \
    LEFT JOIN entries s ON s.entry = (((e.entry >> 32) << 32) | e.start)";

/// A payload, of what is stored of it and the first bytes of the payload that it begins like.
pub(super) fn payload(row: &Row, rest: usize, start: usize) -> Result<Vec<u8>> {
    let rest: &[u8] = row.try_get(rest)?;
    let Some(start) = row.try_get::<Option<&[u8]>>(start)? else { return Ok(rest.to_vec()) };
    let field = wire::first_field(start).ok_or_else(|| damaged("beginning of a payload"))?;
    Ok([field, rest].concat())
}

pub(super) fn entry(row: &Row) -> Result<Stored<Entry>> {
    let entry = Entry {
        sequence: position(row.try_get(0)?),
        kind: EntryKind::from_number(row.try_get(1)?).ok_or_else(|| damaged("entry kind"))?,
        name: Arc::from(row.try_get::<Cow<str>>(2)?),
        payload: Payload {
            type_url: Arc::from(row.try_get::<Cow<str>>(3)?),
            value: payload(row, 4, 9)?.into(),
        },
        created_at: stamp(row, 5)?,
        epoch: row.try_get(6)?,
    };
    Ok(Stored { row: entry, cuts: cuts(row, 7, 8)? })
}

/// Columns of [`mark`], of `marks m`.
pub(super) const MARK: &str =
    "m.mark, m.sequence, m.last_command, m.quiescent, m.created_at, m.delta, m.tenant, m.pieces";

pub(super) fn mark(row: &Row) -> Result<Stored<CutMark>> {
    let mark = Mark {
        number: position(row.try_get(0)?),
        sequence: row.try_get(1)?,
        last_command: row.try_get(2)?,
        quiescent: row.try_get::<i64>(3)? != 0,
        at: stamp(row, 4)?,
        delta: Delta::default(),
    };
    Ok(Stored { row: CutMark { mark, delta: row.try_get(5)? }, cuts: cuts(row, 6, 7)? })
}

/// Columns of [`part`], of `parts p`.
pub(super) const PART: &str = "p.session, p.owner, p.first, p.last, p.first_mark, p.last_mark";

pub(super) fn part(row: &Row) -> Result<(SessionNo, Part)> {
    let part = Part {
        owner: SessionNo(row.try_get(1)?),
        first: row.try_get(2)?,
        last: row.try_get(3)?,
        first_mark: row.try_get(4)?,
        last_mark: row.try_get(5)?,
    };
    Ok((SessionNo(row.try_get(0)?), part))
}

/// Columns of [`known`], of `requests r`.
pub(super) const KNOWN: &str = "r.session, r.request, r.fingerprint, r.first, r.last, r.at, r.note";

pub(super) fn known(row: &Row) -> Result<(SessionNo, [u8; 16], Known)> {
    let known = Known {
        fingerprint: Fingerprint(half_hash(row, 2)?),
        first: row.try_get(3)?,
        last: row.try_get(4)?,
        at: stamp(row, 5)?,
        note: row.try_get(6)?,
    };
    Ok((SessionNo(row.try_get(0)?), half_hash(row, 1)?, known))
}

/// Half of a hash.
pub(super) fn half_hash(row: &Row, column: usize) -> Result<[u8; 16]> {
    row.try_get::<&[u8]>(column)?.try_into().map_err(|_| damaged("hash"))
}

/// Columns of [`execution`], of `executions x` and `sessions s`.
pub(super) const EXECUTION: &str = "x.execution, x.tenant, x.execution_id, x.session, s.session_id, \
    x.turn_id, x.call_id, x.kind, x.name, x.state, x.claimant_id, x.claimant_instance, \
    x.outcome_kind, x.settled, x.created_at, x.updated_at";

/// Columns of [`outcome`], of `outcomes o`, behind those of [`EXECUTION`].
pub(super) const OUTCOME: &str = "o.result, o.error, o.details_type, o.details, o.pieces";

pub(super) fn execution(row: &Row) -> Result<(TenantNo, Execution)> {
    let outcome_kind: Option<i64> = row.try_get(12)?;
    let outcome_kind = outcome_kind
        .map(|kind| OutcomeKind::from_number(kind).ok_or_else(|| damaged("outcome kind")))
        .transpose()?;
    let execution = Execution {
        execution_id: row.try_get(2)?,
        session: SessionNo(row.try_get(3)?),
        session_id: row.try_get(4)?,
        turn_id: row.try_get(5)?,
        call_id: row.try_get(6)?,
        kind: ExecutionKind::from_number(row.try_get(7)?)
            .ok_or_else(|| damaged("execution kind"))?,
        name: row.try_get(8)?,
        state: ExecutionState::from_number(row.try_get(9)?)
            .ok_or_else(|| damaged("execution state"))?,
        claimant_id: row.try_get(10)?,
        claimant_instance: row.try_get(11)?,
        outcome_kind,
        outcome: None,
        settled: row.try_get(13)?,
        created_at: stamp(row, 14)?,
        updated_at: stamp(row, 15)?,
    };
    Ok((TenantNo(row.try_get(1)?), execution))
}

/// An execution with its outcome, from [`EXECUTION`] and [`OUTCOME`].
pub(super) fn finished_execution(row: &Row) -> Result<Stored<Execution>> {
    let (_, mut execution) = execution(row)?;
    let result: Option<String> = row.try_get(16)?;
    if let (Some(kind), Some(result)) = (execution.outcome_kind, result) {
        let type_url: Option<String> = row.try_get(18)?;
        let value: Option<Vec<u8>> = row.try_get(19)?;
        let details = type_url
            .zip(value)
            .map(|(type_url, value)| Payload { type_url: type_url.into(), value: value.into() });
        execution.outcome = Some(Outcome { kind, result, error: row.try_get(17)?, details });
    }
    Ok(Stored { row: execution, cuts: cuts(row, 1, 20)? })
}

/// Columns of [`message`], of `messages m` and `sessions s`.
pub(super) const MESSAGE: &str = "m.message, m.message_id, s.session_id, m.role, m.content, \
    m.entry_text, m.metadata, m.tool_calls, m.call_id, m.turn_id, m.created_at, m.tenant, m.pieces";

pub(super) fn message(row: &Row) -> Result<Stored<CutMessage>> {
    let place: Option<&[u8]> = row.try_get(5)?;
    let message = Message {
        position: position(row.try_get(0)?),
        message_id: row.try_get(1)?,
        session_id: row.try_get(2)?,
        role: Role::from_number(row.try_get(3)?).ok_or_else(|| damaged("role"))?,
        content: row.try_get(4)?,
        metadata: row.try_get(6)?,
        tool_calls: Vec::new(),
        call_id: row.try_get(8)?,
        turn_id: row.try_get(9)?,
        timestamp: stamp(row, 10)?,
    };
    let place = place.map(decode_place).transpose()?;
    let row_of = CutMessage { message, place, calls: row.try_get(7)? };
    Ok(Stored { row: row_of, cuts: cuts(row, 11, 12)? })
}

/// Columns of [`session`], of `sessions s` and `heads h`.
pub(super) const SESSION: &str = "s.session, s.session_id, s.agent_name, s.user_id, s.created_at, \
    h.updated_at, s.status, s.metadata, h.message_count, h.head, s.manifest_digest";

pub(super) fn session(row: &Row) -> Result<(i64, Session)> {
    let session = Session {
        session_id: id::<SessionId>(&row.try_get::<Cow<str>>(1)?)?,
        agent_name: row.try_get(2)?,
        user_id: row.try_get(3)?,
        created_at: stamp(row, 4)?,
        updated_at: stamp(row, 5)?,
        status: status(row, 6)?,
        metadata: row.try_get(7)?,
        message_count: row.try_get(8)?,
        head: row.try_get(9)?,
        manifest_digest: row.try_get(10)?,
    };
    Ok((row.try_get(0)?, session))
}

/// Columns of [`artifact`], of `artifacts a` and `sessions s`.
pub(super) const ARTIFACT: &str = "a.artifact, a.tenant, a.session, a.artifact_id, s.session_id, \
    a.name, a.type, a.path, a.size, a.metadata, a.content_type, a.digest, a.created_at, a.updated_at";

/// How many columns those are.
pub(super) const ARTIFACT_COLUMNS: usize = 14;

pub(super) fn artifact(row: &Row) -> Result<(TenantNo, ArtifactFact)> {
    let has_bytes = row.try_get::<Option<&[u8]>>(11)?.is_some();
    let artifact = Artifact {
        artifact_id: id(&row.try_get::<Cow<str>>(3)?)?,
        session_id: id(&row.try_get::<Cow<str>>(4)?)?,
        about: About {
            name: row.try_get(5)?,
            kind: row.try_get(6)?,
            path: row.try_get(7)?,
            metadata: row.try_get(9)?,
            content_type: row.try_get(10)?,
        },
        size: row.try_get(8)?,
        digest: has_bytes.then(|| digest(row, 11)).transpose()?,
        created_at: stamp(row, 12)?,
        updated_at: stamp(row, 13)?,
    };
    let session = SessionNo(row.try_get(2)?);
    Ok((TenantNo(row.try_get(1)?), ArtifactFact { session, artifact }))
}

/// The digest of bytes.
pub(super) fn digest(row: &Row, column: usize) -> Result<Digest> {
    let bytes: &[u8] = row.try_get(column)?;
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| damaged("digest"))?;
    Ok(bytes.into())
}

/// Columns of [`record`], of `records r`.
pub(super) const RECORD: &str =
    "r.key, r.value, r.revision, r.created_at, r.updated_at, r.expires_at";

pub(super) fn record(row: &Row) -> Result<Record> {
    Ok(Record {
        key: RecordKey::parse(&row.try_get::<Cow<str>>(0)?).map_err(|_| damaged("record key"))?,
        value: Bytes::from(row.try_get::<Vec<u8>>(1)?),
        revision: row.try_get(2)?,
        created_at: stamp(row, 3)?,
        updated_at: stamp(row, 4)?,
        expires_at: optional_stamp(row, 5)?,
    })
}

/// Columns of [`metric`], of `metrics m` and `sessions s`.
pub(super) const METRIC: &str = "m.metric, m.metric_id, m.entity_type, m.entity_name, s.session_id, \
    m.metric_name, m.value, m.measured_at, m.labels";

pub(super) fn metric(row: &Row) -> Result<(i64, Metric)> {
    let labels: String = row.try_get(8)?;
    let metric = Metric {
        metric_id: id(&row.try_get::<String>(1)?)?,
        entity_type: row.try_get(2)?,
        entity_name: row.try_get(3)?,
        session_id: row.try_get(4)?,
        metric_name: row.try_get(5)?,
        value: row.try_get(6)?,
        timestamp: stamp(row, 7)?,
        labels: Labels::decode(&labels).ok_or_else(|| damaged("label"))?,
    };
    Ok((row.try_get(0)?, metric))
}

/// Columns of [`cached`], of `cache_entries c`.
pub(super) const CACHED: &str =
    "c.key, c.value, c.ttl, c.created_at, c.accessed_at, c.expires_at, c.revision";

pub(super) fn cached(row: &Row) -> Result<CacheEntry> {
    let ttl: Option<i64> = row.try_get(2)?;
    let ttl = ttl.map(|ttl| u64::try_from(ttl).map(Duration::from_secs)).transpose();
    Ok(CacheEntry {
        key: cache_key(row, 0)?,
        value: row.try_get(1)?,
        ttl: ttl.map_err(|_| damaged("time to live"))?,
        created_at: stamp(row, 3)?,
        accessed_at: stamp(row, 4)?,
        expires_at: optional_stamp(row, 5)?,
        revision: row.try_get(6)?,
    })
}

/// Columns of [`cache_fact`], of `cache_entries c`.
pub(super) const CACHE_FACT: &str = "c.tenant, c.key, c.revision, c.bytes, c.expires_at";

pub(super) fn cache_fact(row: &Row) -> Result<((TenantNo, CacheKey), CacheFact)> {
    let fact = CacheFact {
        revision: row.try_get(2)?,
        bytes: row.try_get(3)?,
        expires_at: optional_stamp(row, 4)?,
    };
    Ok(((TenantNo(row.try_get(0)?), cache_key(row, 1)?), fact))
}

/// The key of a cache entry.
pub(super) fn cache_key(row: &Row, column: usize) -> Result<CacheKey> {
    CacheKey::parse(&row.try_get::<String>(column)?).map_err(|_| damaged("cache key"))
}
