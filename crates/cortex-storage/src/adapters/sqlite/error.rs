//! What SQLite says, as facts of ours.

use sqlx::error::DatabaseError;

use crate::error::StorageError;

/// Primary result codes of SQLite (<https://www.sqlite.org/rescode.html>).
mod code {
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READONLY: i32 = 8;
    pub(super) const IOERR: i32 = 10;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANTOPEN: i32 = 14;
    pub(super) const TOOBIG: i32 = 18;
    pub(super) const NOTADB: i32 = 26;
}

/// The error under SQLite's result code.
pub(in crate::adapters) fn of_code(error: &dyn DatabaseError) -> StorageError {
    let extended = error.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default();
    let detail = error.to_string();
    // The low byte of an extended code is its primary code.
    match extended & 0xff {
        code::BUSY | code::LOCKED => StorageError::Locked,
        code::READONLY => StorageError::ReadOnly,
        code::FULL => StorageError::Full,
        code::IOERR | code::CANTOPEN => StorageError::Io { detail },
        code::CORRUPT | code::NOTADB => StorageError::Corrupt { detail },
        code::TOOBIG => StorageError::invalid("request", "is larger than the database can store"),
        _ => StorageError::internal(detail),
    }
}
