//! Submit: a command from anyone, on any replica, without an epoch.

use cortex_core::{SessionId, TurnId};

use super::{
    Change, Command, CommandKind, Decision, Entry, EntryKind, Facts, Fingerprint, Known, Method,
    PendingCommand, RequestId, Sequence, SessionHead,
};
use crate::{
    error::{Result, StorageError},
    session::SessionStatus,
    time::Stamp,
};

/// A command to add to a session's log.
#[derive(Debug, Clone)]
pub struct Submit {
    /// The session.
    pub session_id: SessionId,
    /// The command.
    pub command: Command,
    /// Makes a repeated call the same command.
    pub request_id: Option<RequestId>,
    /// What the request asked for.
    pub fingerprint: Fingerprint,
    /// Refuse if a turn is open or a message waits.
    pub require_idle: bool,
    /// Refuse a message if as many wait already.
    pub max_queued: usize,
    /// Refuse if as many commands of any kind are not consumed.
    pub max_pending: usize,
}

/// What Submit answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The command's sequence.
    pub sequence: Sequence,
    /// Whether the same request had been made before.
    pub duplicate: bool,
    /// The turn that was open when the command was committed.
    pub open_turn: Option<TurnId>,
}

/// Decides a Submit.
///
/// # Errors
/// `RequestIdReused`, `SessionEnded`, `SessionPaused`, `TurnOpen`, `QueueFull`.
pub fn submit(
    head: &SessionHead,
    op: &Submit,
    facts: &impl Facts,
    now: Stamp,
) -> Result<Decision<Submitted>> {
    let key = op.request_id.as_ref().map(|id| id.key(Method::Submit));
    if let (Some(id), Some(known)) = (&op.request_id, key.and_then(|key| facts.known(&key))) {
        known.check(id, op.fingerprint)?;
        return Ok(Decision::unchanged(repeated(known)));
    }
    check_admission(head, op)?;
    let mut change = Change::from(head);
    let sequence = push_command(&mut change, &op.command, now);
    change.head.pending.push(PendingCommand { sequence, kind: op.command.kind });
    let open_turn = head.turn.as_ref().map(|turn| turn.turn_id.clone());
    let note = open_turn.as_ref().map(|turn| turn.as_str().to_owned());
    let known =
        Known { fingerprint: op.fingerprint, first: sequence, last: sequence, at: now, note };
    change.remember(op.request_id.as_ref(), key, known);
    let answer = Submitted { sequence, duplicate: false, open_turn };
    Ok(Decision::changed(change.finish(now), answer))
}

fn repeated(known: &Known) -> Submitted {
    let open_turn = known.note.clone().and_then(|turn| TurnId::parse(turn).ok());
    Submitted { sequence: known.first, duplicate: true, open_turn }
}

fn check_admission(head: &SessionHead, op: &Submit) -> Result<()> {
    let session_id = || head.session_id.clone();
    let kind = op.command.kind;
    if head.status == SessionStatus::Ended && kind != CommandKind::Lifecycle {
        return Err(StorageError::SessionEnded { session_id: session_id() });
    }
    if head.status == SessionStatus::Paused && kind == CommandKind::Message {
        return Err(StorageError::SessionPaused { session_id: session_id() });
    }
    if op.require_idle && (head.turn.is_some() || head.waiting_messages() > 0) {
        let turn_id = head.turn.as_ref().map(|turn| turn.turn_id.to_string());
        return Err(StorageError::TurnOpen { session_id: session_id(), turn_id });
    }
    if kind == CommandKind::Message && head.waiting_messages() >= op.max_queued {
        let (what, limit) = ("messages", op.max_queued);
        return Err(StorageError::QueueFull { session_id: session_id(), what, limit });
    }
    check_pending(head, op.max_pending)
}

/// Refuses a command when `limit` commands are not consumed.
pub(super) fn check_pending(head: &SessionHead, limit: usize) -> Result<()> {
    if head.pending.len() < limit {
        return Ok(());
    }
    let session_id = head.session_id.clone();
    Err(StorageError::QueueFull { session_id, what: "commands", limit })
}

/// Puts `command` at the end of the log, and says where that is.
pub(super) fn push_command(change: &mut Change, command: &Command, now: Stamp) -> Sequence {
    let head = &mut change.head;
    head.head += 1;
    head.last_command = head.head;
    change.entries.push(Entry {
        sequence: head.head,
        kind: EntryKind::Command(command.kind),
        name: command.name.clone(),
        payload: command.payload.clone(),
        created_at: now,
        epoch: 0,
    });
    change.head.head
}
