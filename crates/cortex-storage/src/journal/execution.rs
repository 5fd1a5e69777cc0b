//! The ledger: one row per execution, and who may move it.

use cortex_core::{CallId, ClaimantId, ExecutionId, TurnId};

use super::{Change, Decision, Payload, SessionHead, SessionNo};
use crate::{
    error::{Result, StorageError},
    time::Stamp,
};

/// Gives an enum a number for the database and a name for people.
macro_rules! numbered {
    ($name:ident { $($variant:ident = $number:literal, $text:literal;)* }) => {
        impl $name {
            /// The number under which it is stored.
            pub fn number(self) -> i64 {
                match self { $(Self::$variant => $number,)* }
            }

            /// The value stored as `number`.
            pub fn from_number(number: i64) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// Its name in contracts and messages.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The value of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

/// What runs an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecutionKind {
    /// A tool in a container.
    Tool,
    /// An operation of a relic.
    Relic,
    /// A child session.
    Agent,
    /// A completion of a model.
    Completion,
}

numbered!(ExecutionKind { Tool = 1, "tool"; Relic = 2, "relic"; Agent = 3, "agent"; Completion = 4, "completion"; });

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecutionState {
    /// Its intent is journaled.
    Intended,
    /// A container service may start it.
    Claimed,
    /// Its outcome is recorded.
    Finished,
    /// Settled before anybody claimed it.
    Closed,
}

numbered!(ExecutionState { Intended = 1, "intended"; Claimed = 2, "claimed"; Finished = 3, "finished"; Closed = 4, "closed"; });

/// In which way an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutcomeKind {
    /// It ran and succeeded.
    Succeeded,
    /// It ran and failed, or could not be started.
    Failed,
    /// It ran into its time limit.
    TimedOut,
    /// It was stopped while it ran.
    Cancelled,
    /// It was claimed and stopped before it started.
    NotStarted,
    /// Its container service died.
    Lost,
}

numbered!(OutcomeKind { Succeeded = 1, "succeeded"; Failed = 2, "failed"; TimedOut = 3, "timed_out"; Cancelled = 4, "cancelled"; NotStarted = 5, "not_started"; Lost = 6, "lost"; });

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// In which way.
    pub kind: OutcomeKind,
    /// What came back: one JSON value, or nothing.
    pub result: String,
    /// What went wrong, for a person.
    pub error: String,
    /// The details of the run.
    pub details: Option<Payload>,
}

/// The ledger row of one execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Its id.
    pub execution_id: ExecutionId,
    /// The session's number.
    pub session: SessionNo,
    /// The session's id.
    pub session_id: String,
    /// The turn.
    pub turn_id: TurnId,
    /// The call.
    pub call_id: CallId,
    /// What runs it.
    pub kind: ExecutionKind,
    /// The name of the tool, relic or agent.
    pub name: String,
    /// Where it stands.
    pub state: ExecutionState,
    /// The incarnation that claimed it.
    pub claimant_id: Option<ClaimantId>,
    /// What the claimant is an incarnation of.
    pub claimant_instance: String,
    /// In which way it ended.
    pub outcome_kind: Option<OutcomeKind>,
    /// How it ended, where that was read or is new.
    pub outcome: Option<Outcome>,
    /// Whether an append settled its call.
    pub settled: bool,
    /// When the intent was committed.
    pub created_at: Stamp,
    /// When the row last changed.
    pub updated_at: Stamp,
}

/// A container service wants to start an execution.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The execution.
    pub execution_id: ExecutionId,
    /// One incarnation of one container service.
    pub claimant_id: ClaimantId,
    /// What the claimant is an incarnation of.
    pub claimant_instance: String,
    /// The epoch of the holder that asked.
    pub epoch: i64,
}

/// Decides a claim, in this order: the claimant's own earlier claim is granted again, whatever the
/// epoch; the epoch must be current and the session held; the row must be intended.
///
/// # Errors
/// `StaleEpoch`, `ExecutionNotIntended`.
pub fn claim(head: &SessionHead, row: &Execution, op: &Claim, now: Stamp) -> Result<Decision<()>> {
    let own = row.claimant_id.as_ref() == Some(&op.claimant_id);
    if row.state == ExecutionState::Claimed && own {
        return Ok(Decision::unchanged(()));
    }
    if head.holder.is_none() || head.epoch != op.epoch {
        let session_id = head.session_id.clone();
        return Err(StorageError::StaleEpoch { session_id, epoch: op.epoch, current: head.epoch });
    }
    if row.state != ExecutionState::Intended {
        let execution_id = row.execution_id.to_string();
        return Err(StorageError::ExecutionNotIntended { execution_id, state: row.state });
    }
    let mut change = Change::from(head);
    change.executions.push(Execution {
        state: ExecutionState::Claimed,
        claimant_id: Some(op.claimant_id.clone()),
        claimant_instance: op.claimant_instance.clone(),
        updated_at: now,
        ..row.clone()
    });
    Ok(Decision::changed(change, ()))
}

/// A container service says how an execution ended.
#[derive(Debug, Clone)]
pub struct Finish {
    /// The execution.
    pub execution_id: ExecutionId,
    /// Who claimed it, or its successor for a lost outcome.
    pub claimant_id: ClaimantId,
    /// How it ended.
    pub outcome: Outcome,
}

/// Decides a finish: the first outcome wins, and no epoch is needed. Only the claimant may say how it
/// ended; that it is lost may be said by any other incarnation, since the claimant is dead.
///
/// # Errors
/// `LedgerPrecondition` when nobody has claimed it, or somebody else.
pub fn finish(
    head: &SessionHead,
    row: &Execution,
    op: &Finish,
    now: Stamp,
) -> Result<Decision<()>> {
    let own = row.claimant_id.as_ref() == Some(&op.claimant_id);
    match row.state {
        ExecutionState::Finished => return Ok(Decision::unchanged(())),
        ExecutionState::Claimed if own || op.outcome.kind == OutcomeKind::Lost => {}
        ExecutionState::Claimed => return Err(row.refuse("only its claimant can finish it")),
        _ => return Err(row.refuse("only a claimed execution can finish")),
    }
    let mut change = Change::from(head);
    change.executions.push(Execution {
        state: ExecutionState::Finished,
        outcome_kind: Some(op.outcome.kind),
        outcome: Some(op.outcome.clone()),
        updated_at: now,
        ..row.clone()
    });
    Ok(Decision::changed(change, ()))
}

impl Execution {
    /// The row is not in the state that something needs.
    pub(super) fn refuse(&self, wanted: &'static str) -> StorageError {
        let state = if self.settled { "settled" } else { self.state.name() };
        let execution_id = self.execution_id.to_string();
        StorageError::LedgerPrecondition { execution_id, state, wanted }
    }
}
