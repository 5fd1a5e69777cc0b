//! Filling an empty database in one transaction.

use std::sync::Arc;

use super::{
    catalogue::{Meaning, SqlTable, read_schema},
    dump::{digest, names, shaped_like, value},
};
use crate::{
    adapters::sql::{
        cache::LAST_SESSION,
        database::{Connection, Target},
        migrate,
        query::Query,
        store::SqlStore,
    },
    admin::{Freeze, Hold, Row, TableDigest, TableShape},
    artifact::{BlobName, Digest},
    error::{Result, StorageError},
    journal::{ExecutionState, OutcomeKind},
    ports::Fill,
    tenant::Tenant,
};

/// Values of one insert at most. SQLite takes 32,766.
const MAX_VALUES: usize = 16_384;
/// Rows of one insert at most.
const MAX_ROWS: usize = 512;

/// What the outcome of an execution says that was claimed when its installation was copied.
const ORPHANED: &str = "the installation was restored from a backup while this ran";

/// A database that is being filled. Dropping it closes the connection, and with it the transaction.
pub(super) struct SqlFill {
    conn: Connection,
    /// The tables as they are filled: the archive's columns in the archive's order.
    tables: Vec<SqlTable>,
    whose: Whose,
    /// Tenants that were there, which others may remember by their numbers.
    tenants: Vec<(i64, String)>,
}

