//! The schema: embedded steps, each with the oldest version of this program that can live with it.
//!
//! A step only adds ("expand"); what an older version still needs is removed by a later step
//! ("contract"), whose `min_compatible` says so. A database whose steps are newer than this program is
//! used as long as this program is new enough for them, so that a rolling upgrade works.

use sqlx::{AssertSqlSafe, Connection, Row, sqlite::SqliteConnection};

use crate::error::{Result, StorageError};

struct Step {
    version: i64,
    /// The oldest schema version whose program can use a database with this step.
    min_compatible: i64,
    sql: &'static str,
}

const STEPS: &[Step] = &[Step {
    version: 1,
    min_compatible: 1,
    sql: include_str!("../../../migrations/sqlite/0001_journal.sql"),
}];

/// The schema version of this program.
const VERSION: i64 = STEPS[STEPS.len() - 1].version;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS schema_versions (
    version        INTEGER PRIMARY KEY,
    min_compatible INTEGER NOT NULL,
    applied_at     INTEGER NOT NULL
) STRICT";

/// Brings the database to this program's schema, or finds that it is newer and usable.
///
/// # Errors
/// `Internal` when the database needs a newer program.
pub(super) async fn migrate(conn: &mut SqliteConnection) -> Result<()> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query(CREATE).execute(&mut *tx).await?;
    let state =
        "SELECT coalesce(max(version), 0), coalesce(max(min_compatible), 0) FROM schema_versions";
    let row = sqlx::query(state).fetch_one(&mut *tx).await?;
    let (version, min_compatible): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    if min_compatible > VERSION {
        let detail = format!(
            "the database has schema {version} and needs a program of schema {min_compatible} or later; this one has {VERSION}"
        );
        return Err(StorageError::internal(detail));
    }
    for step in STEPS.iter().filter(|step| step.version > version) {
        sqlx::raw_sql(AssertSqlSafe(step.sql)).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO schema_versions VALUES (?, ?, unixepoch() * 1000000)")
            .bind(step.version)
            .bind(step.min_compatible)
            .execute(&mut *tx)
            .await?;
        tracing::info!(version = step.version, "database schema upgraded");
    }
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn memory() -> Result<SqliteConnection> {
        Ok(SqliteConnection::connect("sqlite::memory:").await?)
    }

    #[tokio::test]
    async fn migrating_twice_changes_nothing() -> Result<()> {
        let mut conn = memory().await?;
        migrate(&mut conn).await?;
        migrate(&mut conn).await?;
        let row = sqlx::query("SELECT count(*) FROM schema_versions").fetch_one(&mut conn).await?;
        assert_eq!(row.try_get::<i64, _>(0)?, STEPS.len() as i64);
        Ok(())
    }

    #[tokio::test]
    async fn a_database_of_a_later_program_is_used_only_if_it_allows_that() -> Result<()> {
        let mut conn = memory().await?;
        migrate(&mut conn).await?;
        sqlx::query("INSERT INTO schema_versions VALUES (98, 1, 0)").execute(&mut conn).await?;
        migrate(&mut conn).await?;
        sqlx::query("INSERT INTO schema_versions VALUES (99, 99, 0)").execute(&mut conn).await?;
        assert!(migrate(&mut conn).await.is_err());
        Ok(())
    }
}
