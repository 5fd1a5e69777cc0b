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
    Step {
        version: 3,
        min_compatible: 1,
        sqlite: include_str!("../../../migrations/sqlite/0003_moves.sql"),
        postgres: include_str!("../../../migrations/postgres/0003_moves.sql"),
    },
];

const CREATE: &str = "CREATE TABLE IF NOT EXISTS schema_versions (
    version        BIGINT NOT NULL PRIMARY KEY,
    min_compatible BIGINT NOT NULL,
    applied_at     BIGINT NOT NULL
)";

/// Of all programs, only one at a time may change the schema, and a step may take its time.
const POSTGRES_LOCK: &str = "SET LOCAL lock_timeout = '30s'; SET LOCAL statement_timeout = 0; \
    SELECT pg_advisory_xact_lock(7021952001)";

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
    require_usable(version, min_compatible, steps)?;
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

fn require_usable(version: i64, min_compatible: i64, steps: &[Step]) -> Result<()> {
    let ours = steps.last().map_or(0, |step| step.version);
    if min_compatible > ours {
        let detail = format!(
            "the database has schema {version} and needs a program of schema {min_compatible} or later; this one has {ours}"
        );
        return Err(StorageError::internal(detail));
    }
    Ok(())
}

/// Whether the database has a schema of ours, which this program can use. Changes nothing.
///
/// # Errors
/// `Internal` when the database needs a newer program.
pub(super) async fn is_prepared(conn: &mut Connection) -> Result<bool> {
    let sql = match conn {
        Connection::Sqlite(_) => "SELECT 1 FROM sqlite_master WHERE name = 'schema_versions'",
        Connection::Postgres(_) => {
            "SELECT 1 FROM pg_class WHERE relname = 'schema_versions' \
             AND relnamespace = current_schema()::regnamespace"
        }
    };
    if Query::new(sql).first_on(conn.target()).await?.is_none() {
        return Ok(false);
    }
    let (version, min_compatible) = state(conn).await?;
    require_usable(version, min_compatible, STEPS)?;
    Ok(version > 0)
}

/// The last step that was taken, and the oldest version that can live with all of them.
pub(super) async fn state(conn: &mut Connection) -> Result<(i64, i64)> {
    let sql =
        "SELECT coalesce(max(version), 0), coalesce(max(min_compatible), 0) FROM schema_versions";
    match Query::new(sql).first_on(conn.target()).await? {
        Some(row) => Ok((row.try_get(0)?, row.try_get(1)?)),
        None => Ok((0, 0)),
    }
}

