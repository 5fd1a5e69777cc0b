//! Executions of a turn's calls: sent to the container service, and read back from the ledger.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use cortex_proto::cortex::{
    agent::v1::CallOutcome,
    container::v1::{
        CancelToolRunRequest, ExecuteToolRequest, ReconcileExecutionRequest, ResourceLimits,
        ToolRun, ToolSource, execute_tool_response, tool_source::Source,
    },
    manifest::v1::{AgentClosure, ToolSpec},
    storage::v1::{Execution, ExecutionOutcome, GetExecutionRequest, OutcomeKind},
};
use cortex_rpc::{CallContext, outgoing};
use prost::Message;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::{
    clients::Clients,
    turn::{Call, Outcome},
};

/// How long a container service that cannot be reached is tried before its call is given up.
const REACH_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a cancel waits for the container service (session protocol, 7.3).
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// A call whose execution was answered, or refused.
struct Done {
    execution_id: String,
    refusal: Option<Status>,
}

/// The executions that this process has sent and not yet seen the end of.
#[derive(Default)]
pub(crate) struct Calls {
    tasks: JoinSet<Done>,
    in_flight: HashSet<String>,
    sent: HashSet<String>,
    refusals: HashMap<String, Status>,
}

impl Calls {
    /// Executions under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether the execution was sent and is not answered yet.
    pub(crate) fn is_in_flight(&self, execution_id: &str) -> bool {
        self.in_flight.contains(execution_id)
    }

    /// Whether the execution was sent from here before.
    pub(crate) fn was_sent(&self, execution_id: &str) -> bool {
        self.sent.contains(execution_id)
    }

    /// Forgets that an execution was sent, so that it is sent again. Says whether it was.
    pub(crate) fn forget(&mut self, execution_id: &str) -> bool {
        self.refusals.remove(execution_id);
        self.sent.remove(execution_id)
    }

    /// Notes that the execution cannot be sent at all.
    pub(crate) fn refuse(&mut self, execution_id: &str, why: Status) {
        self.sent.insert(execution_id.to_owned());
        self.refusals.insert(execution_id.to_owned(), why);
    }

    /// Why the execution was refused, if it was.
    pub(crate) fn refusal(&self, execution_id: &str) -> Option<&Status> {
        self.refusals.get(execution_id)
    }

    /// Sends an execution.
    pub(crate) fn dispatch(
        &mut self,
        clients: &Clients,
        cx: &CallContext,
        request: ExecuteToolRequest,
    ) {
        let (clients, cx) = (clients.clone(), cx.clone());
        self.in_flight.insert(request.execution_id.clone());
        self.sent.insert(request.execution_id.clone());
        self.tasks.spawn(async move {
            let execution_id = request.execution_id.clone();
            let refusal = until_answered(|| execute(&clients, &cx, &request)).await.err();
            Done { execution_id, refusal }
        });
    }

    /// Asks for the outcome of an execution that somebody has claimed.
    pub(crate) fn reconcile(&mut self, clients: &Clients, cx: &CallContext, execution_id: &str) {
        let (clients, cx) = (clients.clone(), cx.clone());
        let execution_id = execution_id.to_owned();
        self.in_flight.insert(execution_id.clone());
        self.tasks.spawn(async move {
            let request = ReconcileExecutionRequest { execution_id: execution_id.clone() };
            let ask = || async {
                clients
                    .tools
                    .clone()
                    .reconcile_execution(outgoing(&cx, request.clone()))
                    .await
                    .map(drop)
            };
            let refusal = until_answered(ask).await.err();
            tokio::time::sleep(if refusal.is_some() { PAUSE } else { Duration::ZERO }).await;
            Done { execution_id, refusal: None }
        });
    }

    /// Waits until one execution is answered. Pends for ever when none is under way. Cancel-safe.
    pub(crate) async fn answered(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(done)) => {
                self.in_flight.remove(&done.execution_id);
                if let Some(refusal) = done.refusal {
                    self.refusals.insert(done.execution_id, refusal);
                }
            }
            Some(Err(error)) => tracing::error!(%error, "an execution's task panicked"),
            None => std::future::pending().await,
        }
    }

    /// Forgets everything that is under way. What runs goes on in the container service.
    pub(crate) fn abandon(&mut self) {
        self.tasks = JoinSet::new();
        self.in_flight.clear();
        self.sent.clear();
        self.refusals.clear();
    }
}

