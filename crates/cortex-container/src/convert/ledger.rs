//! Ledger rows and outcomes.

use cortex_core::{ExecutionId, SessionId};
use cortex_proto::cortex::{
    container::v1 as proto,
    storage::v1::{Execution, ExecutionOutcome, ExecutionState, OutcomeKind},
};
use prost::Message as _;
use prost_types::Any;

use super::run::{ended_run, tool_run};
use crate::{
    ports::{LedgerRow, LedgerState},
    runs::{Ending, Phase, Termination, ToolRun, Verdict},
};

const DETAILS: &str = "type.googleapis.com/cortex.container.v1.ToolRun";

/// How a run ended, for its row. The result stands once: not in the details too.
pub(crate) fn outcome(run: &ToolRun) -> ExecutionOutcome {
    let details = proto::ToolRun { result: String::new(), ..tool_run(run) };
    let ending = run.ending();
    ExecutionOutcome {
        kind: ending.map_or(OutcomeKind::Unspecified, kind).into(),
        result: ending.and_then(|ending| ending.result.clone()).unwrap_or_default(),
        error: ending.map(|ending| ending.error.clone()).unwrap_or_default(),
        details: Some(Any { type_url: DETAILS.into(), value: details.encode_to_vec() }),
    }
}

fn kind(ending: &Ending) -> OutcomeKind {
    match (ending.verdict, ending.termination) {
        (Verdict::Success, _) => OutcomeKind::Succeeded,
        (Verdict::Failed, _) => OutcomeKind::Failed,
        (Verdict::TimedOut, _) => OutcomeKind::TimedOut,
        (Verdict::Cancelled, Termination::NotStarted) => OutcomeKind::NotStarted,
        (Verdict::Cancelled, _) => OutcomeKind::Cancelled,
        (Verdict::Lost, _) => OutcomeKind::Lost,
    }
}

/// A row of the ledger. `None`: it is malformed.
pub(crate) fn ledger_row(row: Execution) -> Option<LedgerRow> {
    let execution_id = ExecutionId::parse(row.execution_id.clone()).ok()?;
    let session_id = SessionId::parse(row.session_id.clone()).ok()?;
    let state = match row.state() {
        ExecutionState::Unspecified => return None,
        ExecutionState::Intended => LedgerState::Intended,
        ExecutionState::Closed => LedgerState::Closed,
        ExecutionState::Claimed => {
            LedgerState::Claimed { claimant: row.claimant_id, instance: row.claimant_instance }
        }
        ExecutionState::Finished => {
            let bare = ToolRun::unknown(
                execution_id.clone(),
                row.name.clone(),
                session_id.clone(),
                Phase::Pending,
            );
            LedgerState::Finished(Box::new(finished(row.outcome.unwrap_or_default(), bare)))
        }
    };
    Some(LedgerRow { execution_id, session_id, tool_name: row.name, state })
}

/// The run of an outcome. One that another service recorded has no details of ours: then `bare` has
/// what the outcome says.
fn finished(outcome: ExecutionOutcome, bare: ToolRun) -> ToolRun {
    let kind = outcome.kind();
    let result = Some(outcome.result).filter(|result| !result.is_empty());
    let details = outcome.details.filter(|details| details.type_url == DETAILS);
    let kept = details.and_then(|details| proto::ToolRun::decode(details.value.as_slice()).ok());
    if let Some(run) = kept.and_then(|kept| ended_run(kept, result.clone())) {
        return run;
    }
    let (verdict, termination) = match kind {
        OutcomeKind::Succeeded => (Verdict::Success, Termination::Exit),
        OutcomeKind::Failed => (Verdict::Failed, Termination::Exit),
        OutcomeKind::TimedOut => (Verdict::TimedOut, Termination::Timeout),
        OutcomeKind::Cancelled => (Verdict::Cancelled, Termination::Cancelled),
        OutcomeKind::NotStarted => (Verdict::Cancelled, Termination::NotStarted),
        OutcomeKind::Lost | OutcomeKind::Unspecified => (Verdict::Lost, Termination::Lost),
    };
    let at = std::time::SystemTime::UNIX_EPOCH;
    let ending = Ending { verdict, termination, result, ..Ending::lost(outcome.error, at) };
    ToolRun { phase: Phase::Ended(Box::new(ending)), ..bare }
}

/// Where a row stands, in a word.
pub(crate) fn state_name(state: &LedgerState) -> &'static str {
    match state {
        LedgerState::Intended => "intended",
        LedgerState::Claimed { .. } => "claimed",
        LedgerState::Finished(_) => "finished",
        LedgerState::Closed => "closed",
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn an_outcome_comes_back_as_it_was() {
        let ending = Ending {
            verdict: Verdict::Success,
            termination: Termination::OutOfMemory,
            exit_code: Some(0),
            result: Some("{\"n\": 6, \"m\": 9007199254740993}".into()),
            error: "a child was killed".into(),
            completed_at: SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 5),
            duration: Duration::from_millis(250),
            memory_used_mb: None,
        };
        let run = ToolRun {
            execution_id: ExecutionId::generate(),
            tool_name: "t".into(),
            session_id: SessionId::generate(),
            phase: Phase::Ended(Box::new(ending)),
            started_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_699_999_999)),
            container_id: "c".into(),
            stdout: "{\"n\": 6, \"m\": 9007199254740993}\n".into(),
            stdout_truncated: false,
            stderr: "warn".into(),
            stderr_truncated: true,
        };
        let row = Execution {
            execution_id: run.execution_id.to_string(),
            session_id: run.session_id.to_string(),
            name: "t".into(),
            state: ExecutionState::Finished.into(),
            outcome: Some(outcome(&run)),
            ..Default::default()
        };
        let back = ledger_row(row).unwrap();
        assert_eq!(back.state, LedgerState::Finished(Box::new(run)));
    }

    #[test]
    fn an_outcome_without_our_details_is_still_one() {
        let row = Execution {
            execution_id: ExecutionId::generate().to_string(),
            session_id: SessionId::generate().to_string(),
            name: "t".into(),
            state: ExecutionState::Finished.into(),
            outcome: Some(ExecutionOutcome {
                kind: OutcomeKind::Lost.into(),
                error: "gone".into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let LedgerState::Finished(run) = ledger_row(row).unwrap().state else { panic!() };
        let ending = run.ending().unwrap();
        assert_eq!((ending.verdict, ending.error.as_str()), (Verdict::Lost, "gone"));
    }
}
