//! The runs of this incarnation by execution: the place where an id is started at most once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cortex_core::ExecutionId;
use tokio::{sync::watch, time::Instant};

use super::Live;

/// The runs of this incarnation.
///
/// An execution is here from the moment when somebody may start it: as a number of claims under way,
/// then as its one run. The first to put a run here starts it; everybody else joins.
#[derive(Debug)]
pub(crate) struct Board {
    entries: Mutex<HashMap<ExecutionId, Entry>>,
    /// Changes whenever a claim is over.
    claims: watch::Sender<()>,
    keeping: Keeping,
}

/// How long runs that have ended are kept: until the first of these is reached, the oldest go first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keeping {
    /// Since their end.
    pub age: Duration,
    /// How many.
    pub runs: usize,
    /// Bytes of what they wrote, all together.
    pub bytes: usize,
}

#[derive(Debug, Default)]
struct Entry {
    claiming: usize,
    run: Option<Arc<Live>>,
}

/// Who starts a run.
#[derive(Debug)]
pub(crate) enum Started {
    /// The caller does: nobody else will.
    ByCaller(Arc<Live>),
    /// Somebody else did.
    Before(Arc<Live>),
}

impl Board {
    /// An empty board.
    pub(crate) fn new(keeping: Keeping) -> Self {
        Self { entries: Mutex::default(), claims: watch::Sender::new(()), keeping }
    }

    /// The run of an execution, if one was started.
    pub(crate) fn run(&self, id: &ExecutionId) -> Option<Arc<Live>> {
        self.lock().get(id)?.run.clone()
    }

    /// Whether a run of this execution is under way.
    pub(crate) fn is_active(&self, id: &ExecutionId) -> bool {
        self.lock().get(id).is_some_and(|entry| {
            entry.claiming > 0 || entry.run.as_ref().is_some_and(|run| run.ended_since().is_none())
        })
    }

    /// The runs that have not ended.
    pub(crate) fn active(&self) -> Vec<Arc<Live>> {
        let entries = self.lock();
        let runs = entries.values().filter_map(|entry| entry.run.clone());
        runs.filter(|run| run.ended_since().is_none()).collect()
    }

    /// Notes that somebody claims an execution. The claim is over when the answer is dropped.
    pub(crate) fn claiming(self: &Arc<Self>, id: &ExecutionId) -> Claiming {
        self.lock().entry(id.clone()).or_default().claiming += 1;
        Claiming { board: Arc::clone(self), id: id.clone() }
    }

    /// Waits until nobody claims the execution, or there is a run. Cancel-safe.
    pub(crate) async fn claimed(&self, id: &ExecutionId) -> Option<Arc<Live>> {
        let mut claims = self.claims.subscribe();
        loop {
            claims.mark_unchanged();
            match self.lock().get(id) {
                Some(Entry { run: Some(run), .. }) => return Some(Arc::clone(run)),
                Some(entry) if entry.claiming > 0 => {}
                _ => return None,
            }
            claims.changed().await.ok()?;
        }
    }

    /// Puts a run here, unless there is one. The one place where it is decided who starts it.
    pub(crate) fn start(&self, run: Arc<Live>) -> Started {
        let mut entries = self.lock();
        let entry = entries.entry(run.execution_id().clone()).or_default();
        if let Some(before) = &entry.run {
            return Started::Before(Arc::clone(before));
        }
        entry.run = Some(Arc::clone(&run));
        drop(entries);
        self.claims.send_replace(());
        self.forget_old();
        Started::ByCaller(run)
    }

