//! Asking about runs and for their end: get, cancel, reconcile.

use std::sync::Arc;

use cortex_core::ExecutionId;
use cortex_rpc::CallContext;

use super::{Executions, never_started};
use crate::{
    error::ContainerError,
    ports::{LedgerRow, LedgerState},
    runs::{Ending, Live, Phase, Started, Subject, ToolRun},
    sandbox::execution_of,
};

/// What is told of a run whose incarnation died.
const LOST: &str =
    "the container service was restarted under the run, and whether it did its work is not known";

impl Executions {
    /// A run as it stands: of this incarnation, else as the ledger has it.
    ///
    /// # Errors
    /// [`ContainerError::ExecutionNotFound`], and those of storage.
    pub(crate) async fn get(
        &self,
        cx: &CallContext,
        execution_id: &ExecutionId,
    ) -> Result<ToolRun, ContainerError> {
        if let Some(live) = self.run_of(cx, execution_id) {
            return Ok(live.snapshot());
        }
        let row = self.row(cx, execution_id).await?;
        let phase = match row.state {
            LedgerState::Finished(run) => return Ok(*run),
            LedgerState::Closed => return Ok(never_started(row)),
            LedgerState::Intended => Phase::Pending,
            LedgerState::Claimed { .. } => Phase::Running,
        };
        Ok(ToolRun::unknown(row.execution_id, row.tool_name, row.session_id, phase))
    }

    /// Stops a run: one that has not started never starts, one that runs is killed. Answers when
    /// its outcome is recorded. One that has ended is answered as it ended.
    ///
    /// # Errors
    /// [`ContainerError::ExecutionNotFound`]; [`ContainerError::ExecutionRefused`] when this
    /// instance has not claimed it.
    pub(crate) async fn cancel(
        self: &Arc<Self>,
        cx: &CallContext,
        execution_id: &ExecutionId,
    ) -> Result<ToolRun, ContainerError> {
        if let Some(live) = self.claimed_run_of(cx, execution_id).await {
            live.stop();
            return Ok(live.end().await);
        }
        let row = self.row(cx, execution_id).await?;
        self.settle_row(cx, row).await
    }

    /// The outcome of an execution whose claimant may be dead. Answers when it is recorded.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel), and those of the engine: without it nobody knows what runs.
    pub(crate) async fn reconcile(
        self: &Arc<Self>,
        cx: &CallContext,
        execution_id: &ExecutionId,
    ) -> Result<ToolRun, ContainerError> {
        if let Some(live) = self.claimed_run_of(cx, execution_id).await {
            return Ok(live.end().await);
        }
        let row = self.row(cx, execution_id).await?;
        self.settle_row(cx, row).await
    }

    /// As [`run_of`](Self::run_of), after every claim that is under way.
    async fn claimed_run_of(
        &self,
        cx: &CallContext,
        execution_id: &ExecutionId,
    ) -> Option<Arc<Live>> {
        let run = self.board.claimed(execution_id).await?;
        (run.tenant() == cx.identity.tenant()).then_some(run)
    }

    async fn row(
        &self,
        cx: &CallContext,
        execution_id: &ExecutionId,
    ) -> Result<LedgerRow, ContainerError> {
        let row = self.ledger.get(cx, execution_id).await?;
        row.ok_or_else(|| ContainerError::ExecutionNotFound { execution_id: execution_id.clone() })
    }

    /// The outcome of a row that has no run here, made final.
    async fn settle_row(
        self: &Arc<Self>,
        cx: &CallContext,
        row: LedgerRow,
    ) -> Result<ToolRun, ContainerError> {
        let refused = |state, problem: String| ContainerError::ExecutionRefused {
            execution_id: row.execution_id.clone(),
            state,
            problem,
        };
        match &row.state {
            LedgerState::Finished(run) => Ok(ToolRun::clone(run)),
            LedgerState::Intended => Err(refused("intended", "nobody has claimed it".into())),
            LedgerState::Closed => Err(refused("closed", "it was settled and never starts".into())),
            LedgerState::Claimed { .. } if self.is_of_a_former_self(&row) => {
                self.reconcile_row(cx, row).await
            }
            LedgerState::Claimed { instance, .. } if *instance == self.incarnation.instance => {
                Ok(self.never_start(cx, row).await)
            }
            LedgerState::Claimed { instance, .. } => {
                let problem = format!("another container service, '{instance}', has claimed it");
                Err(refused("claimed", problem))
            }
        }
    }

    /// Makes sure that a row which this incarnation has claimed without starting it never starts,
    /// and records so. The answer to the claim was lost, or is on its way: then whoever gets it
    /// finds this run on the board, and starts nothing.
    async fn never_start(self: &Arc<Self>, cx: &CallContext, row: LedgerRow) -> ToolRun {
        let subject = Subject {
            execution_id: row.execution_id.clone(),
            tool_name: row.tool_name.clone(),
            session_id: row.session_id.clone(),
            tenant: cx.identity.tenant().to_owned(),
        };
        let live = Live::new(subject, 0, 0);
        match self.board.start(Arc::clone(&live)) {
            Started::Before(live) => {
                live.stop();
                live.end().await
            }
            Started::ByCaller(live) => {
                let (this, cx) = (Arc::clone(self), cx.clone().detached());
                let settling = Arc::clone(&live);
                self.tasks.spawn(async move {
                    let outcome = this.record(&cx, never_started(row)).await;
                    settling.settle(outcome);
                });
                live.end().await
            }
        }
    }

    /// Settles a row that a dead incarnation of this instance has claimed: its containers are
    /// removed first, those included that were created and never started, so that none can start;
    /// then the row is recorded as lost.
    pub(super) async fn reconcile_row(
        &self,
        cx: &CallContext,
        row: LedgerRow,
    ) -> Result<ToolRun, ContainerError> {
        let labels = execution_of(&self.incarnation.instance, &row.execution_id);
        for container in self.engine.list(&labels).await? {
            self.engine.remove(&container.id).await?;
        }
        let ending = Ending::lost(LOST, std::time::SystemTime::now());
        let phase = Phase::Ended(Box::new(ending));
        let lost = ToolRun::unknown(row.execution_id, row.tool_name, row.session_id, phase);
        let execution = &lost.execution_id;
        tracing::warn!(%execution, tool = lost.tool_name, "an execution was lost");
        self.ledger.finish(cx, &lost).await
    }
}
