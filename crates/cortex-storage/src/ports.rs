//! What the services ask of a database: traits that SQLite implements, and PostgreSQL after it.
//!
//! Every call is scoped by a [`Tenant`]; what belongs to another tenant does not exist. Holders alone
//! work for every tenant, since one agent service does. A write
//! answers after its commit is durable. Dropping the future of a write does not undo the write.

mod admin;

pub use admin::{AdminStore, Blob, Dump, DumpFacts, DumpScope, Fill};

use std::{collections::HashSet, ops::Range};

use bytes::Bytes;
use cortex_core::{ArtifactId, ExecutionId, HolderId, MessageId, PageSize, SessionId};
use futures::stream::BoxStream;

use crate::{
    artifact::{
        Artifact, ArtifactQuery, Attach, BlobEntry, BlobName, Digest, NewArtifact, StoreId,
    },
    cache::{CacheEntry, CacheKey, CacheQuery, DeleteCacheEntry, PutCacheEntry},
    entry_text::EntryText,
    error::{Result, StorageError},
    history::{Message, MessageQuery},
    journal::{
        Acquire, Acquired, Append, Appended, Claim, Cut, Direct, DirectOutcome, Entry, Execution,
        ExecutionState, Finish, Fork, ForkRequest, Lease, Mark, MarkNo, Projection, Registration,
        Release, Sequence, SessionHead, SessionNo, Submit, Submitted,
    },
    metric::{Aggregation, Metric, MetricQuery, RecordMetrics, Recorded, Series},
    record::{DeleteRecord, PutRecord, Record, RecordChange, RecordKey, RecordPage},
    session::{NewSession, Session, SessionPatch, SessionQuery},
    state::State,
    tenant::{Scope, Tenant},
    time::Stamp,
    transfer::Forked,
    watch::{RevisionWatch, RunnableHints, Subscription},
};

/// A page of something, and where the next one starts.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The position after which the next page starts; absent: this was the last page.
    pub next: Option<String>,
}

/// A session that names a holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldSession {
    /// Whose it is.
    pub tenant: Tenant,
    /// The session.
    pub session_id: String,
    /// The epoch of the grant.
    pub epoch: i64,
}

/// A session that somebody should take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runnable {
    /// Whose it is.
    pub tenant: Tenant,
    /// The session.
    pub session_id: String,
    /// Its epoch.
    pub epoch: i64,
}

/// A session's head with the rows of its calls that have no result.
#[derive(Debug, Clone)]
pub struct JournalView {
    /// The head.
    pub head: SessionHead,
    /// Executions of the open turn whose calls are not settled.
    pub open: Vec<Execution>,
}

/// Which entries to read, in order.
#[derive(Debug, Clone)]
pub struct EntryQuery {
    /// The session.
    pub session_id: SessionId,
    /// Entries after this sequence.
    pub after: Sequence,
    /// Entries at most.
    pub page_size: PageSize,
    /// Only entries of these types; empty: all.
    pub types: Vec<String>,
}

/// A page of entries.
#[derive(Debug, Clone)]
pub struct EntryPage {
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// Whether entries may follow.
    pub more: bool,
    /// The last sequence when the page was read.
    pub head: Sequence,
}

/// Which ledger rows to read, oldest first.
#[derive(Debug, Clone, Default)]
pub struct ExecutionQuery {
    /// Of this session.
    pub session_id: Option<SessionId>,
    /// Claimed by incarnations of this installation.
    pub claimant_instance: Option<String>,
    /// In this state.
    pub state: Option<ExecutionState>,
    /// Rows at most.
    pub page_size: PageSize,
    /// Rows after this position.
    pub after: i64,
}

/// How far a session's log goes, and whether anything can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The session.
    pub session: SessionNo,
    /// The last sequence.
    pub head: Sequence,
    /// Entries up to here may be rows of other sessions; 0: none is. It may be out of date, as the rows
    /// become the session's own one day.
    pub shared: Sequence,
    /// Whether nothing can follow unless somebody reopens the session.
    pub finished: bool,
}

impl From<&SessionHead> for Standing {
    fn from(head: &SessionHead) -> Self {
        let SessionHead { session, head: last, shared, .. } = *head;
        Self { session, head: last, shared, finished: head.is_finished() }
    }
}

/// A session with where its log ends, on one snapshot.
#[derive(Debug, Clone)]
pub struct Whole {
    /// What it is described by.
    pub session: Session,
    /// Where its protocol stands.
    pub head: SessionHead,
    /// Its state.
    pub state: State,
}

