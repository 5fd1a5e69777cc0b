//! One batch in the making: what was read for it, and what it will write.
//!
//! Operations are decided one after the other on what the ones before them left behind, so that the
//! batch is as if they had come alone. A refused operation changes nothing.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use cortex_core::{ArtifactId, CallId, ExecutionId, HolderId, MessageId, SessionId};

use super::{
    artifacts::ArtifactFact,
    cache::{Cache, Holders, OwnedHead, SessionKey, TenantNo},
    housekeeping::PurgeRow,
    maps::{HashMap, HashSet, IndexMap, IndexSet},
    ops::UnusedBytes,
};
use crate::{
    artifact::{Artifact, BlobName, Digest, StoreId},
    cache::CacheKey,
    content::Pieces,
    entry_text::EntryText,
    error::{Result, StorageError},
    history::Message,
    journal::{
        Change, Decision, Entry, Execution, Facts, Fingerprint, HolderFacts, Known, Mark,
        MessageChange, NewContent, Outcome, Part, RequestKey, Sequence, SessionHead, SessionNo,
    },
    metric::{Metric, NewMetric, Recorded},
    record::RecordKey,
    session::NewSession,
    state::State,
    tenant::Tenant,
    time::Stamp,
};

/// What is attached to a session and seldom changes.
#[derive(Debug, Clone)]
pub(super) struct Description {
    pub(super) metadata: String,
    pub(super) manifest_digest: String,
}

/// What is known about a record without its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordFact {
    pub(super) revision: i64,
    pub(super) created_at: Stamp,
    pub(super) expires_at: Option<Stamp>,
}

/// What is known about a cache entry without its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct CacheFact {
    pub(super) revision: i64,
    pub(super) bytes: i64,
    pub(super) expires_at: Option<Stamp>,
}

/// What the entries of one tenant's cache come to, and its last revision.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CacheTotals {
    pub(super) revision: i64,
    pub(super) entries: i64,
    pub(super) bytes: i64,
}

/// What was read for a batch.
#[derive(Default)]
pub(super) struct Read {
    pub(super) ids: HashMap<SessionKey, SessionNo>,
    pub(super) heads: HashMap<SessionNo, OwnedHead>,
    pub(super) names: HashMap<Arc<str>, i64>,
    pub(super) known: HashMap<(SessionNo, RequestKey), Known>,
    pub(super) executions: HashMap<(TenantNo, ExecutionId), Execution>,
    pub(super) calls: HashSet<(SessionNo, CallId)>,
    pub(super) messages: HashMap<(SessionNo, MessageId), i64>,
    /// What was cut out of messages as they are stored.
    pub(super) message_pieces: HashMap<(SessionNo, MessageId), Pieces>,
    pub(super) states: HashMap<SessionNo, State>,
    /// What was cut out of states as they are stored.
    pub(super) state_pieces: HashMap<SessionNo, (TenantNo, Pieces)>,
    /// What was cut out of rows that this batch has cleared away.
    pub(super) cleared: Vec<(TenantNo, Pieces)>,
    pub(super) descriptions: HashMap<SessionNo, Description>,
    pub(super) creations: HashMap<(TenantNo, RequestKey), Creation>,
    pub(super) parts: HashMap<SessionNo, Vec<Part>>,
    /// Until when the imports under these numbers may go on.
    pub(super) staged: HashMap<SessionNo, Stamp>,
    pub(super) records: HashMap<(TenantNo, RecordKey), RecordFact>,
    pub(super) metric_requests: HashMap<(TenantNo, RequestKey), (Fingerprint, Stamp)>,
    pub(super) cache_totals: HashMap<TenantNo, CacheTotals>,
    pub(super) cached: HashMap<(TenantNo, CacheKey), CacheFact>,
    /// Entries that were not used for the longest time, in that order.
    pub(super) least_used: HashMap<TenantNo, Vec<CacheKey>>,
    pub(super) artifacts: HashMap<(TenantNo, ArtifactId), ArtifactFact>,
    /// Whether another process needs bytes of artifacts to which nothing refers any more.
    pub(super) bytes_are_needed: bool,
}

/// How much of a head is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadWrite {
    /// What an append moves. No index is touched.
    Moved,
    /// All of it.
    Whole,
}

impl HeadWrite {
    fn between(before: &SessionHead, after: &SessionHead) -> Self {
        let same = before.epoch == after.epoch
            && before.holder == after.holder
            && before.turn == after.turn
            && before.ready_at == after.ready_at
            && before.history_floor == after.history_floor;
        if same { Self::Moved } else { Self::Whole }
    }
}

