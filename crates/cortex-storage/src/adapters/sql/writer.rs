//! A task that writes: it takes everything that waits, decides it, and commits it in one transaction.
//!
//! Nobody is answered and nothing is published before the commit. When a transaction fails, whatever
//! the writer remembers is forgotten and read anew before anybody is answered; a batch that fails for
//! a reason of one of its writes is done again one by one, so that the bad one fails alone.
//!
//! SQLite has one such task. PostgreSQL has several, in each replica: there a batch that had to give way
//! to another or lost the server before its commit is done again for a while, and after a commit
//! whose answer was lost the server is asked what became of it.

use std::{
    collections::HashSet,
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
    cache::{Cache, OwnedHead, Wanted},
    database::{Connection, Location},
    lately::Lately,
    load::{load, number_names},
    needs::Needs,
    ops::Waiting,
    query::Query,
    rows::{self, HEAD, HEAD_TABLES},
    script::{Batch, CommitFailed, Transaction},
    time::Timekeeper,
    work::Work,
};
use crate::{
    adapters::postgres::Notifier,
    admin,
    config::{Buffers, StorageConfig},
    error::{Result, StorageError},
    journal::{Entry, HolderFacts, SessionHead, SessionNo},
    ports::{Runnable, Standing},
    tenant::Tenant,
    time::Stamp,
    watch::{Notice, RevisionHub, RunnableHub, SessionHub},
};

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
        loop {
            let batch = self.next_batch(&mut *waiting.lock().await).await;
            if batch.is_empty() {
                break;
            }
            self.commit(batch).await;
        }
        if let Some(conn) = self.conn.take()
            && let Err(error) = conn.close().await
        {
            tracing::warn!(%error, "the database did not close cleanly");
        }
    }

    /// What waits, as much as one commit takes; nothing when nobody can ask any more.
    async fn next_batch(
        &self,
        waiting: &mut mpsc::Receiver<Box<dyn Waiting>>,
    ) -> Vec<Box<dyn Waiting>> {
        let Some(first) = waiting.recv().await else { return Vec::new() };
        let mut bytes = first.size();
        let mut batch = vec![first];
        while batch.len() < self.buffers.batch_writes && bytes < self.buffers.batch.as_usize() {
            let Ok(next) = waiting.try_recv() else { break };
            bytes += next.size();
            batch.push(next);
        }
        batch
    }

    async fn commit(&mut self, mut batch: Vec<Box<dyn Waiting>>) {
        let outcome = self.persist(&mut batch, false).await;
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
        let mut touched = HashSet::new();
        let needs = Needs { careful, ..Needs::default() };
        let outcome = self.transact(batch, needs, &mut touched).await;
        if let Err(error) = &outcome {
            self.recover(error, touched).await;
        }
        outcome
    }

    async fn transact(
        &mut self,
        batch: &mut [Box<dyn Waiting>],
        needs: Needs,
        touched: &mut HashSet<SessionNo>,
    ) -> Result<()> {
        self.connect().await?;
        let time = self.now();
        let needs = self.gather(batch, needs).await?;
        let (Some(conn), Some(cache)) = (&mut self.conn, &mut self.cache) else {
            return Err(unconnected());
        };
        self.batch.number += 1;
        let mut tx = Transaction::new(conn, self.batch);
        let mut work = load(&mut tx, cache, needs, time).await?;
        for write in &mut *batch {
            write.decide(&mut work);
        }
        self.wanted = work.cache.wanted();
        if self.wanted != Wanted::default() {
            return Err(StorageError::Contended { detail: "numbers are missing".to_owned() });
        }
        touched.extend(work.writes.heads.keys());
        if work.cache.is_shared() {
            number_names(&mut tx, &mut work).await?;
        }
        let mut script = tx.script();
        work.write(&mut script, self.least_content);
        let changing = self.hubs.lately.as_ref().map(|lately| lately.change(work.changed()));
        if let Err(failed) = tx.commit(script).await {
            settle(failed, &self.location, &mut self.conn).await?;
        }
        drop(changing);
        publish(&self.hubs, &self.buffers, &mut work);
        remember(work);
        Ok(())
    }

    /// What the batch needs to know. In a database that others write too, numbers are reserved for
    /// what is new.
    async fn gather(&mut self, batch: &mut [Box<dyn Waiting>], needs: Needs) -> Result<Needs> {
        let (Some(conn), Some(cache)) = (&mut self.conn, &mut self.cache) else {
            return Err(unconnected());
        };
        let careful = needs.careful;
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
    async fn recover(&mut self, error: &StorageError, touched: HashSet<SessionNo>) {
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

    async fn tell_standings(&mut self, touched: HashSet<SessionNo>) -> Result<()> {
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

/// The pause before a batch is attempted again for the first time; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long the server may take to hear that whoever forbade writes has left.
const LINGER: Duration = Duration::from_millis(250);
/// How often the server is asked what became of a batch.
const QUESTIONS: u32 = 20;

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

/// Finds out whether a transaction was committed whose commit was not answered.
///
/// # Errors
/// `Unreachable` when it was not, `Io` when that cannot be known, and else why the commit failed.
async fn settle(
    failed: CommitFailed,
    location: &Location,
    conn: &mut Option<Connection>,
) -> Result<()> {
    let error = StorageError::from(failed.error);
    let Some(batch) = failed.unknown.filter(|_| matches!(error, StorageError::Unreachable { .. }))
    else {
        return Err(error);
    };
    *conn = None;
    let mut pause = FIRST_PAUSE;
    for _ in 0..QUESTIONS {
        match last_batch(batch.writer, location, conn).await {
            Ok(last) if last == batch.number => return Ok(()),
            Ok(_) => return Err(error),
            // Its transaction still runs, or nobody answers.
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Err(StorageError::Io { detail: format!("the answer to a commit was lost: {error}") })
}

/// The last batch of a writer that was committed. Waits for one that is being committed.
async fn last_batch(
    writer: Uuid,
    location: &Location,
    conn: &mut Option<Connection>,
) -> Result<i64> {
    // The row is locked by whoever writes it, even if it is not there yet.
    const LAST: &str = "INSERT INTO writers (writer, batch, at) VALUES (?, 0, 0) \
        ON CONFLICT (writer) DO UPDATE SET batch = writers.batch RETURNING batch";
    if conn.is_none() {
        *conn = Some(location.writer().await?);
    }
    let Some(open) = conn else { return Err(unconnected()) };
    let row = Query::new(LAST).bind(writer.as_bytes().as_slice())?.first_on(open.target()).await;
    if row.is_err() {
        *conn = None;
    }
    Ok(row?.map_or(Ok(0), |row| row.try_get(0))?)
}

/// How long a writer may take to look whether its last batch was committed: for much longer than it asks.
const WRITER_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// Forgets writers of processes that are gone.
pub(in crate::adapters) async fn forget_writers(conn: &mut Connection) -> Result<()> {
    let sql = "DELETE FROM writers \
        WHERE at < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - ?";
    let retention = i64::try_from(WRITER_RETENTION.as_micros()).unwrap_or(i64::MAX);
    Query::new(sql).bind(retention)?.all_on(conn.target()).await.map(drop)
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

/// Tells followers what was committed.
fn publish(hubs: &Hubs, buffers: &Buffers, work: &mut Work<'_>) {
    for session in work.writes.heads.keys() {
        let Some(OwnedHead { head, .. }) = work.read.heads.get(session) else { continue };
        let standing = standing(head);
        let entries = &mut work.writes.entries;
        hubs.sessions.publish(*session, || {
            let entries = entries.get_mut(session).map(|(_, entries)| std::mem::take(entries));
            Notice::Commit(standing, pushed(entries, buffers.watch_commit.as_usize()))
        });
    }
    for session in &work.writes.deletions {
        hubs.sessions.publish(*session, || Notice::Deleted);
    }
    for tenant in &work.writes.revisions {
        if let Some(row) = work.cache.tenants.get(tenant) {
            hubs.revisions.publish(tenant, row.revision);
        }
    }
    if hubs.runnable.is_followed() {
        for (_, hint) in runnable(work) {
            hubs.runnable.publish(hint);
        }
    }
    if let Some(others) = &hubs.others {
        let sessions = work.writes.heads.keys().chain(&work.writes.deletions).copied();
        let ready = runnable(work).into_iter().map(|(session, _)| session);
        others.tell(sessions, ready, work.writes.revisions.iter());
    }
}

fn pushed(entries: Option<Vec<Entry>>, limit: usize) -> Option<Arc<[Entry]>> {
    let entries = entries.unwrap_or_default();
    let bytes: usize = entries.iter().map(Entry::size).sum();
    (bytes <= limit).then(|| entries.into())
}

/// The sessions of a batch that somebody should take. Of holders that the batch did not ask for only
/// what is remembered is known: hints may be wrong.
fn runnable(work: &Work<'_>) -> Vec<(SessionNo, Runnable)> {
    let names: std::collections::HashMap<_, &Tenant> =
        work.cache.tenants.iter().map(|(tenant, row)| (row.no, tenant)).collect();
    let mut hints = Vec::new();
    for session in work.writes.heads.keys() {
        let Some(OwnedHead { tenant, head }) = work.read.heads.get(session) else { continue };
        let holders = &work.cache.holders;
        let held = head.holder.as_ref().is_some_and(|holder| holders.is_live(holder, work.now));
        let ready = head.ready_at.is_some_and(|at| at <= work.now);
        if let (false, true, Some(tenant)) = (held, ready, names.get(tenant)) {
            let (session_id, epoch) = (head.session_id.clone(), head.epoch);
            hints.push((*session, Runnable { tenant: (*tenant).clone(), session_id, epoch }));
        }
    }
    hints
}

/// Puts what the batch used back into the cache.
fn remember(work: Work<'_>) {
    let Work { cache, read, .. } = work;
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
}

#[cfg(test)]
mod tests {
    use cortex_testkit::Postgres;

    use super::*;
    use crate::{
        adapters::postgres::{self, PostgresLocation},
        config::StorageConfig,
    };

    /// Ends a transaction that noted `batch`, and answers what is found out about it.
    async fn settled(location: &Location, batch: Batch, end: &str) -> Result<()> {
        let mut conn = location.writer().await?;
        for sql in ["BEGIN", &noting(batch), end] {
            Query::new(sql).all_on(conn.target()).await?;
        }
        let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let failed = CommitFailed { error: lost.into(), unknown: Some(batch) };
        let mut conn = Some(conn);
        let settled = settle(failed, location, &mut conn).await;
        assert!(conn.is_some(), "it is connected again");
        settled
    }

    fn noting(Batch { writer, number }: Batch) -> String {
        format!(
            "INSERT INTO writers (writer, batch, at) VALUES ('\\x{}', {number}, 0) \
             ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch",
            writer.simple()
        )
    }

    #[tokio::test]
    async fn what_became_of_a_commit_without_an_answer_is_found_out() -> Result<()> {
        let database = Postgres::shared().database();
        let config = StorageConfig::default();
        postgres::open(&database.url(), &config, None).await?;
        let location = Location::Postgres(PostgresLocation::parse(&database.url(), &config)?);
        let writer = Uuid::now_v7();
        let ends = [("ROLLBACK", false), ("COMMIT", true), ("ROLLBACK", false), ("COMMIT", true)];
        for (number, (end, committed)) in (1..).zip(ends) {
            let settled = settled(&location, Batch { writer, number }, end).await;
            assert_eq!(settled.is_ok(), committed, "batch {number}: {settled:?}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_commit_that_still_goes_on_is_waited_for() -> Result<()> {
        let database = Postgres::shared().database();
        let config = StorageConfig::default();
        postgres::open(&database.url(), &config, None).await?;
        let location = Location::Postgres(PostgresLocation::parse(&database.url(), &config)?);
        for number in 1..=2 {
            let batch = Batch { writer: Uuid::from_u128(7), number };
            let mut open = location.writer().await?;
            for sql in ["BEGIN", &noting(batch)] {
                Query::new(sql).all_on(open.target()).await?;
            }
            let mut conn = None;
            let asked = last_batch(batch.writer, &location, &mut conn);
            let commit = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Query::new("COMMIT").all_on(open.target()).await
            };
            let (last, committed) = tokio::join!(asked, commit);
            committed?;
            assert_eq!(last?, number);
        }
        Ok(())
    }
}
