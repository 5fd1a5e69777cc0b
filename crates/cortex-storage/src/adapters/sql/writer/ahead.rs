//! Deciding the next batch while the last one is committed, where nobody else writes the database.
//!
//! What a batch changes is remembered as soon as it is decided, so the next one can be decided on that,
//! one write as it comes after the other. When the commit has succeeded, the next one departs at once; only
//! then the writes of the former are answered, and followers hear of it. When it has failed, what was decided
//! on it does not hold, and is decided again.
//!
//! The connection is with the commit meanwhile. So a write that something must be read for waits for its
//! end, and all that come after it with it.

use std::{pin::Pin, sync::atomic::Ordering};

use tokio::sync::mpsc;

use super::{Decided, News, WaitingBatch, Writer, unconnected};
use crate::{
    adapters::sql::{
        cache::Cache,
        database::Connection,
        lately::Changing,
        needs::Needs,
        ops::Waiting,
        script::{CommitFailed, Transaction},
        work::{Read, Work},
    },
    error::StorageError,
    time::Stamp,
};

/// A commit under way, which has the connection until its end.
type Committing = Pin<Box<dyn Future<Output = (Connection, Result<(), CommitFailed>)> + Send>>;

/// A batch that is being committed.
struct Departed {
    writes: Vec<Box<dyn Waiting>>,
    news: News,
    committing: Committing,
    changing: Option<Changing>,
}

/// Writes that go with the next commit.
#[derive(Default)]
struct Ahead {
    /// What they come to so far. Absent: nothing is decided.
    work: Option<Work>,
    decided: WaitingBatch,
    /// The first one that cannot be decided yet.
    blocked: Option<Box<dyn Waiting>>,
}

impl Ahead {
    /// Every write, to be decided anew.
    fn all(self) -> WaitingBatch {
        let mut batch = self.decided;
        if let Some(blocked) = self.blocked {
            batch.push(blocked);
        }
        batch
    }
}

impl Writer {
    /// One commit after the other, as long as anybody can ask.
    pub(super) async fn run_ahead(&mut self, waiting: &mut mpsc::Receiver<Box<dyn Waiting>>) {
        let mut batch = WaitingBatch::default();
        loop {
            self.fill(&mut batch, waiting).await;
            let mut writes = std::mem::take(&mut batch).writes;
            if writes.is_empty() {
                break;
            }
            match self.decide(&mut writes, false).await {
                Ok(decided) => batch = self.commit_ahead(writes, decided, waiting).await,
                Err(error) => self.conclude(writes, Err(error)).await,
            }
        }
    }

    /// Commits a batch, and then what was decided meanwhile, as long as there is any. Answers what is to be
    /// decided.
    async fn commit_ahead(
        &mut self,
        writes: Vec<Box<dyn Waiting>>,
        decided: Decided,
        waiting: &mut mpsc::Receiver<Box<dyn Waiting>>,
    ) -> WaitingBatch {
        let Some(conn) = self.conn.take() else {
            self.conclude(writes, Err(unconnected())).await;
            return WaitingBatch::default();
        };
        let mut ahead = Ahead::default();
        let mut next = Some(self.depart(conn, writes, decided));
        while let Some(mut departed) = next {
            let (conn, outcome) = self.end_of(&mut departed.committing, &mut ahead, waiting).await;
            let Departed { writes, news, changing, .. } = departed;
            drop(changing);
            if let Err(failed) = outcome {
                self.conn = Some(conn);
                let error = StorageError::from(failed.error);
                self.recover(&error, news.sessions()).await;
                self.conclude(writes, Err(error)).await;
                break;
            }
            next = self.depart_ahead(conn, &mut ahead);
            news.publish(&self.hubs, &self.buffers);
            self.conclude(writes, Ok(())).await;
        }
        ahead.all()
    }

    /// Waits for the end of a commit, and decides what comes until then.
    async fn end_of(
        &mut self,
        committing: &mut Committing,
        ahead: &mut Ahead,
        waiting: &mut mpsc::Receiver<Box<dyn Waiting>>,
    ) -> (Connection, Result<(), CommitFailed>) {
        let mut listening = true;
        loop {
            let room = ahead.blocked.is_none() && ahead.decided.has_room(&self.buffers);
            tokio::select! {
                biased;
                ended = &mut *committing => return ended,
                write = waiting.recv(), if listening && room => match write {
                    Some(write) => self.decide_ahead(write, ahead),
                    None => listening = false,
                },
            }
        }
    }

    /// Decides a write for the next commit, if everything that it needs is remembered.
    fn decide_ahead(&mut self, mut write: Box<dyn Waiting>, ahead: &mut Ahead) {
        let is_known = self.remembered == self.generation.load(Ordering::SeqCst);
        let now = self.now().filter(|_| is_known);
        if ahead.work.is_none() {
            ahead.work = self.cache.take().map(begin);
        }
        if let (Some(now), Some(work)) = (now, &mut ahead.work)
            && recall(work, &*write)
        {
            work.now = now;
            write.decide(work);
            ahead.decided.push(write);
        } else {
            ahead.blocked = Some(write);
        }
    }

    /// Commits what was decided meanwhile, if there is any.
    fn depart_ahead(&mut self, mut conn: Connection, ahead: &mut Ahead) -> Option<Departed> {
        let writes = std::mem::take(&mut ahead.decided).writes;
        match ahead.work.take() {
            Some(work) if !writes.is_empty() => {
                let tx = Transaction::new(&mut conn, self.batch);
                let (decided, cache) = Decided::of(work, tx, self.least_content);
                self.cache = Some(cache);
                Some(self.depart(conn, writes, decided))
            }
            unused => {
                self.cache = unused.map(Work::remember).or(self.cache.take());
                self.conn = Some(conn);
                None
            }
        }
    }

    fn depart(
        &self,
        mut conn: Connection,
        writes: Vec<Box<dyn Waiting>>,
        decided: Decided,
    ) -> Departed {
        let Decided { commit, news, changed } = decided;
        let changing = self.hubs.lately.as_ref().map(|lately| lately.change(changed));
        let committing = Box::pin(async move {
            let outcome = commit.run(&mut conn).await;
            (conn, outcome)
        });
        Departed { writes, news, committing, changing }
    }
}

fn begin(cache: Cache) -> Work {
    Work::new(cache, Read::default(), Stamp::default())
}

/// Whether everything is remembered that `write` needs to know.
fn recall(work: &mut Work, write: &dyn Waiting) -> bool {
    let mut needs = Needs::default();
    write.needs(&work.cache, &mut needs);
    work.recall(&needs)
}
