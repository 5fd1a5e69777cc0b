//! What SQLite alone takes on this machine: the same library, the same durability, nothing around it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::PAYLOAD;
use crate::{
    Outcome,
    generator::{Share, Spell},
};

/// Rows of one transaction, where they are gathered.
pub(super) const GROUP: usize = 64;
/// What figures are compared with.
pub(super) const NAME: &str = "raw SQLite, 64 rows a commit";

/// Inserts rows into a new database in `directory` for as long as `time`, `group` of them in each
/// transaction, by one statement that stays prepared.
pub(super) async fn insert(directory: &Path, group: usize, time: Duration) -> Outcome<Share> {
    let file = directory.join(format!("raw-{group}.db"));
    tokio::task::spawn_blocking(move || insert_blocking(&file, group, time)).await?
}

fn insert_blocking(file: &Path, group: usize, time: Duration) -> Outcome<Share> {
    let conn = Connection::open(file)?;
    // As storage has them.
    conn.execute_batch(
        "PRAGMA page_size = 2048; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 8192;
         CREATE TABLE IF NOT EXISTS row (id INTEGER PRIMARY KEY, payload BLOB NOT NULL) STRICT;",
    )?;
    let mut statement = conn.prepare("INSERT INTO row (payload) VALUES (?)")?;
    let payload = [7_u8; PAYLOAD];
    let spell = Spell::begin(std::process::id())?;
    let until = Instant::now() + time;
    let mut rows = 0;
    while Instant::now() < until {
        let transaction = conn.unchecked_transaction()?;
        for _ in 0..group {
            statement.execute([&payload])?;
        }
        transaction.commit()?;
        rows += group;
    }
    spell.end(rows)
}
