//! The installation as a whole: what it holds, its backups, its health.
//!
//! A backup is a logical dump: the rows of every table, read from one snapshot while writes go on, then
//! the bytes of artifacts. It is the same from every database, so that it can be restored into any.

pub mod archive;
mod backup;
mod bytes;
mod finding;
mod freeze;
mod migrate;
mod progress;
mod prune;
mod restore;
mod stats;
mod table;
mod turnstile;

pub use backup::{BackupPiece, backup};
pub use bytes::check_bytes;
pub use finding::{CheckEvent, Checked, Finding};
pub use freeze::{Freeze, Maintenance, Work};
pub use migrate::{MigrateEvent, Migrated, migrate};
pub use progress::{Outlet, Pace, Phase, Progress, Unit};
pub use prune::{PruneEvent, PrunePlan, Pruned};
pub use restore::{RestoreOptions, Restored, restore};
pub use stats::{RowCounts, StorageStats};
pub use table::{Cell, Column, Kind, Row, TableDigest, TableHasher, TableShape};
pub use turnstile::{Admitted, Hold, Turnstile};
