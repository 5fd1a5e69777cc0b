//! SQLite: one file, one process.
//!
//! The file is in WAL mode with full synchronisation: what was answered survives a loss of power. The
//! single writer remembers the heads of the sessions it works on, so that a hot append reads nothing
//! but whether its request was made before.

mod connect;
mod error;
mod value;

use std::{path::PathBuf, sync::Arc};

use cortex_core::Clock;

use super::sql::{Connection, Location, Opened, Pool, SqlStore, Timekeeper, has_moved, migrate};
use crate::{config::StorageConfig, error::Result};

pub(super) use connect::{SqliteLocation, close};
pub(super) use error::of_code;
pub(super) use value::arguments;

/// Opens or creates the database at `path`, and brings it to this program's schema. Needs a tokio
/// runtime, on which the writer lives.
///
/// # Errors
/// `Locked` when another process has it open, `Corrupt`, `ReadOnly`, `Io`, `Internal` when it
/// needs a newer program.
pub async fn open(
    path: PathBuf,
    config: &StorageConfig,
    clock: Arc<dyn Clock>,
) -> Result<Arc<SqlStore>> {
    let location = SqliteLocation::new(path, config.busy_timeout.get());
    let lock = location.lock()?;
    let mut conn = Connection::Sqlite(location.writer().await?);
    migrate(&mut conn).await?;
    let moved = has_moved(&mut conn).await?;
    let pool = Pool::Sqlite(location.readers(config.readers).await?);
    let location = Location::Sqlite(location);
    let (lock, time) = (Some(lock), Timekeeper::Clock(clock));
    let opened = Opened { location, conn, pool, lock, time, writers: 1, others: None, moved };
    Ok(SqlStore::start(opened, config))
}