    /// Forgets runs that ended long ago, and the oldest when there are too many.
    pub(crate) fn forget_old(&self) {
        let now = Instant::now();
        let mut entries = self.lock();
        let ended = entries.iter().filter(|(_, entry)| entry.claiming == 0);
        let mut ended: Vec<(Instant, usize, ExecutionId)> = ended
            .filter_map(|(id, entry)| {
                let run = entry.run.as_ref()?;
                Some((run.ended_since()?, run.size(), id.clone()))
            })
            .collect();
        ended.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
        let mut bytes = 0;
        for (index, (at, size, id)) in ended.into_iter().enumerate() {
            bytes += size;
            let old = now.duration_since(at) > self.keeping.age;
            if old || index >= self.keeping.runs || bytes > self.keeping.bytes {
                entries.remove(&id);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecutionId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A claim under way.
#[derive(Debug)]
pub(crate) struct Claiming {
    board: Arc<Board>,
    id: ExecutionId,
}

impl Drop for Claiming {
    fn drop(&mut self) {
        let mut entries = self.board.lock();
        if let Some(entry) = entries.get_mut(&self.id) {
            entry.claiming -= 1;
            if entry.claiming == 0 && entry.run.is_none() {
                entries.remove(&self.id);
            }
        }
        drop(entries);
        self.board.claims.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use cortex_core::SessionId;
    use std::time::SystemTime;

    use super::*;
    use crate::runs::{Ending, Subject, ToolRun};

    fn live(id: &ExecutionId) -> Arc<Live> {
        let subject = Subject {
            execution_id: id.clone(),
            tool_name: "t".into(),
            session_id: SessionId::generate(),
            tenant: "default".into(),
        };
        Live::new(subject, 1, 1)
    }

    fn keeping(runs: usize) -> Keeping {
        Keeping { age: Duration::from_secs(60), runs, bytes: 100 }
    }

    #[tokio::test]
    async fn one_id_is_started_once() {
        let board = Arc::new(Board::new(keeping(10)));
        let id = ExecutionId::generate();
        let starters = (0..50).map(|_| board.start(live(&id)));
        let own = starters.filter(|started| matches!(started, Started::ByCaller(_))).count();
        assert_eq!(own, 1);
    }

    #[tokio::test]
    async fn whoever_waits_for_claims_gets_the_run_or_nothing() {
        let board = Arc::new(Board::new(keeping(10)));
        let id = ExecutionId::generate();
        assert!(board.claimed(&id).await.is_none());

        let (first, second) = (board.claiming(&id), board.claiming(&id));
        let waiting = tokio::spawn({
            let (board, id) = (Arc::clone(&board), id.clone());
            async move { board.claimed(&id).await }
        });
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        assert!(waiting.await.unwrap().is_none());
        assert!(board.lock().is_empty(), "a claim without a run leaves nothing");

        let claim = board.claiming(&id);
        board.start(live(&id));
        assert!(board.claimed(&id).await.is_some());
        drop(claim);
        assert!(board.is_active(&id));
    }

    #[tokio::test(start_paused = true)]
    async fn ended_runs_are_forgotten_and_running_ones_are_not() {
        let board = Arc::new(Board::new(keeping(2)));
        let running = ExecutionId::generate();
        board.start(live(&running));
        let mut ids = Vec::new();
        for _ in 0..3 {
            let id = ExecutionId::generate();
            let run = live(&id);
            board.start(Arc::clone(&run));
            run.settle(run.ended_as(Ending::lost("", SystemTime::UNIX_EPOCH)));
            tokio::time::advance(Duration::from_secs(1)).await;
            ids.push(id);
        }
        board.forget_old();
        assert!(board.run(&ids[0]).is_none() && board.run(&ids[1]).is_some());
        tokio::time::advance(Duration::from_secs(61)).await;
        board.forget_old();
        assert!(board.run(&ids[2]).is_none());
        assert!(board.run(&running).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_ended_runs_wrote_is_bounded() {
        let board = Board::new(keeping(10));
        let mut ids = Vec::new();
        for _ in 0..3 {
            let id = ExecutionId::generate();
            let run = live(&id);
            board.start(Arc::clone(&run));
            let ended = run.ended_as(Ending::lost("", SystemTime::UNIX_EPOCH));
            run.settle(ToolRun { stdout: "x".repeat(40), ..ended });
            tokio::time::advance(Duration::from_secs(1)).await;
            ids.push(id);
        }
        board.forget_old();
        assert!(board.run(&ids[0]).is_none(), "120 bytes are more than 100");
        assert!(board.run(&ids[1]).is_some() && board.run(&ids[2]).is_some());
    }
}