impl Whole {
    /// How far its log goes.
    pub fn standing(&self) -> Standing {
        (&self.head).into()
    }

    /// It was deleted meanwhile.
    pub(crate) fn gone(&self) -> StorageError {
        StorageError::SessionNotFound { session_id: self.session.session_id.to_string() }
    }
}

/// An import whose lines were all right.
#[derive(Debug, Clone)]
pub struct FinishImport {
    /// Where its entries and marks are; absent when there are none.
    pub staged: Option<SessionNo>,
    /// What the session is described by.
    pub new: NewSession,
    /// The end of its log.
    pub end: Cut,
    /// Its history and its state.
    pub projection: Projection,
}

/// The journal: commands, holders, events, ledger.
#[tonic::async_trait]
pub trait JournalStore: Send + Sync + 'static {
    /// Adds a command.
    async fn submit(&self, tenant: &Tenant, op: Submit) -> Result<Submitted>;
    /// Grants a lease to a new incarnation, and voids the former one's.
    async fn register_holder(&self, tenant: &Tenant, op: Registration) -> Result<Lease>;
    /// Renews a lease, and says which sessions name the holder.
    async fn renew_holder(
        &self,
        tenant: &Tenant,
        id: &HolderId,
    ) -> Result<(Lease, Vec<HeldSession>)>;
    /// Ends an incarnation, and says how many sessions it held.
    async fn retire_holder(&self, tenant: &Tenant, id: &HolderId) -> Result<u64>;
    /// Takes a session for a holder.
    async fn acquire(&self, tenant: &Tenant, op: Acquire) -> Result<Acquired>;
    /// Appends events with their effects.
    async fn append(&self, tenant: &Tenant, op: Append) -> Result<Appended>;
    /// Gives a session back; says whether the caller held it.
    async fn release(&self, tenant: &Tenant, op: Release) -> Result<bool>;
    /// Claims an execution, and answers the row.
    async fn claim(&self, tenant: &Tenant, op: Claim) -> Result<Execution>;
    /// Records an outcome, and answers the row with the one that won.
    async fn finish(&self, tenant: &Tenant, op: Finish) -> Result<Execution>;
    /// Applies a write of storage's own services.
    async fn direct(&self, tenant: &Tenant, op: Direct) -> Result<DirectOutcome>;

    /// Sessions that somebody should take, longest runnable first, after `from`.
    async fn runnable(
        &self,
        scope: &Scope,
        size: PageSize,
        from: Option<&str>,
    ) -> Result<Page<Runnable>>;
    /// Notices of sessions that may have become runnable. May miss some.
    fn runnable_hints(&self, scope: &Scope) -> RunnableHints;
    /// Where a session's protocol stands.
    async fn journal(&self, tenant: &Tenant, id: &SessionId) -> Result<JournalView>;
    /// A page of entries.
    async fn entries(&self, tenant: &Tenant, query: EntryQuery) -> Result<EntryPage>;
    /// One ledger row, with its outcome.
    async fn execution(&self, tenant: &Tenant, id: &ExecutionId) -> Result<Execution>;
    /// A page of ledger rows, with their outcomes.
    async fn executions(&self, tenant: &Tenant, query: ExecutionQuery) -> Result<Page<Execution>>;

    /// Subscribes to a session's commits, then reads how far its log goes: every later commit is told.
    async fn follow(&self, tenant: &Tenant, id: &SessionId) -> Result<(Subscription, Standing)>;
    /// How far the log of a session goes; none when it was deleted.
    async fn standing(&self, session: SessionNo) -> Result<Option<Standing>>;
    /// Entries after `after` up to the head of `standing`, as many as one page of a replay holds.
    async fn replay(&self, standing: Standing, after: Sequence) -> Result<Vec<Entry>>;
}

