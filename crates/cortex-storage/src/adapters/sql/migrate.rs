//! The schema: embedded steps, each with the oldest version of this program that can live with it.
//!
//! A step only adds ("expand"); what an older version still needs is removed by a later step
//! ("contract"), whose `min_compatible` says so. A database whose steps are newer than this program is
//! used as long as this program is new enough for them, so that a rolling upgrade works.

use std::time::SystemTime;

use super::{database::Connection, query::Query};
use crate::{
    error::{Result, StorageError},
    time::Stamp,
};

/// One step, in the words of each database.
struct Step {
    version: i64,
    /// The oldest schema version whose program can use a database with this step.
    min_compatible: i64,
    sqlite: &'static str,
    postgres: &'static str,
}

const STEPS: &[Step] = &[
    Step {
        version: 1,
        min_compatible: 1,
        sqlite: include_str!("../../../migrations/sqlite/0001_journal.sql"),
        postgres: include_str!("../../../migrations/postgres/0001_journal.sql"),
    },
    Step {
        version: 2,
        min_compatible: 1,
        sqlite: include_str!("../../../migrations/sqlite/0002_artifacts.sql"),
        postgres: include_str!("../../../migrations/postgres/0002_artifacts.sql"),
    },
];

const CREATE: &str = "CREATE TABLE IF NOT EXISTS schema_versions (
    version        BIGINT NOT NULL PRIMARY KEY,
    min_compatible BIGINT NOT NULL,
    applied_at     BIGINT NOT NULL
)";

/// Of all programs, only one at a time may change the schema.
const POSTGRES_LOCK: &str = "SELECT pg_advisory_xact_lock(7021952001)";

/// Brings the database to this program's schema, or finds that it is newer and usable.
///
/// # Errors
/// `Internal` when the database needs a newer program.
pub(in crate::adapters) async fn migrate(conn: &mut Connection) -> Result<()> {
    migrate_by(conn, STEPS).await
}

/// Brings the database to the schema of a program that knows `steps`.
async fn migrate_by(conn: &mut Connection, steps: &[Step]) -> Result<()> {
    Query::new(conn.begin()).all_on(conn.target()).await?;
    let outcome = take_steps(conn, steps).await;
    let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = Query::new(end).all_on(conn.target()).await;
    outcome.and(ended.map(drop))
}

async fn take_steps(conn: &mut Connection, steps: &[Step]) -> Result<()> {
    if matches!(conn, Connection::Postgres(_)) {
        Query::new(POSTGRES_LOCK).all_on(conn.target()).await?;
    }
    Query::new(CREATE).all_on(conn.target()).await?;
    let (version, min_compatible) = state(conn).await?;
    let ours = steps.last().map_or(0, |step| step.version);
    if min_compatible > ours {
        let detail = format!(
            "the database has schema {version} and needs a program of schema {min_compatible} or later; this one has {ours}"
        );
        return Err(StorageError::internal(detail));
    }
    for step in steps.iter().filter(|step| step.version > version) {
        let sql = match conn {
            Connection::Sqlite(_) => step.sqlite,
            Connection::Postgres(_) => step.postgres,
        };
        conn.target().run_file(sql).await?;
        Query::new("INSERT INTO schema_versions VALUES (?, ?, ?)")
            .bind(step.version)?
            .bind(step.min_compatible)?
            .bind(Stamp::from(SystemTime::now()).micros())?
            .all_on(conn.target())
            .await?;
        tracing::info!(version = step.version, "database schema upgraded");
    }
    Ok(())
}

/// The last step that was taken, and the oldest version that can live with all of them.
async fn state(conn: &mut Connection) -> Result<(i64, i64)> {
    let sql =
        "SELECT coalesce(max(version), 0), coalesce(max(min_compatible), 0) FROM schema_versions";
    match Query::new(sql).first_on(conn.target()).await? {
        Some(row) => Ok((row.try_get(0)?, row.try_get(1)?)),
        None => Ok((0, 0)),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, sqlite::SqliteConnection};

    use super::*;

    async fn memory() -> Result<Connection> {
        Ok(Connection::Sqlite(SqliteConnection::connect("sqlite::memory:").await?))
    }

    async fn run(conn: &mut Connection, sql: &str) -> Result<i64> {
        let row = Query::new(sql).first_on(conn.target()).await?;
        Ok(row.map_or(Ok(0), |row| row.try_get(0))?)
    }

    #[tokio::test]
    async fn migrating_twice_changes_nothing() -> Result<()> {
        let mut conn = memory().await?;
        migrate(&mut conn).await?;
        migrate(&mut conn).await?;
        let steps = run(&mut conn, "SELECT count(*) FROM schema_versions").await?;
        assert_eq!(steps, STEPS.len() as i64);
        Ok(())
    }

    #[tokio::test]
    async fn a_database_of_a_later_program_is_used_only_if_it_allows_that() -> Result<()> {
        let mut conn = memory().await?;
        migrate(&mut conn).await?;
        run(&mut conn, "INSERT INTO schema_versions VALUES (98, 1, 0)").await?;
        migrate(&mut conn).await?;
        run(&mut conn, "INSERT INTO schema_versions VALUES (99, 99, 0)").await?;
        assert!(migrate(&mut conn).await.is_err());
        Ok(())
    }
}
