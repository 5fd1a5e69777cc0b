//! What PostgreSQL says, as facts of ours.

use sqlx::{PgPool, postgres::PgDatabaseError};

use crate::error::StorageError;

/// The error under PostgreSQL's code (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
/// The messages of the server name users and databases, never passwords.
pub(in crate::adapters) fn of_code(error: &PgDatabaseError) -> StorageError {
    let detail = error.to_string();
    match error.code() {
        "40001" | "40P01" | "55P03" | "57014" => StorageError::Contended { detail },
        "25006" => StorageError::ReadOnly,
        "53100" => StorageError::Full,
        "58030" => StorageError::Io { detail },
        "XX001" | "XX002" => StorageError::Corrupt { detail },
        "54000" => StorageError::invalid("request", "is larger than the database can store"),
        // Wrong password, no such user or database, not allowed, too many connections, shutting down.
        "3D000" | "42501" | "53300" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => {
            StorageError::Unreachable { detail }
        }
        code if code.starts_with("28") || code.starts_with("08") => {
            StorageError::Unreachable { detail }
        }
        _ => StorageError::internal(detail),
    }
}

/// Why no connection could be taken out of the pool.
pub(in crate::adapters) fn not_acquired(pool: &PgPool, error: sqlx::Error) -> StorageError {
    let busy = pool.size() >= pool.options().get_max_connections();
    match error {
        sqlx::Error::PoolTimedOut if !busy => {
            StorageError::Unreachable { detail: "there was no connection within 5 s".to_owned() }
        }
        other => other.into(),
    }
}
