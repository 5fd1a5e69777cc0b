//! What is older, or more, than it should be.

use std::time::Duration;

use super::{progress::Progress, stats::RowCounts};

/// What to delete. What is absent removes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunePlan {
    /// Ended sessions that have not changed for so long.
    pub ended_session_age: Option<Duration>,
    /// Sessions of any status that have not changed for so long.
    pub session_age: Option<Duration>,
    /// Ended sessions of each tenant beyond so many: the oldest.
    pub keep_ended_sessions: Option<u32>,
    /// Metrics older than this.
    pub metric_age: Option<Duration>,
    /// Metrics of each tenant beyond so many: the oldest.
    pub keep_metrics: Option<u32>,
    /// Artifacts older than this.
    pub artifact_age: Option<Duration>,
    /// Give the unused space back to the file system.
    pub compact: bool,
    /// Count, and delete nothing.
    pub validate_only: bool,
}

impl PrunePlan {
    /// Whether sessions may go.
    pub fn names_sessions(&self) -> bool {
        self.ended_session_age.is_some()
            || self.session_age.is_some()
            || self.keep_ended_sessions.is_some()
    }
}

/// A pruning is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Rows of each collection that were deleted, or would be.
    pub deleted: RowCounts,
    /// Bytes of artifacts and payloads that were freed, or would be.
    pub freed_content_bytes: i64,
    /// Bytes that were given back to the file system.
    pub freed_database_bytes: i64,
}

impl Pruned {
    /// Adds rows of a collection.
    pub fn count(&mut self, collection: &str, rows: i64) {
        if rows > 0 {
            *self.deleted.entry(collection.to_owned()).or_default() += rows;
        }
    }
}

/// What happens during a pruning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PruneEvent {
    /// It goes on.
    Progress(Progress),
    /// It is done.
    Completed(Pruned),
}
