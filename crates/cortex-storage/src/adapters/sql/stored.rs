//! Rows as they are stored: what is large was cut out of them, and is put back when they are read.

use std::collections::HashSet;

use super::{
    cache::TenantNo,
    encoded::{decode_calls, decode_delta},
};
use crate::{
    content::{Column, ContentHash, Contents, Pieces},
    entry_text::EntryText,
    error::Result,
    history::Message,
    journal::{Entry, Execution, Mark},
    state::State,
};

/// The values of an outcome that pieces are cut out of.
pub(super) mod outcome_column {
    use crate::content::Column;

    pub(in super::super) const RESULT: Column = 0;
    pub(in super::super) const ERROR: Column = 1;
    pub(in super::super) const DETAILS: Column = 2;
}

/// The values of a message that pieces are cut out of.
pub(super) mod message_column {
    use crate::content::Column;

    pub(in super::super) const CONTENT: Column = 0;
    pub(in super::super) const CALLS: Column = 1;
}

/// What was cut out of a row.
#[derive(Debug, Clone)]
pub(super) struct Cuts {
    pub(super) tenant: TenantNo,
    pub(super) pieces: Pieces,
}

/// A row as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Stored<T> {
    pub(super) row: T,
    pub(super) cuts: Option<Cuts>,
}

/// A row that pieces are cut out of.
pub(super) trait Cut {
    /// Puts the pieces back. Nothing if a content is missing, or if they do not fit.
    fn join(&mut self, pieces: &Pieces, contents: &Contents) -> Option<()>;
}

impl<T> Stored<T> {
    /// Bytes that were cut out.
    pub(super) fn cut(&self) -> usize {
        self.cuts.as_ref().map_or(0, |cuts| cuts.pieces.length())
    }
}

impl<T: Cut> Stored<T> {
    /// The row with everything back in it. Nothing if a content is missing.
    pub(super) fn whole(mut self, contents: &Contents) -> Option<T> {
        if let Some(cuts) = &self.cuts {
            self.row.join(&cuts.pieces, contents)?;
        }
        Some(self.row)
    }
}

/// The contents that some rows of one tenant need.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) tenant: Option<TenantNo>,
    pub(super) hashes: HashSet<ContentHash>,
}

impl Wanted {
    /// Those of `rows`.
    pub(super) fn of<'r, T: 'r>(rows: impl IntoIterator<Item = &'r Stored<T>>) -> Self {
        let mut wanted = Self::default();
        for cuts in rows.into_iter().filter_map(|row| row.cuts.as_ref()) {
            wanted.tenant = Some(cuts.tenant);
            wanted.hashes.extend(cuts.pieces.hashes());
        }
        wanted
    }

    /// Those of `other` too.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.tenant = self.tenant.or(other.tenant);
        self.hashes.extend(other.hashes);
        self
    }
}

impl Cut for Entry {
    fn join(&mut self, pieces: &Pieces, contents: &Contents) -> Option<()> {
        let rest = std::mem::take(&mut self.payload.value);
        self.payload.value = pieces.join(0, rest.into(), contents)?.into();
        Some(())
    }
}

/// A mark whose change is still encoded.
#[derive(Debug, Clone)]
pub(super) struct CutMark {
    /// The mark without its change.
    pub(super) mark: Mark,
    pub(super) delta: Vec<u8>,
}

impl Cut for CutMark {
    fn join(&mut self, pieces: &Pieces, contents: &Contents) -> Option<()> {
        self.delta = pieces.join(0, std::mem::take(&mut self.delta), contents)?;
        Some(())
    }
}

impl CutMark {
    /// The mark with its change.
    pub(super) fn finish(self) -> Result<Mark> {
        Ok(Mark { delta: decode_delta(&self.delta)?, ..self.mark })
    }
}

impl Cut for State {
    fn join(&mut self, pieces: &Pieces, contents: &Contents) -> Option<()> {
        join_text(&mut self.data, 0, pieces, contents)
    }
}

impl Cut for Execution {
    fn join(&mut self, pieces: &Pieces, contents: &Contents) -> Option<()> {
        let Some(outcome) = &mut self.outcome else { return Some(()) };
        join_text(&mut outcome.result, outcome_column::RESULT, pieces, contents)?;
        join_text(&mut outcome.error, outcome_column::ERROR, pieces, contents)?;
        if let Some(details) = &mut outcome.details {
            let rest = std::mem::take(&mut details.value);
            let column = outcome_column::DETAILS;
            details.value = pieces.join(column, rest.into(), contents)?.into();
        }
        Some(())
    }
}

/// A message whose text may be in entries, and whose calls are still encoded.
#[derive(Debug, Clone)]
pub(super) struct CutMessage {
    pub(super) message: Message,
    pub(super) place: Option<EntryText>,
    pub(super) calls: Vec<u8>,
}

impl Cut for CutMessage {
    fn join(&mut self, pieces: &Pieces, contents: &Contents) -> Option<()> {
        join_text(&mut self.message.content, message_column::CONTENT, pieces, contents)?;
        let rest = std::mem::take(&mut self.calls);
        self.calls = pieces.join(message_column::CALLS, rest, contents)?;
        Some(())
    }
}

impl Stored<CutMessage> {
    /// Bytes that the message has, nearly.
    pub(super) fn size(&self) -> usize {
        const FRAME: usize = 192;
        let CutMessage { message, place, calls } = &self.row;
        let in_entries = place.as_ref().map_or(0, |place| place.bytes);
        let in_entries = usize::try_from(in_entries).unwrap_or(usize::MAX);
        let here = message.content.len() + message.metadata.len() + calls.len() + self.cut();
        in_entries.saturating_add(FRAME + here)
    }
}

impl CutMessage {
    /// The message, with a text that was found in entries.
    pub(super) fn finish(mut self, text: Option<String>) -> Result<Message> {
        self.message.tool_calls = decode_calls(&self.calls)?;
        if let Some(text) = text {
            self.message.content = text;
        }
        Ok(self.message)
    }
}

/// Puts the pieces back into a text.
pub(super) fn join_text(
    text: &mut String,
    column: Column,
    pieces: &Pieces,
    contents: &Contents,
) -> Option<()> {
    let rest = std::mem::take(text).into_bytes();
    *text = String::from_utf8(pieces.join(column, rest, contents)?).ok()?;
    Some(())
}
