//! Connections: those that write, a pool of readers, and those that carry hints.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, PgPool,
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
};
use tokio::time::timeout;

use crate::{
    config::StorageConfig,
    error::{Result, StorageError},
};

/// Statements that a connection remembers. The writers' differ by their number of rows, in powers of
/// two.
const STATEMENTS: usize = 256;
/// How long connecting may take, and a read may wait for a connection of the pool.
const CONNECT: Duration = Duration::from_secs(5);

/// What a session of ours needs, whatever the server's defaults are: an acknowledged commit is durable,
/// nobody waits for ever, and a replica that hangs in a transaction does not block the others.
const SETTINGS: &str = "SELECT set_config('synchronous_commit', \
        CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' \
        ELSE current_setting('synchronous_commit') END, false), \
    set_config('lock_timeout', $1, false), \
    set_config('statement_timeout', '30s', false), \
    set_config('idle_in_transaction_session_timeout', '10s', false)";

/// Where the database is, and how to connect to it.
#[derive(Debug, Clone)]
pub(in crate::adapters) struct PostgresLocation {
    options: Arc<PgConnectOptions>,
    lock_timeout: Duration,
    retry_for: Duration,
}

impl PostgresLocation {
    /// Reads a URL: `postgres://user:password@host:port/database?sslmode=…`.
    ///
    /// # Errors
    /// `Invalid`; the message does not quote the URL, since it may hold a password.
    pub(in crate::adapters) fn parse(url: &str, config: &StorageConfig) -> Result<Self> {
        let invalid = |problem: String| StorageError::invalid("storage.postgres.url", problem);
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(invalid("must start with postgres://".to_owned()));
        }
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| invalid(format!("is not a URL of PostgreSQL: {error}")))?
            .application_name("cortex")
            .statement_cache_capacity(STATEMENTS)
            .disable_statement_logging();
        Ok(Self {
            options: Arc::new(options),
            lock_timeout: config.busy_timeout.get(),
            retry_for: config.postgres.retry_for.get(),
        })
    }

    /// A connection that writes.
    pub(in crate::adapters) async fn writer(&self) -> Result<PgConnection> {
        let connect = async {
            let mut conn = self.options.connect().await?;
            let lock_timeout = format!("{}ms", self.lock_timeout.as_millis());
            sqlx::query(SETTINGS).bind(lock_timeout).execute(&mut conn).await?;
            Ok(conn)
        };
        match timeout(CONNECT, connect).await {
            Ok(outcome) => outcome.map_err(|error: sqlx::Error| self.describe(error)),
            Err(_elapsed) => Err(self.describe(sqlx::Error::Io(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                "no answer within 5 s",
            )))),
        }
    }

    /// A connection for work that takes its time, or that holds a lock while others work.
    pub(in crate::adapters) async fn worker(&self) -> Result<PgConnection> {
        // The last one came with PostgreSQL 14.
        const SETTINGS: &str = "SELECT set_config(name, '0', false) FROM pg_settings \
            WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', \
            'idle_session_timeout')";
        let mut conn = self.writer().await?;
        sqlx::query(SETTINGS).execute(&mut conn).await?;
        Ok(conn)
    }

    /// A connection that sends hints, whose commits need not be durable.
    pub(super) async fn hinter(&self) -> Result<PgConnection> {
        let mut conn = self.writer().await?;
        sqlx::query("SET synchronous_commit = off").execute(&mut conn).await?;
        Ok(conn)
    }

    /// At most `size` connections that read, made as they are needed.
    pub(super) fn readers(&self, size: u32) -> PgPool {
        PgPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(CONNECT)
            .connect_lazy_with((*self.options).clone())
    }

    /// How long a write is tried again.
    pub(in crate::adapters) fn retry_for(&self) -> Duration {
        self.retry_for
    }

    /// The error with the place that it is about.
    fn describe(&self, error: sqlx::Error) -> StorageError {
        match StorageError::from(error) {
            StorageError::Unreachable { detail } => {
                StorageError::Unreachable { detail: format!("{self}: {detail}") }
            }
            other => other,
        }
    }
}

/// Without credentials.
impl fmt::Display for PostgresLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.options.get_database().unwrap_or(self.options.get_username());
        match self.options.get_socket() {
            Some(socket) => write!(f, "{}:{database}", socket.display()),
            None => write!(f, "{}:{}/{database}", self.options.get_host(), self.options.get_port()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_told_without_its_password() {
        let url = "postgres://cortex:hunter2@db.example:6543/vault?sslmode=require";
        let location = PostgresLocation::parse(url, &StorageConfig::default()).expect("a URL");
        assert_eq!(location.to_string(), "db.example:6543/vault");
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_quoted() {
        for url in ["mysql://a:hunter2@b/c", "postgres://a:hunter2@b:notaport/c", "hunter2"] {
            let refused = PostgresLocation::parse(url, &StorageConfig::default());
            let told = refused.expect_err("it is refused").to_string();
            assert!(
                told.starts_with("storage.postgres.url") && !told.contains("hunter2"),
                "{told}"
            );
        }
    }
}
