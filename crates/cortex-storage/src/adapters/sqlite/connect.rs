//! Connections: one that writes, a pool of readers, and the lock that keeps other processes out.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, SqlitePool,
    sqlite::{
        SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions,
        SqliteSynchronous,
    },
};

use crate::error::{Result, StorageError};

/// Statements that a connection remembers. The writer's differ by their number of rows, in powers of
/// two.
const STATEMENTS: usize = 256;
/// Bytes of a page of a new database, half of SQLite's default: a commit writes whole pages into the log,
/// one at least for each table of each session that it touches.
const PAGE_BYTES: u32 = 2048;
/// Pages of the write-ahead log after which a commit copies them into the database: 16 MiB.
const CHECKPOINT_PAGES: &str = "8192";
/// Bytes that the log's file keeps after it was copied.
const LOG_BYTES: &str = "67108864";
/// How long a read waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the database is, and how to connect to it.
#[derive(Debug, Clone)]
pub(in crate::adapters) struct SqliteLocation {
    path: PathBuf,
    busy_timeout: Duration,
}

impl SqliteLocation {
    pub(in crate::adapters) fn new(path: PathBuf, busy_timeout: Duration) -> Self {
        Self { path, busy_timeout }
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .busy_timeout(self.busy_timeout)
            .foreign_keys(true)
            .statement_cache_capacity(STATEMENTS)
            .disable_statement_logging()
    }

    /// The connection that writes. Creates the database.
    pub(in crate::adapters) async fn writer(&self) -> Result<SqliteConnection> {
        let options = self
            .options()
            .create_if_missing(true)
            .page_size(PAGE_BYTES)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("journal_size_limit", LOG_BYTES)
            // What a statement would undo is kept in memory, however much it is, and not in a file.
            .pragma("temp_store", "MEMORY")
            .thread_name(|_| "storage-writer".to_owned());
        Ok(options.connect().await?)
    }

    /// Where the file is.
    pub(in crate::adapters) fn path(&self) -> &Path {
        &self.path
    }

    /// One connection that reads.
    pub(in crate::adapters) async fn reader(&self) -> Result<SqliteConnection> {
        let options = self.options().read_only(true).thread_name(|_| "storage-admin".to_owned());
        Ok(options.connect().await?)
    }

    /// At most `size` connections that read.
    pub(super) async fn readers(&self, size: u32) -> Result<SqlitePool> {
        let options = self.options().read_only(true).thread_name(|_| "storage-reader".to_owned());
        let pool = SqlitePoolOptions::new()
            .max_connections(size)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None);
        Ok(pool.connect_with(options).await?)
    }

    /// Keeps other processes from writing this database, as long as the file lives: the writer
    /// remembers what it has written, and would not notice theirs.
    pub(in crate::adapters) fn lock(&self) -> Result<File> {
        let path = lock_path(&self.path);
        let problem = |error: std::io::Error| StorageError::Io {
            detail: format!("cannot lock {}: {error}", path.display()),
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(problem)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(StorageError::Locked),
            Err(TryLockError::Error(error)) => Err(problem(error)),
        }
    }
}

/// Copies the log into the file, so that the file alone is all there is, and closes the connection.
pub(in crate::adapters) async fn close(mut conn: SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut conn).await?;
    conn.close().await
}

fn lock_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}
