//! Runs as the contracts have them, and back from what the ledger keeps.

use std::time::Duration;

use cortex_core::{ExecutionId, SessionId};
use cortex_proto::cortex::container::v1 as proto;

use super::{system_time, timestamp};
use crate::{
    ports::Stream,
    runs::{Ending, Phase, Progress, Termination, ToolRun, Verdict},
};

/// A run as the contract has it.
pub(crate) fn tool_run(run: &ToolRun) -> proto::ToolRun {
    let ending = run.ending();
    proto::ToolRun {
        execution_id: run.execution_id.to_string(),
        tool_name: run.tool_name.clone(),
        session_id: run.session_id.to_string(),
        status: status(&run.phase).into(),
        started_at: run.started_at.and_then(timestamp),
        completed_at: ending.and_then(|ending| timestamp(ending.completed_at)),
        exit_code: ending.and_then(|ending| ending.exit_code),
        stdout: run.stdout.clone(),
        stderr: run.stderr.clone(),
        result: ending.and_then(|ending| ending.result.clone()).unwrap_or_default(),
        container_id: run.container_id.clone(),
        execution_time_seconds: ending.map_or(0.0, |ending| ending.duration.as_secs_f64()),
        memory_used_mb: ending.and_then(|ending| ending.memory_used_mb).unwrap_or_default(),
        error: ending.map(|ending| ending.error.clone()).unwrap_or_default(),
        termination: ending
            .map_or(proto::Termination::Unspecified, |ending| termination(ending.termination))
            .into(),
        stdout_truncated: run.stdout_truncated,
        stderr_truncated: run.stderr_truncated,
    }
}

/// An event of a run as the contract has it.
pub(crate) fn event(execution_id: &ExecutionId, progress: Progress) -> proto::ExecuteToolResponse {
    use proto::execute_tool_response::Event;
    let event = match progress {
        Progress::Started(container) => Event::Started(proto::ToolStarted {
            execution_id: execution_id.to_string(),
            container_id: container.as_str().to_owned(),
        }),
        Progress::Output(output) => Event::Output(proto::ToolOutput {
            stream: match output.stream {
                Stream::Stdout => proto::OutputStream::Stdout,
                Stream::Stderr => proto::OutputStream::Stderr,
            }
            .into(),
            data: output.data,
        }),
        Progress::Ended(run) => Event::Completed(tool_run(&run)),
    };
    proto::ExecuteToolResponse { event: Some(event) }
}

/// A run that has ended, as the ledger kept it. `None`: it is none of ours.
pub(super) fn ended_run(run: proto::ToolRun, result: Option<String>) -> Option<ToolRun> {
    let (verdict, termination) = (verdict(run.status())?, kept_termination(run.termination())?);
    let ending = Ending {
        verdict,
        termination,
        exit_code: run.exit_code,
        result,
        error: run.error,
        completed_at: system_time(&run.completed_at?)?,
        duration: Duration::try_from_secs_f64(run.execution_time_seconds).ok()?,
        memory_used_mb: Some(run.memory_used_mb).filter(|used| *used > 0.0),
    };
    Some(ToolRun {
        execution_id: ExecutionId::parse(run.execution_id).ok()?,
        tool_name: run.tool_name,
        session_id: SessionId::parse(run.session_id).ok()?,
        phase: Phase::Ended(Box::new(ending)),
        started_at: run.started_at.as_ref().and_then(system_time),
        container_id: run.container_id,
        stdout: run.stdout,
        stdout_truncated: run.stdout_truncated,
        stderr: run.stderr,
        stderr_truncated: run.stderr_truncated,
    })
}

fn status(phase: &Phase) -> proto::ToolRunStatus {
    match phase {
        Phase::Pending => proto::ToolRunStatus::Pending,
        Phase::Running => proto::ToolRunStatus::Running,
        Phase::Ended(ending) => match ending.verdict {
            Verdict::Success => proto::ToolRunStatus::Success,
            Verdict::Failed => proto::ToolRunStatus::Failed,
            Verdict::TimedOut => proto::ToolRunStatus::Timeout,
            Verdict::Cancelled => proto::ToolRunStatus::Cancelled,
            Verdict::Lost => proto::ToolRunStatus::Lost,
        },
    }
}

fn verdict(status: proto::ToolRunStatus) -> Option<Verdict> {
    use proto::ToolRunStatus as Status;
    match status {
        Status::Success => Some(Verdict::Success),
        Status::Failed => Some(Verdict::Failed),
        Status::Timeout => Some(Verdict::TimedOut),
        Status::Cancelled => Some(Verdict::Cancelled),
        Status::Lost => Some(Verdict::Lost),
        Status::Unspecified | Status::Pending | Status::Running => None,
    }
}

fn termination(termination: Termination) -> proto::Termination {
    match termination {
        Termination::Exit => proto::Termination::Exit,
        Termination::Signal => proto::Termination::Signal,
        Termination::Timeout => proto::Termination::Timeout,
        Termination::OutOfMemory => proto::Termination::OutOfMemory,
        Termination::OutputLimit => proto::Termination::OutputLimit,
        Termination::Cancelled => proto::Termination::Cancelled,
        Termination::NotStarted => proto::Termination::NotStarted,
        Termination::Lost => proto::Termination::Lost,
    }
}

fn kept_termination(kept: proto::Termination) -> Option<Termination> {
    [
        Termination::Exit,
        Termination::Signal,
        Termination::Timeout,
        Termination::OutOfMemory,
        Termination::OutputLimit,
        Termination::Cancelled,
        Termination::NotStarted,
        Termination::Lost,
    ]
    .into_iter()
    .find(|known| termination(*known) == kept)
}
