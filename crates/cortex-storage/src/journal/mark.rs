//! Marks: the part of the log that says what history and state were.
//!
//! Entries say what happened in words that storage does not read. A mark says in storage's own words
//! what a commit changed of history and state, and whether the session was quiescent after it. Marks are
//! numbered, kept as long as their entries, and never changed. Folded up to one of them they give
//! exactly the history and the state of then, truncations included.

use std::collections::{BTreeMap, HashMap};

use cortex_core::MessageId;

use super::{AddedMessage, Delta, Sequence, StateDelta};
use crate::{
    entry_text::EntryText,
    history::Message,
    state::{State, StateChange},
    time::Stamp,
};

/// The number of a mark in its session: 1 for the first; 0 is before it.
pub type MarkNo = i64;

/// After so many changes of the state one is kept whole, so that no more patches than this are applied
/// to know the state of any moment.
pub const STATE_PATCHES: i64 = 64;

/// What one commit left in the log beside its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its number.
    pub number: MarkNo,
    /// The last sequence after the commit.
    pub sequence: Sequence,
    /// The sequence of the last command after the commit; 0: none.
    pub last_command: Sequence,
    /// Whether no turn was open, no message waited and every command was consumed.
    pub quiescent: bool,
    /// When it was committed.
    pub at: Stamp,
    /// What changed.
    pub delta: Delta,
}

impl Mark {
    /// What it takes in memory, nearly.
    pub fn size(&self) -> usize {
        const FRAME: usize = 64;
        let messages: usize = self.delta.messages.iter().map(AddedMessage::size).sum();
        let updates: usize = self.delta.updates.iter().map(|update| update.content.len()).sum();
        let state = match &self.delta.state {
            Some(StateDelta::Replace(data) | StateDelta::Merge(data)) => data.0.len(),
            None => 0,
        };
        FRAME + messages + updates + state
    }
}

/// Where a session was quiescent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cut {
    /// The last sequence then.
    pub sequence: Sequence,
    /// The last mark then.
    pub mark: MarkNo,
    /// The sequence of the last command then.
    pub last_command: Sequence,
}

/// Marks that do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// A message is changed that is not in the history.
    #[error("message '{0}' is not in the history")]
    UnknownMessage(String),
    /// A message joins that is in the history.
    #[error("message '{0}' is already in the history")]
    KnownMessage(String),
    /// The state cannot be patched.
    #[error("the state {0}")]
    State(String),
    /// More patches than a log has between two whole states.
    #[error(
        "more than {STATE_PATCHES} changes of the state follow each other without a whole state"
    )]
    Patches,
}

/// The history and the state at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Projection {
    /// The messages, oldest first, with where their texts stand in entries if they do.
    pub messages: Vec<(Message, Option<EntryText>)>,
    /// The position of the last message ever.
    pub last_position: i64,
    /// Messages up to this position had left.
    pub floor: i64,
    /// The state.
    pub state: State,
}

/// Folds marks, in order. Holds the history of the moment, and nothing else that grows.
#[derive(Debug, Default)]
pub struct Fold {
    session_id: String,
    messages: BTreeMap<i64, (Message, Option<EntryText>)>,
    positions: HashMap<MessageId, i64>,
    last_position: i64,
    floor: i64,
    whole: Option<String>,
    patches: Vec<String>,
    version: i64,
    updated_at: Option<Stamp>,
}

impl Fold {
    /// A fold of no marks, for the session that the messages will belong to.
    pub fn new(session_id: impl Into<String>) -> Self {
        Self { session_id: session_id.into(), ..Self::default() }
    }

    /// How many messages the history has.
    pub fn message_count(&self) -> usize {
        self.messages.len()
    }

    /// Takes in the next mark.
    ///
    /// # Errors
    /// [`FoldError`] when it does not fit to those before it.
    pub fn apply(&mut self, mark: &Mark) -> Result<(), FoldError> {
        let delta = &mark.delta;
        if delta.cleared {
            self.messages.clear();
            self.positions.clear();
            self.floor = self.last_position;
        }
        for added in &delta.messages {
            self.last_position += 1;
            let joined = added.to_message(self.last_position, &self.session_id, mark.at);
            let id = joined.0.message_id.clone();
            if self.positions.insert(id, self.last_position).is_some() {
                return Err(FoldError::KnownMessage(joined.0.message_id.to_string()));
            }
            self.messages.insert(self.last_position, joined);
        }
        for update in &delta.updates {
            let position = self.position(&update.message_id)?;
            if let Some((message, place)) = self.messages.get_mut(&position) {
                message.content.clone_from(&update.content);
                place.clone_from(&update.entry_text);
            }
        }
        for deleted in &delta.deleted {
            let position = self.position(deleted)?;
            if let Some((message, _)) = self.messages.remove(&position) {
                self.positions.remove(&message.message_id);
            }
        }
        delta.state.as_ref().map_or(Ok(()), |state| self.change_state(state, mark.at))
    }

    fn position(&self, message_id: &MessageId) -> Result<i64, FoldError> {
        let unknown = || FoldError::UnknownMessage(message_id.to_string());
        self.positions.get(message_id).copied().ok_or_else(unknown)
    }

