//! Reading every row from one snapshot.

use futures::TryStreamExt;

use super::catalogue::{SqlColumn, SqlTable, in_scope, read_schema};
use crate::{
    adapters::sql::{
        database::{Connection, Location},
        error::damaged,
        migrate,
        query::Query,
        row, rows,
        value::Value,
    },
    admin::{Cell, Kind, Row, TableDigest, TableHasher, TableShape},
    artifact::BlobName,
    error::Result,
    ports::{Blob, Dump, DumpFacts, DumpScope},
    time::Stamp,
};

/// Rows of one page at most.
const PAGE_ROWS: i64 = 1024;
/// Bytes of one page, nearly.
const PAGE_BYTES: usize = 1 << 20;

/// A snapshot on a connection of its own. Dropping it closes the connection.
pub(super) struct SqlDump {
    conn: Connection,
    facts: DumpFacts,
    tables: Vec<SqlTable>,
    /// The table that is being read, and the key of the last row.
    place: Option<(usize, Row)>,
}

impl SqlDump {
    /// Opens a snapshot. Everything that was committed before `now` is in it.
    pub(super) async fn open(location: &Location, scope: DumpScope, now: Stamp) -> Result<Self> {
        let mut conn = location.reader().await?;
        Query::new(conn.begin_snapshot()).all_on(conn.target()).await?;
        let (schema_version, _) = migrate::state(&mut conn).await?;
        let tables = in_scope(read_schema(&mut conn).await?, scope);
        let mut shapes = Vec::with_capacity(tables.len());
        for table in &tables {
            shapes.push(table.shape(count(&mut conn, table).await?));
        }
        let backend = location.backend();
        let facts = DumpFacts { schema_version, backend, snapshot_at: now, tables: shapes };
        Ok(Self { conn, facts, tables, place: None })
    }
}

#[tonic::async_trait]
impl Dump for SqlDump {
    fn facts(&self) -> &DumpFacts {
        &self.facts
    }

    async fn rows(&mut self, table: usize) -> Result<Vec<Row>> {
        let after = self.place.take().filter(|(place, _)| *place == table).map(|(_, key)| key);
        let Some(read) = self.tables.get(table) else { return Ok(Vec::new()) };
        let rows = page(&mut self.conn, read, after.as_ref()).await?;
        self.place = rows.last().map(|last| (table, key_of(read, last)));
        Ok(rows)
    }

    async fn blobs(&mut self, after: &str) -> Result<Vec<Blob>> {
        let sql = "SELECT b.name, max(a.size), b.digest FROM artifact_bytes b \
            CROSS JOIN artifacts a ON a.tenant = b.tenant AND a.digest = b.digest \
            WHERE b.name > ? GROUP BY b.name, b.digest ORDER BY b.name LIMIT ?";
        let found = Query::new(sql).bind(after)?.bind(BLOBS)?;
        let read = |row: &row::Row| {
            Ok(Blob {
                name: BlobName::parse(&row.try_get::<String>(0)?)?,
                size: u64::try_from(row.try_get::<i64>(1)?).map_err(|_| damaged("size"))?,
                digest: rows::digest(row, 2)?,
            })
        };
        found.all_on(self.conn.target()).await?.iter().map(read).collect()
    }
}

/// Bytes of one page of names.
const BLOBS: i64 = 256;

async fn count(conn: &mut Connection, table: &SqlTable) -> Result<i64> {
    let sql = format!("SELECT count(*) FROM {}", table.table.name);
    let rows = Query::new(sql).unhurried(conn).await?;
    rows.first().map_or(Ok(0), |row| Ok(row.try_get(0)?))
}

/// The key of a row.
pub(super) fn key_of(table: &SqlTable, row: &[Cell]) -> Row {
    table.key.iter().map(|column| row[*column].clone()).collect()
}

