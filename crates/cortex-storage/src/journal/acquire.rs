//! Acquire: a holder takes a session.

use cortex_core::{HolderId, SessionId};

use super::{Change, Decision, HolderFacts, Sequence, SessionHead};
use crate::{
    error::{Result, StorageError},
    time::Stamp,
};

/// A holder wants a session.
#[derive(Debug, Clone)]
pub struct Acquire {
    /// The session.
    pub session_id: SessionId,
    /// Who wants it.
    pub holder_id: HolderId,
    /// The epoch that the caller saw.
    pub seen_epoch: i64,
}

/// What Acquire answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquired {
    /// The new epoch.
    pub epoch: i64,
    /// The last sequence at the moment of the grant.
    pub head: Sequence,
}

/// Decides an Acquire. A grant always raises the epoch, and ends a wait: what a new holder leaves
/// behind is runnable until it releases.
///
/// # Errors
/// `AcquirerVoid`, `EpochMismatch`, `SessionHeld`, in this order.
pub fn acquire(
    head: &SessionHead,
    op: &Acquire,
    holders: &dyn HolderFacts,
    now: Stamp,
) -> Result<Decision<Acquired>> {
    let session_id = || head.session_id.clone();
    if !holders.is_valid(&op.holder_id) {
        let holder_id = op.holder_id.to_string();
        return Err(StorageError::AcquirerVoid { holder_id, session_id: session_id() });
    }
    if head.epoch != op.seen_epoch {
        let (seen, current) = (op.seen_epoch, head.epoch);
        return Err(StorageError::EpochMismatch { session_id: session_id(), seen, current });
    }
    if let Some(holder) = &head.holder
        && *holder != op.holder_id
        && holders.is_live(holder, now)
    {
        let holder_id = holder.to_string();
        return Err(StorageError::SessionHeld { session_id: session_id(), holder_id });
    }
    let mut change = Change::from(head);
    change.head.epoch += 1;
    change.head.holder = Some(op.holder_id.clone());
    change.head.last_append = None;
    if let Some(turn) = &mut change.head.turn {
        turn.wait = None;
    }
    let answer = Acquired { epoch: change.head.epoch, head: head.head };
    Ok(Decision::changed(change.finish(now), answer))
}
