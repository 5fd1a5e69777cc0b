//! One incarnation of the agent service: its lease, and the sessions that it works on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cortex_core::HolderId;
use cortex_proto::cortex::storage::v1::{
    HeldSession, ListRunnableSessionsRequest, RegisterHolderRequest, RenewHolderRequest,
    RetireHolderRequest, RunnableSession, WatchRunnableSessionsRequest,
    WatchRunnableSessionsResponse,
};
use cortex_rpc::{CallContext, Identity, outgoing};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Status, Streaming};

use crate::{
    clients::Clients,
    closures::Closures,
    config::AgentConfig,
    session::{Runner, RunnerContext},
};

/// Pause before storage is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// Time for one call that keeps the lease.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Takes runnable sessions and works on them until it is told to stop.
#[derive(Clone)]
pub(crate) struct Holder {
    clients: Clients,
    closures: Closures,
    config: Arc<AgentConfig>,
    running: Arc<Mutex<HashMap<String, Running>>>,
    tasks: TaskTracker,
}

/// A session that is worked on.
struct Running {
    stop: CancellationToken,
    /// It became runnable again before the work on it had ended here.
    again: Option<RunnableSession>,
}

/// How an incarnation ended.
enum Ended {
    Stopping,
    /// Another incarnation of the same instance has voided the lease.
    Voided,
}

impl Holder {
    pub(crate) fn new(clients: Clients, closures: Closures, config: Arc<AgentConfig>) -> Self {
        Self { clients, closures, config, running: Arc::default(), tasks: TaskTracker::new() }
    }

    /// Sessions that are worked on now.
    pub(crate) fn active(&self) -> usize {
        self.lock().len()
    }