/// Sessions as wholes: forks, exports, imports.
#[tonic::async_trait]
pub trait TransferStore: JournalStore {
    /// A session with where its log ends.
    async fn whole(&self, tenant: &Tenant, id: &SessionId) -> Result<Whole>;
    /// The last quiescent point at or before a sequence; before the first entry there is always one.
    async fn last_quiescent(&self, session: SessionNo, until: Sequence) -> Result<Cut>;
    /// Marks after `after` up to `until`, in order, as many as one page of a replay holds.
    async fn marks(&self, session: SessionNo, after: MarkNo, until: MarkNo) -> Result<Vec<Mark>>;
    /// What the request made before, if it was made before.
    async fn forked_before(&self, tenant: &Tenant, request: &ForkRequest)
    -> Result<Option<Forked>>;
    /// Creates a session that shares the log of another one up to a cut.
    async fn fork(&self, tenant: &Tenant, op: Fork) -> Result<Forked>;
    /// The number of a session to come, under which entries and marks can be staged. What is staged goes
    /// away when nothing is added to it for the time of an import's lease.
    async fn begin_import(&self) -> Result<SessionNo>;
    /// Stages entries and marks. `ImportExpired` when what was staged is gone.
    async fn extend_import(
        &self,
        tenant: &Tenant,
        staged: SessionNo,
        entries: Vec<Entry>,
        marks: Vec<Mark>,
    ) -> Result<()>;
    /// How many bytes of each text stand in the entries that were staged.
    async fn staged_texts(&self, staged: SessionNo, places: &[EntryText]) -> Result<Vec<u64>>;
    /// Creates the session that was staged. A request that was made before answers the session of then.
    async fn finish_import(&self, tenant: &Tenant, op: FinishImport) -> Result<Session>;
    /// Lets what was staged be cleared away at once.
    async fn abandon_import(&self, staged: SessionNo) -> Result<()>;
}

/// Sessions, their history and their state.
#[tonic::async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// Creates a session with an empty journal.
    async fn create_session(&self, tenant: &Tenant, new: NewSession) -> Result<Session>;
    /// One session.
    async fn session(&self, tenant: &Tenant, id: &SessionId) -> Result<Session>;
    /// A page of sessions, newest first.
    async fn sessions(&self, tenant: &Tenant, query: SessionQuery) -> Result<Page<Session>>;
    /// Changes what is attached to a session.
    async fn patch_session(&self, tenant: &Tenant, patch: SessionPatch) -> Result<()>;
    /// Deletes a session with everything of it.
    async fn delete_session(&self, tenant: &Tenant, id: &SessionId) -> Result<()>;
    /// A page of messages.
    async fn messages(&self, tenant: &Tenant, query: MessageQuery) -> Result<Page<Message>>;
    /// One message.
    async fn message(
        &self,
        tenant: &Tenant,
        session: &SessionId,
        id: &MessageId,
    ) -> Result<Message>;
    /// The state, and when the session was created.
    async fn state(&self, tenant: &Tenant, id: &SessionId) -> Result<(State, Stamp)>;
}

/// Records: durable keys with compare-and-set.
#[tonic::async_trait]
pub trait RecordStore: Send + Sync + 'static {
    /// One record that has not expired.
    async fn record(&self, tenant: &Tenant, key: &RecordKey) -> Result<Record>;
    /// Records below a prefix, by key, after `from`.
    async fn records(
        &self,
        tenant: &Tenant,
        prefix: &RecordKey,
        size: PageSize,
        from: Option<&str>,
    ) -> Result<RecordPage>;
    /// Writes a record.
    async fn put_record(&self, tenant: &Tenant, put: PutRecord) -> Result<Record>;
    /// Deletes a record; answers the revision of the deletion, none when there was no record.
    async fn delete_record(&self, tenant: &Tenant, delete: DeleteRecord) -> Result<Option<i64>>;
    /// The tenant's last revision, and how it goes on.
    async fn watch_revisions(&self, tenant: &Tenant) -> Result<RevisionWatch>;
    /// Changes below a prefix after a revision, in order; the last write of each key and its
    /// deletions. Not all that followed: as many as a page holds.
    async fn record_changes(
        &self,
        tenant: &Tenant,
        prefix: &RecordKey,
        after: i64,
    ) -> Result<Vec<RecordChange>>;
}

/// Metrics: numbers over time.
#[tonic::async_trait]
pub trait MetricStore: Send + Sync + 'static {
    /// Records numbers, all or none.
    async fn record_metrics(&self, tenant: &Tenant, record: RecordMetrics) -> Result<Recorded>;
    /// A page of numbers, newest first. It may hold fewer than it could, so that it stays small.
    async fn metrics(&self, tenant: &Tenant, query: MetricQuery) -> Result<Page<Metric>>;
    /// What numbers come to.
    async fn aggregate(&self, tenant: &Tenant, aggregation: Aggregation) -> Result<Vec<Series>>;
}

