//! A run of this incarnation: its state, shared by everybody who asks, and the wish to stop it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use cortex_core::{ExecutionId, SessionId};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Capture, Ending, Phase, ToolRun};
use crate::{
    ports::{Output, Stream},
    sandbox::ContainerId,
};

/// Bytes of output in one piece of progress.
const PIECE: usize = 64 << 10;

/// A run of this incarnation.
///
/// Whoever follows it reads what is kept at its own pace, from the start, however late it comes: a
/// slow follower costs the tool nothing.
#[derive(Debug)]
pub(crate) struct Live {
    subject: Subject,
    state: Mutex<State>,
    /// Rises with every change of the state.
    revision: watch::Sender<u64>,
    stop: CancellationToken,
}

/// What a run is of.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The tool.
    pub tool_name: String,
    /// The session that it runs for.
    pub session_id: SessionId,
    /// Whose it is.
    pub tenant: String,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    started: Option<(SystemTime, ContainerId)>,
    stdout: Capture,
    stderr: Capture,
    /// Set for a run that another incarnation ran: what the ledger has of it.
    recorded: Option<Box<ToolRun>>,
    ended: Option<Instant>,
}

/// Something that a follower is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Progress {
    /// Its container was started.
    Started(ContainerId),
    /// It wrote something.
    Output(Output),
    /// It ended. The last progress.
    Ended(Box<ToolRun>),
}

impl Live {
    /// A run that waits for its place.
    pub(crate) fn new(subject: Subject, stdout_limit: usize, stderr_limit: usize) -> Arc<Self> {
        Arc::new(Self {
            subject,
            state: Mutex::new(State {
                phase: Phase::Pending,
                started: None,
                stdout: Capture::new(stdout_limit),
                stderr: Capture::new(stderr_limit),
                recorded: None,
                ended: None,
            }),
            revision: watch::Sender::new(0),
            stop: CancellationToken::new(),
        })
    }

    /// A run whose recorded outcome is known already.
    pub(crate) fn recorded(run: ToolRun, tenant: &str) -> Arc<Self> {
        let subject = Subject {
            execution_id: run.execution_id.clone(),
            tool_name: run.tool_name.clone(),
            session_id: run.session_id.clone(),
            tenant: tenant.to_owned(),
        };
        let live = Self::new(subject, 0, 0);
        live.settle(run);
        live
    }

    /// The execution.
    pub(crate) fn execution_id(&self) -> &ExecutionId {
        &self.subject.execution_id
    }

    /// The tool.
    pub(crate) fn tool_name(&self) -> &str {
        &self.subject.tool_name
    }

    /// The session that it runs for.
    pub(crate) fn session_id(&self) -> &SessionId {
        &self.subject.session_id
    }

    /// Whose it is.
    pub(crate) fn tenant(&self) -> &str {
        &self.subject.tenant
    }

    /// Asks for its end. Does not wait.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Cancelled when somebody wants its end.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Its container was started.
    pub(crate) fn started(&self, at: SystemTime, container: ContainerId) {
        self.change(|state| {
            state.phase = Phase::Running;
            state.started = Some((at, container));
        });
    }

    /// It wrote something. Answers how many bytes it has written in all.
    pub(crate) fn wrote(&self, output: &Output) -> u64 {
        let mut state = self.lock();
        let kept = match output.stream {
            Stream::Stdout => state.stdout.push(&output.data),
            Stream::Stderr => state.stderr.push(&output.data),
        };
        let total = state.stdout.total() + state.stderr.total();
        drop(state);
        if kept {
            self.touch();
        }
        total
    }

    /// Its standard output as one JSON value, verbatim.
    pub(crate) fn json(&self) -> Option<String> {
        self.lock().stdout.json()
    }

    /// What it would be if it ended like this.
    pub(crate) fn ended_as(&self, ending: Ending) -> ToolRun {
        ToolRun { phase: Phase::Ended(Box::new(ending)), ..self.snapshot() }
    }

    /// It ended as recorded. Everybody who follows it is told. Only the first call counts.
    pub(crate) fn settle(&self, recorded: ToolRun) {
        self.change(|state| {
            if state.recorded.is_none() {
                state.phase = recorded.phase.clone();
                state.recorded = Some(Box::new(recorded));
                state.ended = Some(Instant::now());
            }
        });
    }

    /// When it ended. `None`: it has not.
    pub(crate) fn ended_since(&self) -> Option<Instant> {
        self.lock().ended
    }

    /// Whether its container runs.
    pub(crate) fn is_running(&self) -> bool {
        self.lock().phase == Phase::Running
    }

    /// The last line of what it wrote to standard error. `None`: there is none.
    pub(crate) fn last_error_line(&self) -> Option<String> {
        let text = self.lock().stderr.text();
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
        line.map(str::to_owned)
    }

    /// Bytes that are kept of what it wrote.
    pub(crate) fn size(&self) -> usize {
        let state = self.lock();
        let recorded = state.recorded.as_ref().map_or(0, |run| {
            let result = run.ending().and_then(|ending| ending.result.as_ref());
            run.stdout.len() + run.stderr.len() + result.map_or(0, String::len)
        });
        state.stdout.kept() + state.stderr.kept() + recorded
    }

