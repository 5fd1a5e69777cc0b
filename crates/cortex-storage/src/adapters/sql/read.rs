//! Reads, each on a connection of the pool and on one snapshot of the database.

mod executions;
mod housekeeping;
mod journal;
mod records;
mod sessions;

use super::database::Pool;

/// The tenant's number, in a query whose next value is its name.
pub(super) const TENANT: &str = "(SELECT tenant FROM tenants WHERE name = ?)";

/// The readers.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) pool: Pool,
    /// Entries of one page of a replay.
    pub(super) replay_entries: usize,
    /// Bytes of one page of entries, nearly.
    pub(super) page_bytes: usize,
}