    /// Works until `stop`; then lets open turns go on for the drain time, and retires.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            let holder_id = String::from(HolderId::generate());
            if !self.register(&holder_id, &stop).await {
                return;
            }
            match self.incarnation(&holder_id, &stop).await {
                Ended::Stopping => return self.retire(&holder_id).await,
                Ended::Voided => {
                    tracing::error!(
                        holder = holder_id,
                        "the lease was voided by another incarnation"
                    );
                    self.stop_all().await;
                }
            }
        }
    }

    async fn register(&self, holder_id: &str, stop: &CancellationToken) -> bool {
        let request = RegisterHolderRequest {
            holder_id: holder_id.to_owned(),
            instance: self.config.instance.clone(),
            lease_duration: prost_types::Duration::try_from(self.config.lease.get()).ok(),
        };
        loop {
            let answer = self.clients.journal.clone().register_holder(call(request.clone())).await;
            match answer {
                Ok(answer) => {
                    let voided = answer.into_inner().voided_holder_id;
                    tracing::info!(holder = holder_id, voided, "holding sessions");
                    return true;
                }
                Err(status) => tracing::debug!(%status, "storage does not take the holder yet"),
            }
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn incarnation(&self, holder_id: &str, stop: &CancellationToken) -> Ended {
        let mut renew = tokio::time::interval(self.config.lease.get() / 3);
        let mut poll = tokio::time::interval(self.config.poll.get());
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hints = Hints::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ended::Stopping,
                _ = renew.tick() => {
                    if self.renew(holder_id).await {
                        return Ended::Voided;
                    }
                }
                _ = poll.tick() => {
                    self.poll(holder_id).await;
                    hints.open(&self.clients).await;
                }
                sessions = hints.next() => self.take_all(holder_id, sessions),
            }
        }
    }

    /// Renews the lease and takes what this process holds but does not work on. Says whether the
    /// lease is void.
    async fn renew(&self, holder_id: &str) -> bool {
        let request = RenewHolderRequest { holder_id: holder_id.to_owned() };
        match self.clients.journal.clone().renew_holder(call(request)).await {
            Ok(answer) => {
                for held in answer.into_inner().sessions {
                    self.take(holder_id, runnable(held), false);
                }
                false
            }
            Err(status) => {
                tracing::warn!(%status, "the lease was not renewed");
                matches!(status.code(), Code::FailedPrecondition | Code::NotFound)
            }
        }
    }

    async fn poll(&self, holder_id: &str) {
        let request = ListRunnableSessionsRequest { page_size: 1000, ..Default::default() };
        match self.clients.journal.clone().list_runnable_sessions(call(request)).await {
            Ok(answer) => self.take_all(holder_id, answer.into_inner().sessions),
            Err(status) => tracing::debug!(%status, "runnable sessions cannot be listed"),
        }
    }

    fn take_all(&self, holder_id: &str, sessions: Vec<RunnableSession>) {
        for session in sessions {
            self.take(holder_id, session, true);
        }
    }

    /// Begins work on a session, or notes that it is to be taken again after the work under way.
    fn take(&self, holder_id: &str, session: RunnableSession, again: bool) {
        let mut running = self.lock();
        if let Some(worked_on) = running.get_mut(&session.session_id) {
            if again {
                worked_on.again = Some(session);
            }
            return;
        }
        if running.len() >= self.config.max_active_sessions {
            return;
        }
        let stop = CancellationToken::new();
        running.insert(session.session_id.clone(), Running { stop: stop.clone(), again: None });
        drop(running);
        self.tasks.spawn(self.clone().work(holder_id.to_owned(), session, stop));
    }

    async fn work(self, holder_id: String, mut session: RunnableSession, stop: CancellationToken) {
        let context = RunnerContext {
            clients: self.clients.clone(),
            closures: self.closures.clone(),
            config: self.config.clone(),
            holder_id,
        };
        loop {
            Box::pin(work_once(&context, &session, stop.clone())).await;
            let mut running = self.lock();
            let again =
                running.get_mut(&session.session_id).and_then(|worked_on| worked_on.again.take());
            match again.filter(|_| !stop.is_cancelled()) {
                Some(runnable) => session = runnable,
                None => {
                    running.remove(&session.session_id);
                    return;
                }
            }
        }
    }

    async fn stop_all(&self) {
        for worked_on in self.lock().values() {
            worked_on.stop.cancel();
        }
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    /// Open turns may go on for the drain time, under the lease; then everything is given back.
    async fn retire(&self, holder_id: &str) {
        let until = Instant::now() + self.config.drain.get();
        while self.active() > 0 && Instant::now() < until {
            tokio::time::sleep(PAUSE).await;
            self.renew_only(holder_id).await;
        }
        self.stop_all().await;
        let request = RetireHolderRequest { holder_id: holder_id.to_owned() };
        if let Err(status) = self.clients.journal.clone().retire_holder(call(request)).await {
            tracing::warn!(%status, "the holder was not retired; its lease will run out");
        }
    }

    async fn renew_only(&self, holder_id: &str) {
        let request = RenewHolderRequest { holder_id: holder_id.to_owned() };
        if let Err(status) = self.clients.journal.clone().renew_holder(call(request)).await {
            tracing::debug!(%status, "the lease was not renewed while draining");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn work_once(context: &RunnerContext, session: &RunnableSession, stop: CancellationToken) {
    let id = session.session_id.as_str();
    let cx = CallContext::background(identity(&session.tenant));
    match Runner::take_over(context, id, session.epoch, cx, stop).await {
        Ok(runner) => {
            if let Err(error) = runner.run().await {
                tracing::info!(session = id, %error, "work on the session stops here");
            }
        }
        Err(status) => tracing::debug!(session = id, %status, "the session was not taken"),
    }
}

/// The stream of hints, opened again whenever it breaks.
#[derive(Default)]
struct Hints(Option<Streaming<WatchRunnableSessionsResponse>>);

impl Hints {
    async fn open(&mut self, clients: &Clients) {
        if self.0.is_some() {
            return;
        }
        let request = outgoing(&CallContext::default(), WatchRunnableSessionsRequest {});
        let opening = clients.journal.clone();
        let opened = async move { opening.clone().watch_runnable_sessions(request).await };
        self.0 = tokio::time::timeout(CALL_TIMEOUT, opened)
            .await
            .ok()
            .and_then(Result::ok)
            .map(tonic::Response::into_inner);
    }

    /// The next hint; pends while there is no stream. Cancel-safe.
    async fn next(&mut self) -> Vec<RunnableSession> {
        let Some(stream) = &mut self.0 else { return std::future::pending().await };
        let hint: Result<Option<_>, Status> = stream.message().await;
        let Ok(Some(hint)) = hint else {
            self.0 = None;
            return Vec::new();
        };
        hint.sessions
    }
}

fn call<T>(message: T) -> tonic::Request<T> {
    let mut request = outgoing(&CallContext::background(Identity::default()), message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

fn runnable(held: HeldSession) -> RunnableSession {
    RunnableSession { session_id: held.session_id, epoch: held.epoch, tenant: held.tenant }
}

fn identity(tenant: &str) -> Identity {
    if tenant.is_empty() { Identity::default() } else { Identity::of_tenant(tenant) }
}
