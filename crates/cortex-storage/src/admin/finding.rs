//! What a check finds.

use super::{progress::Progress, stats::RowCounts};

/// Something that is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// UPPER_SNAKE_CASE, for programs. `docs/operations.md` has the list.
    pub code: &'static str,
    /// What is wrong, for a person, and what can be done.
    pub message: String,
    /// The collection.
    pub collection: &'static str,
    /// The session that it concerns; empty: none.
    pub session_id: String,
    /// The row or content that it concerns, as its collection names it.
    pub subject: String,
}

/// A check is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many findings there were.
    pub findings: i64,
    /// Rows of each collection that were looked at.
    pub rows: RowCounts,
}

/// What happens during a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckEvent {
    /// It goes on.
    Progress(Progress),
    /// Something is damaged.
    Finding(Finding),
    /// It is done.
    Completed(Checked),
}
