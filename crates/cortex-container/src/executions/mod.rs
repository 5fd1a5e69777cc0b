//! Executions: claimed before anything starts, started at most once, recorded before anybody is
//! told. The container service's part of the session protocol, section 5.

mod drive;
mod plan;
mod settle;
mod sweep;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cortex_core::ExecutionId;
use cortex_rpc::CallContext;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::Admission,
    config::ContainerConfig,
    error::ContainerError,
    images::{ImagePolicy, Images},
    ports::{ContainerEngine, Incarnation, Intents, Ledger, LedgerRow, LedgerState, Registry},
    runner::Bounds,
    runs::{Board, Ending, Keeping, Live, Phase, Started, Subject, ToolRun, Verdict},
    tool::{Dispatch, ToolCommand},
};

#[cfg(test)]
use sweep::Swept;

/// Runs tools.
pub(crate) struct Executions {
    engine: Arc<dyn ContainerEngine>,
    ledger: Arc<dyn Ledger>,
    intents: Arc<dyn Intents>,
    registry: Arc<dyn Registry>,
    images: Images,
    board: Arc<Board>,
    admission: Admission,
    incarnation: Incarnation,
    bounds: Bounds,
    config: ContainerConfig,
    requests: Mutex<HashMap<RequestKey, Arc<tokio::sync::Mutex<Requested>>>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// The outside world of [`Executions`].
#[derive(Clone)]
pub(crate) struct Outside {
    /// Runs containers.
    pub engine: Arc<dyn ContainerEngine>,
    /// Who may start what, and how it ended.
    pub ledger: Arc<dyn Ledger>,
    /// Intents of runs outside the ledger.
    pub intents: Arc<dyn Intents>,
    /// What tools there are.
    pub registry: Arc<dyn Registry>,
}

/// A request id within its scope: tenant and session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RequestKey {
    tenant: String,
    session_id: String,
    request_id: String,
}

/// What a request id was used for.
#[derive(Debug, Default)]
struct Requested {
    fingerprint: Option<blake3::Hash>,
    run: Option<Arc<Live>>,
}

impl Executions {
    /// Executions of one incarnation.
    pub(crate) fn new(
        config: ContainerConfig,
        outside: Outside,
        incarnation: Incarnation,
    ) -> Arc<Self> {
        let policy = ImagePolicy {
            toolbox_path: config.toolbox_path.clone(),
            pull: config.pull_images,
            runtimes: config.runtime_images.clone(),
            max_bundle: config.max_bundle.as_usize(),
        };
        let bounds = Bounds {
            output_limit: config.output_limit.get(),
            stop_grace: config.stop_grace.get(),
            engine_patience: config.engine_patience.get(),
        };
        Arc::new(Self {
            images: Images::new(Arc::clone(&outside.engine), Arc::clone(&outside.registry), policy),
            engine: outside.engine,
            ledger: outside.ledger,
            intents: outside.intents,
            registry: outside.registry,
            board: Arc::new(Board::new(Keeping {
                age: config.keep_runs.get(),
                runs: config.max_kept_runs,
                bytes: config.max_kept_output.as_usize(),
            })),
            admission: Admission::new(config.max_running, config.max_starts, config.max_queued),
            incarnation,
            bounds,
            config,
            requests: Mutex::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        })
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &Arc<dyn ContainerEngine> {
        &self.engine
    }

    /// Runs that wait or run.
    pub(crate) fn admitted(&self) -> usize {
        self.admission.admitted()
    }

    /// Starts a run, or joins the one that there is. What was begun goes on when the caller leaves.
    ///
    /// # Errors
    /// Nothing was started, except where the error leaves that open (an [`Upstream`] error of the
    /// claim): then the same call with the same execution gets the truth.
    ///
    /// [`Upstream`]: ContainerError::Upstream
    pub(crate) async fn submit(
        self: &Arc<Self>,
        cx: &CallContext,
        command: ToolCommand,
    ) -> Result<Arc<Live>, ContainerError> {
        if self.stopping.is_cancelled() {
            return Err(ContainerError::Stopping);
        }
        let (this, cx) = (Arc::clone(self), cx.clone().detached());
        let begun = self.tasks.spawn(async move { this.begin(cx, command).await });
        begun.await.map_err(|error| ContainerError::Internal(error.to_string()))?
    }

    /// As [`submit`](Self::submit); the same request id in the same session is the same run.
    pub(crate) async fn submit_once(
        self: &Arc<Self>,
        cx: &CallContext,
        command: ToolCommand,
        request_id: String,
    ) -> Result<Arc<Live>, ContainerError> {
        let key = RequestKey {
            tenant: cx.identity.tenant().to_owned(),
            session_id: command.session_id.as_str().to_owned(),
            request_id: request_id.clone(),
        };
        let fingerprint = fingerprint(&command);
        let requested = self.requested(key);
        let mut requested = requested.lock().await;
        if requested.fingerprint.is_some_and(|known| known != fingerprint) {
            return Err(ContainerError::RequestIdReused { request_id });
        }
        if let Some(run) = &requested.run {
            return Ok(Arc::clone(run));
        }
        let run = self.submit(cx, command).await?;
        *requested = Requested { fingerprint: Some(fingerprint), run: Some(Arc::clone(&run)) };
        Ok(run)
    }

    fn requested(&self, key: RequestKey) -> Arc<tokio::sync::Mutex<Requested>> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        // A request id is known for as long as its run is; one that failed is not known at all.
        requests.retain(|_, requested| {
            Arc::strong_count(requested) > 1
                || requested.try_lock().is_ok_and(|requested| {
                    let run = requested.run.as_ref();
                    run.is_some_and(|run| self.board.run(run.execution_id()).is_some())
                })
        });
        Arc::clone(requests.entry(key).or_default())
    }

