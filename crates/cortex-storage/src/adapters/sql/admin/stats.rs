//! What the database holds, in numbers.

use super::catalogue::TABLES;
use crate::{
    adapters::sql::{
        database::{Connection, Location},
        migrate,
        query::Query,
    },
    admin::{RowCounts, StorageStats},
    error::Result,
    session::SessionStatus,
    time::Stamp,
};

/// Collections whose heads know how many rows they have: counting millions of rows takes long.
const COUNTED: &[(&str, &str)] = &[
    ("journal_entries", "SELECT CAST(coalesce(sum(head - shared), 0) AS BIGINT) FROM heads"),
    ("messages", "SELECT CAST(coalesce(sum(message_count), 0) AS BIGINT) FROM heads"),
];

/// Bytes of what is stored once: payloads, and what artifacts refer to.
const CONTENT_BYTES: [&str; 2] = [
    "SELECT CAST(coalesce(sum(length(bytes)), 0) AS BIGINT) FROM contents",
    "SELECT CAST(coalesce(sum(x.size), 0) AS BIGINT) FROM (SELECT max(a.size) AS size \
     FROM artifact_bytes b CROSS JOIN artifacts a ON a.tenant = b.tenant AND a.digest = b.digest \
     GROUP BY b.name) x",
];

/// Tables whose rows belong to the tenant that they name, and are data of its own.
const OWNED: &[&str] = &["sessions", "records", "artifacts", "metrics", "cache_entries"];

/// The numbers, from one snapshot.
pub(super) async fn stats(location: &Location) -> Result<StorageStats> {
    let mut conn = location.reader().await?;
    Query::new(conn.begin_snapshot()).all_on(conn.target()).await?;
    let (schema_version, min_compatible_version) = migrate::state(&mut conn).await?;
    let (database_bytes, free_bytes) = space(&mut conn).await?;
    let mut contents = 0;
    for sql in CONTENT_BYTES {
        contents += number(&mut conn, sql).await?.unwrap_or(0);
    }
    let oldest = number(&mut conn, "SELECT min(created_at) FROM sessions").await?;
    Ok(StorageStats {
        backend: location.backend(),
        location: location.describe(),
        schema_version,
        min_compatible_version,
        database_bytes,
        free_bytes,
        content_bytes: contents,
        rows: rows(&mut conn).await?,
        tenants: tenants(&mut conn).await?,
        sessions_by_status: statuses(&mut conn).await?,
        oldest_session_at: oldest.map(Stamp::from_micros),
    })
}

async fn number(conn: &mut Connection, sql: &str) -> Result<Option<i64>> {
    let rows = Query::new(sql).unhurried(conn).await?;
    rows.first().map_or(Ok(None), |row| Ok(row.try_get(0)?))
}

/// Bytes of the database, and those of them that are unused.
pub(super) async fn space(conn: &mut Connection) -> Result<(i64, i64)> {
    let sql = match conn {
        Connection::Sqlite(_) => {
            "SELECT page_count * page_size, freelist_count * page_size \
             FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()"
        }
        // What is unused is not counted anywhere; dead rows are, and the sizes of tables.
        Connection::Postgres(_) => {
            "SELECT pg_database_size(current_database()), \
             coalesce(sum(pg_total_relation_size(relid) * n_dead_tup / \
             greatest(n_live_tup + n_dead_tup, 1)), 0)::bigint FROM pg_stat_user_tables"
        }
    };
    match Query::new(sql).first_on(conn.target()).await? {
        Some(row) => Ok((row.try_get(0)?, row.try_get(1)?)),
        None => Ok((0, 0)),
    }
}

async fn rows(conn: &mut Connection) -> Result<RowCounts> {
    let mut rows = RowCounts::new();
    for table in TABLES {
        let Some(collection) = table.collection else { continue };
        let counted = COUNTED.iter().find(|(counted, _)| *counted == collection);
        let every = format!("SELECT count(*) FROM {}", table.name);
        let sql = counted.map_or(every.as_str(), |(_, sql)| sql);
        let counted = number(conn, sql).await?.unwrap_or(0);
        *rows.entry(collection.to_owned()).or_default() += counted;
    }
    Ok(rows)
}

async fn tenants(conn: &mut Connection) -> Result<i64> {
    let owned: Vec<_> = OWNED
        .iter()
        .map(|table| format!("EXISTS (SELECT 1 FROM {table} o WHERE o.tenant = t.tenant)"))
        .collect();
    let sql = format!("SELECT count(*) FROM tenants t WHERE {}", owned.join(" OR "));
    Ok(number(conn, &sql).await?.unwrap_or(0))
}

async fn statuses(conn: &mut Connection) -> Result<RowCounts> {
    let sql = "SELECT status, count(*) FROM sessions GROUP BY status";
    let mut counts = RowCounts::new();
    for row in Query::new(sql).unhurried(conn).await? {
        let status = match SessionStatus::from_number(row.try_get(0)?) {
            Some(SessionStatus::Active) => "active",
            Some(SessionStatus::Paused) => "paused",
            Some(SessionStatus::Ended) => "ended",
            None => "unknown",
        };
        counts.insert(status.to_owned(), row.try_get(1)?);
    }
    Ok(counts)
}
