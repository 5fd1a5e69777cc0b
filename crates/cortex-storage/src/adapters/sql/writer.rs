//! The one task that writes: it takes everything that waits, decides it, and commits it in one
//! transaction.
//!
//! Nobody is answered and nothing is published before the commit. When a transaction fails, whatever
//! the writer remembers is forgotten and read anew before anybody is answered; a batch that fails for
//! a reason of one of its writes is done again one by one, so that the bad one fails alone.

use std::{collections::HashSet, sync::Arc};

use cortex_core::Clock;
use tokio::sync::mpsc;

use super::{
    cache::{Cache, OwnedHead},
    database::{Connection, Location},
    load::load,
    needs::Needs,
    ops::Waiting,
    query::Query,
    rows::{self, HEAD, HEAD_TABLES},
    script::Transaction,
    work::Work,
};
use crate::{
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
}

/// The one task that writes.
pub(super) struct Writer {
    location: Location,
    conn: Option<Connection>,
    /// Absent after a failure: to be read anew.
    cache: Option<Cache>,
    clock: Arc<dyn Clock>,
    last: Stamp,
    hubs: Hubs,
    buffers: Buffers,
    /// Bytes from which on a piece of a value is stored once per tenant.
    least_content: usize,
}

impl Writer {
    pub(super) fn new(
        (location, conn): (Location, Connection),
        clock: Arc<dyn Clock>,
        hubs: Hubs,
        config: &StorageConfig,
    ) -> Self {
        Self {
            location,
            conn: Some(conn),
            cache: None,
            clock,
            last: Stamp::default(),
            hubs,
            buffers: config.buffers.clone(),
            least_content: config.content.as_usize(),
        }
    }

    /// Writes until nobody can ask any more, then closes the database.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Box<dyn Waiting>>) {
        while let Some(first) = waiting.recv().await {
            let mut batch = vec![first];
            let mut bytes = batch[0].size();
            while batch.len() < self.buffers.batch_writes && bytes < self.buffers.batch.as_usize() {
                let Ok(next) = waiting.try_recv() else { break };
                bytes += next.size();
                batch.push(next);
            }
            self.commit(batch).await;
        }
        if let Some(conn) = self.conn.take()
            && let Err(error) = conn.close().await
        {
            tracing::warn!(%error, "the database did not close cleanly");
        }
    }

    async fn commit(&mut self, mut batch: Vec<Box<dyn Waiting>>) {
        let outcome = self.attempt(&mut batch, false).await;
        match outcome {
            Err(ref error) if is_of_one_write(error) => {
                for write in batch {
                    let mut alone = [write];
                    let outcome = self.attempt(&mut alone, true).await;
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
        mut needs: Needs,
        touched: &mut HashSet<SessionNo>,
    ) -> Result<()> {
        self.connect().await?;
        let now = self.now();
        let (Some(conn), Some(cache)) = (&mut self.conn, &mut self.cache) else {
            return Err(StorageError::internal("the writer has no connection"));
        };
        for write in &*batch {
            write.needs(cache, &mut needs);
        }
        let mut tx = Transaction::new(conn);
        let mut work = load(&mut tx, cache, needs, now).await?;
        for write in &mut *batch {
            write.decide(&mut work);
        }
        touched.extend(work.writes.heads.keys());
        let mut script = tx.script();
        work.write(&mut script, self.least_content)?;
        tx.commit(script).await?;
        publish(&self.hubs, &self.buffers, &mut work);
        remember(work);
        Ok(())
    }

    /// Time never goes back, even if the clock does.
    fn now(&mut self) -> Stamp {
        self.last = self.last.max(Stamp::now(&*self.clock));
        self.last
    }

    /// Makes sure of a connection and of what is remembered.
    async fn connect(&mut self) -> Result<()> {
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
        self.roll_back(matches!(error, StorageError::Io { .. } | StorageError::Corrupt { .. }))
            .await;
        if let Err(error) = self.tell_standings(touched).await {
            tracing::warn!(%error, "the database cannot be read after a failed transaction");
        }
    }

    /// SQLite itself rolls back after some errors. Then there is nothing to roll back here, and a new
    /// connection settles it.
    async fn roll_back(&mut self, reconnect: bool) {
        let rolled_back = match &mut self.conn {
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

fn report(error: &StorageError, sessions: usize) {
    if is_of_one_write(error) {
        tracing::debug!(%error, sessions, "a transaction is done again");
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
    Standing { session: head.session, head: head.head, finished: head.is_finished() }
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
        publish_runnable(&hubs.runnable, work);
    }
}

fn pushed(entries: Option<Vec<Entry>>, limit: usize) -> Option<Arc<[Entry]>> {
    let entries = entries.unwrap_or_default();
    let bytes: usize = entries.iter().map(Entry::size).sum();
    (bytes <= limit).then(|| entries.into())
}

fn publish_runnable(hub: &RunnableHub, work: &Work<'_>) {
    let names: std::collections::HashMap<_, &Tenant> =
        work.cache.tenants.iter().map(|(tenant, row)| (row.no, tenant)).collect();
    for session in work.writes.heads.keys() {
        let Some(OwnedHead { tenant, head }) = work.read.heads.get(session) else { continue };
        let holders = &work.cache.holders;
        let held = head.holder.as_ref().is_some_and(|holder| holders.is_live(holder, work.now));
        let ready = head.ready_at.is_some_and(|at| at <= work.now);
        if let (false, true, Some(tenant)) = (held, ready, names.get(tenant)) {
            let (session_id, epoch) = (head.session_id.clone(), head.epoch);
            hub.publish(Runnable { tenant: (*tenant).clone(), session_id, epoch });
        }
    }
}

/// Puts what the batch used back into the cache.
fn remember(work: Work<'_>) {
    let Work { cache, read, .. } = work;
    for (session, head) in read.heads {
        cache.heads.insert(session, head);
    }
    for (key, session) in read.ids {
        cache.ids.insert(key, session);
    }
    for (name, number) in read.names {
        cache.names.insert(name, number);
    }
}