/// Whose database is filled, and who is kept from writing meanwhile.
pub(super) enum Whose {
    /// This installation's.
    Own(Arc<SqlStore>, #[expect(dead_code, reason = "it is there to be dropped")] Freeze),
    /// Another one's, with what keeps other processes out.
    Other(#[expect(dead_code, reason = "it is there to be dropped")] Option<Hold>),
}

impl SqlFill {
    /// Begins the transaction on a database that has this program's schema.
    ///
    /// # Errors
    /// `NotEmpty`; `BackupTooNew` and `BackupInvalid` when the tables do not fit.
    pub(super) async fn begin(
        mut conn: Connection,
        schema_version: i64,
        shapes: &[TableShape],
        whose: Whose,
    ) -> Result<Self> {
        Query::new(conn.begin()).all_on(conn.target()).await?;
        let own = read_schema(&mut conn).await?;
        accept(&mut conn, &own, schema_version, shapes).await?;
        let given = |table: &SqlTable| shapes.iter().any(|shape| shape.name == table.table.name);
        let replaced: Vec<_> = own
            .iter()
            .filter(|table| table.table.meaning != Meaning::Identity || given(table))
            .cloned()
            .collect();
        let tenants = tenants(&mut conn).await?;
        claim(&mut conn, &replaced).await?;
        let tables = shapes.iter().filter_map(|shape| Some(shaped_like(find(&own, shape)?, shape)));
        Ok(Self { conn, tables: tables.collect(), whose, tenants })
    }

    fn table(&self, number: usize) -> Result<&SqlTable> {
        self.tables.get(number).ok_or_else(|| StorageError::internal("rows of no table"))
    }

    /// Other replicas of a server remember tenants by their numbers: those that were there must not have
    /// others now.
    async fn require_numbers(&mut self) -> Result<()> {
        if matches!(self.conn.target(), Target::Sqlite(_)) {
            return Ok(());
        }
        let now = tenants(&mut self.conn).await?;
        let moved = |(number, name): &(i64, String)| {
            let is_one = |(other, called): &&(i64, String)| other == number || called == name;
            now.iter().find(is_one).is_some_and(|found| found.0 != *number || found.1 != *name)
        };
        if self.tenants.iter().any(moved) {
            let what = "tenants under other numbers than the archive".to_owned();
            return Err(StorageError::NotEmpty { what });
        }
        Ok(())
    }

    /// What numbers rows must go on behind the last one.
    async fn number_on(&mut self) -> Result<()> {
        if matches!(self.conn.target(), Target::Sqlite(_)) {
            return Ok(());
        }
        for table in &self.tables {
            for column in table.columns.iter().filter(|column| column.numbered) {
                let (table, column) = (table.table.name, &column.name);
                let own = format!("SELECT coalesce(max(\"{column}\"), 0) FROM {table}");
                // Rows may be left of later sessions than there are.
                let last = if table == "sessions" { LAST_SESSION } else { &own };
                let sql = format!(
                    "SELECT setval(pg_get_serial_sequence('{table}', '{column}'), ({last}) + 1, false)"
                );
                Query::new(sql).all_on(self.conn.target()).await?;
            }
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl Fill for SqlFill {
    async fn write(&mut self, table: usize, rows: Vec<Row>) -> Result<()> {
        let table = self.table(table)?.clone();
        let most = (MAX_VALUES / table.columns.len().max(1)).min(MAX_ROWS);
        let columns = names(table.columns.iter());
        let mut rows = rows.into_iter();
        let mut left = rows.len();
        // Powers of two, so that few different statements come up and stay prepared.
        while left > 0 {
            let size = 1 << left.min(most).ilog2();
            left -= size;
            let insert = format!("INSERT INTO {} ({columns}) VALUES ", table.table.name);
            let marks = format!("({})", vec!["?"; table.columns.len()].join(", "));
            let mut query = Query::new(insert + &vec![marks; size].join(", "));
            for row in rows.by_ref().take(size) {
                for (cell, column) in row.into_iter().zip(&table.columns) {
                    query = query.value(value(cell, column.kind))?;
                }
            }
            query.all_on(self.conn.target()).await?;
        }
        Ok(())
    }

    async fn digest(&mut self, table: usize) -> Result<TableDigest> {
        let table = self.table(table)?.clone();
        digest(&mut self.conn, &table).await
    }

    async fn orphan(&mut self) -> Result<()> {
        let unhold = "UPDATE heads SET holder_id = NULL WHERE holder_id IS NOT NULL";
        Query::new(unhold).unhurried(&mut self.conn).await?;
        let claimed = ExecutionState::Claimed.number();
        Query::new(
            "INSERT INTO outcomes (tenant, execution_id, result, error) \
             SELECT x.tenant, x.execution_id, '', ? FROM executions x WHERE x.state = ?",
        )
        .bind(ORPHANED)?
        .bind(claimed)?
        .unhurried(&mut self.conn)
        .await?;
        Query::new("UPDATE executions SET state = ?, outcome_kind = ? WHERE state = ?")
            .bind(ExecutionState::Finished.number())?
            .bind(OutcomeKind::Lost.number())?
            .bind(claimed)?
            .unhurried(&mut self.conn)
            .await?;
        Ok(())
    }

    async fn place(&mut self, old: &str, digest: &Digest, new: &BlobName) -> Result<bool> {
        let sql =
            "UPDATE artifact_bytes SET name = ? WHERE name = ? AND digest = ? RETURNING tenant";
        let placed = Query::new(sql)
            .bind(new.as_str())?
            .bind(old)?
            .bind(digest.as_bytes().to_vec())?
            .all_on(self.conn.target())
            .await?;
        Ok(!placed.is_empty())
    }

    async fn forget_bytes(&mut self) -> Result<()> {
        for sql in ["UPDATE artifacts SET digest = NULL", "DELETE FROM artifact_bytes"] {
            Query::new(sql).unhurried(&mut self.conn).await?;
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<()> {
        self.number_on().await?;
        self.require_numbers().await?;
        let sql = "SELECT name, record_revision FROM tenants";
        let revisions = Query::new(sql).all_on(self.conn.target()).await?;
        Query::new("COMMIT").all_on(self.conn.target()).await?;
        // Who watches records is told that there are others now.
        if let Whose::Own(store, _) = &self.whose {
            for row in revisions {
                let tenant = Tenant::new(row.try_get::<String>(0)?);
                store.hubs.revisions.publish(&tenant, row.try_get(1)?);
            }
        }
        Ok(())
    }
}

async fn tenants(conn: &mut Connection) -> Result<Vec<(i64, String)>> {
    let rows = Query::new("SELECT tenant, name FROM tenants").all_on(conn.target()).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

fn find<'t>(tables: &'t [SqlTable], shape: &TableShape) -> Option<&'t SqlTable> {
    tables.iter().find(|table| table.table.name == shape.name)
}

/// Whether rows of these tables can be taken by a database with the tables `own`.
///
/// # Errors
/// `BackupTooNew` when they are of a later schema, `BackupInvalid` when something is missing.
pub(super) async fn accept(
    conn: &mut Connection,
    own: &[SqlTable],
    schema_version: i64,
    shapes: &[TableShape],
) -> Result<()> {
    let (version, _) = migrate::state(conn).await?;
    if schema_version > version {
        let detail = format!(
            "the archive has schema {schema_version}, and this installation has {version}; \
             restore it with the program that wrote it, or a later one"
        );
        return Err(StorageError::BackupTooNew { detail });
    }
    let invalid = |detail: String| StorageError::BackupInvalid { detail };
    for shape in shapes {
        let name = &shape.name;
        let table = find(own, shape).ok_or_else(|| invalid(format!("there is no table {name}")))?;
        for column in &shape.columns {
            let known = table.column(&column.name).map(|place| table.columns[place].kind);
            if known != Some(column.kind) {
                return Err(invalid(format!("there is no such column {name}.{}", column.name)));
            }
        }
        let given = |name: &str| shape.columns.iter().any(|column| column.name == name);
        let key = table.key.iter().map(|key| &table.columns[*key]);
        let required = table.columns.iter().filter(|column| column.required).chain(key);
        if let Some(missing) = required.into_iter().find(|column| !given(&column.name)) {
            return Err(invalid(format!("the archive has no column {name}.{}", missing.name)));
        }
    }
    Ok(())
}

/// Makes sure that nobody's data is there, and removes what a running mesh has left of `own`.
async fn claim(conn: &mut Connection, own: &[SqlTable]) -> Result<()> {
    if matches!(conn.target(), Target::Postgres(_)) {
        let tables: Vec<_> = own.iter().map(|table| table.table.name).collect();
        let sql = format!("LOCK TABLE {} IN EXCLUSIVE MODE", tables.join(", "));
        Query::new(sql).all_on(conn.target()).await?;
    }
    require_empty(conn, own).await?;
    let traces = own.iter().rev().filter(|table| table.table.meaning != Meaning::Data);
    for table in traces {
        let sql = format!("DELETE FROM {}", table.table.name);
        Query::new(sql).all_on(conn.target()).await?;
    }
    Ok(())
}

/// That nobody's data is there.
///
/// # Errors
/// `NotEmpty`, with what is there.
pub(super) async fn require_empty(conn: &mut Connection, own: &[SqlTable]) -> Result<()> {
    if migrate::has_moved(conn).await? {
        let what = "a note that it lives on in another database".to_owned();
        return Err(StorageError::NotEmpty { what });
    }
    // Other replicas of a server remember names by their numbers.
    let is_shared = matches!(conn.target(), Target::Postgres(_));
    let data = own.iter().filter(|table| table.table.meaning == Meaning::Data);
    let data = data.chain(own.iter().filter(|table| is_shared && table.table.name == "names"));
    for table in data {
        let name = table.table.name;
        let sql = format!("SELECT 1 FROM {name} LIMIT 1");
        if Query::new(sql).first_on(conn.target()).await?.is_some() {
            let what = table.table.collection.unwrap_or(name).replace('_', " ");
            return Err(StorageError::NotEmpty { what });
        }
    }
    Ok(())
}
