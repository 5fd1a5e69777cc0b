//! The ports, on the writer and the readers.

use std::{
    fs::File,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cortex_core::{ExecutionId, HolderId, MessageId, PageSize, SessionId};
use tokio::{
    sync::{Semaphore, SemaphorePermit, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    caching::Caching,
    database::{Connection, Location, Pool},
    follow::Followers,
    housekeeping,
    lately::Lately,
    ops::{self, Created, InSession, Operation, Ticket, Waiting},
    query::Query,
    read::Reader,
    time::Timekeeper,
    writer::{Hubs, Writer, standing},
};
use crate::{
    adapters::postgres::Notifier,
    admin::{Freeze, Maintenance, Turnstile, Work},
    config::StorageConfig,
    error::{Result, StorageError},
    history::{Message, MessageQuery},
    journal::{
        Acquire, Acquired, Append, Appended, Claim, Direct, DirectOutcome, Entry, Execution,
        Finish, Lease, Registration, Release, Sequence, SessionNo, Submit, Submitted,
    },
    metric::{Aggregation, Metric, MetricQuery, RecordMetrics, Recorded, Series},
    ports::{
        EntryPage, EntryQuery, ExecutionQuery, HeldSession, JournalStore, JournalView, MetricStore,
        Page, RecordStore, Runnable, SessionStore, Standing,
    },
    record::{DeleteRecord, PutRecord, Record, RecordChange, RecordKey, RecordPage},
    session::{NewSession, Session, SessionPatch, SessionQuery},
    state::State,
    tenant::{Scope, Tenant},
    time::Stamp,
    watch::{RevisionHub, RevisionWatch, RunnableHints, RunnableHub, SessionHub, Subscription},
};

/// A database that is open and has the schema of this program.
pub(in crate::adapters) struct Opened {
    pub(in crate::adapters) location: Location,
    /// The connection that writes.
    pub(in crate::adapters) conn: Connection,
    /// Connections that read.
    pub(in crate::adapters) pool: Pool,
    /// Keeps other processes out.
    pub(in crate::adapters) lock: Option<File>,
    /// By which clock leases end.
    pub(in crate::adapters) time: Timekeeper,
    /// Connections that write.
    pub(in crate::adapters) writers: u32,
    /// Tells other replicas.
    pub(in crate::adapters) others: Option<Arc<Notifier>>,
    /// Whether the installation was copied into another database, and lives on there.
    pub(in crate::adapters) moved: bool,
}

/// Storage on one database. The tasks that it owns end with its last owner; [`SqlStore::close`]
/// waits for them.
pub struct SqlStore {
    pub(super) reader: Reader,
    pub(super) caching: Caching,
    time: Timekeeper,
    writes: Mutex<Option<mpsc::Sender<Box<dyn Waiting>>>>,
    /// Kibibytes that writes may bring before one of them is answered.
    room: Semaphore,
    max_room: u32,
    pub(super) hubs: Hubs,
    /// Where further connections lead.
    pub(super) location: Location,
    /// Whether writes are refused.
    pub(super) maintenance: Arc<Maintenance>,
    /// Where works of administration enter.
    pub(super) turnstile: Turnstile,
    /// Raised when what the writers remember is to be read anew.
    generation: Arc<AtomicU64>,
    pub(super) import_lease: Duration,
    writers: Mutex<Vec<JoinHandle<()>>>,
    /// Ends the other tasks.
    stop: DropGuard,
    /// Keeps other processes out while this one may write.
    lock: Mutex<Option<File>>,
}

impl SqlStore {
    /// Starts the tasks that work on a database. Needs a tokio runtime.
    pub(in crate::adapters) fn start(opened: Opened, config: &StorageConfig) -> Arc<Self> {
        let lately = (!opened.location.is_shared()).then(|| Arc::new(Lately::default()));
        let reader = Reader {
            pool: opened.pool,
            lately: lately.clone(),
            replay_entries: config.buffers.replay_entries,
            page_bytes: config.buffers.replay.as_usize(),
        };
        let hubs = Hubs {
            sessions: SessionHub::new(config.buffers.watch_commits),
            runnable: Arc::new(RunnableHub::default()),
            revisions: Arc::new(RevisionHub::default()),
            others: opened.others,
            lately,
        };
        let (writes, waiting) = mpsc::channel(config.buffers.write_queue);
        let waiting = Arc::new(tokio::sync::Mutex::new(waiting));
        let mut conn = Some(opened.conn);
        let maintenance = Arc::<Maintenance>::default();
        if opened.moved {
            maintenance.migrated();
        }
        let generation = Arc::<AtomicU64>::default();
        let writers = (0..opened.writers).map(|_| {
            let place = (opened.location.clone(), conn.take());
            let writer = Writer::new(place, opened.time.clone(), hubs.clone(), config)
                .forgetting(Arc::clone(&generation));
            tokio::spawn(writer.run(Arc::clone(&waiting)))
        });
        let writers = Mutex::new(writers.collect());
        let stop = CancellationToken::new();
        let max_room = kibibytes(config.buffers.waiting.as_usize());
        let store = Arc::new(Self {
            reader,
            caching: Caching::new(config.cache.clone()),
            time: opened.time,
            writes: Mutex::new(Some(writes)),
            room: Semaphore::new(max_room as usize),
            max_room,
            hubs,
            import_lease: config.import_lease.get(),
            location: opened.location.clone(),
            maintenance,
            turnstile: Turnstile::default(),
            generation,
            writers,
            stop: stop.clone().drop_guard(),
            lock: Mutex::new(opened.lock),
        });
        let weak = Arc::downgrade(&store);
        tokio::spawn(housekeeping::run(weak, opened.location, config.clone(), stop));
        store
    }

    /// Those who follow sessions and records here.
    pub(in crate::adapters) fn followers(&self) -> Followers {
        Followers::new(self.reader.clone(), self.hubs.clone())
    }

    /// Ends when the store does.
    pub(in crate::adapters) fn stopped(&self) -> CancellationToken {
        self.stop.token().clone()
    }

    /// Refuses new writes, finishes those that wait, and closes the database.
    pub async fn close(&self) {
        if let Err(error) = self.write_uses().await {
            tracing::warn!(%error, "times of use of the cache are lost");
        }
        drop(self.writes.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writers = std::mem::take(&mut *self.lock_writers());
        for writer in writers {
            if let Err(error) = writer.await {
                tracing::error!(%error, "a writer failed");
            }
        }
        self.stop.token().cancel();
        self.hubs.sessions.close();
        self.hubs.runnable.close();
        self.hubs.revisions.close();
        self.reader.pool.close().await;
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// `Closed`, or what the database says.
    pub async fn check(&self) -> Result<()> {
        if self
            .writes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .is_none_or(mpsc::Sender::is_closed)
        {
            return Err(StorageError::Closed);
        }
        Query::new("SELECT 1").first(&self.reader.pool).await?;
        Ok(())
    }

    fn lock_writers(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a write to the writer, and waits for its commit.
    pub(super) async fn write<O: Operation>(&self, operation: O) -> Result<O::Answer> {
        let size = kibibytes(operation.size()).min(self.max_room);
        let _room = self.room.acquire_many(size).await.map_err(|_| StorageError::Closed)?;
        // After the wait for room: who empties the room knows that everyone else comes to hear of it.
        self.maintenance.check()?;
        self.enqueue(operation).await
    }

    async fn enqueue<O: Operation>(&self, operation: O) -> Result<O::Answer> {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let writes = writes.ok_or(StorageError::Closed)?;
        let (ticket, answer) = Ticket::issue(operation);
        writes.send(ticket).await.map_err(|_| StorageError::Closed)?;
        answer.await.map_err(|_| StorageError::Closed)?
    }

    /// Makes every other write wait until the answer is dropped, when those that came before are done
    /// and what the writers remember is forgotten.
    pub(super) async fn quiet(&self) -> Result<SemaphorePermit<'_>> {
        let room = self.room.acquire_many(self.max_room).await;
        let room = room.map_err(|_| StorageError::Closed)?;
        self.generation.fetch_add(1, Ordering::SeqCst);
        // The callers of some writes may have left without waiting for them.
        self.enqueue(ops::Nothing).await?;
        Ok(room)
    }

    /// Refuses every other write of this process until the answer is dropped, when those that came before
    /// are done and what the writers remember is forgotten.
    pub(super) async fn freeze(&self, work: Work) -> Result<Freeze> {
        let freeze = self.maintenance.begin(work)?;
        drop(self.quiet().await?);
        // What the last write has read is forgotten too.
        self.generation.fetch_add(1, Ordering::SeqCst);
        Ok(freeze)
    }

    pub(super) async fn now(&self) -> Result<Stamp> {
        match &self.time {
            Timekeeper::Clock(clock) => Ok(Stamp::now(&**clock)),
            Timekeeper::Database => self.reader.now().await,
        }
    }
}

/// Bytes as kibibytes, at least one.
fn kibibytes(bytes: usize) -> u32 {
    u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX)
}

#[tonic::async_trait]
impl JournalStore for SqlStore {
    async fn submit(&self, tenant: &Tenant, op: Submit) -> Result<Submitted> {
        self.write(InSession { tenant: tenant.clone(), op }).await
    }

    async fn register_holder(&self, tenant: &Tenant, op: Registration) -> Result<Lease> {
        self.write(ops::RegisterHolder { tenant: tenant.clone(), op }).await
    }

    async fn renew_holder(
        &self,
        tenant: &Tenant,
        id: &HolderId,
    ) -> Result<(Lease, Vec<HeldSession>)> {
        let renewal = ops::RenewHolder { tenant: tenant.clone(), holder_id: id.clone() };
        let lease = self.write(renewal).await?;
        Ok((lease, self.reader.held(id).await?))
    }

    async fn retire_holder(&self, tenant: &Tenant, id: &HolderId) -> Result<u64> {
        self.write(ops::RetireHolder { tenant: tenant.clone(), holder_id: id.clone() }).await
    }

    async fn acquire(&self, tenant: &Tenant, op: Acquire) -> Result<Acquired> {
        self.write(InSession { tenant: tenant.clone(), op }).await
    }

    async fn append(&self, tenant: &Tenant, mut op: Append) -> Result<Appended> {
        self.reader.look_up_texts(tenant, &mut op).await?;
        self.write(InSession { tenant: tenant.clone(), op }).await
    }

    async fn release(&self, tenant: &Tenant, op: Release) -> Result<bool> {
        self.write(InSession { tenant: tenant.clone(), op }).await
    }

    async fn claim(&self, tenant: &Tenant, op: Claim) -> Result<Execution> {
        let id = op.execution_id.clone();
        self.write(ops::ClaimExecution { tenant: tenant.clone(), op }).await?;
        self.reader.execution(tenant, &id).await
    }

    async fn finish(&self, tenant: &Tenant, op: Finish) -> Result<Execution> {
        let id = op.execution_id.clone();
        self.write(ops::FinishExecution { tenant: tenant.clone(), op }).await?;
        self.reader.execution(tenant, &id).await
    }

    async fn direct(&self, tenant: &Tenant, op: Direct) -> Result<DirectOutcome> {
        self.write(InSession { tenant: tenant.clone(), op }).await
    }

    async fn runnable(
        &self,
        scope: &Scope,
        size: PageSize,
        from: Option<&str>,
    ) -> Result<Page<Runnable>> {
        self.reader.runnable(scope, size, from, self.now().await?).await
    }

    fn runnable_hints(&self, scope: &Scope) -> RunnableHints {
        self.hubs.runnable.subscribe(scope.clone())
    }

    async fn journal(&self, tenant: &Tenant, id: &SessionId) -> Result<JournalView> {
        self.reader.journal(tenant, id).await
    }

    async fn entries(&self, tenant: &Tenant, query: EntryQuery) -> Result<EntryPage> {
        self.reader.entries(tenant, query).await
    }

    async fn execution(&self, tenant: &Tenant, id: &ExecutionId) -> Result<Execution> {
        self.reader.execution(tenant, id).await
    }

    async fn executions(&self, tenant: &Tenant, query: ExecutionQuery) -> Result<Page<Execution>> {
        self.reader.executions(tenant, query).await
    }

    async fn follow(&self, tenant: &Tenant, id: &SessionId) -> Result<(Subscription, Standing)> {
        let session = self.reader.head(tenant, id).await?.session;
        let subscription = self.hubs.sessions.subscribe(session);
        // Read again, now that nothing can be missed any more.
        let head = self.reader.head(tenant, id).await?;
        Ok((subscription, standing(&head)))
    }

    async fn standing(&self, session: SessionNo) -> Result<Option<Standing>> {
        self.reader.standing(session).await
    }

    async fn replay(&self, standing: Standing, after: Sequence) -> Result<Vec<Entry>> {
        self.reader.replay(standing, after).await
    }
}

#[tonic::async_trait]
impl SessionStore for SqlStore {
    async fn create_session(&self, tenant: &Tenant, new: NewSession) -> Result<Session> {
        let session_id = SessionId::generate();
        let create = ops::Create { tenant: tenant.clone(), new, session_id: session_id.clone() };
        let id = match self.write(create).await? {
            Created::New => session_id,
            Created::Before { session_id: id, .. } => {
                SessionId::parse(id).map_err(|error| StorageError::internal(error.to_string()))?
            }
        };
        self.reader.session(tenant, &id).await
    }

    async fn session(&self, tenant: &Tenant, id: &SessionId) -> Result<Session> {
        self.reader.session(tenant, id).await
    }

    async fn sessions(&self, tenant: &Tenant, query: SessionQuery) -> Result<Page<Session>> {
        self.reader.sessions(tenant, query).await
    }

    async fn patch_session(&self, tenant: &Tenant, patch: SessionPatch) -> Result<()> {
        self.write(ops::Patch { tenant: tenant.clone(), patch }).await
    }

    async fn delete_session(&self, tenant: &Tenant, id: &SessionId) -> Result<()> {
        self.write(ops::Delete { tenant: tenant.clone(), session_id: id.clone() }).await
    }

    async fn messages(&self, tenant: &Tenant, query: MessageQuery) -> Result<Page<Message>> {
        self.reader.messages(tenant, query).await
    }

    async fn message(
        &self,
        tenant: &Tenant,
        session: &SessionId,
        id: &MessageId,
    ) -> Result<Message> {
        self.reader.message(tenant, session, id).await
    }

    async fn state(&self, tenant: &Tenant, id: &SessionId) -> Result<(State, Stamp)> {
        self.reader.state(tenant, id).await
    }
}

#[tonic::async_trait]
impl RecordStore for SqlStore {
    async fn record(&self, tenant: &Tenant, key: &RecordKey) -> Result<Record> {
        self.reader.record(tenant, key, self.now().await?).await
    }

    async fn records(
        &self,
        tenant: &Tenant,
        prefix: &RecordKey,
        size: PageSize,
        from: Option<&str>,
    ) -> Result<RecordPage> {
        let now = self.now().await?;
        self.reader.records(tenant, prefix, (size, from), now).await
    }

    async fn put_record(&self, tenant: &Tenant, put: PutRecord) -> Result<Record> {
        self.write(ops::Put { tenant: tenant.clone(), put }).await
    }

    async fn delete_record(&self, tenant: &Tenant, delete: DeleteRecord) -> Result<Option<i64>> {
        self.write(ops::Remove { tenant: tenant.clone(), delete }).await
    }

    async fn watch_revisions(&self, tenant: &Tenant) -> Result<RevisionWatch> {
        let watch = self.hubs.revisions.subscribe(tenant);
        Ok(watch.reading(self.reader.revision(tenant).await?))
    }

    async fn record_changes(
        &self,
        tenant: &Tenant,
        prefix: &RecordKey,
        after: i64,
    ) -> Result<Vec<RecordChange>> {
        self.reader.record_changes(tenant, prefix, after).await
    }
}

#[tonic::async_trait]
impl MetricStore for SqlStore {
    async fn record_metrics(&self, tenant: &Tenant, record: RecordMetrics) -> Result<Recorded> {
        self.write(ops::RecordNumbers { tenant: tenant.clone(), record }).await
    }

    async fn metrics(&self, tenant: &Tenant, query: MetricQuery) -> Result<Page<Metric>> {
        self.reader.metrics(tenant, query).await
    }

    async fn aggregate(&self, tenant: &Tenant, aggregation: Aggregation) -> Result<Vec<Series>> {
        self.reader.aggregate(tenant, aggregation).await
    }
}