/// A session row to insert.
pub(super) struct SessionRow {
    pub(super) tenant: TenantNo,
    pub(super) session: SessionNo,
    pub(super) session_id: String,
    pub(super) new: NewSession,
    pub(super) created_at: Stamp,
}

/// A request that created a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Creation {
    pub(super) tenant: TenantNo,
    pub(super) key: RequestKey,
    pub(super) fingerprint: Fingerprint,
    pub(super) session: SessionNo,
    /// Where a fork was cut.
    pub(super) sequence: Sequence,
}

/// Something to clear away in steps.
pub(super) struct Purge {
    pub(super) session: SessionNo,
    /// Messages up to this position; absent: everything.
    pub(super) messages: Option<i64>,
    /// An import may still go on until then.
    pub(super) staged: Option<Stamp>,
}

/// A record row to write.
pub(super) struct RecordRow {
    pub(super) value: bytes::Bytes,
    pub(super) fact: RecordFact,
    pub(super) updated_at: Stamp,
}

/// Numbers to insert, of one request.
pub(super) struct MetricRows {
    pub(super) tenant: TenantNo,
    pub(super) sessions: Vec<Option<SessionNo>>,
    pub(super) metrics: Arc<[NewMetric]>,
    pub(super) recorded: Recorded,
}

impl MetricRows {
    /// The numbers, each with its tenant and its session.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TenantNo, Option<SessionNo>, Metric)> {
        let rows = self.metrics.iter().zip(&self.sessions).zip(&self.recorded.ids);
        rows.map(|((metric, session), id)| {
            (self.tenant, *session, metric.recorded(id.clone(), self.recorded.at))
        })
    }
}

/// A cache entry's row to write.
pub(super) struct CacheRow {
    pub(super) value: String,
    pub(super) ttl: Option<Duration>,
    pub(super) fact: CacheFact,
    pub(super) created_at: Stamp,
}

/// A request that recorded metrics, with what it asked for and when.
pub(super) type MetricRequest = ((TenantNo, RequestKey), (Fingerprint, Stamp));

/// What a batch will write.
#[derive(Default)]
pub(super) struct Writes {
    pub(super) tenants: Vec<(TenantNo, Tenant)>,
    pub(super) revisions: BTreeSet<Tenant>,
    pub(super) sessions: Vec<SessionRow>,
    pub(super) heads: IndexMap<SessionNo, HeadWrite>,
    pub(super) statuses: BTreeSet<SessionNo>,
    pub(super) descriptions: BTreeSet<SessionNo>,
    pub(super) entries: IndexMap<SessionNo, (TenantNo, Vec<Entry>)>,
    /// Entries of sessions that nobody follows yet, and copies of those that everybody has seen.
    pub(super) silent: Vec<(SessionNo, TenantNo, Vec<Entry>)>,
    pub(super) marks: Vec<(TenantNo, SessionNo, Mark)>,
    /// The parts of new forks.
    pub(super) parts: IndexMap<SessionNo, Vec<Part>>,
    /// Sessions that need their parts no more.
    pub(super) released: Vec<SessionNo>,
    pub(super) requests: Vec<(TenantNo, SessionNo, RequestKey, Known)>,
    pub(super) creations: Vec<Creation>,
    pub(super) holders: HashSet<HolderId>,
    pub(super) executions: IndexSet<(TenantNo, ExecutionId)>,
    pub(super) outcomes: Vec<(TenantNo, ExecutionId, Outcome)>,
    pub(super) messages: Vec<(TenantNo, SessionNo, Message, Option<EntryText>)>,
    pub(super) contents: IndexMap<(SessionNo, MessageId), (TenantNo, NewContent)>,
    pub(super) removals: Vec<(TenantNo, SessionNo, MessageId)>,
    pub(super) states: IndexSet<SessionNo>,
    pub(super) records: IndexMap<(TenantNo, RecordKey), RecordRow>,
    pub(super) record_removals: IndexSet<(TenantNo, RecordKey)>,
    pub(super) tombstones: Vec<(TenantNo, i64, RecordKey)>,
    pub(super) metrics: Vec<MetricRows>,
    pub(super) metric_requests: Vec<MetricRequest>,
    pub(super) forget_metric_requests: Option<Stamp>,
    /// Metrics to delete: whose, below which time and key, and how many at most.
    pub(super) pruned_metrics: Vec<(TenantNo, (i64, i64), i64)>,
    pub(super) cached: IndexMap<(TenantNo, CacheKey), CacheRow>,
    pub(super) cached_removals: IndexSet<(TenantNo, CacheKey)>,
    pub(super) cache_uses: Vec<(TenantNo, CacheKey, Stamp)>,
    pub(super) cache_totals: BTreeSet<TenantNo>,
    pub(super) store_id: Option<StoreId>,
    pub(super) new_artifacts: Vec<(TenantNo, SessionNo, Artifact)>,
    pub(super) completed_artifacts: Vec<(TenantNo, Artifact)>,
    pub(super) artifact_removals: Vec<(TenantNo, ArtifactId)>,
    /// Bytes that artifacts begin to refer to: what they are called if they are new, and how many do.
    pub(super) used_bytes: IndexMap<(TenantNo, Digest), (BlobName, i64)>,
    /// Bytes that an artifact refers to no more.
    pub(super) unused_bytes: Vec<(TenantNo, Digest)>,
    pub(super) forgotten_bytes: Vec<UnusedBytes>,
    pub(super) deletions: Vec<SessionNo>,
    pub(super) purges: Vec<Purge>,
    /// Until when imports may go on; absent: no more.
    pub(super) leases: Vec<(SessionNo, Option<Stamp>)>,
    /// Imports that are done.
    pub(super) unstaged: Vec<SessionNo>,
    pub(super) forgotten_requests: Vec<(SessionNo, RequestKey)>,
    pub(super) purge_steps: Vec<PurgeRow>,
    pub(super) forget_tombstones: Option<Stamp>,
    pub(super) forgotten_holders: Vec<HolderId>,
    /// SQL that a test puts before the commit.
    #[cfg(test)]
    pub(super) raw: Vec<&'static str>,
}

