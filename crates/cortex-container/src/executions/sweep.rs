//! The sweep: finds what a former incarnation of this instance left, and what removals have missed.

use std::sync::Arc;

use cortex_core::ExecutionId;
use cortex_rpc::{CallContext, Identity};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Executions;
use crate::{
    error::ContainerError,
    ports::ContainerSummary,
    sandbox::{label, tools_of},
};

/// Between two tries when the engine or storage is away.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// What a sweep has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Containers that were removed.
    pub containers: usize,
    /// Executions that were recorded as lost.
    pub executions: usize,
    /// Intents that were deleted.
    pub intents: usize,
}

impl Executions {
    /// Sweeps at once, and then from time to time, until `stop`.
    pub(crate) async fn keep_sweeping(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let cx = CallContext::background(Identity::default());
            let pause = match self.sweep(&cx).await {
                Ok(swept) => {
                    if swept != Swept::default() {
                        tracing::info!(?swept, "swept up what was left over");
                    }
                    self.config.sweep_interval.get()
                }
                Err(error) => {
                    tracing::debug!(%error, "the sweep is tried again");
                    RETRY
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => self.board.forget_old(),
            }
        }
    }

    /// Removes this instance's containers that no run of this incarnation has, then records the
    /// rows of dead incarnations as lost, then forgets their intents. In this order: a row is lost
    /// only when nothing of it can start any more.
    ///
    /// Containers of other instances are never touched.
    ///
    /// # Errors
    /// Those of the engine and of storage; what was done until then stays done.
    pub(crate) async fn sweep(&self, cx: &CallContext) -> Result<Swept, ContainerError> {
        let mut swept = Swept::default();
        let began = Instant::now();
        for container in self.orphans().await? {
            self.engine.remove(&container.id).await?;
            swept.containers += 1;
        }
        for row in self.ledger.claimed(cx).await? {
            if self.is_of_a_former_self(&row) {
                self.reconcile_row(cx, row).await?;
                swept.executions += 1;
            }
        }
        for intent in self.intents.list(cx).await? {
            let of_former_self = intent.claimant != self.incarnation.claimant.as_str();
            if of_former_self || !self.board.is_active(&intent.execution_id) && self.is_old(&intent)
            {
                self.intents.delete(cx, &intent.execution_id).await?;
                swept.intents += 1;
            }
        }
        tracing::debug!(?swept, took = ?began.elapsed(), "swept");
        Ok(swept)
    }

    /// Containers of this instance that no run of this incarnation has.
    ///
    /// # Errors
    /// Those of the engine.
    pub(crate) async fn orphans(&self) -> Result<Vec<ContainerSummary>, ContainerError> {
        let mut containers = self.containers().await?;
        containers.retain(|container| !self.is_at_work(container));
        Ok(containers)
    }

    /// Containers of this instance.
    ///
    /// # Errors
    /// Those of the engine.
    pub(crate) async fn containers(&self) -> Result<Vec<ContainerSummary>, ContainerError> {
        Ok(self.engine.list(&tools_of(&self.incarnation.instance)).await?)
    }

    /// Whether a run of this incarnation has the container. A run is on the board before its
    /// container is made, so that a container that is not is nobody's.
    fn is_at_work(&self, container: &ContainerSummary) -> bool {
        let has = |name: &str| container.labels.get(name).map(String::as_str);
        if has(label::CLAIMANT) != Some(self.incarnation.claimant.as_str()) {
            return false;
        }
        let execution = has(label::EXECUTION).and_then(|id| ExecutionId::parse(id).ok());
        execution.is_some_and(|id| self.board.is_active(&id))
    }

    /// Whether the run of one of this incarnation's own intents has ended. One that is not on the
    /// board may be about to get there.
    fn is_old(&self, intent: &crate::ports::Intent) -> bool {
        self.board.run(&intent.execution_id).is_some()
    }
}