    /// How it stands.
    pub(crate) fn snapshot(&self) -> ToolRun {
        let state = self.lock();
        if let Some(recorded) = &state.recorded {
            return ToolRun::clone(recorded);
        }
        let (started_at, container_id) = match &state.started {
            Some((at, container)) => (Some(*at), container.as_str().to_owned()),
            None => (None, String::new()),
        };
        ToolRun {
            execution_id: self.subject.execution_id.clone(),
            tool_name: self.subject.tool_name.clone(),
            session_id: self.subject.session_id.clone(),
            phase: state.phase.clone(),
            started_at,
            container_id,
            stdout: state.stdout.text(),
            stdout_truncated: state.stdout.truncated(),
            stderr: state.stderr.text(),
            stderr_truncated: state.stderr.truncated(),
        }
    }

    /// Waits for its end. Cancel-safe.
    pub(crate) async fn end(&self) -> ToolRun {
        let mut revision = self.revision.subscribe();
        loop {
            let ended = self.lock().recorded.clone();
            if let Some(run) = ended {
                return *run;
            }
            // The sender lives in `self`: this cannot fail, and a failure would only end the wait.
            if revision.changed().await.is_err() {
                return self.snapshot();
            }
        }
    }

    /// Follows it from the start.
    pub(crate) fn follow(self: &Arc<Self>) -> Follower {
        Follower {
            revision: self.revision.subscribe(),
            live: Arc::clone(self),
            started: false,
            stdout: 0,
            stderr: 0,
            ended: false,
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.touch();
    }

    fn touch(&self) {
        self.revision.send_modify(|revision| *revision += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the progress of a run.
pub(crate) struct Follower {
    live: Arc<Live>,
    revision: watch::Receiver<u64>,
    started: bool,
    stdout: usize,
    stderr: usize,
    ended: bool,
}

impl Follower {
    /// The next progress. `None` after [`Progress::Ended`]. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Progress> {
        loop {
            if self.ended {
                return None;
            }
            self.revision.mark_unchanged();
            if let Some(progress) = self.ready() {
                return Some(progress);
            }
            self.revision.changed().await.ok()?;
        }
    }

    fn ready(&mut self) -> Option<Progress> {
        let state = self.live.lock();
        if let (false, Some((_, container))) = (self.started, &state.started) {
            self.started = true;
            return Some(Progress::Started(container.clone()));
        }
        let piece = |capture: &Capture, offset: &mut usize, stream| {
            let data: Bytes = capture.piece(*offset, PIECE);
            *offset += data.len();
            (!data.is_empty()).then_some(Progress::Output(Output { stream, data }))
        };
        let output = piece(&state.stdout, &mut self.stdout, Stream::Stdout)
            .or_else(|| piece(&state.stderr, &mut self.stderr, Stream::Stderr));
        if output.is_some() {
            return output;
        }
        let recorded = state.recorded.clone()?;
        self.ended = true;
        Some(Progress::Ended(recorded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::{Termination, Verdict};

    fn live() -> Arc<Live> {
        let subject = Subject {
            execution_id: ExecutionId::generate(),
            tool_name: "t".into(),
            session_id: SessionId::generate(),
            tenant: "default".into(),
        };
        Live::new(subject, 10, 10)
    }

    fn ending() -> Ending {
        Ending::not_started(Verdict::Cancelled, "stopped", SystemTime::UNIX_EPOCH)
    }

    fn output(text: &'static str) -> Output {
        Output { stream: Stream::Stdout, data: Bytes::from_static(text.as_bytes()) }
    }

    #[tokio::test]
    async fn every_follower_sees_everything_however_late() {
        let live = live();
        let id = ContainerId::parse(&"a".repeat(64)).unwrap();
        let mut early = live.follow();
        live.started(SystemTime::UNIX_EPOCH, id.clone());
        assert_eq!(live.wrote(&output("123")), 3);
        assert_eq!(early.next().await, Some(Progress::Started(id.clone())));
        assert_eq!(early.next().await, Some(Progress::Output(output("123"))));
        assert_eq!(live.wrote(&output("456")), 6);
        let run = live.ended_as(ending());
        live.settle(run.clone());

        assert_eq!(early.next().await, Some(Progress::Output(output("456"))));
        assert_eq!(early.next().await, Some(Progress::Ended(Box::new(run.clone()))));
        assert_eq!(early.next().await, None);

        let mut late = live.follow();
        assert_eq!(late.next().await, Some(Progress::Started(id)));
        assert_eq!(late.next().await, Some(Progress::Output(output("123456"))));
        assert_eq!(late.next().await, Some(Progress::Ended(Box::new(run.clone()))));
        assert_eq!(live.end().await, run);
    }

    #[tokio::test]
    async fn only_the_first_outcome_counts() {
        let live = live();
        live.settle(live.ended_as(ending()));
        live.settle(live.ended_as(Ending::lost("late", SystemTime::UNIX_EPOCH)));
        let run = live.end().await;
        assert_eq!(run.ending().unwrap().termination, Termination::NotStarted);
    }
}
