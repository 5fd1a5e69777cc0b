//! Fork: a new session that shares the log of another one up to a quiescent point.
//!
//! A log is a list of parts: ranges of other sessions' rows, oldest first, and then the session's own.
//! A fork takes the parts of its parent up to the cut. Sequences go on after the cut, so an entry has the
//! same sequence whoever reads it. A part refers to the session that owns the rows, not to the fork that
//! it was taken from, so nothing is ever looked up through more than one step.

use cortex_core::SessionId;

use super::{Cut, Fingerprint, MarkNo, Projection, RequestId, Sequence, SessionHead, SessionNo};
use crate::time::Stamp;

/// A range of the rows of one session that the log of another one consists of. Sequences and marks
/// are the same in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Whose rows.
    pub owner: SessionNo,
    /// The first entry; after `last` when there is none.
    pub first: Sequence,
    /// The last entry.
    pub last: Sequence,
    /// The first mark; after `last_mark` when there is none.
    pub first_mark: MarkNo,
    /// The last mark.
    pub last_mark: MarkNo,
}

impl Part {
    fn is_empty(&self) -> bool {
        self.first > self.last && self.first_mark > self.last_mark
    }

    fn until(self, cut: Cut) -> Self {
        let (last, last_mark) = (self.last.min(cut.sequence), self.last_mark.min(cut.mark));
        Self { last, last_mark, ..self }
    }
}

/// A fork to make.
#[derive(Debug, Clone)]
pub struct Fork {
    /// The session to copy.
    pub parent: SessionId,
    /// Where to cut.
    pub cut: Cut,
    /// The history and the state at the cut.
    pub projection: Projection,
    /// What the new session is described by.
    pub description: ForkDescription,
    /// Makes a repeated call the same fork.
    pub request_id: Option<RequestId>,
    /// What the request asked for.
    pub fingerprint: Fingerprint,
}

/// What a fork is described by: all of it the parent's, unless the caller said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkDescription {
    /// The agent's manifest name.
    pub agent_name: String,
    /// Who talks; may be empty.
    pub user_id: String,
    /// A JSON object.
    pub metadata: String,
    /// The digest of the manifest closure; may be empty.
    pub manifest_digest: String,
}

/// What a fork is asked for.
#[derive(Debug, Clone)]
pub struct ForkRequest {
    /// The session to copy.
    pub session_id: SessionId,
    /// The last quiescent point at or before this sequence; absent: before the head.
    pub sequence: Option<Sequence>,
    /// A JSON object; absent: the parent's.
    pub metadata: Option<String>,
    /// Makes a repeated call the same fork.
    pub request_id: Option<RequestId>,
    /// What the request asked for.
    pub fingerprint: Fingerprint,
}

/// The head of a fork: active, held by nobody, with nothing to do.
pub fn forked_head(session: SessionNo, session_id: String, op: &Fork, now: Stamp) -> SessionHead {
    SessionHead {
        shared: op.cut.sequence,
        ..restored_head(session, session_id, op.cut, &op.projection, now)
    }
}

/// The head of a session that begins with a log that ends quiescent at `end`.
pub fn restored_head(
    session: SessionNo,
    session_id: String,
    end: Cut,
    projection: &Projection,
    now: Stamp,
) -> SessionHead {
    SessionHead {
        head: end.sequence,
        last_command: end.last_command,
        consumed: end.last_command,
        marks: end.mark,
        message_count: projection.messages.len() as i64,
        last_position: projection.last_position,
        history_floor: projection.floor,
        ..SessionHead::new(session, session_id, now)
    }
}

/// The parts that a fork of `parent` at `cut` shares: those of the parent itself, and its own rows.
pub fn shared_parts(parent: SessionNo, parts: &[Part], cut: Cut) -> Vec<Part> {
    let own = Part {
        owner: parent,
        first: parts.last().map_or(1, |part| part.last + 1),
        last: Sequence::MAX,
        first_mark: parts.last().map_or(1, |part| part.last_mark + 1),
        last_mark: MarkNo::MAX,
    };
    let all = parts.iter().chain([&own]);
    all.map(|part| part.until(cut)).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(sequence: Sequence, mark: MarkNo) -> Cut {
        Cut { sequence, mark, last_command: 0 }
    }

    fn part(owner: i64, entries: (i64, i64), marks: (i64, i64)) -> Part {
        Part {
            owner: SessionNo(owner),
            first: entries.0,
            last: entries.1,
            first_mark: marks.0,
            last_mark: marks.1,
        }
    }

    #[test]
    fn a_fork_refers_to_the_owners_of_rows() {
        let first = shared_parts(SessionNo(1), &[], cut(10, 3));
        assert_eq!(first, [part(1, (1, 10), (1, 3))]);
        let second = shared_parts(SessionNo(2), &first, cut(14, 5));
        assert_eq!(second, [part(1, (1, 10), (1, 3)), part(2, (11, 14), (4, 5))]);
        let early = shared_parts(SessionNo(3), &second, cut(7, 2));
        assert_eq!(early, [part(1, (1, 7), (1, 2))]);
    }

    #[test]
    fn a_part_may_have_marks_alone() {
        assert_eq!(shared_parts(SessionNo(1), &[], cut(0, 1)), [part(1, (1, 0), (1, 1))]);
        assert_eq!(shared_parts(SessionNo(1), &[], cut(0, 0)), []);
    }

    proptest! {
        /// Forks of forks have every sequence and every mark once, and nothing beyond the cut.
        #[test]
        fn parts_are_gapless(steps in prop::collection::vec((0_i64..20, 0_i64..20, 0_i64..8, 0_i64..8), 1..12)) {
            let (mut parts, mut end) = (Vec::new(), cut(0, 0));
            for (number, (more, marks, back, marks_back)) in steps.into_iter().enumerate() {
                let grown = cut(end.sequence + more, end.mark + marks);
                let at = cut((grown.sequence - back).max(0), (grown.mark - marks_back).max(0));
                parts = shared_parts(SessionNo(number as i64), &parts, at);
                end = at;
                let entries: Vec<i64> = parts.iter().flat_map(|p: &Part| p.first..=p.last).collect();
                prop_assert_eq!(entries, (1..=at.sequence).collect::<Vec<_>>());
                let marks: Vec<i64> = parts.iter().flat_map(|p: &Part| p.first_mark..=p.last_mark).collect();
                prop_assert_eq!(marks, (1..=at.mark).collect::<Vec<_>>());
            }
        }
    }
}
