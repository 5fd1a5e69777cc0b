//! Entries of the log, and the commands and events that become them.

use std::sync::Arc;

use bytes::Bytes;

use crate::time::Stamp;

/// A position in a session's log: 1 for the first entry; 0 is before it.
pub type Sequence = i64;

/// A typed body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// What it is: a type URL.
    pub type_url: Arc<str>,
    /// Its encoding.
    pub value: Bytes,
}

/// What kind of command an entry is, as far as the journal's rules depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandKind {
    /// A message of a user. It waits until its turn opens.
    Message,
    /// A request to cancel a turn or a message.
    Cancel,
    /// Guidance for the turn that runs.
    Steer,
    /// An answer to a request for approval.
    Approval,
    /// A request to end, pause or reopen the session.
    Lifecycle,
    /// A change of the session's state.
    State,
    /// A change of the session's history.
    History,
}

/// Whether an entry asks for something or says what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// Submitted by anyone.
    Command(CommandKind),
    /// Appended by the session's holder.
    Event,
}

impl EntryKind {
    /// The number under which it is stored.
    pub fn number(self) -> i64 {
        match self {
            Self::Event => 0,
            Self::Command(kind) => kind.number(),
        }
    }

    /// The kind stored as `number`.
    pub fn from_number(number: i64) -> Option<Self> {
        if number == 0 {
            Some(Self::Event)
        } else {
            CommandKind::from_number(number).map(Self::Command)
        }
    }

    /// Its name in exports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Command(kind) => {
                let named = CommandKind::NAMES.iter().find(|(known, _)| *known == kind);
                named.map_or("", |(_, name)| *name)
            }
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "event" {
            return Some(Self::Event);
        }
        let named = CommandKind::NAMES.iter().find(|(_, known)| *known == name);
        named.map(|(kind, _)| Self::Command(*kind))
    }
}

impl CommandKind {
    /// Every kind with its name in exports.
    pub const NAMES: [(Self, &'static str); 7] = [
        (Self::Message, "message"),
        (Self::Cancel, "cancel"),
        (Self::Steer, "steer"),
        (Self::Approval, "approval"),
        (Self::Lifecycle, "lifecycle"),
        (Self::State, "state"),
        (Self::History, "history"),
    ];

    const ALL: [Self; 7] = [
        Self::Message,
        Self::Cancel,
        Self::Steer,
        Self::Approval,
        Self::Lifecycle,
        Self::State,
        Self::History,
    ];

    /// The number under which it is stored, from 1.
    pub fn number(self) -> i64 {
        match self {
            Self::Message => 1,
            Self::Cancel => 2,
            Self::Steer => 3,
            Self::Approval => 4,
            Self::Lifecycle => 5,
            Self::State => 6,
            Self::History => 7,
        }
    }

    /// The kind stored as `number`.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// A command before it has a place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What kind it is.
    pub kind: CommandKind,
    /// What it is, in lower snake case.
    pub name: Arc<str>,
    /// The body.
    pub payload: Payload,
}

/// An event before it has a place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it is, in lower snake case.
    pub name: Arc<str>,
    /// The body.
    pub payload: Payload,
}

/// One entry of a session's log. Never changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its position.
    pub sequence: Sequence,
    /// Command or event.
    pub kind: EntryKind,
    /// What it is, in lower snake case.
    pub name: Arc<str>,
    /// The body.
    pub payload: Payload,
    /// When storage committed it.
    pub created_at: Stamp,
    /// The epoch of the holder that appended it; 0 for a command.
    pub epoch: i64,
}

impl Entry {
    /// What it takes on the wire, nearly.
    pub fn size(&self) -> usize {
        const FRAME: usize = 48;
        FRAME + self.name.len() + self.payload.type_url.len() + self.payload.value.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_survive_their_numbers() {
        for kind in CommandKind::ALL {
            let kind = EntryKind::Command(kind);
            assert_eq!(EntryKind::from_number(kind.number()), Some(kind));
            assert_eq!(EntryKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(EntryKind::from_number(0), Some(EntryKind::Event));
        assert_eq!(EntryKind::from_number(8), None);
    }
}
