//! What the database finds itself.

use super::Checker;
use crate::{
    adapters::sql::{database::Connection, query::Query},
    admin::{Finding, Unit},
    error::Result,
};

impl Checker<'_> {
    /// SQLite reads its pages and compares tables with their indexes, and looks where foreign keys lead.
    /// PostgreSQL keeps foreign keys true, and looks at its pages' checksums while it reads them.
    pub(super) async fn database(&mut self) -> Result<()> {
        self.enter("database", 0, Unit::Rows).await?;
        if matches!(self.conn, Connection::Postgres(_)) {
            return Ok(());
        }
        let sql = if self.full { "PRAGMA integrity_check(100)" } else { "PRAGMA quick_check(100)" };
        for row in self.all(Query::new(sql)).await? {
            let said: String = row.try_get(0)?;
            if said != "ok" {
                self.find(damaged(said)).await?;
            }
        }
        for row in self.all(Query::new("PRAGMA foreign_key_check")).await? {
            let (table, parent): (String, String) = (row.try_get(0)?, row.try_get(2)?);
            let rowid: Option<i64> = row.try_get(1)?;
            self.find(Finding {
                code: "REFERENCE_BROKEN",
                message: format!("a row of {table} refers to a row of {parent} that is not there"),
                collection: "database",
                session_id: String::new(),
                subject: rowid.map_or(table.clone(), |rowid| format!("{table}:{rowid}")),
            })
            .await?;
        }
        Ok(())
    }
}

/// What the database says of its own damage.
pub(super) fn damaged(said: String) -> Finding {
    Finding {
        code: "DATABASE_DAMAGED",
        message: format!("{said}; restore the last backup into a new data directory"),
        collection: "database",
        session_id: String::new(),
        subject: String::new(),
    }
}