impl Writes {
    /// Every entry that is written.
    pub(super) fn all_entries(&self) -> impl Iterator<Item = (SessionNo, TenantNo, &Entry)> {
        let told =
            self.entries.iter().map(|(session, (tenant, entries))| (session, tenant, entries));
        let silent =
            self.silent.iter().map(|(session, tenant, entries)| (session, tenant, entries));
        told.chain(silent).flat_map(|(session, tenant, entries)| {
            entries.iter().map(|entry| (*session, *tenant, entry))
        })
    }

    /// Notes that a head changed; what was whole stays whole.
    pub(super) fn write_head(&mut self, session: SessionNo, write: HeadWrite) {
        let noted = self.heads.entry(session).or_insert(write);
        if write == HeadWrite::Whole {
            *noted = write;
        }
    }
}

/// One batch in the making.
pub(super) struct Work {
    pub(super) now: Stamp,
    pub(super) cache: Cache,
    pub(super) read: Read,
    pub(super) writes: Writes,
}

impl Work {
    pub(super) fn new(cache: Cache, read: Read, now: Stamp) -> Self {
        Self { now, cache, read, writes: Writes::default() }
    }

    /// What the batch used goes back into the cache.
    pub(super) fn remember(self) -> Cache {
        let Self { mut cache, read, .. } = self;
        if !cache.is_shared() {
            for (session, head) in read.heads {
                cache.heads.insert(session, head);
            }
        }
        for (key, session) in read.ids {
            cache.ids.insert(key, session);
        }
        for (name, number) in read.names {
            cache.names.insert(name, number);
        }
        cache
    }

    /// The session that a request names.
    pub(super) fn session(&self, tenant: &Tenant, id: &SessionId) -> Result<(TenantNo, SessionNo)> {
        let found = self.cache.tenant(tenant).and_then(|tenant| {
            let session = *self.read.ids.get(&(tenant, id.as_str().to_owned()))?;
            Some((tenant, session))
        });
        found.ok_or_else(|| StorageError::SessionNotFound { session_id: id.to_string() })
    }

    /// The sessions of which the batch changes what readers see of them.
    pub(super) fn changed(&self) -> impl Iterator<Item = SessionNo> {
        let Writes { heads, statuses, descriptions, deletions, .. } = &self.writes;
        heads.keys().chain(statuses).chain(descriptions).chain(deletions).copied()
    }

    /// The head of a session that was read.
    pub(super) fn head(&self, session: SessionNo) -> Result<&SessionHead> {
        let owned = self.read.heads.get(&session);
        owned.map(|owned| &owned.head).ok_or_else(|| StorageError::internal("a head was not read"))
    }

