//! What goes away by itself: expired records and cache entries, the rows of deleted sessions, old
//! tombstones and requests. Times of use of the cache are written beside it.

use std::{sync::Weak, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    cache::Cache,
    database::{Connection, Location},
    needs::{HolderNeeds, Needs},
    ops::{ForgetMetricRequests, Operation, RemoveExpired},
    query::Query,
    store::SqlStore,
    work::Work,
};
use crate::{config::StorageConfig, error::Result, time::Stamp};

/// How long a holder is remembered after its lease was over. One that comes back later is told that its
/// lease is void.
const HOLDER_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many steps pass between two looks for holders to forget.
const HOLDER_STEPS: u32 = 600;
/// Rows that one step clears away, so that no other write waits long for it.
pub(super) const STEP_ROWS: i64 = 2_000;

/// Works every `housekeeping_interval` until the store is gone.
pub(super) async fn run(
    store: Weak<SqlStore>,
    location: Location,
    config: StorageConfig,
    stop: CancellationToken,
) {
    let mut turn = Turn { location, conn: None, mine: false };
    let interval = config.housekeeping_interval.get();
    let retention = Retention {
        tombstones: config.tombstone_retention.get(),
        metric_requests: config.metric_request_retention.get(),
    };
    let mut step = 0_u32;
    while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
        let Some(store) = store.upgrade() else { return };
        let kept = match turn.is_mine().await {
            Ok(true) => store.keep_house(retention, step.is_multiple_of(HOLDER_STEPS)).await,
            Ok(false) => store.write_uses().await,
            Err(error) => Err(error),
        };
        step = step.wrapping_add(1);
        if let Err(error) = kept {
            tracing::warn!(%error, "housekeeping failed, and is tried again");
        }
    }
}

/// How long things are remembered after they are over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    pub(super) tombstones: Duration,
    pub(super) metric_requests: Duration,
}

/// Whose turn it is to keep house. Of several replicas it is that of one, as long as its connection
/// lives.
struct Turn {
    location: Location,
    conn: Option<Connection>,
    mine: bool,
}

impl Turn {
    async fn is_mine(&mut self) -> Result<bool> {
        if !self.location.is_shared() {
            return Ok(true);
        }
        let asked = self.ask().await;
        self.mine = *asked.as_ref().unwrap_or(&false);
        if asked.is_err() {
            self.conn = None;
        }
        asked
    }

    async fn ask(&mut self) -> Result<bool> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => {
                self.mine = false;
                self.location.writer().await?
            }
        };
        let conn = self.conn.insert(conn);
        let sql = if self.mine { "SELECT 1" } else { LOCK };
        let row = Query::new(sql).first_on(conn.target()).await?;
        Ok(row.map_or(Ok(false), |row| row.try_get(0))?)
    }
}

/// Ends with the connection.
const LOCK: &str = "SELECT pg_try_advisory_lock(7021952003)::int";

impl SqlStore {
    /// Forgets holders that are long gone.
    pub(super) async fn forget_holders(&self) -> Result<()> {
        let before = self.now().await?.before(HOLDER_RETENTION);
        self.write(ForgetHolders { before }).await
    }

    /// Clears away what is over, in steps between other writes.
    pub(super) async fn keep_house(&self, retention: Retention, holders: bool) -> Result<()> {
        if holders {
            self.forget_holders().await?;
        }
        let now = self.now().await?;
        let keys = self.reader.expired_records(now).await?;
        if !keys.is_empty() {
            self.write(RemoveExpired { keys }).await?;
        }
        self.write_uses().await?;
        self.remove_expired_cached(None).await?;
        let before = now.before(retention.metric_requests);
        if self.reader.has_metric_requests(before).await? {
            self.write(ForgetMetricRequests { before }).await?;
        }
        let before = now.before(retention.tombstones);
        if self.reader.has_tombstones(before).await? {
            self.write(ForgetTombstones { before }).await?;
        }
        while let Some(purge) = self.reader.next_purge().await? {
            self.write(PurgeStep { purge }).await?;
        }
        Ok(())
    }
}

/// One entry of the list of what is to be cleared away.
#[derive(Debug, Clone, Copy)]
pub(super) struct PurgeRow {
    pub(super) purge: i64,
    pub(super) session: i64,
    /// Messages up to this position; absent: everything.
    pub(super) messages: Option<i64>,
}

/// Clears away some rows, and takes the entry off the list when nothing is left.
struct PurgeStep {
    purge: PurgeRow,
}

impl Operation for PurgeStep {
    type Answer = ();

    fn needs(&self, _: &Cache, needs: &mut Needs) {
        needs.purges.push(self.purge);
    }

    fn decide(&self, work: &mut Work<'_>) -> Result<()> {
        work.writes.purge_steps.push(self.purge);
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}

/// Forgets holders whose leases were over before a time. A holder that is not known is a void one, so
/// sessions that still name it are free.
struct ForgetHolders {
    before: Stamp,
}

impl Operation for ForgetHolders {
    type Answer = ();

    fn needs(&self, _: &Cache, needs: &mut Needs) {
        needs.holders(HolderNeeds::Write);
    }

    fn decide(&self, work: &mut Work<'_>) -> Result<()> {
        let over =
            work.cache.holders.0.extract_if(|_, owned| owned.holder.expires_at < self.before);
        work.writes.forgotten_holders.extend(over.map(|(id, _)| id));
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}

/// Forgets deletions of records from before a time.
struct ForgetTombstones {
    before: Stamp,
}

impl Operation for ForgetTombstones {
    type Answer = ();

    fn needs(&self, _: &Cache, _: &mut Needs) {}

    fn decide(&self, work: &mut Work<'_>) -> Result<()> {
        work.writes.forget_tombstones = Some(self.before);
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}
