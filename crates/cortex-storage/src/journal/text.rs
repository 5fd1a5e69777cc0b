//! Texts that an append finds in the log.

use super::{Change, Entry, NewContent};
use crate::{
    entry_text::{EntryText, Text},
    error::{Result, StorageError},
};

/// The field of a message that joins.
pub(super) const MESSAGE_TEXT: &str = "effects.messages.entry_text";
/// The field of a message that is changed.
pub(super) const UPDATE_TEXT: &str = "effects.message_updates.entry_text";

/// The content that `text`, given in `field`, is. A place gets its sequences, now that the append's own
/// events have theirs, and must hold as many bytes as it says.
///
/// # Errors
/// `Invalid`.
pub(super) fn content(change: &Change, field: &str, text: &Text) -> Result<NewContent> {
    let (place, found) = match text {
        Text::Given(text) => return Ok(NewContent::Text(text.clone())),
        Text::InEntries { place, found } => (place, *found),
    };
    let place = placed(change, field, place)?;
    let own = change.entries.iter().filter(|entry| holds(&place, entry));
    let own: usize = own.map(|entry| place.piece(&entry.payload.value).len()).sum();
    let held = found + own as u64;
    if held != place.bytes {
        let EntryText { first, last, name, bytes, .. } = &place;
        let problem = format!(
            "says {bytes} bytes, and the {name} entries from {first} to {last} hold {held} bytes of text there"
        );
        return Err(StorageError::invalid(field, problem));
    }
    Ok(NewContent::InEntries(place))
}

fn placed(change: &Change, field: &str, place: &EntryText) -> Result<EntryText> {
    let own = (change.entries.first(), change.entries.last());
    let of_append = |sequence, own: Option<&Entry>| match (sequence, own) {
        (0, Some(entry)) => Ok(entry.sequence),
        (0, None) => Err(StorageError::invalid(field, "names events of an append that has none")),
        (sequence, _) => Ok(sequence),
    };
    let (first, last) = (of_append(place.first, own.0)?, of_append(place.last, own.1)?);
    if first > last || last > change.head.head {
        let head = change.head.head;
        let problem = format!("names entries from {first} to {last}, and the last entry is {head}");
        return Err(StorageError::invalid(field, problem));
    }
    Ok(EntryText { first, last, ..place.clone() })
}

fn holds(place: &EntryText, entry: &Entry) -> bool {
    (place.first..=place.last).contains(&entry.sequence) && entry.name == place.name
}
