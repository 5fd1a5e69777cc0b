//! A run from its place in the queue to its recorded end. Each has one task, which nobody cancels.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, SystemTime},
};

use cortex_rpc::CallContext;
use futures::FutureExt as _;

use super::{Executions, plan::Plan};
use crate::{
    admission::{Place, Ticket},
    error::ContainerError,
    runner::{Ran, Runner, cancelled_before_start},
    runs::{Ending, Live, ToolRun, Verdict},
    sandbox::ContainerId,
};

/// Shortest and longest pause between two tries to record an outcome.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What a run needs to be driven.
pub(super) struct Job {
    pub(super) plan: Plan,
    pub(super) ticket: Ticket,
    /// Whether it has a row in the ledger.
    pub(super) recorded: bool,
}

impl Executions {
    /// Drives a run to its end: runs it, records its outcome, tells who waits, and cleans up.
    pub(super) async fn drive(self: Arc<Self>, cx: CallContext, live: Arc<Live>, job: Job) {
        let recorded = job.recorded;
        let ran = AssertUnwindSafe(self.run(&live, job)).catch_unwind().await;
        let (ending, left, place) = ran.unwrap_or_else(|_| {
            let execution = live.execution_id();
            tracing::error!(%execution, "the task of a run panicked");
            (Ending::lost("the container service failed", SystemTime::now()), None, None)
        });
        let outcome = live.ended_as(ending);
        let outcome = if recorded { self.record(&cx, outcome).await } else { outcome };
        tracing::info!(
            execution = %live.execution_id(),
            tool = live.tool_name(),
            termination = ?outcome.ending().map(|ending| ending.termination),
            duration = ?outcome.ending().map(|ending| ending.duration),
            "a tool run ended"
        );
        live.settle(outcome);
        let gone = self.clean_up(&live, left).await;
        if gone && !recorded {
            self.forget_intent(&cx, &live).await;
        }
        drop(place);
    }

    async fn run(
        &self,
        live: &Arc<Live>,
        job: Job,
    ) -> (Ending, Option<ContainerId>, Option<Place>) {
        let redeemed = tokio::select! {
            biased;
            () = live.stopping().cancelled() => return (cancelled_before_start(), None, None),
            redeemed = job.ticket.redeem() => redeemed,
        };
        let (place, starting) = match redeemed {
            Ok(redeemed) => redeemed,
            Err(error) => {
                let now = SystemTime::now();
                let ending = Ending::not_started(Verdict::Failed, error.to_string(), now);
                return (ending, None, None);
            }
        };
        let spec = job.plan.spec(self, live.execution_id());
        let runner = Runner::new(Arc::clone(&self.engine), Arc::clone(live), self.bounds);
        let Ran { ending, left } = runner.run(&spec, job.plan.input(), starting).await;
        (ending, left, Some(place))
    }

    /// Records an outcome, for as long as storage is away, and answers with the one that won. A
    /// ledger that has no such row any more, or refuses it, has nothing to be kept in step with.
    pub(super) async fn record(&self, cx: &CallContext, outcome: ToolRun) -> ToolRun {
        let (mut pause, longest) = PAUSES;
        loop {
            match self.ledger.finish(cx, &outcome).await {
                Ok(won) => return won,
                Err(error) if is_transient(&error) => {
                    let execution = &outcome.execution_id;
                    tracing::warn!(%execution, %error, "an outcome cannot be recorded yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
                Err(error) => {
                    let execution = &outcome.execution_id;
                    tracing::warn!(%execution, %error, "the ledger does not take an outcome");
                    return outcome;
                }
            }
        }
    }

    /// Removes what is left of a run. Says whether nothing is; else the sweep goes on.
    async fn clean_up(&self, live: &Live, left: Option<ContainerId>) -> bool {
        let Some(id) = left else { return true };
        match self.engine.remove(&id).await {
            Ok(()) => true,
            Err(error) => {
                let execution = live.execution_id();
                tracing::warn!(%execution, %error, "a container is left to the sweep");
                false
            }
        }
    }

    async fn forget_intent(&self, cx: &CallContext, live: &Live) {
        if let Err(error) = self.intents.delete(cx, live.execution_id()).await {
            let execution = live.execution_id();
            tracing::warn!(%execution, %error, "an intent is left to the sweep");
        }
    }
}

/// Whether trying again can help.
fn is_transient(error: &ContainerError) -> bool {
    use cortex_core::Kind;
    let ContainerError::Upstream { fault, .. } = error else { return false };
    matches!(
        fault.kind,
        Kind::Unavailable
            | Kind::DeadlineExceeded
            | Kind::Cancelled
            | Kind::ResourceExhausted
            | Kind::Internal
            | Kind::Unimplemented
            | Kind::Aborted
    )
}
