//! Release: a holder gives a session back.

use cortex_core::{HolderId, SessionId};

use super::{Change, Decision, Sequence, SessionHead, Wait};
use crate::{
    error::{Result, StorageError},
    time::Stamp,
};

/// A holder gives a session back.
#[derive(Debug, Clone)]
pub struct Release {
    /// The session.
    pub session_id: SessionId,
    /// Who releases.
    pub holder_id: HolderId,
    /// Under which grant.
    pub epoch: i64,
    /// The last command that the holder has seen.
    pub last_command: Sequence,
    /// Set: the open turn waits. Absent: idle.
    pub wait: Option<Wait>,
}

/// Decides a Release: answers whether the caller held the session until now.
///
/// # Errors
/// `CommandsPending` if a later command exists or the cursor differs; idle with an open turn is
/// `TurnOpen`, idle with a queue is `CommandsPending`, and waiting without a turn is `TurnNotOpen`.
pub fn release(head: &SessionHead, op: &Release, now: Stamp) -> Result<Decision<bool>> {
    if !head.is_held_by(&op.holder_id, op.epoch) {
        return Ok(Decision::unchanged(false));
    }
    let session_id = || head.session_id.clone();
    let pending = || StorageError::CommandsPending {
        session_id: head.session_id.clone(),
        last_command: head.last_command,
        consumed: head.consumed,
    };
    if head.last_command != op.last_command || head.consumed != op.last_command {
        return Err(pending());
    }
    match (&op.wait, &head.turn) {
        (None, Some(turn)) => {
            let turn_id = Some(turn.turn_id.to_string());
            return Err(StorageError::TurnOpen { session_id: session_id(), turn_id });
        }
        (None, None) if !head.queue.is_empty() => return Err(pending()),
        (Some(_), None) => {
            let turn_id = String::new();
            return Err(StorageError::TurnNotOpen { session_id: session_id(), turn_id });
        }
        _ => {}
    }
    let mut change = Change::from(head);
    change.head.holder = None;
    if let Some(turn) = &mut change.head.turn {
        turn.wait = op.wait;
    }
    Ok(Decision::changed(change.finish(now), true))
}
