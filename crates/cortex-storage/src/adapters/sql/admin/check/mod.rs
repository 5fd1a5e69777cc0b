//! Looking for damage: the database's own check, then journals and what is projected from them, then
//! references, then what is stored once.

mod contents;
mod database;
mod journals;
mod references;
mod replay;

use super::catalogue::{SqlTable, read_schema};
use crate::{
    adapters::sql::{
        database::{Connection, Location},
        query::Query,
        row::Row,
    },
    admin::{CheckEvent, Checked, Finding, Outlet, Pace, Unit},
    error::{Result, StorageError},
};

/// Looks at everything, or at samples, on one snapshot.
pub(super) async fn check(
    location: &Location,
    full: bool,
    out: &Outlet<CheckEvent>,
) -> Result<Checked> {
    let mut conn = location.reader().await?;
    Query::new(conn.begin_snapshot()).all_on(conn.target()).await?;
    let pace = Pace::new("database", 0, Unit::Rows);
    let mut checker = Checker { conn, full, out, pace, checked: Checked::default() };
    match checker.look().await {
        // What cannot be read is what was looked for.
        Err(StorageError::Corrupt { detail }) => checker.find(database::damaged(detail)).await?,
        outcome => outcome?,
    }
    Ok(checker.checked)
}

struct Checker<'a> {
    conn: Connection,
    full: bool,
    out: &'a Outlet<CheckEvent>,
    pace: Pace,
    checked: Checked,
}

impl Checker<'_> {
    async fn look(&mut self) -> Result<()> {
        self.database().await?;
        let tables = read_schema(&mut self.conn).await?;
        self.journals().await?;
        self.references(&tables).await?;
        self.contents(&tables).await
    }

    async fn enter(&mut self, phase: &str, total: i64, unit: Unit) -> Result<()> {
        self.pace.enter(phase, total, unit);
        self.advance(0).await
    }

    async fn advance(&mut self, more: i64) -> Result<()> {
        match self.pace.advance(more) {
            Some(progress) => self.out.tell(CheckEvent::Progress(progress)).await,
            None => Ok(()),
        }
    }

    async fn find(&mut self, finding: Finding) -> Result<()> {
        self.checked.findings += 1;
        self.out.tell(CheckEvent::Finding(finding)).await
    }

    /// Notes that rows of a collection were looked at.
    fn looked(&mut self, collection: &str, rows: i64) {
        *self.checked.rows.entry(collection.to_owned()).or_default() += rows;
    }

    async fn all(&mut self, query: Query) -> Result<Vec<Row>> {
        query.unhurried(&mut self.conn).await
    }

    async fn first(&mut self, query: Query) -> Result<Option<Row>> {
        Ok(self.all(query).await?.into_iter().next())
    }

    async fn number(&mut self, sql: &str) -> Result<i64> {
        let row = self.first(Query::new(sql)).await?;
        row.map_or(Ok(0), |row| Ok(row.try_get::<Option<i64>>(0)?.unwrap_or(0)))
    }
}

/// What a table's rows are called where something is wrong with them.
fn called(table: &SqlTable) -> &'static str {
    table.table.collection.unwrap_or(table.table.name)
}