    /// Everything from the request to the run: plan, place, claim, start. In this order, so that a
    /// tool that cannot run is never claimed.
    async fn begin(
        self: Arc<Self>,
        cx: CallContext,
        command: ToolCommand,
    ) -> Result<Arc<Live>, ContainerError> {
        let dispatch = command.execution.clone();
        if let Some(run) = dispatch.as_ref().and_then(|d| self.run_of(&cx, &d.execution_id)) {
            return Ok(run);
        }
        let prepared = async {
            let plan = self.plan(&cx, &command).await?;
            Ok((plan, self.admission.ticket()?))
        };
        let (plan, ticket) = match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => return self.recorded_or(&cx, dispatch.as_ref(), error).await,
        };
        let (execution_id, _claiming) = match &dispatch {
            Some(dispatch) => {
                let claiming = self.board.claiming(&dispatch.execution_id);
                if let Err(error) = self.claim(&cx, dispatch).await {
                    return self.recorded_or(&cx, Some(dispatch), error).await;
                }
                (dispatch.execution_id.clone(), Some(claiming))
            }
            None => {
                let execution_id = ExecutionId::generate();
                self.intents.put(&cx, &execution_id, command.tool.as_str()).await?;
                (execution_id, None)
            }
        };
        let live = self.live(&cx, execution_id, &command);
        match self.board.start(live) {
            Started::Before(run) => Ok(run),
            Started::ByCaller(run) => {
                let job = drive::Job { plan, ticket, recorded: dispatch.is_some() };
                self.tasks.spawn(Arc::clone(&self).drive(cx, Arc::clone(&run), job));
                Ok(run)
            }
        }
    }

    fn live(
        &self,
        cx: &CallContext,
        execution_id: ExecutionId,
        command: &ToolCommand,
    ) -> Arc<Live> {
        let subject = Subject {
            execution_id,
            tool_name: command.tool.as_str().to_owned(),
            session_id: command.session_id.clone(),
            tenant: cx.identity.tenant().to_owned(),
        };
        let config = &self.config;
        Live::new(subject, config.stdout_limit.as_usize(), config.stderr_limit.as_usize())
    }

    /// The caller's run of an execution. Another tenant's looks as if there were none.
    fn run_of(&self, cx: &CallContext, execution_id: &ExecutionId) -> Option<Arc<Live>> {
        self.board.run(execution_id).filter(|run| run.tenant() == cx.identity.tenant())
    }

    async fn claim(&self, cx: &CallContext, dispatch: &Dispatch) -> Result<(), ContainerError> {
        self.ledger.claim(cx, &dispatch.execution_id, dispatch.epoch).await
    }

    /// The outcome of an execution that cannot be started because it was, else `error`.
    async fn recorded_or(
        &self,
        cx: &CallContext,
        dispatch: Option<&Dispatch>,
        error: ContainerError,
    ) -> Result<Arc<Live>, ContainerError> {
        let Some(dispatch) = dispatch else { return Err(error) };
        // A stale caller learns that it is stale, whatever the row says.
        if matches!(error, ContainerError::StaleEpoch { .. }) {
            return Err(error);
        }
        match self.ledger.get(cx, &dispatch.execution_id).await {
            Ok(Some(LedgerRow { state: LedgerState::Finished(run), .. })) => {
                Ok(Live::recorded(*run, cx.identity.tenant()))
            }
            Ok(Some(row)) if self.is_of_a_former_self(&row) => {
                let lost = self.reconcile_row(cx, row).await?;
                Ok(Live::recorded(lost, cx.identity.tenant()))
            }
            _ => Err(error),
        }
    }

    /// Whether an incarnation of this instance that is dead has claimed the row.
    fn is_of_a_former_self(&self, row: &LedgerRow) -> bool {
        matches!(&row.state, LedgerState::Claimed { claimant, instance }
            if *instance == self.incarnation.instance && *claimant != self.incarnation.claimant.as_str())
    }

    /// Runs that run, and runs that wait.
    pub(crate) fn occupancy(&self) -> (usize, usize) {
        let active = self.board.active();
        let running = active.iter().filter(|run| run.is_running()).count();
        (running, active.len() - running)
    }

    /// Whether missing images may be pulled.
    pub(crate) fn may_pull(&self) -> bool {
        self.config.pull_images
    }

    /// Runs of a session that have not ended.
    pub(crate) fn active_in(&self, cx: &CallContext, session_id: &str) -> Vec<Arc<Live>> {
        let mut active = self.board.active();
        active.retain(|run| {
            run.session_id().as_str() == session_id && run.tenant() == cx.identity.tenant()
        });
        active
    }

    /// Takes no more runs; lets those that there are go on until `deadline`, then stops them and
    /// waits for what came of it to be recorded, for as long as the engine may take.
    pub(crate) async fn drain(&self, deadline: tokio::time::Instant) {
        self.stopping.cancel();
        self.tasks.close();
        if tokio::time::timeout_at(deadline, self.tasks.wait()).await.is_ok() {
            return;
        }
        for run in self.board.active() {
            run.stop();
        }
        let last = self.config.engine_timeout.get();
        if tokio::time::timeout(last, self.tasks.wait()).await.is_err() {
            let left = self.board.active().len();
            tracing::warn!(left, "runs are left to the next incarnation");
        }
    }
}

/// What a command asks for, whatever its request id: the same for the same request.
fn fingerprint(command: &ToolCommand) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    // Every map in it is ordered. Parameters print as their length only: they are hashed beside.
    hasher.update(format!("{command:?}").as_bytes());
    hasher.update(command.parameters.as_str().as_bytes());
    hasher.finalize()
}

/// A run that never started, for somebody who asked for its end.
fn never_started(row: LedgerRow) -> ToolRun {
    let error = "the run was cancelled before it started";
    let ending = Ending::not_started(Verdict::Cancelled, error, std::time::SystemTime::now());
    let phase = Phase::Ended(Box::new(ending));
    ToolRun::unknown(row.execution_id, row.tool_name, row.session_id, phase)
}
