//! What an append changes beside the log.

use cortex_core::{CallId, ExecutionId, MessageId, TurnId};

use super::{ExecutionKind, Sequence};
use crate::{entry_text::Text, history::NewMessage, session::SessionStatus, state::StateChange};

/// What an append changes beside the log, in the same transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Commands up to and with this sequence are consumed.
    pub consumed: Option<Sequence>,
    /// A turn opens.
    pub opened_turn: Option<TurnId>,
    /// The open turn closes.
    pub closed_turn: Option<TurnId>,
    /// Messages, consumed by this append, that wait for the open turn to end.
    pub queued: Vec<Sequence>,
    /// Queued messages that no longer wait.
    pub dequeued: Vec<Sequence>,
    /// Messages that join the history, in order.
    pub messages: Vec<NewMessage>,
    /// Messages whose content is replaced.
    pub message_updates: Vec<MessageUpdate>,
    /// Messages that leave the history.
    pub deleted_messages: Vec<MessageId>,
    /// A change of the state.
    pub state: Option<StateChange>,
    /// Executions that may be dispatched.
    pub intents: Vec<Intent>,
    /// Calls that get their one result.
    pub settlements: Vec<Settlement>,
    /// The session's new status.
    pub status: Option<SessionStatus>,
}

impl Effects {
    /// The texts of messages that join or are changed.
    pub(crate) fn texts_mut(&mut self) -> impl Iterator<Item = &mut Text> {
        let new = self.messages.iter_mut().map(|message| &mut message.content);
        new.chain(self.message_updates.iter_mut().map(|update| &mut update.content))
    }

    /// Whether nothing changes beside the log.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The content of a message is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageUpdate {
    /// The message.
    pub message_id: MessageId,
    /// The new text, or where it stands.
    pub content: Text,
}

/// An execution that may be dispatched once the append is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// New for every intent and every retry.
    pub execution_id: ExecutionId,
    /// The call that it is a try of.
    pub call_id: CallId,
    /// The turn that it belongs to.
    pub turn_id: TurnId,
    /// What runs it.
    pub kind: ExecutionKind,
    /// The name of the tool, relic or agent.
    pub name: String,
    /// The execution that this one replaces after its outcome was lost.
    pub replaces: Option<ExecutionId>,
}

/// By which right a call is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SettlementKind {
    /// Never started; needs an intended row, which is closed.
    NotRun,
    /// With the recorded outcome; needs a finished row.
    Outcome,
    /// By a cancel without an answer; needs a claimed row and an append that closes the turn.
    Unknown,
    /// Replaced by a new execution; needs a finished row whose outcome is lost.
    Replaced,
}

/// How a call gets its one result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The execution.
    pub execution_id: ExecutionId,
    /// By which right.
    pub kind: SettlementKind,
}
