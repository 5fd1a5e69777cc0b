//! Connections of either database, and how statements run on them.

use std::time::Duration;

use futures::{StreamExt, stream::BoxStream};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor, PgPool, Postgres, Sqlite, SqlitePool, Transaction,
    pool::PoolConnection, postgres::PgConnection, sqlite::SqliteConnection,
};

use super::{row::Row, value::Value};
use crate::{
    adapters::{
        postgres::{self, PostgresLocation},
        sqlite::{self, SqliteLocation},
    },
    error::Result,
};

/// How PostgreSQL begins a transaction whose reads see the same commits.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Where a database is.
#[derive(Debug, Clone)]
pub(in crate::adapters) enum Location {
    /// A file.
    Sqlite(SqliteLocation),
    /// A server.
    Postgres(PostgresLocation),
}

impl Location {
    /// A connection that writes.
    pub(super) async fn writer(&self) -> Result<Connection> {
        match self {
            Self::Sqlite(location) => Ok(Connection::Sqlite(location.writer().await?)),
            Self::Postgres(location) => Ok(Connection::Postgres(location.writer().await?)),
        }
    }

    /// Whether others may write the same database.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// How long a write is tried again when that may help. None: the first failure counts.
    pub(super) fn retry_for(&self) -> Duration {
        match self {
            Self::Sqlite(_) => Duration::ZERO,
            Self::Postgres(location) => location.retry_for(),
        }
    }

    /// A connection for work that takes its time: nobody ends its statements and transactions.
    pub(super) async fn worker(&self) -> Result<Connection> {
        match self {
            Self::Sqlite(_) => self.writer().await,
            Self::Postgres(location) => Ok(Connection::Postgres(location.worker().await?)),
        }
    }

    /// The same, which only reads where that makes a difference.
    pub(super) async fn reader(&self) -> Result<Connection> {
        match self {
            Self::Sqlite(location) => Ok(Connection::Sqlite(location.reader().await?)),
            Self::Postgres(_) => self.worker().await,
        }
    }

    /// What kind of database it is.
    pub(super) fn backend(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgresql",
        }
    }

    /// Where it is, without credentials.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Sqlite(location) => location.path().display().to_string(),
            Self::Postgres(location) => location.to_string(),
        }
    }
}

/// A connection that belongs to one task.
pub(in crate::adapters) enum Connection {
    /// To SQLite.
    Sqlite(SqliteConnection),
    /// To PostgreSQL.
    Postgres(PgConnection),
}

impl Connection {
    /// Where to run a statement.
    pub(super) fn target(&mut self) -> Target<'_> {
        match self {
            Self::Sqlite(conn) => Target::Sqlite(conn),
            Self::Postgres(conn) => Target::Postgres(conn),
        }
    }

    /// The statement that begins a transaction that writes.
    pub(super) fn begin(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE;",
            Self::Postgres(_) => "BEGIN ISOLATION LEVEL READ COMMITTED;",
        }
    }

    /// How a statement of a transaction begins that inserts.
    pub(super) fn insert(&self) -> &'static str {
        match self {
            // One that fails ends its transaction anyway. Only to be able to undo the statement alone,
            // SQLite would copy every page that it touches before.
            Self::Sqlite(_) => "INSERT OR ROLLBACK INTO",
            Self::Postgres(_) => "INSERT INTO",
        }
    }

    /// Whether others may write the same database.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// The statement that begins a transaction whose reads see the same commits.
    pub(super) fn begin_snapshot(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "BEGIN",
            Self::Postgres(_) => SNAPSHOT,
        }
    }

    /// Says goodbye.
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(conn) => sqlite::close(conn).await,
            Self::Postgres(conn) => conn.close().await,
        }
    }
}

/// Connections that read.
#[derive(Debug, Clone)]
pub(in crate::adapters) enum Pool {
    /// To SQLite.
    Sqlite(SqlitePool),
    /// To PostgreSQL.
    Postgres(PgPool),
}

impl Pool {
    /// One of the connections.
    pub(super) async fn acquire(&self) -> Result<Reading> {
        match self {
            Self::Sqlite(pool) => Ok(Reading::Sqlite(pool.acquire().await?)),
            Self::Postgres(pool) => match pool.acquire().await {
                Ok(conn) => Ok(Reading::Postgres(conn)),
                Err(error) => Err(postgres::not_acquired(pool, error)),
            },
        }
    }

    /// One of the connections, on which every read sees the same commits.
    pub(super) async fn snapshot(&self) -> Result<Snapshot> {
        match self {
            Self::Sqlite(pool) => Ok(Snapshot::Sqlite(pool.begin().await?)),
            Self::Postgres(pool) => match pool.begin_with(SNAPSHOT).await {
                Ok(tx) => Ok(Snapshot::Postgres(tx)),
                Err(error) => Err(postgres::not_acquired(pool, error)),
            },
        }
    }

    /// Closes them.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// A connection that was taken out of the pool.
pub(super) enum Reading {
    /// To SQLite.
    Sqlite(PoolConnection<Sqlite>),
    /// To PostgreSQL.
    Postgres(PoolConnection<Postgres>),
}

impl Reading {
    /// Where to run a statement.
    pub(super) fn target(&mut self) -> Target<'_> {
        match self {
            Self::Sqlite(conn) => Target::Sqlite(conn),
            Self::Postgres(conn) => Target::Postgres(conn),
        }
    }
}

