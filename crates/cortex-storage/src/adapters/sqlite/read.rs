//! Reads, each on a connection of the pool and on one snapshot of the database.

mod executions;
mod housekeeping;
mod journal;
mod records;
mod sessions;

use sqlx::{
    AssertSqlSafe, SqlitePool,
    sqlite::{SqliteArguments, SqliteRow},
};

use crate::{error::Result, tenant::Tenant};

/// The tenant's number, in a query whose next value is its name.
const TENANT: &str = "(SELECT tenant FROM tenants WHERE name = ?)";

/// The readers.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) pool: SqlitePool,
    /// Entries of one page of a replay.
    pub(super) replay_entries: usize,
    /// Bytes of one page of entries, nearly.
    pub(super) page_bytes: usize,
}

/// A query under construction: its text and its values.
struct Query {
    sql: String,
    args: SqliteArguments,
}

impl Query {
    /// Starts with `sql`.
    fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), args: SqliteArguments::default() }
    }

    /// Adds SQL.
    fn push(mut self, sql: &str) -> Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds the value of the next `?`.
    fn bind<'t, T>(mut self, value: T) -> Result<Self>
    where
        T: sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        use sqlx::Arguments;

        self.args.add(value).map_err(sqlx::Error::Encode)?;
        Ok(self)
    }

    /// Adds the tenant where [`TENANT`] stands.
    fn tenant(self, tenant: &Tenant) -> Result<Self> {
        self.bind(tenant.as_str().to_owned())
    }

    /// Adds `sql` and its value if there is one.
    fn filter<'t, T>(self, sql: &str, value: Option<T>) -> Result<Self>
    where
        T: sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        match value {
            Some(value) => self.push(sql).bind(value),
            None => Ok(self),
        }
    }

    async fn all(self, pool: &SqlitePool) -> Result<Vec<SqliteRow>> {
        Ok(sqlx::query_with(AssertSqlSafe(self.sql), self.args).fetch_all(pool).await?)
    }

    async fn first(self, pool: &SqlitePool) -> Result<Option<SqliteRow>> {
        Ok(sqlx::query_with(AssertSqlSafe(self.sql), self.args).fetch_optional(pool).await?)
    }
}