    /// What was read about a session.
    pub(super) fn facts(&self, tenant: TenantNo, session: SessionNo) -> SessionFacts<'_> {
        SessionFacts { read: &self.read, holders: &self.cache.holders, tenant, session }
    }

    /// The tenant's number; a new one for a tenant without rows.
    pub(super) fn ensure_tenant(&mut self, tenant: &Tenant) -> TenantNo {
        if let Some(no) = self.cache.tenant(tenant) {
            return no;
        }
        let no = self.cache.new_tenant(tenant);
        self.writes.tenants.push((no, tenant.clone()));
        no
    }

    /// Notes that a request created a session.
    pub(super) fn note_creation(&mut self, creation: Creation) {
        self.read.creations.insert((creation.tenant, creation.key), creation);
        self.writes.creations.push(creation);
    }

    /// Notes what a decision changes, and hands on what it answers.
    pub(super) fn accept<A>(&mut self, tenant: TenantNo, decision: Decision<A>) -> A {
        if let Some(change) = decision.change {
            self.apply(tenant, change);
        }
        decision.answer
    }

    fn apply(&mut self, tenant: TenantNo, change: Change) {
        let session = change.head.session;
        let before = self.read.heads.get(&session).map(|owned| &owned.head);
        if before.is_some_and(|before| before.status != change.head.status) {
            self.writes.statuses.insert(session);
        }
        if before.is_some_and(|before| before.history_floor != change.head.history_floor) {
            let messages = Some(change.head.history_floor);
            self.writes.purges.push(Purge { session, messages, staged: None });
        }
        if let Some(before) = before
            && *before != change.head
        {
            let write = HeadWrite::between(before, &change.head);
            self.writes.write_head(session, write);
        }
        self.read.heads.insert(session, OwnedHead { tenant, head: change.head });
        if !change.entries.is_empty() {
            let (_, entries) =
                self.writes.entries.entry(session).or_insert_with(|| (tenant, Vec::new()));
            entries.extend(change.entries);
        }
        for execution in change.executions {
            self.put_execution(tenant, execution);
        }
        for message in change.messages {
            self.change_message(tenant, session, message);
        }
        if let Some(state) = change.state {
            self.read.states.insert(session, state);
            self.writes.states.insert(session);
        }
        if let Some(mark) = change.mark {
            self.writes.marks.push((tenant, session, mark));
        }
        if let Some((key, known)) = change.request {
            self.writes.requests.push((tenant, session, key, known.clone()));
            self.read.known.insert((session, key), known);
        }
    }

    fn put_execution(&mut self, tenant: TenantNo, mut execution: Execution) {
        let id = execution.execution_id.clone();
        if let Some(outcome) = execution.outcome.take() {
            self.writes.outcomes.push((tenant, id.clone(), outcome));
        }
        self.read.calls.insert((execution.session, execution.call_id.clone()));
        self.read.executions.insert((tenant, id.clone()), execution);
        self.writes.executions.insert((tenant, id));
    }

    fn change_message(&mut self, tenant: TenantNo, session: SessionNo, change: MessageChange) {
        match change {
            // The floor of the head says so.
            MessageChange::Clear => {}
            MessageChange::Insert(message, place) => {
                let key = (session, message.message_id.clone());
                self.read.messages.insert(key, message.position);
                self.writes.messages.push((tenant, session, message, place));
            }
            MessageChange::Content(id, content) => {
                self.writes.contents.insert((session, id), (tenant, content));
            }
            MessageChange::Delete(id) => {
                self.read.messages.remove(&(session, id.clone()));
                self.writes.removals.push((tenant, session, id));
            }
        }
    }
}

/// What was read about one session.
pub(super) struct SessionFacts<'a> {
    read: &'a Read,
    holders: &'a Holders,
    tenant: TenantNo,
    session: SessionNo,
}

impl Facts for SessionFacts<'_> {
    fn known(&self, key: &RequestKey) -> Option<&Known> {
        self.read.known.get(&(self.session, *key))
    }

    fn execution(&self, id: &ExecutionId) -> Option<&Execution> {
        self.read.executions.get(&(self.tenant, id.clone()))
    }

    fn has_call(&self, call: &CallId) -> bool {
        self.read.calls.contains(&(self.session, call.clone()))
    }

    fn message(&self, id: &MessageId) -> Option<i64> {
        let floor = self.read.heads.get(&self.session).map_or(0, |owned| owned.head.history_floor);
        let position = self.read.messages.get(&(self.session, id.clone())).copied();
        position.filter(|position| *position > floor)
    }

    fn state(&self) -> State {
        self.read.states.get(&self.session).cloned().unwrap_or_default()
    }

    fn holders(&self) -> &dyn HolderFacts {
        self.holders
    }
}
