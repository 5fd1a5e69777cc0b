//! Every table, in the order in which foreign keys allow to fill them. A new table is one line here; a
//! test holds the list against the schema.

use std::collections::{HashMap, HashSet};

use crate::{
    adapters::sql::{
        database::{Connection, Target},
        query::Query,
    },
    admin::{Column, Kind, TableShape},
    error::{Result, StorageError},
    ports::DumpScope,
};

/// What rows of a table mean for the installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Somebody's data. An installation that has any is not empty.
    Data,
    /// What a mesh that runs leaves behind by itself. A restore replaces it.
    Trace,
    /// Who holds leases at the moment: a trace that is in no backup.
    Lease,
    /// Which database this is: where its artifacts' bytes are. Neither in a backup nor replaced by one; a
    /// migration takes it along.
    Identity,
}

/// How rows of a table belong to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// To none.
    Nothing,
    /// By the column `session`, if it is not NULL.
    Session,
    /// By the execution that it names.
    Execution,
    /// By this key: the session's number * 2^32 + a position.
    Clustered(&'static str),
}

/// One table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// What its rows count for in statistics.
    pub(super) collection: Option<&'static str>,
    pub(super) meaning: Meaning,
    pub(super) of: Of,
}

const fn table(name: &'static str, collection: &'static str, meaning: Meaning, of: Of) -> Table {
    let collection = if collection.is_empty() { None } else { Some(collection) };
    Table { name, collection, meaning, of }
}

/// Every table but [`OWN`].
pub(super) const TABLES: &[Table] = &[
    table("stores", "", Meaning::Identity, Of::Nothing),
    table("tenants", "", Meaning::Trace, Of::Nothing),
    table("names", "", Meaning::Trace, Of::Nothing),
    table("contents", "contents", Meaning::Data, Of::Nothing),
    table("sessions", "sessions", Meaning::Data, Of::Session),
    table("heads", "", Meaning::Data, Of::Session),
    table("entries", "journal_entries", Meaning::Data, Of::Clustered("entry")),
    table("marks", "", Meaning::Data, Of::Clustered("mark")),
    table("parts", "", Meaning::Data, Of::Session),
    table("requests", "requests", Meaning::Data, Of::Session),
    table("creations", "", Meaning::Data, Of::Session),
    table("holders", "holders", Meaning::Lease, Of::Nothing),
    table("executions", "executions", Meaning::Data, Of::Session),
    table("outcomes", "", Meaning::Data, Of::Execution),
    table("messages", "messages", Meaning::Data, Of::Clustered("message")),
    table("states", "states", Meaning::Data, Of::Session),
    table("records", "records", Meaning::Data, Of::Nothing),
    table("tombstones", "", Meaning::Trace, Of::Nothing),
    table("artifacts", "artifacts", Meaning::Data, Of::Session),
    table("artifact_bytes", "", Meaning::Data, Of::Nothing),
    table("metrics", "metrics", Meaning::Data, Of::Session),
    table("metric_requests", "requests", Meaning::Data, Of::Nothing),
    table("caches", "", Meaning::Data, Of::Nothing),
    table("cache_entries", "cache_entries", Meaning::Data, Of::Nothing),
    table("purges", "", Meaning::Data, Of::Nothing),
];

/// What the database says of itself.
const OWN: &[&str] = &["schema_versions", "moves", "writers"];

/// A table as a database has it.
#[derive(Debug, Clone)]
pub(super) struct SqlTable {
    pub(super) table: Table,
    pub(super) columns: Vec<SqlColumn>,
    /// The columns of its key.
    pub(super) key: Vec<usize>,
}

/// A column as a database has it.
#[derive(Debug, Clone)]
pub(super) struct SqlColumn {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Whether every insert must name it.
    pub(super) required: bool,
    /// Whether the database numbers the rows.
    pub(super) numbered: bool,
}

