//! The end of a turn before it is done: everything is stopped, settled and said in one append.

use std::collections::HashMap;

use cortex_core::{Fault, MessageId};
use cortex_proto::cortex::{
    agent::v1::{CallOutcome, session_event::Event},
    storage::v1::{Execution, ExecutionSettlement, ExecutionState, JournalEffects, SettlementKind},
};

use super::{
    calls,
    grant::GrantError,
    messages::{answer_message, tool_message},
    runner::Runner,
};
use crate::{
    failure::Failure,
    turn::{self, AttemptPhase, Call, Outcome, TurnView},
};

/// Why a turn ends before it is done.
#[derive(Debug, Clone)]
pub(super) enum Abort {
    /// Somebody asked for it.
    Cancel(String),
    /// It failed.
    Fail(Failure),
}

impl Abort {
    pub(super) fn cancel(reason: &str) -> Self {
        Self::Cancel(if reason.is_empty() { "cancelled".to_owned() } else { reason.to_owned() })
    }

    pub(super) fn deadline() -> Self {
        let fault = Fault::deadline_exceeded("TURN_TIMEOUT", "the turn's time is over");
        Self::Fail(Failure { fault })
    }

    fn event(self, unknown: Vec<String>) -> Event {
        match self {
            Self::Cancel(reason) => turn::turn_cancelled(&reason, unknown),
            Self::Fail(failure) => turn::turn_failed(failure.event()),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Cancel(reason) => reason,
            Self::Fail(failure) => &failure.fault.message,
        }
    }
}

/// Times that the ledger is read anew after it changed under an append.
const LEDGER_TRIES: usize = 50;

impl Runner {
    /// Ends the open turn (session protocol, section 7), together with `effects`.
    pub(super) async fn abort_turn(
        &mut self,
        abort: Abort,
        effects: JournalEffects,
    ) -> Result<(), GrantError> {
        self.attempt = None;
        let Some(turn) = self.view.turn.clone() else {
            return self.append(Vec::new(), effects).await;
        };
        let open: Vec<Call> =
            turn.open_calls().filter(|call| !call.execution_id.is_empty()).cloned().collect();
        let ids: Vec<String> = open.iter().map(|call| call.execution_id.clone()).collect();
        if !ids.is_empty() {
            calls::stop_all(&self.clients, &self.cx, &ids).await;
        }
        self.calls.abandon();
        for _ in 0..LEDGER_TRIES {
            let rows = self.rows(&ids).await?;
            let (events, effects) = closing(&turn, &open, &rows, abort.clone(), effects.clone());
            match self.append(events, effects).await {
                Err(GrantError::Ledger(_)) => {}
                ended => return ended,
            }
        }
        Err(GrantError::Stale)
    }

    async fn rows(&mut self, ids: &[String]) -> Result<HashMap<String, Execution>, GrantError> {
        let mut rows = HashMap::new();
        for id in ids {
            rows.insert(id.clone(), self.row(id).await?);
        }
        Ok(rows)
    }
}

fn closing(
    turn: &TurnView,
    open: &[Call],
    rows: &HashMap<String, Execution>,
    abort: Abort,
    mut effects: JournalEffects,
) -> (Vec<cortex_proto::cortex::agent::v1::SessionEvent>, JournalEffects) {
    let mut events = Vec::new();
    close_answer(turn, &mut events, &mut effects);
    let mut unknown = Vec::new();
    for call in open {
        let Some(row) = rows.get(&call.execution_id) else { continue };
        let (kind, outcome) = settlement(row, abort.reason());
        if kind == SettlementKind::Unknown {
            unknown.push(call.execution_id.clone());
        }
        effects.settlements.push(ExecutionSettlement {
            execution_id: call.execution_id.clone(),
            kind: kind.into(),
        });
        let message = tool_message(turn, call, &outcome);
        events.push(turn::tool_result(call, outcome, &message.message_id));
        effects.messages.push(message);
    }
    events.push(abort.event(unknown));
    effects.closed_turn_id.clone_from(&turn.turn_id);
    (events.into_iter().map(|event| turn::in_turn(&turn.turn_id, event)).collect(), effects)
}

/// What the model said in an attempt that is not ended yet stays in the history: the client saw it.
fn close_answer(turn: &TurnView, events: &mut Vec<Event>, effects: &mut JournalEffects) {
    let calls: Vec<&Call> =
        turn.calls.iter().filter(|call| !call.execution_id.is_empty()).collect();
    if turn.phase != AttemptPhase::Running || (turn.text.is_empty() && calls.is_empty()) {
        return;
    }
    let message_id = String::from(MessageId::generate());
    let attempt = i32::try_from(turn.attempt).unwrap_or(i32::MAX);
    let call_ids = calls.iter().map(|call| call.call_id.clone()).collect();
    effects.messages.push(answer_message(turn, &message_id, &turn.text, &calls));
    events.push(turn::answer_added(&message_id, attempt, call_ids));
}

fn settlement(row: &Execution, reason: &str) -> (SettlementKind, Outcome) {
    match row.state() {
        ExecutionState::Finished => {
            let recorded = row.outcome.clone().unwrap_or_default();
            (SettlementKind::Outcome, calls::outcome(&recorded))
        }
        ExecutionState::Claimed => (
            SettlementKind::Unknown,
            Outcome::failed_as(
                CallOutcome::Unknown,
                format!("{reason}; whether it ran is not known"),
            ),
        ),
        _ => (SettlementKind::NotRun, Outcome::not_run(format!("{reason}; it was not run"))),
    }
}
