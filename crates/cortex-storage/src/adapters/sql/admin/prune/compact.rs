//! Giving unused space back to the file system.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Pruning;
use crate::{
    adapters::sql::{
        admin::{catalogue::TABLES, hold::Lock, stats::space},
        database::Connection,
        query::Query,
    },
    admin::Unit,
    error::{Result, StorageError},
};

/// How long compacting waits for transactions that may still see what was deleted. What they keep after
/// that is not given back.
const OLDER: Duration = Duration::from_secs(30);
const OLDER_POLL: Duration = Duration::from_millis(50);
/// What is said meanwhile.
const WAITING: &str = "waiting for older transactions";
/// How long compacting waits for writes of other replicas that are under way.
const HOLD: Duration = Duration::from_secs(5);

impl Pruning<'_> {
    /// Gives unused space back. Other writes wait meanwhile.
    pub(super) async fn compact(&mut self) -> Result<()> {
        let mut conn = self.store.location.worker().await?;
        let (before, free) = space(&mut conn).await?;
        if self.plan.validate_only {
            self.pruned.freed_database_bytes = free;
            return Ok(());
        }
        self.wait_for_older(&mut conn).await?;
        self.pace.enter("compacting", before, Unit::Bytes);
        self.tell(0).await?;
        let quiet = self.store.quiet().await?;
        // Writers of other replicas are told, rather than kept waiting for tables.
        let hold = self.store.location.hold(Lock::Writes, HOLD).await?;
        let compacted = vacuum(&mut conn).await;
        drop((hold, quiet));
        compacted.map_err(|error| match error {
            StorageError::Full => {
                let what = "a second copy of the database, which compacting makes".to_owned();
                StorageError::DiskFull { what }
            }
            other => other,
        })?;
        let (after, _) = space(&mut conn).await?;
        self.pruned.freed_database_bytes = (before - after).max(0);
        self.tell(before).await
    }

    /// PostgreSQL keeps deleted rows as long as a transaction may see them that began before, in
    /// whichever database of the server. Waits until those have ended, as long as [`OLDER`].
    async fn wait_for_older(&mut self, conn: &mut Connection) -> Result<()> {
        const NUMBER: &str = "SELECT pg_current_xact_id()::text::bigint";
        const ENDED: &str = "SELECT CASE WHEN \
            pg_snapshot_xmin(pg_current_snapshot())::text::bigint > ? THEN 1 ELSE 0 END";
        if matches!(conn, Connection::Sqlite(_)) {
            return Ok(());
        }
        self.pace.enter(WAITING, 0, Unit::Rows);
        let row = Query::new(NUMBER).first_on(conn.target()).await?;
        let number: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
        let until = Instant::now() + OLDER;
        while Instant::now() < until {
            let row = Query::new(ENDED).bind(number)?.first_on(conn.target()).await?;
            if row.map_or(Ok(false), |row| row.try_get(0))? {
                break;
            }
            self.tell(0).await?;
            sleep(OLDER_POLL).await;
        }
        Ok(())
    }
}

async fn vacuum(conn: &mut Connection) -> Result<()> {
    let statements: Vec<String> = match conn {
        // The second one gives the bytes back now, unless somebody reads what is older.
        Connection::Sqlite(_) => {
            ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"].map(str::to_owned).to_vec()
        }
        Connection::Postgres(_) => {
            TABLES.iter().map(|table| format!("VACUUM (FULL, ANALYZE) {}", table.name)).collect()
        }
    };
    for sql in statements {
        Query::new(sql).unhurried(conn).await?;
    }
    Ok(())
}