/// Whether the installation was copied from here into another database, and lives on there.
pub(in crate::adapters) async fn has_moved(conn: &mut Connection) -> Result<bool> {
    Ok(Query::new("SELECT 1 FROM moves").first_on(conn.target()).await?.is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cortex_core::SystemClock;
    use cortex_testkit::Postgres;
    use sqlx::{Connection as _, sqlite::SqliteConnection};

    use super::*;
    use crate::{
        adapters::{
            postgres::{self, PostgresLocation},
            sql::SqlStore,
            sqlite,
        },
        config::StorageConfig,
        ports::SessionStore,
        session::{NewSession, SessionQuery},
        tenant::Tenant,
    };

    async fn memory() -> Result<Connection> {
        Ok(Connection::Sqlite(SqliteConnection::connect("sqlite::memory:").await?))
    }

    async fn run(conn: &mut Connection, sql: &str) -> Result<i64> {
        let row = Query::new(sql).first_on(conn.target()).await?;
        Ok(row.map_or(Ok(0), |row| row.try_get(0))?)
    }

    /// The steps of a later program: a step that only adds, and with `contract` one that also takes
    /// away what this program needs.
    fn later(contract: bool) -> Vec<Step> {
        const ADD: &str = "ALTER TABLE heads ADD COLUMN later INTEGER; \
            CREATE TABLE later (a INTEGER) STRICT;";
        const POSTGRES: &str = "ALTER TABLE heads ADD COLUMN later BIGINT; \
            CREATE TABLE later (a BIGINT);";
        const TAKE_AWAY: &str = "DROP TABLE later;";
        let ours = STEPS.len() as i64;
        let step = |version, min_compatible, sqlite, postgres| Step {
            version,
            min_compatible,
            sqlite,
            postgres,
        };
        let mut steps: Vec<Step> = STEPS
            .iter()
            .map(|s| Step { version: s.version, min_compatible: s.min_compatible, ..*s })
            .collect();
        steps.push(step(ours + 1, 1, ADD, POSTGRES));
        if contract {
            steps.push(step(ours + 2, ours + 1, TAKE_AWAY, TAKE_AWAY));
        }
        steps
    }

    async fn create(store: &SqlStore) -> Result<()> {
        let new = NewSession::plain();
        store.create_session(&Tenant::default(), new).await.map(drop)
    }

    async fn sessions(store: &SqlStore) -> Result<usize> {
        let page = store.sessions(&Tenant::default(), SessionQuery::default()).await?;
        Ok(page.items.len())
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
    async fn a_step_that_fails_leaves_nothing_behind() -> Result<()> {
        let mut conn = memory().await?;
        let sql = "CREATE TABLE half (a BIGINT); INSERT INTO nowhere VALUES (1);";
        let steps = [Step { version: 1, min_compatible: 1, sqlite: sql, postgres: sql }];
        assert!(migrate_by(&mut conn, &steps).await.is_err());
        migrate(&mut conn).await?;
        assert!(run(&mut conn, "SELECT count(*) FROM half").await.is_err());
        Ok(())
    }

    #[test]
    fn steps_are_numbered_and_only_older_programs_are_excluded() {
        for (place, step) in STEPS.iter().enumerate() {
            assert_eq!(step.version, place as i64 + 1);
            assert!((1..=step.version).contains(&step.min_compatible));
        }
    }

    /// From each earlier version, by this program and by a later one, in the file of a program that
    /// goes on after that.
    #[tokio::test]
    async fn a_file_of_each_version_is_upgraded_and_older_programs_go_on() -> Result<()> {
        for version in 0..=STEPS.len() {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let path = dir.path().join("cortex.db");
            let url = format!("sqlite://{}?mode=rwc", path.display());
            let mut conn = Connection::Sqlite(SqliteConnection::connect(&url).await?);
            migrate_by(&mut conn, &STEPS[..version]).await?;
            let config = StorageConfig::default();
            let open = || sqlite::open(path.clone(), &config, Arc::new(SystemClock));
            let this = open().await?;
            create(&this).await?;
            this.close().await;
            migrate_by(&mut conn, &later(false)).await?;
            let this = open().await?;
            create(&this).await?;
            assert_eq!(sessions(&this).await?, 2);
            this.close().await;
            migrate_by(&mut conn, &later(true)).await?;
            let refused = open().await.err().expect("it is too old");
            assert!(refused.to_string().contains("needs a program of schema"), "{refused}");
        }
        Ok(())
    }

    /// The same on PostgreSQL, where an older replica serves all the time.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_database_of_each_version_is_upgraded_under_an_older_replica() -> Result<()> {
        for version in 0..=STEPS.len() {
            let database = Postgres::shared().database();
            let config = StorageConfig::default();
            let location = PostgresLocation::parse(&database.url(), &config)?;
            let mut conn = Connection::Postgres(location.writer().await?);
            migrate_by(&mut conn, &STEPS[..version]).await?;
            let older = postgres::open(&database.url(), &config, None).await?;
            let load = Arc::clone(&older);
            let serving = tokio::spawn(async move {
                for _ in 0..200 {
                    create(&load).await?;
                }
                Ok::<_, StorageError>(())
            });
            // Two replicas of the later program start at the same time.
            let mut other = Connection::Postgres(location.writer().await?);
            let steps = later(false);
            let (one, two) =
                futures::join!(migrate_by(&mut conn, &steps), migrate_by(&mut other, &steps));
            one.and(two)?;
            let again = postgres::open(&database.url(), &config, None).await?;
            create(&again).await?;
            serving.await.expect("it does not panic")?;
            let count = run(&mut conn, "SELECT count(*) FROM sessions").await?;
            assert_eq!(count, 201);
            migrate_by(&mut conn, &later(true)).await?;
            let refused = postgres::open(&database.url(), &config, None).await.err();
            let refused = refused.expect("it is too old");
            assert!(refused.to_string().contains("needs a program of schema"), "{refused}");
            older.close().await;
            again.close().await;
        }
        Ok(())
    }
}
