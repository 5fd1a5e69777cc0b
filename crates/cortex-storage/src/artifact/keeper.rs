//! What goes away by itself: the bytes of deleted sessions, and what a crash has left behind.

use std::{collections::HashSet, sync::Arc, time::Duration};

use cortex_core::Clock;
use futures::StreamExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{BlobName, Depot};
use crate::{config::StorageConfig, error::Result, time::Stamp};

/// Names that the database is asked about in one go.
const ASKED: usize = 512;

/// Deletes bytes that nothing refers to.
pub(crate) struct Keeper {
    depot: Depot,
    clock: Arc<dyn Clock>,
    interval: Duration,
    sweep_interval: Duration,
    grace: Duration,
}

impl Keeper {
    pub(crate) fn new(depot: Depot, clock: Arc<dyn Clock>, config: &StorageConfig) -> Self {
        Self {
            depot,
            clock,
            interval: config.housekeeping_interval.get(),
            sweep_interval: config.artifacts.sweep_interval.get(),
            grace: config.artifacts.grace.get(),
        }
    }

    /// Works until it is told to stop. The first sweep comes at once: a crash may have been.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut next_sweep = Instant::now();
        while stop.run_until_cancelled(tokio::time::sleep(self.interval)).await.is_some() {
            let sweep = next_sweep <= Instant::now();
            if sweep {
                next_sweep = Instant::now() + self.sweep_interval;
            }
            let working = self.work(sweep);
            let Some(worked) = stop.run_until_cancelled(working).await else { return };
            if let Err(error) = worked {
                tracing::warn!(%error, "clearing away bytes failed, and is tried again");
            }
        }
    }

    async fn work(&self, sweep: bool) -> Result<()> {
        while self.depot.release().await? {}
        if !sweep {
            return Ok(());
        }
        let swept = self.sweep().await?;
        if swept > 0 {
            tracing::info!(swept, "bytes that nothing referred to are deleted");
        }
        Ok(())
    }

    /// Deletes what has been there for the grace period and nothing refers to, and answers how much.
    pub(crate) async fn sweep(&self) -> Result<u64> {
        if !self.depot.store.may_sweep().await? {
            return Ok(0);
        }
        let before = Stamp::now(&*self.clock).before(self.grace);
        let mut swept = self.depot.blobs.sweep_unfinished(before).await?;
        let mut old = Vec::new();
        let mut listing = self.depot.blobs.list();
        while let Some(entry) = listing.next().await {
            let entry = entry?;
            if entry.written_at < before {
                old.push(entry.name);
            }
            if old.len() >= ASKED {
                swept += self.sweep_some(std::mem::take(&mut old)).await?;
            }
        }
        Ok(swept + self.sweep_some(old).await?)
    }

    async fn sweep_some(&self, names: Vec<BlobName>) -> Result<u64> {
        if names.is_empty() {
            return Ok(0);
        }
        let known: HashSet<BlobName> = self.depot.store.known_blobs(&names).await?;
        let mut swept = 0;
        for name in names.iter().filter(|name| !known.contains(name)) {
            self.depot.blobs.delete(name).await?;
            swept += 1;
        }
        Ok(swept)
    }
}
