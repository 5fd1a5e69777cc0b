//! A task that writes: it takes everything that waits, decides it, and commits it in one transaction.
//!
//! Nobody is answered and nothing is published before the commit. When a transaction fails, whatever
//! the writer remembers is forgotten and read anew before anybody is answered; a batch that fails for
//! a reason of one of its writes is done again one by one, so that the bad one fails alone.
//!
//! SQLite has one such task, which decides what comes while a commit is under way for the next one.
//! PostgreSQL has several, in each replica: there a batch that had to give way to another or lost the
//! server before its commit is done again for a while, and after a commit whose answer was lost the
//! server is asked what became of it.

mod ahead;
mod news;
mod settle;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex, mpsc},
    time::Instant,
};

use uuid::Uuid;

use super::{
    cache::{Cache, Wanted},
    database::{Connection, Location},
    lately::Lately,
    load::{load, number_names},
    needs::Needs,
    ops::Waiting,
    query::Query,
    rows::{self, HEAD, HEAD_TABLES},
    script::{Batch, Commit, Transaction},
    time::Timekeeper,
    work::Work,
};
use crate::{
    adapters::postgres::Notifier,
    admin,
    config::{Buffers, StorageConfig},
    error::{Result, StorageError},
    journal::{SessionHead, SessionNo},
    ports::Standing,
    time::Stamp,
    watch::{Notice, RevisionHub, RunnableHub, SessionHub},
};
use news::News;
pub(in crate::adapters) use settle::forget_writers;
use settle::settle;

/// Where commits are published.
#[derive(Debug, Clone)]
pub(super) struct Hubs {
    pub(super) sessions: Arc<SessionHub>,
    pub(super) runnable: Arc<RunnableHub>,
    pub(super) revisions: Arc<RevisionHub>,
    /// Tells other replicas.
    pub(super) others: Option<Arc<Notifier>>,
    /// Keeps what was committed, if nobody else writes.
    pub(super) lately: Option<Arc<Lately>>,
}

/// A task that writes.
pub(super) struct Writer {
    location: Location,
    conn: Option<Connection>,
    /// Absent after a failure: to be read anew.
    cache: Option<Cache>,
    /// Numbers that the batch turned out to need.
    wanted: Wanted,
    time: Timekeeper,
    last: Stamp,
    hubs: Hubs,
    buffers: Buffers,
    /// Bytes from which on a piece of a value is stored once per tenant.
    least_content: usize,
    /// Raised by whoever writes by other ways.
    generation: Arc<AtomicU64>,
    /// When what is remembered was read.
    remembered: u64,
    /// The last batch.
    batch: Batch,
}

impl Writer {
    pub(super) fn new(
        (location, conn): (Location, Option<Connection>),
        time: Timekeeper,
        hubs: Hubs,
        config: &StorageConfig,
    ) -> Self {
        Self {
            location,
            conn,
            cache: None,
            wanted: Wanted::default(),
            time,
            last: Stamp::default(),
            hubs,
            buffers: config.buffers.clone(),
            least_content: config.content.as_usize(),
            generation: Arc::default(),
            remembered: 0,
            batch: Batch { writer: Uuid::now_v7(), number: 0 },
        }
    }

    /// Reads anew what it remembers, when `generation` has been raised.
    pub(super) fn forgetting(mut self, generation: Arc<AtomicU64>) -> Self {
        self.generation = generation;
        self
    }

    /// Writes until nobody can ask any more, then closes the database.
    pub(super) async fn run(mut self, waiting: Arc<Mutex<mpsc::Receiver<Box<dyn Waiting>>>>) {
        if self.location.is_shared() {
            self.run_in_turn(&waiting).await;
        } else {
            self.run_ahead(&mut *waiting.lock().await).await;
        }
        if let Some(conn) = self.conn.take()
            && let Err(error) = conn.close().await
        {
            tracing::warn!(%error, "the database did not close cleanly");
        }
    }

    /// One batch after the other.
    async fn run_in_turn(&mut self, waiting: &Mutex<mpsc::Receiver<Box<dyn Waiting>>>) {
        loop {
            let mut batch = WaitingBatch::default();
            self.fill(&mut batch, &mut *waiting.lock().await).await;
            if batch.writes.is_empty() {
                break;
            }
            let outcome = self.persist(&mut batch.writes, false).await;
            self.conclude(batch.writes, outcome).await;
        }
    }

    /// Adds what waits to `batch`, as much as one commit takes. Waits for the first write; nothing when
    /// nobody can ask any more.
    async fn fill(&self, batch: &mut WaitingBatch, waiting: &mut mpsc::Receiver<Box<dyn Waiting>>) {
        if batch.writes.is_empty() {
            let Some(first) = waiting.recv().await else { return };
            batch.push(first);
        }
        while batch.has_room(&self.buffers) {
            let Ok(next) = waiting.try_recv() else { break };
            batch.push(next);
        }
    }

