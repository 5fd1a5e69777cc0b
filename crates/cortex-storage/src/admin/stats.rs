//! What an installation holds, in numbers.

use std::collections::BTreeMap;

use crate::time::Stamp;

/// Rows of each collection.
pub type RowCounts = BTreeMap<String, i64>;

/// What an installation holds, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageStats {
    /// `sqlite` or `postgresql`.
    pub backend: &'static str,
    /// Where the database is, without credentials.
    pub location: String,
    /// The version of the database's schema.
    pub schema_version: i64,
    /// The oldest program, by its schema version, that can work with this database.
    pub min_compatible_version: i64,
    /// Bytes of the database.
    pub database_bytes: i64,
    /// Bytes that deletions have left unused in it.
    pub free_bytes: i64,
    /// Bytes of artifacts and payloads, each content counted once.
    pub content_bytes: i64,
    /// Rows of each collection.
    pub rows: RowCounts,
    /// Tenants that own anything.
    pub tenants: i64,
    /// Sessions by status.
    pub sessions_by_status: RowCounts,
    /// When the oldest session was created.
    pub oldest_session_at: Option<Stamp>,
}
