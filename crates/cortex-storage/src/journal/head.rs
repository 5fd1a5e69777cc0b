//! Where a session's protocol stands: everything that decides what may happen next.

use cortex_core::{HolderId, TurnId};

use super::{CommandKind, LastAppend, MarkNo, Sequence};
use crate::{session::SessionStatus, time::Stamp};

/// The number of a session inside one database. Never leaves storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionNo(pub i64);

/// A command that is not consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingCommand {
    /// Its place in the log.
    pub sequence: Sequence,
    /// What kind it is.
    pub kind: CommandKind,
}

/// Why a session with an open turn is held by nobody on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// When somebody should take it even without a command.
    pub wake_at: Option<Stamp>,
}

/// The turn that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTurn {
    /// Its id.
    pub turn_id: TurnId,
    /// The sequence of the event that opened it.
    pub sequence: Sequence,
    /// Set while it waits for a human or a time.
    pub wait: Option<Wait>,
}

/// Where a session's protocol stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionHead {
    /// Its number.
    pub session: SessionNo,
    /// Its id, for messages.
    pub session_id: String,
    /// Whether it takes messages.
    pub status: SessionStatus,
    /// The last sequence.
    pub head: Sequence,
    /// The sequence of the last command; 0: none.
    pub last_command: Sequence,
    /// Commands up to here are consumed.
    pub consumed: Sequence,
    /// Commands after `consumed`, in order.
    pub pending: Vec<PendingCommand>,
    /// Raised by every grant.
    pub epoch: i64,
    /// Who holds it.
    pub holder: Option<HolderId>,
    /// The turn that runs.
    pub turn: Option<OpenTurn>,
    /// Consumed messages that wait for the open turn to end, in order.
    pub queue: Vec<Sequence>,
    /// Calls of the open turn without a result.
    pub open_calls: i64,
    /// Messages in the history.
    pub message_count: i64,
    /// The position of the last message ever.
    pub last_position: i64,
    /// Messages up to this position have left the history.
    pub history_floor: i64,
    /// The last numbered append under the current grant.
    pub last_append: Option<LastAppend>,
    /// The last mark.
    pub marks: MarkNo,
    /// Entries up to here are rows of other sessions; 0: none is.
    pub shared: Sequence,
    /// Since or from when somebody should take it, if nobody holds it.
    pub ready_at: Option<Stamp>,
    /// When it last changed.
    pub updated_at: Stamp,
}

impl SessionHead {
    /// The head of a session without entries.
    pub fn new(session: SessionNo, session_id: String, now: Stamp) -> Self {
        Self {
            session,
            session_id,
            status: SessionStatus::Active,
            head: 0,
            last_command: 0,
            consumed: 0,
            pending: Vec::new(),
            epoch: 0,
            holder: None,
            turn: None,
            queue: Vec::new(),
            open_calls: 0,
            message_count: 0,
            last_position: 0,
            history_floor: 0,
            last_append: None,
            marks: 0,
            shared: 0,
            ready_at: None,
            updated_at: now,
        }
    }

    /// Whether `holder` holds the session under `epoch`.
    pub fn is_held_by(&self, holder: &HolderId, epoch: i64) -> bool {
        self.epoch == epoch && self.holder.as_ref() == Some(holder)
    }

    /// How many messages wait for a turn.
    pub fn waiting_messages(&self) -> usize {
        let unconsumed = self.pending.iter().filter(|c| c.kind == CommandKind::Message).count();
        unconsumed + self.queue.len()
    }

    /// Whether nothing can follow the head unless somebody reopens the session.
    pub fn is_finished(&self) -> bool {
        self.status == SessionStatus::Ended && self.is_quiescent()
    }

    /// Whether a fork may begin here: no turn is open, no message waits, every command is consumed.
    pub fn is_quiescent(&self) -> bool {
        self.turn.is_none() && self.pending.is_empty() && self.queue.is_empty()
    }

    /// Whether there is something to do that waits for nobody.
    fn has_work(&self) -> bool {
        let running = self.turn.as_ref().is_some_and(|turn| turn.wait.is_none());
        running || !self.pending.is_empty() || !self.queue.is_empty()
    }

    /// Recomputes from when on the session is runnable when nobody holds it. Every decision ends
    /// with this, so that the predicate never depends on a notice.
    pub(crate) fn refresh_readiness(&mut self, now: Stamp) {
        self.ready_at = if self.has_work() {
            Some(self.ready_at.map_or(now, |since| since.min(now)))
        } else {
            self.turn.as_ref().and_then(|turn| turn.wait).and_then(|wait| wait.wake_at)
        };
    }
}