impl SqlTable {
    /// The table without its rows.
    pub(super) fn shape(&self, rows: i64) -> TableShape {
        let column = |column: &SqlColumn| Column { name: column.name.clone(), kind: column.kind };
        TableShape {
            name: self.table.name.to_owned(),
            collection: self.table.collection.map(ToOwned::to_owned),
            columns: self.columns.iter().map(column).collect(),
            rows,
        }
    }

    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// The tables of a database, in the order of the catalogue.
///
/// # Errors
/// `Internal` when the database has a table that this program does not know, as one of a later program
/// may have: nothing of it may be left out silently.
pub(super) async fn read_schema(conn: &mut Connection) -> Result<Vec<SqlTable>> {
    let mut found = columns(conn).await?;
    let mut tables = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let missing =
            || StorageError::Corrupt { detail: format!("table {} is missing", table.name) };
        let columns = found.remove(table.name).ok_or_else(missing)?;
        tables.push(columns.into_table(*table));
    }
    let own: HashSet<&str> = OWN.iter().copied().collect();
    let mut unknown: Vec<_> = found.into_keys().filter(|name| !own.contains(&**name)).collect();
    if unknown.is_empty() {
        return Ok(tables);
    }
    unknown.sort();
    let unknown = unknown.join(", ");
    Err(StorageError::internal(format!(
        "the database has tables that this program does not know: {unknown}"
    )))
}

/// Those of the tables that a dump of this scope has.
pub(super) fn in_scope(tables: Vec<SqlTable>, scope: DumpScope) -> Vec<SqlTable> {
    let kept = |meaning| !matches!(meaning, Meaning::Lease | Meaning::Identity);
    let wanted = |table: &SqlTable| scope == DumpScope::Everything || kept(table.table.meaning);
    tables.into_iter().filter(wanted).collect()
}

#[derive(Default)]
struct Columns(Vec<(SqlColumn, i64)>);

impl Columns {
    fn into_table(self, table: Table) -> SqlTable {
        let mut key: Vec<(i64, usize)> = self
            .0
            .iter()
            .enumerate()
            .filter(|(_, (_, place))| *place > 0)
            .map(|(column, (_, place))| (*place, column))
            .collect();
        key.sort_unstable();
        let key = key.into_iter().map(|(_, column)| column).collect();
        SqlTable { table, columns: self.0.into_iter().map(|(column, _)| column).collect(), key }
    }
}

/// Table, column, type, place in the key from 1, whether it must be named, whether rows are numbered.
const SQLITE_COLUMNS: &str = "SELECT m.name, p.name, p.type, p.pk, \
    p.\"notnull\" AND p.dflt_value IS NULL AND NOT (p.pk > 0 AND p.type = 'INTEGER'), 0 \
    FROM sqlite_master m JOIN pragma_table_info(m.name) p ON 1 \
    WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY m.name, p.cid";
const POSTGRES_COLUMNS: &str = "SELECT c.relname::text, a.attname::text, \
    format_type(a.atttypid, a.atttypmod), \
    coalesce(array_position(i.indkey::int2[], a.attnum), -1)::bigint + 1, \
    CASE WHEN a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' THEN 1 ELSE 0 END, \
    CASE WHEN a.attidentity = '' THEN 0 ELSE 1 END \
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary \
    WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace \
    ORDER BY c.relname, a.attnum";

