//! Texts that the journal holds already: what was streamed is not stored once more as a message.
//!
//! A message of the history may say where its text stands instead of the text: at one place in the
//! payload of each event of one type, in a range of the session's log, or in that of one entry, which may
//! be a command. Entries are never changed, so that place holds the same text for as long as the session
//! exists.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{journal::Sequence, wire};

/// Where a text stands in a session's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct EntryText {
    /// The first of the entries. Before the text has its place: 0 is the first that is written with it.
    pub first: Sequence,
    /// The last of the entries. Before the text has its place: 0 is the last that is written with it.
    pub last: Sequence,
    /// The type of the entries.
    pub name: Arc<str>,
    /// Where in a payload: field numbers from the outside in.
    pub path: Vec<u32>,
    /// Bytes of the whole text.
    pub bytes: u64,
}

/// As it is stored, in JSON: it stands beside every message that was streamed.
#[derive(Serialize, Deserialize)]
struct Stored(Sequence, Sequence, Arc<str>, Vec<u32>, u64);

impl From<Stored> for EntryText {
    fn from(Stored(first, last, name, path, bytes): Stored) -> Self {
        Self { first, last, name, path, bytes }
    }
}

impl From<EntryText> for Stored {
    fn from(EntryText { first, last, name, path, bytes }: EntryText) -> Self {
        Self(first, last, name, path, bytes)
    }
}

impl EntryText {
    /// Field numbers of a path at most.
    pub const MAX_PATH: usize = 8;

    /// Whether it stands in one entry, of whatever kind. In more of them only events have a part in it.
    pub(crate) fn is_of_one(&self) -> bool {
        self.first == self.last
    }

    /// What one entry's payload adds to the text; nothing where the field is absent or no text.
    pub(crate) fn piece<'p>(&self, payload: &'p [u8]) -> &'p str {
        let found = wire::find(payload, &self.path).map(std::str::from_utf8);
        found.and_then(Result::ok).unwrap_or_default()
    }
}

/// The text of a message that joins the history or is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// The text itself.
    Given(String),
    /// Where it stands.
    InEntries {
        /// The place, which may be in what is written with it.
        place: EntryText,
        /// Bytes of it that were found in entries before the append.
        found: u64,
    },
}

impl Text {
    /// Bytes that it brings.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Given(text) => text.len(),
            Self::InEntries { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_stored_in_few_bytes() -> Result<(), serde_json::Error> {
        let text =
            EntryText { first: 7, last: 9, name: "delta".into(), path: vec![16, 1], bytes: 100 };
        let stored = serde_json::to_string(&text)?;
        assert_eq!(stored, r#"[7,9,"delta",[16,1],100]"#);
        assert_eq!(serde_json::from_str::<EntryText>(&stored)?, text);
        Ok(())
    }

    #[test]
    fn a_payload_without_the_field_adds_nothing() {
        let text = EntryText { first: 1, last: 1, name: "d".into(), path: vec![1, 2], bytes: 1 };
        assert_eq!(text.piece(&[0x0a, 0x04, 0x12, 0x02, b'o', b'k']), "ok");
        assert_eq!(text.piece(&[0x0a, 0x00]), "");
        assert_eq!(text.piece(&[0x0a, 0x04, 0x12, 0x02, 0xff, 0xfe]), "", "no UTF-8");
        assert_eq!(text.piece(b"{}"), "", "no message");
    }
}