/// Asks the container service to stop each execution, for at most one second.
pub(crate) async fn stop_all(clients: &Clients, cx: &CallContext, executions: &[String]) {
    let stops = executions.iter().map(|execution_id| {
        let mut tools = clients.tools.clone();
        let request = CancelToolRunRequest { execution_id: execution_id.clone() };
        let request = outgoing(cx, request);
        async move { tools.cancel_tool_run(request).await }
    });
    let stopped = tokio::time::timeout(CANCEL_TIMEOUT, futures::future::join_all(stops)).await;
    if stopped.is_err() {
        tracing::warn!(
            executions = executions.len(),
            "the container service did not stop them in time"
        );
    }
}

/// Reads one ledger row.
pub(crate) async fn row(
    clients: &Clients,
    cx: &CallContext,
    execution_id: &str,
) -> Result<Execution, Status> {
    let request = GetExecutionRequest { execution_id: execution_id.to_owned() };
    let answer = clients.journal.clone().get_execution(outgoing(cx, request)).await?;
    answer.into_inner().execution.ok_or_else(|| Status::internal("an execution without a body"))
}

async fn execute(
    clients: &Clients,
    cx: &CallContext,
    request: &ExecuteToolRequest,
) -> Result<(), Status> {
    let mut events =
        clients.tools.clone().execute_tool(outgoing(cx, request.clone())).await?.into_inner();
    while let Some(event) = events.message().await? {
        if matches!(event.event, Some(execute_tool_response::Event::Completed(_))) {
            return Ok(());
        }
    }
    Err(Status::unavailable("the container service ended the run's stream without an outcome"))
}

/// Repeats a broken call with the same id until it is answered or definitely refused.
async fn until_answered<F, Fut>(call: F) -> Result<(), Status>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), Status>>,
{
    let give_up = Instant::now() + REACH_TIMEOUT;
    loop {
        match call().await {
            Err(status) if is_broken(&status) && Instant::now() < give_up => {
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// Whether the call broke, as opposed to being answered with a refusal.
fn is_broken(status: &Status) -> bool {
    match status.code() {
        // The service answers, and has no engine: that is said to the model and the client.
        Code::Unavailable => cortex_rpc::reason(status).as_deref() != Some("ENGINE_UNAVAILABLE"),
        Code::Cancelled | Code::Unknown | Code::DeadlineExceeded => true,
        Code::ResourceExhausted => cortex_rpc::retry_after(status).is_some(),
        _ => false,
    }
}

/// The request that runs a call.
pub(crate) fn tool_request(
    closure: &AgentClosure,
    session_id: &str,
    epoch: i64,
    call: &Call,
) -> Option<ExecuteToolRequest> {
    let tool = closure.tools.iter().find(|tool| tool.name == call.name)?;
    let mut environment =
        closure.agent.as_ref().map(|agent| agent.environment.clone()).unwrap_or_default();
    environment.extend(tool.environment.clone());
    Some(ExecuteToolRequest {
        tool_name: tool.name.clone(),
        session_id: session_id.to_owned(),
        parameters: call.arguments.clone(),
        execution_id: call.execution_id.clone(),
        epoch,
        source: Some(source(tool)),
        resource_limits: Some(ResourceLimits {
            memory_mb: tool.memory_mb,
            cpu_limit: tool.cpu_limit,
            timeout_seconds: tool.timeout_seconds,
            ..Default::default()
        }),
        environment,
        network_mode: tool.network_mode.clone(),
        manifest_digest: closure.digest.clone(),
    })
}

fn source(tool: &ToolSpec) -> ToolSource {
    let source = if !tool.image.is_empty() {
        Source::Image(tool.image.clone())
    } else if tool.runtime == "toolbox" {
        Source::Toolbox(tool.entrypoint.clone())
    } else {
        Source::BundleDigest(tool.bundle_digest.clone())
    };
    ToolSource {
        source: Some(source),
        runtime: tool.runtime.clone(),
        entrypoint: tool.entrypoint.clone(),
    }
}

/// A recorded outcome as the call's result.
pub(crate) fn outcome(recorded: &ExecutionOutcome) -> Outcome {
    let outcome = match recorded.kind() {
        OutcomeKind::Succeeded => CallOutcome::Succeeded,
        OutcomeKind::TimedOut => CallOutcome::TimedOut,
        OutcomeKind::Cancelled => CallOutcome::Cancelled,
        OutcomeKind::NotStarted => CallOutcome::NotRun,
        OutcomeKind::Lost => CallOutcome::Unknown,
        OutcomeKind::Failed | OutcomeKind::Unspecified => CallOutcome::Failed,
    };
    let duration_seconds = recorded
        .details
        .as_ref()
        .and_then(|details| ToolRun::decode(details.value.as_slice()).ok())
        .map_or(0.0, |run| run.execution_time_seconds);
    Outcome {
        outcome,
        result: recorded.result.clone(),
        error: recorded.error.clone(),
        duration_seconds,
    }
}
