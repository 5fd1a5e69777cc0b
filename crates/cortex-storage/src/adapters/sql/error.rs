//! What the database says, as facts of ours.

use crate::{adapters::sqlite, error::StorageError};

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => sqlite::of_code(&*error),
            sqlx::Error::Io(error) => Self::Io { detail: error.to_string() },
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
