//! Rows of either database, read by their columns' places.

use std::borrow::Cow;

use cortex_core::{CallId, ClaimantId, ExecutionId, MessageId, TurnId};
use sqlx::{Row as _, postgres::PgRow, sqlite::SqliteRow};

use crate::adapters::postgres;

/// A row.
pub(in crate::adapters) enum Row {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    /// The value of a column, counted from 0.
    pub(super) fn try_get<'r, T: Column<'r>>(&'r self, column: usize) -> Result<T, sqlx::Error> {
        T::read(self, column)
    }
}

/// What can be read from a column.
pub(super) trait Column<'r>: Sized {
    fn read(row: &'r Row, column: usize) -> Result<Self, sqlx::Error>;
}

impl Column<'_> for Option<i64> {
    fn read(row: &Row, column: usize) -> Result<Self, sqlx::Error> {
        match row {
            Row::Sqlite(row) => row.try_get(column),
            // A constant in a query is a smaller number than those in tables.
            Row::Postgres(row) => row.try_get(column).or_else(|error| {
                let small: Result<Option<i32>, _> = row.try_get(column);
                small.map(|number| number.map(i64::from)).map_err(|_| error)
            }),
        }
    }
}

impl Column<'_> for Option<f64> {
    fn read(row: &Row, column: usize) -> Result<Self, sqlx::Error> {
        match row {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        }
    }
}

impl<'r> Column<'r> for Option<Cow<'r, str>> {
    fn read(row: &'r Row, column: usize) -> Result<Self, sqlx::Error> {
        match row {
            Row::Sqlite(row) => Ok(row.try_get::<Option<&str>, _>(column)?.map(Cow::Borrowed)),
            Row::Postgres(row) => {
                Ok(row.try_get::<Option<&str>, _>(column)?.map(postgres::unescaped))
            }
        }
    }
}

impl<'r> Column<'r> for Option<&'r [u8]> {
    fn read(row: &'r Row, column: usize) -> Result<Self, sqlx::Error> {
        match row {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        }
    }
}

impl Column<'_> for Option<String> {
    fn read(row: &Row, column: usize) -> Result<Self, sqlx::Error> {
        Ok(row.try_get::<Option<Cow<'_, str>>>(column)?.map(Cow::into_owned))
    }
}

impl Column<'_> for Option<Vec<u8>> {
    fn read(row: &Row, column: usize) -> Result<Self, sqlx::Error> {
        Ok(row.try_get::<Option<&[u8]>>(column)?.map(<[u8]>::to_vec))
    }
}

impl Column<'_> for Option<bool> {
    fn read(row: &Row, column: usize) -> Result<Self, sqlx::Error> {
        Ok(row.try_get::<Option<i64>>(column)?.map(|number| number != 0))
    }
}

macro_rules! id {
    ($($type:ty),*) => {
        $(impl Column<'_> for Option<$type> {
            fn read(row: &Row, column: usize) -> Result<Self, sqlx::Error> {
                let Some(bytes) = row.try_get::<Option<&[u8]>>(column)? else { return Ok(None) };
                let damaged = || sqlx::Error::ColumnDecode {
                    index: column.to_string(),
                    source: "is no identifier".into(),
                };
                <$type>::from_bytes(bytes).ok_or_else(damaged).map(Some)
            }
        })*
    };
}

id!(CallId, ClaimantId, ExecutionId, MessageId, TurnId);

macro_rules! not_null {
    ($($type:ty),*) => {
        $(impl<'r> Column<'r> for $type {
            fn read(row: &'r Row, column: usize) -> Result<Self, sqlx::Error> {
                let null = || sqlx::Error::ColumnDecode {
                    index: column.to_string(),
                    source: "is NULL".into(),
                };
                row.try_get::<Option<Self>>(column)?.ok_or_else(null)
            }
        })*
    };
}

not_null!(i64, f64, bool, String, Cow<'r, str>, Vec<u8>, &'r [u8]);
not_null!(CallId, ClaimantId, ExecutionId, MessageId, TurnId);
