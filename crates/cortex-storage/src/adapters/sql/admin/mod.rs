//! What operators do with a database: look at it, copy it, fill it, check it, prune it.

mod catalogue;
mod check;
mod dump;
mod fill;
mod hold;
mod prune;
mod stats;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use catalogue::read_schema;
use dump::SqlDump;
use fill::{SqlFill, Whose};
use hold::Lock;

use super::{
    database::Location,
    migrate::{self, migrate},
    query::Query,
    store::SqlStore,
};
use crate::{
    adapters::open_target,
    admin::{
        Admitted, CheckEvent, Checked, Freeze, Hold, Outlet, PruneEvent, PrunePlan, Pruned,
        StorageStats, TableShape, Work,
    },
    config::StorageConfig,
    error::{Result, StorageError},
    ports::{AdminStore, Dump, DumpScope, Fill},
};

/// A database that is about to be filled from another one.
pub(in crate::adapters) struct TargetDatabase {
    pub(in crate::adapters) location: Location,
    /// Keeps other processes out.
    pub(in crate::adapters) lock: Option<std::fs::File>,
}

/// What operators do, on a store.
#[derive(Clone)]
pub struct SqlAdmin {
    store: Arc<SqlStore>,
    /// How to connect to other databases.
    config: StorageConfig,
}

impl SqlAdmin {
    /// On `store`.
    pub fn new(store: Arc<SqlStore>, config: StorageConfig) -> Self {
        Self { store, config }
    }
}

#[tonic::async_trait]
impl AdminStore for SqlAdmin {
    async fn admit(&self, work: &'static str) -> Result<Admitted> {
        let admitted = self.store.turnstile.enter(work)?;
        let hold = self.store.location.hold(Lock::Work, ADMISSION).await;
        let hold = hold.map_err(|error| match error {
            StorageError::Contended { .. } => {
                StorageError::AdminBusy { work: "work of administration" }
            }
            other => other,
        });
        Ok(admitted.holding(boxed(hold?)))
    }

    async fn stats(&self) -> Result<StorageStats> {
        stats::stats(&self.store.location).await
    }

    async fn dump(&self, scope: DumpScope) -> Result<Box<dyn Dump>> {
        let now = self.store.now().await?;
        Ok(Box::new(SqlDump::open(&self.store.location, scope, now).await?))
    }

    async fn accepts(&self, schema_version: i64, tables: &[TableShape]) -> Result<()> {
        let mut conn = self.store.location.reader().await?;
        let own = read_schema(&mut conn).await?;
        fill::accept(&mut conn, &own, schema_version, tables).await
    }

    async fn fill(&self, schema_version: i64, tables: &[TableShape]) -> Result<Box<dyn Fill>> {
        // Looked at first, so that an installation in use is not kept from writing.
        let mut conn = self.store.location.reader().await?;
        Query::new(conn.begin_snapshot()).all_on(conn.target()).await?;
        let own = read_schema(&mut conn).await?;
        fill::require_empty(&mut conn, &own).await?;
        drop(conn);
        let freeze = self.freeze(Work::Restore).await?;
        let conn = self.store.location.worker().await?;
        let whose = Whose::Own(Arc::clone(&self.store), freeze);
        Ok(Box::new(SqlFill::begin(conn, schema_version, tables, whose).await?))
    }

    async fn probe_target(&self, url: &str) -> Result<()> {
        let Some(target) = open_target(url, &self.config, false).await? else { return Ok(()) };
        let mut conn = target.location.reader().await.map_err(unreachable)?;
        if migrate::is_prepared(&mut conn).await.map_err(unreachable)? {
            let own = read_schema(&mut conn).await?;
            fill::require_empty(&mut conn, &own).await?;
        }
        Ok(())
    }

    async fn fill_target(&self, url: &str, tables: &[TableShape]) -> Result<Box<dyn Fill>> {
        let target = open_target(url, &self.config, true).await?;
        let TargetDatabase { location, lock } =
            target.ok_or_else(|| StorageError::internal("the target was not made"))?;
        let mut conn = location.worker().await.map_err(unreachable)?;
        migrate(&mut conn).await?;
        let (version, _) = migrate::state(&mut conn).await?;
        // Of a file the lock keeps others out.
        let hold = location.hold(Lock::Writes, self.config.busy_timeout.get()).await;
        let hold = boxed(hold.map_err(unreachable)?).or_else(|| boxed(lock));
        Ok(Box::new(SqlFill::begin(conn, version, tables, Whose::Other(hold)).await?))
    }

    async fn freeze(&self, work: Work) -> Result<Freeze> {
        let freeze = self.store.freeze(work).await?;
        let wait = self.config.busy_timeout.get();
        let hold = self.store.location.hold(Lock::Writes, wait).await?;
        Ok(freeze.holding(boxed(hold)))
    }

    async fn leave(&self, freeze: Freeze) -> Result<()> {
        freeze.stay();
        let mut conn = self.store.location.writer().await?;
        let insert = Query::new("INSERT INTO moves (move, moved_at) VALUES (1, ?)");
        let insert = insert.bind(self.store.now().await?.micros())?;
        insert.all_on(conn.target()).await?;
        Ok(())
    }

    async fn check(&self, full: bool, out: &Outlet<CheckEvent>) -> Result<Checked> {
        check::check(&self.store.location, full, out).await
    }

    async fn prune(&self, plan: &PrunePlan, out: &Outlet<PruneEvent>) -> Result<Pruned> {
        prune::prune(&self.store, plan, out).await
    }
}

/// How long a work waits for another one to be gone: one that has just ended is heard of a little later.
const ADMISSION: Duration = Duration::from_secs(1);

fn boxed<T: Send + 'static>(hold: Option<T>) -> Option<Hold> {
    hold.map(|hold| Box::new(hold) as Hold)
}

/// What went wrong with another database, as the fault of its address.
fn unreachable(error: StorageError) -> StorageError {
    match error {
        StorageError::Full | StorageError::NotEmpty { .. } => error,
        other => StorageError::TargetUnreachable { detail: other.to_string() },
    }
}