/// The cache: entries that may go away. Each answer of a write holds the bounds of the tenant's cache
/// again.
#[tonic::async_trait]
pub trait CacheStore: Send + Sync + 'static {
    /// One entry, with the time of its last use before this one, which counts as a use.
    async fn use_cache_entry(&self, tenant: &Tenant, key: &CacheKey) -> Result<CacheEntry>;
    /// A page of entries, by key. It may hold fewer than it could, so that it stays small.
    async fn cache_entries(&self, tenant: &Tenant, query: CacheQuery) -> Result<Page<CacheEntry>>;
    /// Writes an entry.
    async fn put_cache_entry(&self, tenant: &Tenant, put: PutCacheEntry) -> Result<CacheEntry>;
    /// Deletes an entry.
    async fn delete_cache_entry(&self, tenant: &Tenant, delete: DeleteCacheEntry) -> Result<()>;
    /// Removes every entry whose time is over; answers how many there were.
    async fn cleanup_cache(&self, tenant: &Tenant) -> Result<u64>;
}

/// Artifacts: what they are, and which bytes they refer to.
#[tonic::async_trait]
pub trait ArtifactStore: Send + Sync + 'static {
    /// Notes an artifact without bytes.
    async fn create_artifact(&self, tenant: &Tenant, new: NewArtifact) -> Result<Artifact>;
    /// Makes bytes those of an artifact, and answers it. The bytes are kept under the name that is
    /// given, unless the tenant has the same ones under another.
    async fn attach(&self, tenant: &Tenant, attach: Attach) -> Result<Artifact>;
    /// One artifact.
    async fn artifact(&self, tenant: &Tenant, id: &ArtifactId) -> Result<Artifact>;
    /// One artifact, and what its bytes are called if it has some.
    async fn artifact_with_blob(
        &self,
        tenant: &Tenant,
        id: &ArtifactId,
    ) -> Result<(Artifact, Option<BlobName>)>;
    /// A page of artifacts, newest first.
    async fn artifacts(&self, tenant: &Tenant, query: ArtifactQuery) -> Result<Page<Artifact>>;
    /// Deletes an artifact.
    async fn delete_artifact(&self, tenant: &Tenant, id: &ArtifactId) -> Result<()>;
    /// Forgets bytes that no artifact refers to, at most so many, and answers their names. Nothing will
    /// ever refer to them again. While a work of administration is under way it forgets none.
    async fn release_blobs(&self, most: usize) -> Result<Vec<BlobName>>;
    /// Which of these names are those of bytes that something may refer to.
    async fn known_blobs(&self, names: &[BlobName]) -> Result<HashSet<BlobName>>;
    /// Whether bytes may be deleted that the database does not know. Not while a work of administration is
    /// under way, which may be about to refer to them, and not when the installation lives on in another
    /// database.
    async fn may_sweep(&self) -> Result<bool>;
    /// Which database this is. The same for ever.
    async fn store_id(&self) -> Result<StoreId>;
}

/// Bytes as they are read.
pub type BlobStream = BoxStream<'static, Result<Bytes>>;

/// Where the bytes of artifacts are kept. It knows names and bytes; what they mean is in the database.
#[tonic::async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Begins to write bytes.
    async fn create(&self) -> Result<Box<dyn BlobWriter>>;
    /// Reads a range of bytes, which lies within them; none when nothing has the name. What is being
    /// read may be deleted: the reader still gets it, or an error, and never other bytes.
    async fn read(&self, name: &BlobName, range: Range<u64>) -> Result<Option<BlobStream>>;
    /// Deletes bytes; that there are none is fine.
    async fn delete(&self, name: &BlobName) -> Result<()>;
    /// Everything that is there, in no order.
    fn list(&self) -> BoxStream<'_, Result<BlobEntry>>;
    /// Deletes what is left of writers that ended before a time without finishing or being dropped, as
    /// in a crash, and answers how many they were.
    async fn sweep_unfinished(&self, before: Stamp) -> Result<u64>;
}

/// Bytes on their way to where they are kept. Until it is finished nobody sees them; dropping it drops
/// them.
#[tonic::async_trait]
pub trait BlobWriter: Send {
    /// Writes the next bytes. After an error, or when its future was dropped, the writer is of no more
    /// use.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;
    /// Makes the bytes durable, and answers what they are called.
    async fn finish(self: Box<Self>, digest: &Digest) -> Result<BlobName>;
}
