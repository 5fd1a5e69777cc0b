//! Payloads that begin alike. Every event of a turn begins with the turn's id; it is stored with the first
//! of them, and the others name that entry.

use bytes::Bytes;

use super::cache::Recent;
use crate::{
    journal::{Entry, EntryKind, Sequence, SessionNo},
    wire,
};

/// A shorter first field is not worth a reference.
const LEAST: usize = 16;
/// A longer first field is seldom the same twice. Reads fetch as much of the entry that has it.
pub(super) const MOST: usize = 64;

/// How the payload of an entry begins.
#[derive(Debug, Clone)]
pub(super) struct Start {
    sequence: Sequence,
    field: Bytes,
}

/// Of each session the last event whose beginning later ones may share.
#[derive(Debug)]
pub(super) struct Starts(Recent<SessionNo, Start>);

impl Starts {
    /// Remembers that of as many sessions, at most twice.
    pub(super) fn new(sessions: usize) -> Self {
        Self(Recent::new(sessions))
    }

    /// Forgets a session: its number may be given to another.
    pub(super) fn forget(&mut self, session: SessionNo) {
        self.0.take(&session);
    }

    /// Which entry before this one begins like it, whose payload is stored as `payload`, and how many bytes
    /// that is. Never one behind it, since what stays of a deleted session for its forks is a beginning.
    pub(super) fn find(
        &mut self,
        session: SessionNo,
        entry: &Entry,
        payload: &[u8],
    ) -> Option<(Sequence, usize)> {
        if entry.kind != EntryKind::Event {
            return None;
        }
        let known = self.0.take(&session);
        let before = |start: &&Start| start.sequence < entry.sequence;
        let known_before = known.as_ref().filter(before);
        let shared = known_before.filter(|start| payload.starts_with(&start.field));
        let shared = shared.map(|start| (start.sequence, start.field.len()));
        let new = if shared.is_some() { None } else { start(entry.sequence, payload) };
        if let Some(start) = new.or(known) {
            self.0.insert(session, start);
        }
        shared
    }
}

/// How a payload begins, if others may begin like it.
fn start(sequence: Sequence, payload: &[u8]) -> Option<Start> {
    let field = wire::first_field(payload)?;
    let worth = (LEAST..=MOST).contains(&field.len());
    worth.then(|| Start { sequence, field: Bytes::copy_from_slice(field) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{journal::Payload, time::Stamp};

    fn entry(sequence: Sequence, fields: &[(u32, &str)]) -> Entry {
        let mut value = Vec::new();
        for (number, text) in fields {
            prost::encoding::string::encode(*number, &(*text).to_owned(), &mut value);
        }
        Entry {
            sequence,
            kind: EntryKind::Event,
            name: "event".into(),
            payload: Payload { type_url: "type".into(), value: value.into() },
            created_at: Stamp::default(),
            epoch: 1,
        }
    }

    fn find_again(
        starts: &mut Starts,
        session: SessionNo,
        entry: &Entry,
    ) -> Option<(Sequence, usize)> {
        starts.find(session, entry, &entry.payload.value)
    }

    #[test]
    fn the_events_of_a_turn_name_the_first_of_them() {
        let mut starts = Starts::new(10);
        let (one, other) = ("turn_0000000000000001", "turn_0000000000000002");
        let session = SessionNo(1);
        let mut find = |entry: &Entry| starts.find(session, entry, &entry.payload.value);
        assert_eq!(find(&entry(4, &[(3, one), (9, "a")])), None);
        assert_eq!(find(&entry(5, &[(3, one)])), Some((4, 23)));
        assert_eq!(find(&entry(6, &[(2, "short")])), None, "it has no beginning to share");
        assert_eq!(find(&entry(7, &[(3, other)])), None);
        assert_eq!(find(&entry(8, &[(3, other), (9, "b")])), Some((7, 23)));
        assert_eq!(find(&entry(9, &[(3, one)])), None);
        let last = entry(10, &[(3, one)]);
        let payload = &last.payload.value;
        assert_eq!(starts.find(SessionNo(2), &last, payload), None, "another session");
        assert_eq!(
            starts.find(session, &last, &payload[1..]),
            None,
            "stored without its beginning"
        );
        assert_eq!(starts.find(session, &last, payload), Some((9, 23)));
        assert_eq!(
            find_again(&mut starts, session, &entry(3, &[(3, one)])),
            None,
            "an earlier entry"
        );
        starts.forget(session);
        assert_eq!(starts.find(session, &last, payload), None);
    }
}
