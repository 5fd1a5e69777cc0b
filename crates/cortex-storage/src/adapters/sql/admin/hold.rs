//! What all replicas of a database keep to: one work of administration at a time, and no writes while one
//! of them forbids it.
//!
//! Both are advisory locks of PostgreSQL. They end with their connection: nothing is left of a process
//! that was killed. A file belongs to one process, which needs no locks.

use std::time::Duration;

use crate::{
    adapters::sql::{
        database::{Connection, Location},
        query::Query,
    },
    error::Result,
};

/// What can be locked. The numbers also stand where shares are asked for: in `lock.rs` and
/// `read/artifacts.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    /// Work of administration. Who deletes bytes of artifacts takes a share.
    Work,
    /// Writes. Every transaction that writes takes a share.
    Writes,
}

impl Lock {
    fn key(self) -> i64 {
        match self {
            Self::Work => 7_021_952_005,
            Self::Writes => 7_021_952_006,
        }
    }
}

/// A lock that nobody else has. Dropping it closes its connection; the server hears of it at once, but
/// not before this is gone.
pub(super) struct Hold(#[expect(dead_code, reason = "it is there to be dropped")] Connection);

impl Location {
    /// Takes a lock, if others may use the database too, when those who have it or a share of it are
    /// done.
    ///
    /// # Errors
    /// `Contended` when that takes longer than `wait`.
    pub(super) async fn hold(&self, lock: Lock, wait: Duration) -> Result<Option<Hold>> {
        let mut conn = match self {
            Self::Sqlite(_) => return Ok(None),
            Self::Postgres(_) => self.worker().await?,
        };
        let wait = format!("{}ms", wait.as_millis());
        let set = Query::new("SELECT set_config('lock_timeout', ?, false)").bind(wait)?;
        set.all_on(conn.target()).await?;
        let take = Query::new("SELECT pg_advisory_lock(?)").bind(lock.key())?;
        take.all_on(conn.target()).await?;
        Ok(Some(Hold(conn)))
    }
}
