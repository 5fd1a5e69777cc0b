//! What the database says, as facts of ours.

use sqlx::postgres::PgDatabaseError;

use crate::{
    adapters::{postgres, sqlite},
    error::StorageError,
};

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
                Some(error) => postgres::of_code(error),
                None => sqlite::of_code(&*error),
            },
            // Only PostgreSQL is spoken to over something that breaks; SQLite has codes of its own.
            sqlx::Error::Io(error) => Self::Unreachable { detail: error.to_string() },
            sqlx::Error::Tls(error) => Self::Unreachable { detail: error.to_string() },
            sqlx::Error::Protocol(detail) => Self::Unreachable { detail },
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Self::Closed,
            sqlx::Error::PoolTimedOut => Self::Overloaded,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::Corrupt { detail: error.to_string() }
            }
            other => Self::internal(other.to_string()),
        }
    }
}

/// A stored value that is not what we store.
pub(super) fn damaged(what: &'static str) -> StorageError {
    StorageError::Corrupt { detail: format!("a stored {what} cannot be read") }
}
