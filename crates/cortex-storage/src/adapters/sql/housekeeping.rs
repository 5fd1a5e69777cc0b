//! What goes away by itself: expired records and cache entries, the rows of deleted sessions, old
//! tombstones and requests. Times of use of the cache are written beside it.

use std::{sync::Weak, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    cache::Cache,
    needs::Needs,
    ops::{ForgetMetricRequests, Operation, RemoveExpired},
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
pub(super) async fn run(store: Weak<SqlStore>, config: StorageConfig, stop: CancellationToken) {
    let interval = config.housekeeping_interval.get();
    let retention = Retention {
        tombstones: config.tombstone_retention.get(),
        metric_requests: config.metric_request_retention.get(),
    };
    let mut step = 0_u32;
    while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
        let Some(store) = store.upgrade() else { return };
        let kept = store.keep_house(retention, step.is_multiple_of(HOLDER_STEPS)).await;
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

impl SqlStore {
    /// Forgets holders that are long gone.
    pub(super) async fn forget_holders(&self) -> Result<()> {
        let before = self.now().before(HOLDER_RETENTION);
        self.write(ForgetHolders { before }).await
    }

    /// Clears away what is over, in steps between other writes.
    pub(super) async fn keep_house(&self, retention: Retention, holders: bool) -> Result<()> {
        if holders {
            self.forget_holders().await?;
        }
        let keys = self.reader.expired_records(self.now()).await?;
        if !keys.is_empty() {
            self.write(RemoveExpired { keys }).await?;
        }
        self.write_uses().await?;
        self.remove_expired_cached(None).await?;
        let before = self.now().before(retention.metric_requests);
        if self.reader.has_metric_requests(before).await? {
            self.write(ForgetMetricRequests { before }).await?;
        }
        let before = self.now().before(retention.tombstones);
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

    fn needs(&self, _: &Cache, _: &mut Needs) {}

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
