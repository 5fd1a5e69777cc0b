//! PostgreSQL: one database for any number of replicas.
//!
//! Nothing that can change is remembered from one batch to the next. A batch locks the heads of the
//! sessions that it names, reads what it needs after that, and goes by the database's clock. After the
//! commit, replicas hint to each other what has moved; since a hint may be lost, each also looks
//! every now and then.
//!
//! The server must be reached directly or through a pooler that keeps a session on one connection:
//! LISTEN, advisory locks and prepared statements belong to a session.

mod connect;
mod error;
mod listen;
mod notify;
mod statement;
mod value;

use std::sync::Arc;

use super::sql::{
    Connection, Location, Opened, Pool, SqlStore, Timekeeper, forget_writers, has_moved, migrate,
};
use crate::{
    config::{PostgresConfig, StorageConfig},
    error::Result,
};

pub(super) use connect::PostgresLocation;
pub(super) use error::{not_acquired, of_code};
pub(super) use notify::Notifier;
pub(super) use statement::statements;
pub(super) use value::{arguments, unescaped};

/// Connects to the database at `config.postgres.url`, which must exist, and brings it to this
/// program's schema. Needs a tokio runtime, on which the writers live. Leases end by the database's
/// clock, unless `time` is given; every replica must go by the same.
///
/// # Errors
/// `Invalid` for a URL that is none, `Unreachable` when the server cannot be reached or refuses,
/// `Internal` when the database needs a newer program.
pub async fn open(
    url: &str,
    config: &StorageConfig,
    time: Option<Arc<dyn cortex_core::Clock>>,
) -> Result<Arc<SqlStore>> {
    let PostgresConfig { writers, poll_interval, .. } = config.postgres;
    let location = PostgresLocation::parse(url, config)?;
    let mut conn = Connection::Postgres(location.writer().await?);
    migrate(&mut conn).await?;
    forget_writers(&mut conn).await?;
    let moved = has_moved(&mut conn).await?;
    tracing::info!(database = %location, "PostgreSQL is connected");
    let notifier = Arc::new(Notifier::default());
    let opened = Opened {
        location: Location::Postgres(location.clone()),
        conn,
        pool: Pool::Postgres(location.readers(config.readers)),
        lock: None,
        time: time.map_or(Timekeeper::Database, Timekeeper::Clock),
        writers,
        others: Some(Arc::clone(&notifier)),
        moved,
    };
    let store = SqlStore::start(opened, config);
    let (followers, stop) = (store.followers(), store.stopped());
    let replica = notifier.replica().to_owned();
    tokio::spawn(notify::run(notifier, location.clone(), stop.clone()));
    tokio::spawn(listen::run(replica, location, followers.clone(), stop.clone()));
    tokio::spawn(followers.poll(poll_interval.get(), stop));
    Ok(store)
}