/// Reads that see the same commits.
pub(super) enum Snapshot {
    /// Of SQLite.
    Sqlite(Transaction<'static, Sqlite>),
    /// Of PostgreSQL.
    Postgres(Transaction<'static, Postgres>),
}

impl Snapshot {
    /// Where to run a statement.
    pub(super) fn target(&mut self) -> Target<'_> {
        match self {
            Self::Sqlite(tx) => Target::Sqlite(tx),
            Self::Postgres(tx) => Target::Postgres(tx),
        }
    }

    /// Gives the connection back.
    pub(super) async fn end(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(tx) => tx.rollback().await,
            Self::Postgres(tx) => tx.rollback().await,
        }
    }
}

/// Where a statement runs.
pub(super) enum Target<'c> {
    /// On SQLite.
    Sqlite(&'c mut SqliteConnection),
    /// On PostgreSQL.
    Postgres(&'c mut PgConnection),
}

impl<'c> Target<'c> {
    /// The same, for one of several statements.
    pub(super) fn again(&mut self) -> Target<'_> {
        match self {
            Self::Sqlite(conn) => Target::Sqlite(conn),
            Self::Postgres(conn) => Target::Postgres(conn),
        }
    }

    /// Runs every statement of `sql`, until one fails. `keep` them prepared if they come up often.
    pub(super) async fn execute(
        self,
        sql: String,
        values: Vec<Value>,
        keep: bool,
    ) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(conn) => {
                let args = sqlite::arguments(values)?;
                sqlx::query_with(AssertSqlSafe(sql), args).persistent(keep).execute(conn).await?;
            }
            Self::Postgres(conn) => {
                let mut values = values.into_iter();
                for (sql, count) in postgres::statements(&sql) {
                    let args = postgres::arguments(values.by_ref().take(count))?;
                    let query = sqlx::query_with(AssertSqlSafe(sql), args).persistent(keep);
                    bounded(query.execute(&mut *conn)).await?;
                }
            }
        }
        Ok(())
    }

    /// Runs every statement of `sql`, and answers the rows of all of them.
    pub(super) async fn fetch_all(
        self,
        sql: String,
        values: Vec<Value>,
        keep: bool,
    ) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(conn) => {
                let args = sqlite::arguments(values)?;
                let query = sqlx::query_with(AssertSqlSafe(sql), args).persistent(keep);
                Ok(query.fetch_all(conn).await?.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(conn) => {
                let (mut values, mut rows) = (values.into_iter(), Vec::new());
                for (sql, count) in postgres::statements(&sql) {
                    let args = postgres::arguments(values.by_ref().take(count))?;
                    let query = sqlx::query_with(AssertSqlSafe(sql), args).persistent(keep);
                    let found = bounded(query.fetch_all(&mut *conn)).await?;
                    rows.extend(found.into_iter().map(Row::Postgres));
                }
                Ok(rows)
            }
        }
    }

    /// Runs one statement, and answers its first row. It must not have many.
    pub(super) async fn fetch_first(
        self,
        sql: String,
        values: Vec<Value>,
    ) -> Result<Option<Row>, sqlx::Error> {
        match self {
            // SQLite's thread answers once, instead of for the row and for the end.
            Self::Sqlite(conn) => {
                let query = sqlx::query_with(AssertSqlSafe(sql), sqlite::arguments(values)?);
                Ok(query.fetch_optional(conn).await?.map(Row::Sqlite))
            }
            Self::Postgres(_) => Ok(self.fetch_all(sql, values, true).await?.into_iter().next()),
        }
    }

    /// Runs one statement, and answers its rows as they come.
    pub(super) fn stream(
        self,
        sql: String,
        values: Vec<Value>,
    ) -> Result<BoxStream<'c, Result<Row, sqlx::Error>>, sqlx::Error> {
        match self {
            Self::Sqlite(conn) => {
                let query = sqlx::query_with(AssertSqlSafe(sql), sqlite::arguments(values)?);
                Ok(query.fetch(conn).map(|row| Ok(Row::Sqlite(row?))).boxed())
            }
            Self::Postgres(conn) => {
                let args = postgres::arguments(values.into_iter())?;
                let sql = postgres::statements(&sql).into_iter().map(|(sql, _)| sql).collect();
                let query = sqlx::query_with(AssertSqlSafe::<String>(sql), args);
                Ok(query.fetch(conn).map(|row| Ok(Row::Postgres(row?))).boxed())
            }
        }
    }

    /// Runs a file of statements as it is.
    pub(super) async fn run_file(self, sql: &'static str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(conn) => conn.execute(sqlx::raw_sql(sql)).await.map(|_done| ()),
            Self::Postgres(conn) => conn.execute(sqlx::raw_sql(sql)).await.map(|_done| ()),
        }
    }
}

/// How long a statement on PostgreSQL may take. The server ends it before that, if it can be reached.
const STATEMENT: Duration = Duration::from_secs(40);

async fn bounded<T>(
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(STATEMENT, statement).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}