    fn change_state(&mut self, change: &StateDelta, at: Stamp) -> Result<(), FoldError> {
        self.version += 1;
        self.updated_at = Some(at);
        match change {
            StateDelta::Replace(data) => {
                self.whole = Some(data.0.clone());
                self.patches.clear();
            }
            StateDelta::Merge(patch) => {
                if self.patches.len() as i64 >= STATE_PATCHES {
                    return Err(FoldError::Patches);
                }
                self.patches.push(patch.0.clone());
            }
        }
        Ok(())
    }

    /// The history and the state after the last mark.
    ///
    /// # Errors
    /// [`FoldError::State`] when a patch cannot be applied.
    pub fn finish(self) -> Result<Projection, FoldError> {
        let mut state = State::default();
        let changes = self.whole.map(StateChange::Replace).into_iter();
        for change in changes.chain(self.patches.into_iter().map(StateChange::Merge)) {
            state = state
                .apply(&change, u64::MAX, Stamp::default())
                .map_err(|error| FoldError::State(error.to_string()))?;
        }
        Ok(Projection {
            messages: self.messages.into_values().collect(),
            last_position: self.last_position,
            floor: self.floor,
            state: State { data: state.data, version: self.version, updated_at: self.updated_at },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::Role,
        journal::{ChangedMessage, ObjectText},
    };

    fn added(content: &str) -> Message {
        Message {
            message_id: MessageId::generate(),
            session_id: "session_1".to_owned(),
            role: Role::User,
            content: content.to_owned(),
            timestamp: Stamp::default(),
            metadata: String::new(),
            tool_calls: Vec::new(),
            call_id: None,
            turn_id: None,
            position: 0,
        }
    }

    fn joined(messages: &[&Message]) -> Vec<AddedMessage> {
        messages.iter().map(|message| AddedMessage::new(message, None)).collect()
    }

    fn mark(number: MarkNo, delta: Delta) -> Mark {
        let at = Stamp::from_micros(number);
        Mark { number, sequence: number, last_command: 0, quiescent: true, at, delta }
    }

    fn contents(projection: &Projection) -> Vec<(i64, &str)> {
        let messages = projection.messages.iter();
        messages.map(|(message, _)| (message.position, message.content.as_str())).collect()
    }

    #[test]
    fn a_fold_is_what_the_changes_made() -> Result<(), FoldError> {
        let (first, second) = (added("first"), added("second"));
        let mut fold = Fold::new("session_1");
        let messages = joined(&[&first, &second]);
        fold.apply(&mark(1, Delta { messages, ..Delta::default() }))?;
        let update = ChangedMessage {
            message_id: second.message_id,
            content: "changed".to_owned(),
            entry_text: None,
        };
        let deleted = vec![first.message_id];
        fold.apply(&mark(2, Delta { updates: vec![update], deleted, ..Delta::default() }))?;
        let patch = StateDelta::Merge(ObjectText(r#"{"a":1}"#.to_owned()));
        fold.apply(&mark(3, Delta { state: Some(patch), ..Delta::default() }))?;
        let projection = fold.finish()?;
        assert_eq!(contents(&projection), [(2, "changed")]);
        assert_eq!((projection.last_position, projection.floor), (2, 0));
        let updated_at = Some(Stamp::from_micros(3));
        assert_eq!(projection.state, State { data: r#"{"a":1}"#.into(), version: 1, updated_at });
        Ok(())
    }

    #[test]
    fn a_cleared_history_goes_on_behind_its_floor() -> Result<(), FoldError> {
        let mut fold = Fold::new("session_1");
        for (number, text) in [(1, "a"), (3, "b")] {
            let messages = joined(&[&added(text)]);
            fold.apply(&mark(number, Delta { messages, ..Delta::default() }))?;
            if number == 1 {
                fold.apply(&mark(2, Delta { cleared: true, ..Delta::default() }))?;
            }
        }
        let projection = fold.finish()?;
        assert_eq!(contents(&projection), [(2, "b")]);
        assert_eq!((projection.last_position, projection.floor), (2, 1));
        Ok(())
    }

    #[test]
    fn marks_that_do_not_fit_are_refused() {
        let once = added("once");
        let messages = joined(&[&once, &once]);
        let twice = Fold::new("s").apply(&mark(1, Delta { messages, ..Delta::default() }));
        assert!(matches!(twice, Err(FoldError::KnownMessage(_))));
        let deleted = vec![once.message_id];
        let unknown = Fold::new("s").apply(&mark(1, Delta { deleted, ..Delta::default() }));
        assert!(matches!(unknown, Err(FoldError::UnknownMessage(_))));
    }

    #[test]
    fn no_more_patches_are_kept_than_a_log_has() -> Result<(), FoldError> {
        let mut fold = Fold::new("s");
        let patch = || StateDelta::Merge(ObjectText("{}".to_owned()));
        for number in 1..=STATE_PATCHES {
            fold.apply(&mark(number, Delta { state: Some(patch()), ..Delta::default() }))?;
        }
        let one_more = mark(STATE_PATCHES + 1, Delta { state: Some(patch()), ..Delta::default() });
        assert_eq!(fold.apply(&one_more), Err(FoldError::Patches));
        Ok(())
    }
}
