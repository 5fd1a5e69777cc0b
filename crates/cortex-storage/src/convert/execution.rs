//! The ledger.

use super::{
    PageRequest,
    entry::payload_to_proto,
    field::{fits, id, name, not_negative, optional_id, optional_name, payload},
    proto,
};
use crate::{
    config::Limits,
    error::{Result, StorageError},
    journal::{Claim, Execution, ExecutionState, Finish, Outcome, OutcomeKind},
    json,
    ports::ExecutionQuery,
};

/// A claim.
pub(crate) fn claim(request: proto::ClaimExecutionRequest) -> Result<Claim> {
    Ok(Claim {
        execution_id: id("execution_id", &request.execution_id)?,
        claimant_id: id("claimant_id", &request.claimant_id)?,
        claimant_instance: name("claimant_instance", request.claimant_instance)?,
        epoch: not_negative("epoch", request.epoch)?,
    })
}

/// How an execution ended.
pub(crate) fn finish(request: proto::FinishExecutionRequest, limits: &Limits) -> Result<Finish> {
    let outcome = request.outcome.ok_or_else(|| StorageError::invalid("outcome", "is missing"))?;
    let kind = outcome_kind(outcome.kind()).ok_or_else(|| {
        StorageError::invalid("outcome.kind", "is missing or not one of the kinds")
    })?;
    let limit = limits.outcome.get();
    fits("outcome.result", outcome.result.len(), limit)?;
    fits("outcome.error", outcome.error.len(), limit)?;
    if !outcome.result.is_empty() {
        json::check_value(&outcome.result)
            .map_err(|error| StorageError::invalid("outcome.result", error.to_string()))?;
    }
    let details = outcome
        .details
        .map(|details| payload("outcome.details", Some(details), limit))
        .transpose()?;
    Ok(Finish {
        execution_id: id("execution_id", &request.execution_id)?,
        claimant_id: id("claimant_id", &request.claimant_id)?,
        outcome: Outcome { kind, result: outcome.result, error: outcome.error, details },
    })
}

/// Which rows to list.
pub(crate) fn execution_query(
    request: &proto::ListExecutionsRequest,
) -> Result<(ExecutionQuery, PageRequest)> {
    if request.session_id.is_empty() && request.claimant_instance.is_empty() {
        let problem = "one of session_id and claimant_instance must be given";
        return Err(StorageError::invalid("session_id", problem));
    }
    let claimant_instance = optional_name("claimant_instance", request.claimant_instance.clone())?;
    let bound = (&request.session_id, &request.claimant_instance, request.state);
    let page = PageRequest::parse(request.page_size, &request.page_token, &bound)?;
    let query = ExecutionQuery {
        session_id: optional_id("session_id", &request.session_id)?,
        claimant_instance: Some(claimant_instance).filter(|name| !name.is_empty()),
        state: state_filter(request.state)?,
        page_size: page.size,
        after: page.number()?.unwrap_or(0),
    };
    Ok((query, page))
}

fn state_filter(number: i32) -> Result<Option<ExecutionState>> {
    let state = proto::ExecutionState::try_from(number)
        .map_err(|_| StorageError::invalid("state", "is not one of the states"))?;
    Ok(match state {
        proto::ExecutionState::Unspecified => None,
        proto::ExecutionState::Intended => Some(ExecutionState::Intended),
        proto::ExecutionState::Claimed => Some(ExecutionState::Claimed),
        proto::ExecutionState::Finished => Some(ExecutionState::Finished),
        proto::ExecutionState::Closed => Some(ExecutionState::Closed),
    })
}

/// A row as the contract has it.
pub(crate) fn execution_to_proto(execution: Execution) -> proto::Execution {
    let state = match execution.state {
        ExecutionState::Intended => proto::ExecutionState::Intended,
        ExecutionState::Claimed => proto::ExecutionState::Claimed,
        ExecutionState::Finished => proto::ExecutionState::Finished,
        ExecutionState::Closed => proto::ExecutionState::Closed,
    };
    proto::Execution {
        execution_id: execution.execution_id.into(),
        session_id: execution.session_id,
        turn_id: execution.turn_id.into(),
        call_id: execution.call_id.into(),
        kind: execution.kind.name().to_owned(),
        name: execution.name,
        state: state.into(),
        claimant_id: execution.claimant_id.map(String::from).unwrap_or_default(),
        claimant_instance: execution.claimant_instance,
        outcome: execution.outcome.map(outcome_to_proto),
        settled: execution.settled,
        created_at: Some(execution.created_at.into()),
        updated_at: Some(execution.updated_at.into()),
    }
}

fn outcome_to_proto(outcome: Outcome) -> proto::ExecutionOutcome {
    let kind = match outcome.kind {
        OutcomeKind::Succeeded => proto::OutcomeKind::Succeeded,
        OutcomeKind::Failed => proto::OutcomeKind::Failed,
        OutcomeKind::TimedOut => proto::OutcomeKind::TimedOut,
        OutcomeKind::Cancelled => proto::OutcomeKind::Cancelled,
        OutcomeKind::NotStarted => proto::OutcomeKind::NotStarted,
        OutcomeKind::Lost => proto::OutcomeKind::Lost,
    };
    proto::ExecutionOutcome {
        kind: kind.into(),
        result: outcome.result,
        error: outcome.error,
        details: outcome.details.map(payload_to_proto),
    }
}

fn outcome_kind(kind: proto::OutcomeKind) -> Option<OutcomeKind> {
    Some(match kind {
        proto::OutcomeKind::Unspecified => return None,
        proto::OutcomeKind::Succeeded => OutcomeKind::Succeeded,
        proto::OutcomeKind::Failed => OutcomeKind::Failed,
        proto::OutcomeKind::TimedOut => OutcomeKind::TimedOut,
        proto::OutcomeKind::Cancelled => OutcomeKind::Cancelled,
        proto::OutcomeKind::NotStarted => OutcomeKind::NotStarted,
        proto::OutcomeKind::Lost => OutcomeKind::Lost,
    })
}
