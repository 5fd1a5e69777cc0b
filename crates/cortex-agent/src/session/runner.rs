//! The one task that works on a held session: take over, consume commands, take steps, wait, give back.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use cortex_proto::cortex::{
    agent::v1::SessionEvent,
    manifest::v1::AgentClosure,
    storage::v1::{
        Execution, GetSessionRequest, GetStateRequest, HistoryMessage, JournalEffects,
        ListMessagesRequest, WatchEntriesResponse,
    },
};
use cortex_rpc::{CallContext, outgoing};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    abort::Abort,
    attempt::{Attempt, ModelEvent},
    calls::{self, Calls},
    feed::{Feed, SessionView},
    grant::{Grant, GrantError},
    messages::{as_history, without_streamed_texts},
};
use crate::{
    clients::Clients, closures::Closures, config::AgentConfig, failure::Failure, turn::TurnView,
};

/// What every runner of a process shares.
#[derive(Clone)]
pub(crate) struct RunnerContext {
    pub(crate) clients: Clients,
    pub(crate) closures: Closures,
    pub(crate) config: Arc<AgentConfig>,
    pub(crate) holder_id: String,
}

/// The work on one held session.
pub(crate) struct Runner {
    pub(super) clients: Clients,
    pub(super) config: Arc<AgentConfig>,
    pub(super) cx: CallContext,
    pub(super) grant: Grant,
    feed: Feed,
    pub(super) view: SessionView,
    pub(super) closure: Arc<AgentClosure>,
    /// Why the session has no closure: its turns fail with it.
    pub(super) closure_failure: Option<Failure>,
    pub(super) history: Vec<HistoryMessage>,
    pub(super) state: String,
    pub(super) attempt: Option<Attempt>,
    pub(super) calls: Calls,
    /// Model calls that failed one after the other in this turn, and when to try again.
    pub(super) failures: u32,
    pub(super) retry_at: Option<Instant>,
    /// How long the last append took.
    append_took: Duration,
    stop: CancellationToken,
}

/// What a runner waited for.
enum Woken {
    Entries(Result<WatchEntriesResponse, Status>),
    Model(Result<Option<ModelEvent>, Status>),
    Answered,
    Flush,
    Retry,
    Deadline,
    Stopping,
}

/// Whether there is more to do at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Again,
    Wait,
    Idle,
}

impl Runner {
    /// Takes a session and everything that a new holder must know of it (session protocol, 4).
    pub(crate) async fn take_over(
        context: &RunnerContext,
        session_id: &str,
        seen_epoch: i64,
        cx: CallContext,
        stop: CancellationToken,
    ) -> Result<Self, Status> {
        let clients = context.clients.clone();
        let holder = &context.holder_id;
        let grant =
            Grant::acquire(&clients, session_id, holder, seen_epoch, cx.clone(), stop.clone())
                .await?;
        let (feed, view) = Feed::open(&clients, &cx, session_id, grant.head).await?;
        let request = GetSessionRequest { session_id: session_id.to_owned() };
        let session =
            clients.sessions.clone().get_session(outgoing(&cx, request)).await?.into_inner();
        let session = session.session.unwrap_or_default();
        let (closure, closure_failure) = match context.closures.of_session(&cx, &session).await {
            Ok(closure) => (closure, None),
            Err(status) => (Arc::default(), Some(Failure::of(&status))),
        };
        let mut runner = Self {
            clients,
            config: context.config.clone(),
            cx,
            grant,
            feed,
            view,
            closure,
            closure_failure,
            history: Vec::new(),
            state: String::new(),
            attempt: None,
            calls: Calls::default(),
            failures: 0,
            retry_at: None,
            append_took: Duration::ZERO,
            stop,
        };
        if let Some(turn) = &runner.view.turn {
            tracing::info!(session = session_id, turn = %turn.turn_id, "taking an open turn up again");
            runner.load_context().await?;
        }
        Ok(runner)
    }

    /// Works until the session is idle and given back.
    ///
    /// # Errors
    /// Why the work stopped before: the session then belongs to somebody else, or will.
    pub(crate) async fn run(mut self) -> Result<(), GrantError> {
        loop {
            if let Some(pending) = self.view.pending.pop_front() {
                self.consume(pending).await?;
                continue;
            }
            match self.step().await? {
                Step::Again => {}
                Step::Wait => self.wait().await?,
                Step::Idle if self.grant.release(self.view.last_command).await? => return Ok(()),
                Step::Idle => self.wait().await?,
            }
            if self.stop.is_cancelled() {
                return Err(GrantError::Stopping);
            }
        }
    }

    /// Appends events with their effects, and takes both in once they are committed.
    pub(super) async fn append(
        &mut self,
        events: Vec<SessionEvent>,
        effects: JournalEffects,
    ) -> Result<(), GrantError> {
        if events.is_empty() && effects == JournalEffects::default() {
            return Ok(());
        }
        let sent = without_streamed_texts(effects.clone());
        let begun = Instant::now();
        let events = self.grant.append(events, sent).await?;
        self.append_took = begun.elapsed();
        self.view.consumed = self.view.consumed.max(effects.consumed_sequence);
        for event in &events {
            self.view.take(event);
        }
        let session_id = &self.grant.session_id;
        self.history.extend(effects.messages.iter().map(|message| as_history(session_id, message)));
        if !effects.closed_turn_id.is_empty() {
            self.view.turn = None;
        }
        Ok(())
    }

