//! Tool runs: what is known of one, while it runs and after.

mod board;
mod capture;
mod live;

use std::time::{Duration, SystemTime};

use cortex_core::{ExecutionId, SessionId};

pub(crate) use board::{Board, Keeping, Started};
pub(crate) use capture::Capture;
pub(crate) use live::{Live, Progress, Subject};

/// A tool run as it stands at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ToolRun {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The tool.
    pub tool_name: String,
    /// The session that it runs for.
    pub session_id: SessionId,
    /// Where it stands, or how it ended.
    pub phase: Phase,
    /// When its container was started.
    pub started_at: Option<SystemTime>,
    /// The engine's id of the container. Empty before there is one.
    pub container_id: String,
    /// What it wrote to standard output, as far as it is kept.
    pub stdout: String,
    /// Whether there was more.
    pub stdout_truncated: bool,
    /// What it wrote to standard error, as far as it is kept.
    pub stderr: String,
    /// Whether there was more.
    pub stderr_truncated: bool,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Phase {
    /// It waits for a place.
    Pending,
    /// It runs.
    Running,
    /// It ended.
    Ended(Box<Ending>),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ending {
    /// Success, or which kind of failure.
    pub verdict: Verdict,
    /// What ended it.
    pub termination: Termination,
    /// The exit code, if it exited by itself.
    pub exit_code: Option<i32>,
    /// Standard output as one JSON value, exactly as it was written, without blanks around it.
    pub result: Option<String>,
    /// What went wrong, for a person. Empty: nothing.
    pub error: String,
    /// When it was known.
    pub completed_at: SystemTime,
    /// From its start. Zero if it never started.
    pub duration: Duration,
    /// The most memory that it used. `None`: not known.
    pub memory_used_mb: Option<f64>,
}

/// Success, or which kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It exited with 0.
    Success,
    /// It exited with another code, was killed, or could not be started.
    Failed,
    /// It ran into its time limit.
    TimedOut,
    /// It was stopped by a call.
    Cancelled,
    /// Whether it ran is not known.
    Lost,
}

/// What ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Termination {
    /// It exited by itself.
    Exit,
    /// A signal that was not ours.
    Signal,
    /// Its time limit.
    Timeout,
    /// Its memory limit, of its first process or of a child.
    OutOfMemory,
    /// Its output limit.
    OutputLimit,
    /// A call.
    Cancelled,
    /// It never started.
    NotStarted,
    /// The service or the engine died under it.
    Lost,
}

impl ToolRun {
    /// A run of which nothing is known but who it is.
    pub(crate) fn unknown(
        execution_id: ExecutionId,
        tool_name: String,
        session_id: SessionId,
        phase: Phase,
    ) -> Self {
        Self {
            execution_id,
            tool_name,
            session_id,
            phase,
            started_at: None,
            container_id: String::new(),
            stdout: String::new(),
            stdout_truncated: false,
            stderr: String::new(),
            stderr_truncated: false,
        }
    }

    /// How it ended. `None`: it has not.
    pub(crate) fn ending(&self) -> Option<&Ending> {
        match &self.phase {
            Phase::Ended(ending) => Some(ending),
            Phase::Pending | Phase::Running => None,
        }
    }
}

impl Ending {
    /// A run that never started.
    pub(crate) fn not_started(verdict: Verdict, error: impl Into<String>, at: SystemTime) -> Self {
        Self::without_exit(verdict, Termination::NotStarted, error, at)
    }

    /// A run of which nobody knows whether it ran.
    pub(crate) fn lost(error: impl Into<String>, at: SystemTime) -> Self {
        Self::without_exit(Verdict::Lost, Termination::Lost, error, at)
    }

    fn without_exit(
        verdict: Verdict,
        termination: Termination,
        error: impl Into<String>,
        completed_at: SystemTime,
    ) -> Self {
        Self {
            verdict,
            termination,
            exit_code: None,
            result: None,
            error: error.into(),
            completed_at,
            duration: Duration::ZERO,
            memory_used_mb: None,
        }
    }
}