async fn columns(conn: &mut Connection) -> Result<HashMap<String, Columns>> {
    let sql = match conn.target() {
        Target::Sqlite(_) => SQLITE_COLUMNS,
        Target::Postgres(_) => POSTGRES_COLUMNS,
    };
    let mut found: HashMap<String, Columns> = HashMap::new();
    for row in Query::new(sql).all_on(conn.target()).await? {
        let (table, name, kind): (String, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let place: i64 = row.try_get(3)?;
        let unknown = || StorageError::internal(format!("{table}.{name} has the type {kind}"));
        let kind = kind_of(&kind).ok_or_else(unknown)?;
        let (required, numbered) = (row.try_get(4)?, row.try_get(5)?);
        let column = SqlColumn { name, kind, required, numbered };
        found.entry(table).or_default().0.push((column, place));
    }
    Ok(found)
}

fn kind_of(name: &str) -> Option<Kind> {
    match name.to_ascii_lowercase().as_str() {
        "integer" | "bigint" => Some(Kind::Int),
        "real" | "double precision" => Some(Kind::Real),
        "text" => Some(Kind::Text),
        "blob" | "bytea" => Some(Kind::Bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use cortex_testkit::Postgres;
    use sqlx::{Connection as _, sqlite::SqliteConnection};

    use super::*;
    use crate::{
        adapters::{
            postgres::PostgresLocation,
            sql::{database::Location, migrate},
        },
        config::StorageConfig,
    };

    async fn memory() -> Result<Connection> {
        let mut conn = Connection::Sqlite(SqliteConnection::connect("sqlite::memory:").await?);
        migrate(&mut conn).await?;
        Ok(conn)
    }

    /// The columns of every table: what an archive of one database must say to the other.
    fn columns(tables: &[SqlTable]) -> Vec<String> {
        let column = |column: &SqlColumn| {
            let SqlColumn { name, kind, required, .. } = column;
            format!("{name} {kind:?} {required}")
        };
        let all = tables.iter().flat_map(|table| {
            table.columns.iter().map(move |c| format!("{}.{}", table.table.name, column(c)))
        });
        all.collect()
    }

    #[tokio::test]
    async fn both_databases_have_the_same_tables_columns_and_keys() -> Result<()> {
        let database = Postgres::shared().database();
        let location = PostgresLocation::parse(&database.url(), &StorageConfig::default())?;
        let mut conn = Location::Postgres(location).writer().await?;
        migrate(&mut conn).await?;
        let (postgres, sqlite) =
            (read_schema(&mut conn).await?, read_schema(&mut memory().await?).await?);
        let key = |table: &SqlTable| -> Vec<_> {
            table.key.iter().map(|column| table.columns[*column].name.clone()).collect()
        };
        for (one, other) in sqlite.iter().zip(&postgres) {
            let name = one.table.name;
            assert_eq!(key(one), key(other), "{name}");
            // Only rows whose number is their key, and which name no other way, are numbered there.
            for column in other.columns.iter().filter(|column| column.numbered) {
                assert_eq!(key(other), std::slice::from_ref(&column.name), "{name}");
                assert_eq!(column.kind, Kind::Int, "{name}");
            }
        }
        let without_keys = |tables: &[SqlTable]| -> Vec<SqlTable> {
            let mut tables = tables.to_vec();
            for table in &mut tables {
                // SQLite numbers every row whose key is one whole number.
                for place in &table.key {
                    table.columns[*place].required = true;
                }
            }
            tables
        };
        let (sqlite, postgres) = (without_keys(&sqlite), without_keys(&postgres));
        assert_eq!(columns(&sqlite), columns(&postgres));
        Ok(())
    }

    #[tokio::test]
    async fn postgresql_fills_tables_behind_those_that_they_refer_to() -> Result<()> {
        const REFERENCES: &str = "SELECT c.conrelid::regclass::text, c.confrelid::regclass::text \
            FROM pg_constraint c WHERE c.contype = 'f' \
            AND c.connamespace = current_schema()::regnamespace";
        let database = Postgres::shared().database();
        let location = PostgresLocation::parse(&database.url(), &StorageConfig::default())?;
        let mut conn = Location::Postgres(location).writer().await?;
        migrate(&mut conn).await?;
        let references = Query::new(REFERENCES).all_on(conn.target()).await?;
        assert!(!references.is_empty());
        for row in references {
            let (table, other): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let place = |name: &str| TABLES.iter().position(|table| table.name == name);
            assert!(place(&other) < place(&table), "{table} refers to {other}, which comes later");
        }
        Ok(())
    }

    #[tokio::test]
    async fn every_table_of_the_schema_is_in_the_catalogue() -> Result<()> {
        let tables = read_schema(&mut memory().await?).await?;
        assert_eq!(tables.len(), TABLES.len());
        for table in tables {
            assert!(!table.key.is_empty(), "{} has no key", table.table.name);
            let of = match table.table.of {
                Of::Nothing => continue,
                Of::Session => "session",
                Of::Execution => "execution_id",
                Of::Clustered(key) => key,
            };
            assert!(table.column(of).is_some(), "{} has no column {of}", table.table.name);
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_table_that_the_catalogue_lacks_is_named() -> Result<()> {
        let mut conn = memory().await?;
        Query::new("CREATE TABLE later (a INTEGER PRIMARY KEY) STRICT")
            .all_on(conn.target())
            .await?;
        let refused = read_schema(&mut conn).await.expect_err("a table is unknown");
        assert!(refused.to_string().contains("later"), "{refused}");
        Ok(())
    }

    #[tokio::test]
    async fn tables_stand_behind_those_that_they_refer_to() -> Result<()> {
        let mut conn = memory().await?;
        for (place, table) in TABLES.iter().enumerate() {
            let sql = format!("SELECT \"table\" FROM pragma_foreign_key_list('{}')", table.name);
            for row in Query::new(sql).all_on(conn.target()).await? {
                let other: String = row.try_get(0)?;
                let before = TABLES[..place].iter().any(|table| table.name == other);
                assert!(before, "{} refers to {other}, which comes later", table.name);
            }
        }
        Ok(())
    }
}
