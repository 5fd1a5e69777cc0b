//! Copying an installation into another database.

use std::sync::Arc;

use super::{
    freeze::{Freeze, Work},
    progress::{Outlet, Pace, Progress, Unit},
    restore::disk_full,
    stats::RowCounts,
    table::{TableDigest, TableHasher, TableShape},
};
use crate::{
    error::{Result, StorageError},
    ports::{AdminStore, Dump, DumpScope, Fill},
};

/// A migration is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Rows of each collection that were copied and compared.
    pub rows: RowCounts,
    /// Whether it was only tried.
    pub valid_only: bool,
}

/// What happens during a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MigrateEvent {
    /// It goes on.
    Progress(Progress),
    /// It is done.
    Completed(Migrated),
}

/// Copies everything into the empty database at `url`, and compares it there. Writes are refused
/// meanwhile, and for good after it. Dropping the future before it has compared everything leaves the
/// other database empty; after that it goes on by itself.
///
/// # Errors
/// `TargetUnreachable`, `NotEmpty`, `DiskFull`, what either database says; `Internal` when the copy
/// differs.
pub async fn migrate(
    store: &Arc<dyn AdminStore>,
    url: &str,
    validate_only: bool,
    out: &Outlet<MigrateEvent>,
) -> Result<Migrated> {
    store.probe_target(url).await?;
    if validate_only {
        let dump = store.dump(DumpScope::Everything).await?;
        return Ok(migrated(&dump.facts().tables, true));
    }
    let freeze = store.freeze(Work::Migration).await?;
    let mut dump = store.dump(DumpScope::Everything).await?;
    let tables = dump.facts().tables.clone();
    let mut copying = Copying { fill: store.fill_target(url, &tables).await?, out };
    let mut copied = Vec::with_capacity(tables.len());
    for (number, table) in tables.iter().enumerate() {
        copied.push(copying.copy(&mut *dump, number, table).await.map_err(disk_full)?);
    }
    copying.compare(&tables, &copied).await?;
    // From here on both databases must be told, even if nobody waits for it.
    let conclusion = conclude(Arc::clone(store), copying.fill, freeze);
    let concluded = tokio::spawn(conclusion).await;
    concluded.map_err(|error| StorageError::internal(error.to_string()))??;
    Ok(migrated(&tables, false))
}

/// Makes the copy durable, and refuses writes here for good.
async fn conclude(store: Arc<dyn AdminStore>, fill: Box<dyn Fill>, freeze: Freeze) -> Result<()> {
    fill.commit().await.map_err(disk_full)?;
    store.leave(freeze).await.map_err(|error| {
        StorageError::internal(format!(
            "everything was copied, but the database that was copied cannot note it ({error}): start no \
             process with that one again"
        ))
    })
}

struct Copying<'a> {
    fill: Box<dyn Fill>,
    out: &'a Outlet<MigrateEvent>,
}

impl Copying<'_> {
    async fn copy(
        &mut self,
        dump: &mut dyn Dump,
        number: usize,
        table: &TableShape,
    ) -> Result<TableDigest> {
        let mut pace = Pace::new(table.name.replace('_', " "), table.rows, Unit::Rows);
        let mut hasher = TableHasher::default();
        loop {
            let rows = dump.rows(number).await?;
            if rows.is_empty() {
                return Ok(hasher.finish());
            }
            rows.iter().for_each(|row| hasher.add(row));
            let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
            self.fill.write(number, rows).await?;
            tell(self.out, pace.advance(count)).await?;
        }
    }

    /// Reads everything back before it counts.
    async fn compare(&mut self, tables: &[TableShape], copied: &[TableDigest]) -> Result<()> {
        let total = tables.iter().map(|table| table.rows).sum();
        let mut pace = Pace::new("comparing", total, Unit::Rows);
        tell(self.out, pace.advance(0)).await?;
        for (number, (table, copied)) in tables.iter().zip(copied).enumerate() {
            let found = self.fill.digest(number).await?;
            if found != *copied {
                return Err(StorageError::internal(format!(
                    "the copy of table {} differs: {} rows were sent and {} are there",
                    table.name, copied.rows, found.rows
                )));
            }
            tell(self.out, pace.advance(found.rows)).await?;
        }
        Ok(())
    }
}

async fn tell(out: &Outlet<MigrateEvent>, progress: Option<Progress>) -> Result<()> {
    match progress {
        Some(progress) => out.tell(MigrateEvent::Progress(progress)).await,
        None => Ok(()),
    }
}

fn migrated(tables: &[TableShape], valid_only: bool) -> Migrated {
    let mut rows = RowCounts::new();
    for table in tables {
        if let Some(collection) = &table.collection {
            *rows.entry(collection.clone()).or_default() += table.rows;
        }
    }
    Migrated { rows, valid_only }
}
