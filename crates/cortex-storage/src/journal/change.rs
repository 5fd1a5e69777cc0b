//! What a decision needs to know, and what it changes.

use cortex_core::{CallId, ExecutionId, HolderId, MessageId};

use super::{
    AddedMessage, ChangedMessage, Delta, Entry, Execution, Known, Mark, ObjectText, RequestId,
    RequestKey, STATE_PATCHES, SessionHead, StateDelta,
};
use crate::{
    entry_text::EntryText,
    history::Message,
    state::{State, StateChange},
    time::Stamp,
};

/// What an adapter has read about one session for a decision.
pub trait Facts {
    /// What the request of this id answered, if it was made before.
    fn known(&self, key: &RequestKey) -> Option<&Known>;
    /// The ledger row, if the tenant has it.
    fn execution(&self, id: &ExecutionId) -> Option<&Execution>;
    /// Whether the session has a ledger row of this call.
    fn has_call(&self, call: &CallId) -> bool;
    /// The position of a message in the session's history.
    fn message(&self, id: &MessageId) -> Option<i64>;
    /// The session's state.
    fn state(&self) -> State;
    /// What is known about holders.
    fn holders(&self) -> &dyn HolderFacts;
}

/// What an adapter knows about holders.
pub trait HolderFacts {
    /// Whether the lease was never voided. False for a holder that was never registered.
    fn is_valid(&self, holder: &HolderId) -> bool;
    /// Whether the lease is valid and not over at `now`.
    fn is_live(&self, holder: &HolderId, now: Stamp) -> bool;
}

/// A change of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageChange {
    /// Every message leaves.
    Clear,
    /// A message joins. Its text may stand in entries.
    Insert(Message, Option<EntryText>),
    /// The content of a message is replaced.
    Content(MessageId, NewContent),
    /// A message leaves.
    Delete(MessageId),
}

/// The content of a message from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewContent {
    /// The text itself.
    Text(String),
    /// Where it stands.
    InEntries(EntryText),
}

/// What one decision changes, all or nothing.
#[derive(Debug, Clone)]
pub struct Change {
    /// The session's head afterwards.
    pub head: SessionHead,
    /// New entries, in order.
    pub entries: Vec<Entry>,
    /// Ledger rows as they are afterwards.
    pub executions: Vec<Execution>,
    /// Changes of the history, in order.
    pub messages: Vec<MessageChange>,
    /// The state afterwards, if it changed.
    pub state: Option<State>,
    /// What the request answers when it is repeated.
    pub request: Option<(RequestKey, Known)>,
    /// What the log keeps of the change beside the entries.
    pub mark: Option<Mark>,
    /// How the state changed, as the mark says it.
    state_delta: Option<StateDelta>,
    /// Whether the session was quiescent before.
    was_quiescent: bool,
}

impl Change {
    /// A change that starts from `head`.
    pub(crate) fn from(head: &SessionHead) -> Self {
        Self {
            head: head.clone(),
            entries: Vec::new(),
            executions: Vec::new(),
            messages: Vec::new(),
            state: None,
            request: None,
            mark: None,
            state_delta: None,
            was_quiescent: head.is_quiescent(),
        }
    }

    /// Notes that `change` made the state what it is `after`.
    pub(crate) fn change_state(&mut self, change: &StateChange, after: State) {
        let whole = after.version % STATE_PATCHES == 0;
        self.state_delta = Some(if whole {
            StateDelta::Replace(ObjectText(after.data.clone()))
        } else {
            change.into()
        });
        self.state = Some(after);
    }

    /// Remembers what `id` answers.
    pub(crate) fn remember(
        &mut self,
        id: Option<&RequestId>,
        key: Option<RequestKey>,
        known: Known,
    ) {
        if let (Some(_), Some(key)) = (id, key) {
            self.request = Some((key, known));
        }
    }

    /// The finished change.
    pub(crate) fn finish(mut self, now: Stamp) -> Self {
        self.head.updated_at = now;
        self.head.refresh_readiness(now);
        self.leave_mark(now);
        self
    }

    /// Leaves a mark if history or state changed, or if it is not what it was that the session is
    /// quiescent at its head.
    fn leave_mark(&mut self, now: Stamp) {
        let delta = self.delta();
        let quiescent = self.head.is_quiescent();
        let moved = !self.entries.is_empty();
        let rested = if moved { quiescent } else { quiescent != self.was_quiescent };
        if delta.is_empty() && !rested {
            return;
        }
        self.head.marks += 1;
        self.mark = Some(Mark {
            number: self.head.marks,
            sequence: self.head.head,
            last_command: self.head.last_command,
            quiescent,
            at: now,
            delta,
        });
    }

    fn delta(&self) -> Delta {
        let mut delta = Delta { state: self.state_delta.clone(), ..Delta::default() };
        for change in &self.messages {
            match change {
                MessageChange::Clear => delta.cleared = true,
                MessageChange::Insert(message, place) => {
                    delta.messages.push(AddedMessage::new(message, place.as_ref()));
                }
                MessageChange::Content(id, content) => {
                    delta.updates.push(ChangedMessage::new(id, content));
                }
                MessageChange::Delete(id) => delta.deleted.push(id.clone()),
            }
        }
        delta
    }
}

/// What a decision answers, and what it changes: nothing when it repeats an earlier answer.
#[derive(Debug, Clone)]
pub struct Decision<A> {
    /// What changes.
    pub change: Option<Change>,
    /// What the caller is told after the commit.
    pub answer: A,
}

impl<A> Decision<A> {
    /// An answer that changes nothing.
    pub(crate) fn unchanged(answer: A) -> Self {
        Self { change: None, answer }
    }

    /// An answer that is true once `change` is committed.
    pub(crate) fn changed(change: Change, answer: A) -> Self {
        Self { change: Some(change), answer }
    }
}
