//! The ledger, by the storage service's JournalService.

use std::time::Duration;

use cortex_core::{ExecutionId, Kind};
use cortex_proto::cortex::storage::v1::{
    ClaimExecutionRequest, ExecutionState, FinishExecutionRequest, GetExecutionRequest,
    ListExecutionsRequest, journal_service_client::JournalServiceClient,
};
use cortex_rpc::{CallContext, Transport, fault, outgoing};
use tonic::{Request, Status};

use crate::{
    convert::{ledger_row, outcome, state_name},
    error::ContainerError,
    ports::{Incarnation, Ledger, LedgerRow, LedgerState},
    runs::ToolRun,
};

/// For one call. Storage commits in milliseconds; what takes longer is tried again.
const LIMIT: Duration = Duration::from_secs(10);
/// A row carries an outcome of up to 1 MiB with its details.
const MAX_MESSAGE: usize = 16 << 20;

/// The ledger in storage, for one incarnation of this service.
pub(crate) struct JournalLedger {
    client: JournalServiceClient<Transport>,
    incarnation: Incarnation,
}

impl JournalLedger {
    /// The ledger behind `storage`.
    pub(crate) fn new(storage: Transport, incarnation: Incarnation) -> Self {
        let client = JournalServiceClient::new(storage)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        Self { client, incarnation }
    }
}

#[tonic::async_trait]
impl Ledger for JournalLedger {
    async fn claim(
        &self,
        cx: &CallContext,
        execution_id: &ExecutionId,
        epoch: i64,
    ) -> Result<(), ContainerError> {
        let request = ClaimExecutionRequest {
            execution_id: execution_id.to_string(),
            claimant_id: self.incarnation.claimant.to_string(),
            claimant_instance: self.incarnation.instance.clone(),
            epoch,
        };
        let claimed = self.client.clone().claim_execution(bounded(cx, request)).await;
        let claimed = claimed.map_err(|status| refusal(&status, execution_id, epoch))?;
        let row = row(claimed.into_inner().execution)?;
        match row.state {
            LedgerState::Claimed { .. } => Ok(()),
            other => Err(refused(execution_id, state_name(&other))),
        }
    }

    async fn finish(&self, cx: &CallContext, run: &ToolRun) -> Result<ToolRun, ContainerError> {
        let execution_id = &run.execution_id;
        let request = FinishExecutionRequest {
            execution_id: execution_id.to_string(),
            claimant_id: self.incarnation.claimant.to_string(),
            outcome: Some(outcome(run)),
        };
        let finished = self.client.clone().finish_execution(bounded(cx, request)).await;
        let finished = finished.map_err(|status| upstream(&status))?;
        match row(finished.into_inner().execution)?.state {
            LedgerState::Finished(won) => Ok(*won),
            other => Err(refused(execution_id, state_name(&other))),
        }
    }

    async fn get(
        &self,
        cx: &CallContext,
        execution_id: &ExecutionId,
    ) -> Result<Option<LedgerRow>, ContainerError> {
        let request = GetExecutionRequest { execution_id: execution_id.to_string() };
        match self.client.clone().get_execution(bounded(cx, request)).await {
            Ok(found) => row(found.into_inner().execution).map(Some),
            Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
            Err(status) => Err(upstream(&status)),
        }
    }

    async fn claimed(&self, cx: &CallContext) -> Result<Vec<LedgerRow>, ContainerError> {
        let mut rows = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListExecutionsRequest {
                claimant_instance: self.incarnation.instance.clone(),
                state: ExecutionState::Claimed.into(),
                page_size: 1000,
                page_token,
                ..Default::default()
            };
            let page = self.client.clone().list_executions(bounded(cx, request)).await;
            let page = page.map_err(|status| upstream(&status))?.into_inner();
            for execution in page.executions {
                rows.push(row(Some(execution))?);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(rows);
            }
        }
    }
}

fn bounded<T>(cx: &CallContext, message: T) -> Request<T> {
    let mut request = outgoing(cx, message);
    request.set_timeout(LIMIT);
    request
}

fn row(
    execution: Option<cortex_proto::cortex::storage::v1::Execution>,
) -> Result<LedgerRow, ContainerError> {
    execution.and_then(ledger_row).ok_or_else(|| {
        ContainerError::Internal("storage answered without a valid execution".into())
    })
}

/// What a refused claim means.
fn refusal(status: &Status, execution_id: &ExecutionId, epoch: i64) -> ContainerError {
    let execution_id = execution_id.clone();
    let fault = fault(status);
    match fault.kind {
        Kind::Aborted => ContainerError::StaleEpoch { execution_id, epoch },
        Kind::NotFound => ContainerError::ExecutionNotFound { execution_id },
        Kind::FailedPrecondition => {
            let state = fault.metadata.get("state").map(String::as_str);
            refused(&execution_id, known_state(state))
        }
        _ => upstream(status),
    }
}

fn refused(execution_id: &ExecutionId, state: &'static str) -> ContainerError {
    ContainerError::ExecutionRefused {
        execution_id: execution_id.clone(),
        state,
        problem: "only an intended execution can be started".into(),
    }
}

fn known_state(state: Option<&str>) -> &'static str {
    let known = ["intended", "claimed", "finished", "closed"];
    let given = state.unwrap_or_default().to_ascii_lowercase();
    known.into_iter().find(|known| given.ends_with(known)).unwrap_or("not intended")
}

fn upstream(status: &Status) -> ContainerError {
    ContainerError::Upstream { service: "storage", fault: Box::new(fault(status)) }
}
