//! Writes that storage itself applies: the state, history and session services' changes.
//!
//! A direct write leaves a COMMAND entry in the log, whose payload is the storage request itself
//! without the session's id, since a fork has the same entry; and its effect is applied in the transaction that commits the entry. Nobody has to do anything more
//! about it; what remains is the cursor, which must pass every command in order:
//!
//! - nobody holds the session and no command is pending: the cursor moves past the entry in the same
//!   transaction;
//! - otherwise only an Append may move it, so the entry stays pending, and whoever holds the session
//!   consumes it in its turn *without any further effect*. Holders know such a command by its payload,
//!   whose type is of the package `cortex.storage.v1`.
//!
//! While a turn is open, changes of the history and of the status are refused.

use cortex_core::SessionId;

use super::{
    Change, Command, Decision, Facts, Fingerprint, Known, MessageChange, Method, PendingCommand,
    RequestId, Sequence, SessionHead,
    append::add_message,
    submit::{check_pending, push_command},
    text::content,
};
use crate::{
    entry_text::Text,
    error::{Result, StorageError},
    history::{Message, NewMessage},
    session::SessionStatus,
    state::{State, StateChange},
    time::Stamp,
};

/// A write that storage itself applies.
#[derive(Debug, Clone)]
pub struct Direct {
    /// The session.
    pub session_id: SessionId,
    /// What the log says about it.
    pub command: Command,
    /// What it changes.
    pub effect: DirectEffect,
    /// Makes a repeated call the same write.
    pub request_id: Option<RequestId>,
    /// What the request asked for.
    pub fingerprint: Fingerprint,
    /// Refuse if as many commands are not consumed.
    pub max_pending: usize,
    /// Bytes that the state may have afterwards.
    pub max_state: u64,
}

/// What a direct write changes.
#[derive(Debug, Clone)]
pub enum DirectEffect {
    /// The state, only if it still has this etag.
    State(StateChange, Option<String>),
    /// A message joins the history. Its text may stand in the command.
    AddMessage(NewMessage),
    /// Every message leaves the history.
    ClearHistory,
    /// The session's status.
    Status(SessionStatus),
}

impl DirectEffect {
    /// Whether the state is needed to know what it changes.
    pub fn is_of_state(&self) -> bool {
        matches!(self, Self::State(..))
    }
}

/// What a direct write answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectOutcome {
    /// The state afterwards.
    State(State),
    /// The message that joined.
    Added(Message),
    /// The request was made before: the id of the message that joined then.
    AddedBefore(String),
    /// Done.
    Done,
}

/// Decides a direct write.
///
/// # Errors
/// `RequestIdReused`, `SessionEnded`, `QueueFull`, `TurnOpen`, `EtagMismatch`, `TooLarge`.
pub fn direct(
    head: &SessionHead,
    op: &Direct,
    facts: &impl Facts,
    now: Stamp,
) -> Result<Decision<DirectOutcome>> {
    let key = op.request_id.as_ref().map(|id| id.key(Method::AddMessage));
    if let (Some(id), Some(known)) = (&op.request_id, key.and_then(|key| facts.known(&key))) {
        known.check(id, op.fingerprint)?;
        let message_id = known.note.clone().unwrap_or_default();
        return Ok(Decision::unchanged(DirectOutcome::AddedBefore(message_id)));
    }
    if matches!(op.effect, DirectEffect::Status(status) if status == head.status) {
        return Ok(Decision::unchanged(DirectOutcome::Done));
    }
    check(head, op)?;
    let mut change = Change::from(head);
    let sequence = push_command(&mut change, &op.command, now);
    pass_or_leave(&mut change.head, op, sequence);
    let answer = apply(&mut change, op, facts, now)?;
    if let DirectOutcome::Added(message) = &answer {
        let (fingerprint, note) = (op.fingerprint, Some(message.message_id.to_string()));
        let known = Known { fingerprint, first: message.position, last: sequence, at: now, note };
        change.remember(op.request_id.as_ref(), key, known);
    }
    Ok(Decision::changed(change.finish(now), answer))
}

fn check(head: &SessionHead, op: &Direct) -> Result<()> {
    let status = matches!(op.effect, DirectEffect::Status(_));
    if head.status == SessionStatus::Ended && !status {
        return Err(StorageError::SessionEnded { session_id: head.session_id.clone() });
    }
    let needs_no_turn = !op.effect.is_of_state();
    if let Some(turn) = &head.turn
        && needs_no_turn
    {
        let (session_id, turn_id) = (head.session_id.clone(), Some(turn.turn_id.to_string()));
        return Err(StorageError::TurnOpen { session_id, turn_id });
    }
    check_pending(head, op.max_pending)
}

fn pass_or_leave(head: &mut SessionHead, op: &Direct, sequence: Sequence) {
    if head.holder.is_none() && head.pending.is_empty() {
        head.consumed = sequence;
    } else {
        head.pending.push(PendingCommand { sequence, kind: op.command.kind });
    }
}

fn apply(
    change: &mut Change,
    op: &Direct,
    facts: &impl Facts,
    now: Stamp,
) -> Result<DirectOutcome> {
    match &op.effect {
        DirectEffect::State(state, etag) => {
            let before = facts.state();
            if let Some(given) = etag
                && *given != before.etag()
            {
                let (session_id, current) = (change.head.session_id.clone(), before.etag());
                return Err(StorageError::EtagMismatch {
                    session_id,
                    given: given.clone(),
                    current,
                });
            }
            let after = before.apply(state, op.max_state, now)?;
            change.change_state(state, after.clone());
            Ok(DirectOutcome::State(after))
        }
        DirectEffect::AddMessage(new) => {
            let content = content(change, "content", &new.content)?;
            let mut message = add_message(change, new, content, now);
            if let Text::InEntries { place, .. } = &new.content {
                place.piece(&op.command.payload.value).clone_into(&mut message.content);
            }
            Ok(DirectOutcome::Added(message))
        }
        DirectEffect::ClearHistory => {
            change.head.history_floor = change.head.last_position;
            change.head.message_count = 0;
            change.messages.push(MessageChange::Clear);
            Ok(DirectOutcome::Done)
        }
        DirectEffect::Status(status) => {
            change.head.status = *status;
            Ok(DirectOutcome::Done)
        }
    }
}