    /// The ledger row of one execution.
    pub(super) async fn row(&mut self, execution_id: &str) -> Result<Execution, GrantError> {
        calls::row(&self.clients, &self.cx, execution_id).await.map_err(unreachable_storage)
    }

    /// Reads what the model will see of the past.
    pub(super) async fn load_context(&mut self) -> Result<(), Status> {
        let request = ListMessagesRequest {
            session_id: self.grant.session_id.clone(),
            page_size: i32::try_from(self.config.context_messages).unwrap_or(1000).clamp(2, 1000),
            latest: true,
            ..Default::default()
        };
        let page = self.clients.history.clone().list_messages(outgoing(&self.cx, request)).await?;
        self.history = page.into_inner().messages;
        let request = GetStateRequest { session_id: self.grant.session_id.clone() };
        let state = self.clients.state.clone().get_state(outgoing(&self.cx, request)).await?;
        self.state = state.into_inner().state.unwrap_or_default().data;
        Ok(())
    }

    /// [`Runner::load_context`] where the session must be given up if storage cannot be read.
    pub(super) async fn load_history(&mut self) -> Result<(), GrantError> {
        self.load_context().await.map_err(unreachable_storage)
    }

    async fn wait(&mut self) -> Result<(), GrantError> {
        match self.woken().await {
            Woken::Entries(Ok(batch)) => self.view.follow(batch.entries),
            Woken::Entries(Err(status)) => self.reopen_feed(&status).await?,
            Woken::Model(event) => self.model_event(event).await?,
            Woken::Flush => self.flush().await?,
            Woken::Retry => self.retry_at = None,
            Woken::Deadline => {
                self.abort_turn(Abort::deadline(), JournalEffects::default()).await?;
            }
            Woken::Answered => {}
            Woken::Stopping => return Err(GrantError::Stopping),
        }
        Ok(())
    }

    async fn woken(&mut self) -> Woken {
        let deadline = self.view.turn.as_ref().map(time_left);
        let flush_at = self.flush_at();
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Woken::Stopping,
            entries = self.feed.next() => Woken::Entries(entries),
            () = at(deadline) => Woken::Deadline,
            () = at(flush_at) => Woken::Flush,
            event = next_event(&mut self.attempt) => Woken::Model(event),
            () = self.calls.answered() => Woken::Answered,
            () = at(self.retry_at) => Woken::Retry,
        }
    }

    /// When what is gathered is due.
    pub(super) fn flush_at(&self) -> Option<Instant> {
        let attempt = self.attempt.as_ref()?;
        attempt.flush_at(self.config.gathers_for(self.append_took))
    }

    /// The watch broke: storage restarted or moved. Reads the journal again from the cursor.
    async fn reopen_feed(&mut self, status: &Status) -> Result<(), GrantError> {
        if status.code() == tonic::Code::NotFound {
            return Err(GrantError::Stale);
        }
        tokio::time::sleep(REOPEN_PAUSE).await;
        let opened =
            Feed::open(&self.clients, &self.cx, &self.grant.session_id, self.grant.head).await;
        match opened {
            Ok((feed, view)) => {
                self.feed = feed;
                let known = self.view.last_command;
                for pending in view.pending.into_iter().filter(|pending| pending.sequence > known) {
                    self.view.last_command = pending.sequence;
                    self.view.pending.push_back(pending);
                }
                Ok(())
            }
            Err(status) if status.code() == tonic::Code::NotFound => Err(GrantError::Stale),
            Err(status) => {
                tracing::debug!(%status, "the journal's watch cannot be reopened yet");
                Ok(())
            }
        }
    }

    /// The failure that ends the turn unless another try is due.
    pub(super) fn plan_retry(&mut self, failure: &Failure) -> bool {
        self.failures += 1;
        let again = failure.retryable() && self.failures <= self.config.model_retries;
        if again {
            self.retry_at = Some(Instant::now() + failure.pause(self.failures));
        }
        again
    }
}

/// Pause before a broken watch is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);

impl SessionView {
    fn take(&mut self, event: &SessionEvent) {
        use cortex_proto::cortex::agent::v1::session_event::Event;
        match (&mut self.turn, &event.event) {
            (None, Some(Event::TurnStarted(started))) => {
                self.turn = Some(TurnView::open(&event.turn_id, started));
            }
            (Some(turn), _) => turn.apply(event),
            (None, _) => {}
        }
    }
}

/// Storage cannot be read: nothing is certain any more, so the session is given up and taken anew.
fn unreachable_storage(status: Status) -> GrantError {
    tracing::warn!(%status, "storage cannot be read; giving the session up");
    GrantError::Refused(status)
}

fn time_left(turn: &TurnView) -> Instant {
    let left = turn.deadline.duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now() + left
}

/// Sleeps until `when`; for ever without one.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

async fn next_event(attempt: &mut Option<Attempt>) -> Result<Option<ModelEvent>, Status> {
    match attempt {
        Some(attempt) => attempt.next().await,
        None => std::future::pending().await,
    }
}