/// The next rows of a table in the order of its key, cut when they are enough.
pub(super) async fn page(
    conn: &mut Connection,
    table: &SqlTable,
    after: Option<&Row>,
) -> Result<Vec<Row>> {
    let key = names(table.key.iter().map(|column| &table.columns[*column]));
    let columns = names(table.columns.iter());
    let mut query = Query::new(format!("SELECT {columns} FROM {}", table.table.name));
    if let Some(after) = after {
        let marks = vec!["?"; after.len()].join(", ");
        query = query.push(&format!(" WHERE ({key}) > ({marks})"));
        for (cell, column) in after.iter().zip(&table.key) {
            query = query.value(value(cell.clone(), table.columns[*column].kind))?;
        }
    }
    let query = query.push(&format!(" ORDER BY {key} LIMIT ?")).bind(PAGE_ROWS)?;
    let mut found = query.stream(conn.target())?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while bytes < PAGE_BYTES
        && let Some(row) = found.try_next().await?
    {
        let row = cells(&row, &table.columns)?;
        bytes += row.iter().map(Cell::size).sum::<usize>();
        rows.push(row);
    }
    Ok(rows)
}

/// What the columns of a shape amount to in a table, in the order of its key.
pub(super) async fn digest(conn: &mut Connection, table: &SqlTable) -> Result<TableDigest> {
    let mut hasher = TableHasher::default();
    let mut after = None;
    loop {
        let rows = page(conn, table, after.as_ref()).await?;
        let Some(last) = rows.last() else { return Ok(hasher.finish()) };
        after = Some(key_of(table, last));
        rows.iter().for_each(|row| hasher.add(row));
    }
}

/// The table with the columns of `shape` alone, in their order. Its key must be among them.
pub(super) fn shaped_like(table: &SqlTable, shape: &TableShape) -> SqlTable {
    let place = |name: &str| table.column(name);
    let chosen: Vec<usize> =
        shape.columns.iter().filter_map(|column| place(&column.name)).collect();
    let key = table.key.iter().filter_map(|key| chosen.iter().position(|c| c == key)).collect();
    let columns = chosen.iter().map(|column| table.columns[*column].clone()).collect();
    SqlTable { table: table.table, columns, key }
}

/// Columns as SQL names them. Some are words of SQL.
pub(super) fn names<'a>(columns: impl Iterator<Item = &'a SqlColumn>) -> String {
    let quoted: Vec<_> = columns.map(|column| format!("\"{}\"", column.name)).collect();
    quoted.join(", ")
}

fn cells(row: &row::Row, columns: &[SqlColumn]) -> Result<Row> {
    let mut cells = Vec::with_capacity(columns.len());
    for (place, column) in columns.iter().enumerate() {
        let cell = match column.kind {
            Kind::Int => row.try_get::<Option<i64>>(place)?.map(Cell::Int),
            Kind::Real => row.try_get::<Option<f64>>(place)?.map(Cell::Real),
            Kind::Text => row.try_get::<Option<String>>(place)?.map(Cell::Text),
            Kind::Bytes => row.try_get::<Option<Vec<u8>>>(place)?.map(Cell::Bytes),
        };
        cells.push(cell.unwrap_or(Cell::Null));
    }
    Ok(cells)
}

/// A cell as the value of a statement.
pub(super) fn value(cell: Cell, kind: Kind) -> Value {
    match (cell, kind) {
        (Cell::Int(number), _) => Value::Int(Some(number)),
        (Cell::Real(number), _) => Value::Real(Some(number)),
        (Cell::Text(text), _) => Value::Text(Some(text)),
        (Cell::Bytes(bytes), _) => Value::Blob(Some(bytes)),
        (Cell::Null, Kind::Int) => Value::Int(None),
        (Cell::Null, Kind::Real) => Value::Real(None),
        (Cell::Null, Kind::Text) => Value::Text(None),
        (Cell::Null, Kind::Bytes) => Value::Blob(None),
    }
}