    /// Answers the writes of a batch. One that failed for a reason of one of its writes is done again one by
    /// one.
    async fn conclude(&mut self, batch: Vec<Box<dyn Waiting>>, outcome: Result<()>) {
        match outcome {
            Err(ref error) if is_of_one_write(error) => {
                for write in batch {
                    let mut alone = [write];
                    let outcome = self.persist(&mut alone, true).await;
                    let [write] = alone;
                    write.answer(outcome);
                }
            }
            outcome => {
                for write in batch {
                    write.answer(outcome.clone());
                }
            }
        }
    }

    /// Attempts to commit `batch` as long as that may help.
    async fn persist(&mut self, batch: &mut [Box<dyn Waiting>], careful: bool) -> Result<()> {
        let begun = Instant::now();
        let (mut careful, mut pause) = (careful, FIRST_PAUSE);
        loop {
            let outcome = self.attempt(batch, careful).await;
            let until = match &outcome {
                Err(error) if may_pass(error) => begun + self.location.retry_for(),
                Err(StorageError::Maintenance { work: admin::Work::Elsewhere }) => begun + LINGER,
                _ => return outcome,
            };
            if Instant::now() + pause >= until {
                return outcome;
            }
            tokio::time::sleep(pause).await;
            careful = true;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Decides and commits `batch`, and publishes it.
    async fn attempt(&mut self, batch: &mut [Box<dyn Waiting>], careful: bool) -> Result<()> {
        let decided = self.decide(batch, careful).await?;
        let Decided { commit, news, changed } = decided;
        let changing = self.hubs.lately.as_ref().map(|lately| lately.change(changed));
        let Some(conn) = &mut self.conn else { return Err(unconnected()) };
        let outcome = match commit.run(conn).await {
            Ok(()) => Ok(()),
            Err(failed) => settle(failed, &self.location, &mut self.conn).await,
        };
        drop(changing);
        match outcome {
            Ok(()) => news.publish(&self.hubs, &self.buffers),
            Err(ref error) => self.recover(error, news.sessions()).await,
        }
        outcome
    }

    /// Decides `batch`. From then on what it changes is remembered as if it were committed: if it cannot
    /// be, the writer has to [recover](Self::recover).
    async fn decide(&mut self, batch: &mut [Box<dyn Waiting>], careful: bool) -> Result<Decided> {
        let outcome = self.try_to_decide(batch, careful).await;
        if let Err(error) = &outcome {
            self.recover(error, std::iter::empty()).await;
        }
        outcome
    }

    async fn try_to_decide(
        &mut self,
        batch: &mut [Box<dyn Waiting>],
        careful: bool,
    ) -> Result<Decided> {
        self.connect().await?;
        let time = self.now();
        let needs = self.gather(batch, careful).await?;
        let (Some(conn), Some(cache)) = (&mut self.conn, self.cache.take()) else {
            return Err(unconnected());
        };
        self.batch.number += 1;
        let mut tx = Transaction::new(conn, self.batch);
        let mut work = load(&mut tx, cache, needs, time).await?;
        for write in batch {
            write.decide(&mut work);
        }
        self.wanted = work.cache.wanted();
        if self.wanted != Wanted::default() {
            return Err(StorageError::Contended { detail: "numbers are missing".to_owned() });
        }
        if work.cache.is_shared() {
            number_names(&mut tx, &mut work).await?;
        }
        let (decided, cache) = Decided::of(work, tx, self.least_content);
        self.cache = Some(cache);
        Ok(decided)
    }

    /// What the batch needs to know. In a database that others write too, numbers are reserved for
    /// what is new.
    async fn gather(&mut self, batch: &mut [Box<dyn Waiting>], careful: bool) -> Result<Needs> {
        let (Some(conn), Some(cache)) = (&mut self.conn, &mut self.cache) else {
            return Err(unconnected());
        };
        cache.begin_batch();
        let found = needs_of(batch, cache, careful);
        if !cache.is_shared() {
            return Ok(found);
        }
        let mut wanted = cache.wanted();
        wanted.tenants.extend(std::mem::take(&mut self.wanted.tenants));
        wanted.sessions = found.new_sessions.max(self.wanted.sessions);
        if wanted == Wanted::default() {
            return Ok(found);
        }
        cache.reserve(conn, &wanted).await?;
        // Tenants may be known now.
        Ok(needs_of(batch, cache, careful))
    }

    /// Time never goes back, even if the clock does.
    fn now(&mut self) -> Option<Stamp> {
        self.last = self.last.max(self.time.now()?);
        Some(self.last)
    }

    /// Makes sure of a connection and of what is remembered.
    async fn connect(&mut self) -> Result<()> {
        let generation = self.generation.load(Ordering::SeqCst);
        if self.remembered != generation {
            (self.cache, self.remembered) = (None, generation);
        }
        if self.conn.is_none() {
            self.conn = Some(self.location.writer().await?);
        }
        if let (Some(conn), None) = (&mut self.conn, &self.cache) {
            self.cache = Some(Cache::load(conn, self.buffers.cached_heads).await?);
        }
        Ok(())
    }

    /// Forgets everything, and reads anew how far the touched sessions are: a commit that failed may
    /// still have reached the disk, and then their watchers must hear of it.
    async fn recover(&mut self, error: &StorageError, touched: impl Iterator<Item = SessionNo>) {
        let touched: Vec<_> = touched.collect();
        report(error, touched.len());
        self.cache = None;
        let broken = matches!(
            error,
            StorageError::Io { .. }
                | StorageError::Corrupt { .. }
                | StorageError::Unreachable { .. }
        );
        self.roll_back(broken).await;
        if let Err(error) = self.tell_standings(touched).await {
            tracing::warn!(%error, "the database cannot be read after a failed transaction");
        }
    }

    /// SQLite itself rolls back after some errors. Then there is nothing to roll back here, and a new
    /// connection settles it.
    async fn roll_back(&mut self, reconnect: bool) {
        let rolled_back = match &mut self.conn {
            Some(conn) if reconnect && conn.is_shared() => false,
            Some(conn) => Query::new("ROLLBACK").all_on(conn.target()).await.is_ok(),
            None => false,
        };
        if !rolled_back || reconnect {
            self.conn = None;
        }
    }

    async fn tell_standings(&mut self, touched: Vec<SessionNo>) -> Result<()> {
        self.connect().await?;
        let Some(conn) = &mut self.conn else { return Ok(()) };
        for session in touched {
            if let Some(standing) = read_standing(conn, session).await? {
                self.hubs.sessions.publish(session, || Notice::Commit(standing, None));
            }
        }
        Ok(())
    }
}

/// Writes that go together.
#[derive(Default)]
struct WaitingBatch {
    writes: Vec<Box<dyn Waiting>>,
    bytes: usize,
}

impl WaitingBatch {
    fn push(&mut self, write: Box<dyn Waiting>) {
        self.bytes += write.size();
        self.writes.push(write);
    }

    /// Whether a commit takes more.
    fn has_room(&self, buffers: &Buffers) -> bool {
        self.writes.len() < buffers.batch_writes && self.bytes < buffers.batch.as_usize()
    }
}

/// A batch that was decided and is not committed.
struct Decided {
    commit: Commit,
    news: News,
    /// The sessions of which readers will see something else.
    changed: Vec<SessionNo>,
}

impl Decided {
    /// With what the writer remembers from now on.
    fn of(mut work: Work, mut tx: Transaction<'_>, least_content: usize) -> (Self, Cache) {
        let mut script = tx.script();
        work.write(&mut script, least_content);
        let changed = work.changed().collect();
        let news = News::of(&mut work);
        (Self { commit: tx.end(script), news, changed }, work.remember())
    }
}

/// The pause before a batch is attempted again for the first time; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long the server may take to hear that whoever forbade writes has left.
const LINGER: Duration = Duration::from_millis(250);

fn needs_of(batch: &mut [Box<dyn Waiting>], cache: &Cache, careful: bool) -> Needs {
    let mut needs = Needs { careful, ..Needs::default() };
    for write in batch {
        write.needs(cache, &mut needs);
    }
    needs
}

fn unconnected() -> StorageError {
    StorageError::internal("the writer has no connection")
}

/// Whether another attempt may succeed, and nothing was committed by this one.
fn may_pass(error: &StorageError) -> bool {
    matches!(error, StorageError::Contended { .. } | StorageError::Unreachable { .. })
}

fn report(error: &StorageError, sessions: usize) {
    let is_usual =
        matches!(error, StorageError::Contended { .. } | StorageError::Maintenance { .. });
    if is_of_one_write(error) || is_usual {
        tracing::debug!(%error, sessions, "a transaction was not done");
    } else {
        tracing::warn!(%error, sessions, "a transaction failed");
    }
}

/// Whether a transaction failed for a reason that one of its writes brought.
fn is_of_one_write(error: &StorageError) -> bool {
    matches!(error, StorageError::Internal { .. } | StorageError::Invalid { .. })
}

/// How far a session's log goes.
pub(super) async fn read_standing(
    conn: &mut Connection,
    session: SessionNo,
) -> Result<Option<Standing>> {
    let sql = format!("SELECT {HEAD} FROM {HEAD_TABLES} WHERE h.session = ?");
    let row = Query::new(sql).bind(session.0)?.first_on(conn.target()).await?;
    Ok(row.map(|row| rows::head(&row)).transpose()?.map(|owned| standing(&owned.head)))
}

pub(super) fn standing(head: &SessionHead) -> Standing {
    head.into()
}
