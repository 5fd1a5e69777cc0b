//! One statement under construction: its text and its values.

use futures::{TryStreamExt, stream::BoxStream};

use super::{
    database::{Connection, Pool, Target},
    row::Row,
    value::{ToValue, Value},
};
use crate::{
    error::{Result, StorageError},
    tenant::Tenant,
};

/// Values that SQLite takes in one statement.
const MAX_VALUES: usize = 32_766;

/// A query under construction: its text and its values.
pub(super) struct Query {
    sql: String,
    values: Vec<Value>,
}

impl Query {
    /// Starts with `sql`.
    pub(super) fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), values: Vec::new() }
    }

    /// Adds SQL.
    pub(super) fn push(mut self, sql: &str) -> Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds the value of the next `?`.
    ///
    /// # Errors
    /// `Internal` when there are more than a statement can have.
    pub(super) fn bind<T: ToValue>(self, value: T) -> Result<Self> {
        self.value(T::to_value(Some(value)))
    }

    /// Adds the value of the next `?`, which is one already.
    ///
    /// # Errors
    /// As [`Query::bind`].
    pub(super) fn value(mut self, value: Value) -> Result<Self> {
        if self.values.len() == MAX_VALUES {
            return Err(StorageError::internal("a statement has too many values"));
        }
        self.values.push(value);
        Ok(self)
    }

    /// Adds the tenant where [`TENANT`](super::read::TENANT) stands.
    pub(super) fn tenant(self, tenant: &Tenant) -> Result<Self> {
        self.bind(tenant.as_str())
    }

    /// Adds `sql` and its value if there is one.
    pub(super) fn filter<T: ToValue>(self, sql: &str, value: Option<T>) -> Result<Self> {
        match value {
            Some(value) => self.push(sql).bind(value),
            None => Ok(self),
        }
    }

    /// Adds `(?, ?, …)` with the values. There must be one at least.
    pub(super) fn list<T: ToValue>(mut self, values: impl IntoIterator<Item = T>) -> Result<Self> {
        for (number, value) in values.into_iter().enumerate() {
            self = self.push(if number == 0 { "(?" } else { ", ?" }).bind(value)?;
        }
        Ok(self.push(")"))
    }

    /// Every row, on a connection of the pool.
    pub(super) async fn all(self, pool: &Pool) -> Result<Vec<Row>> {
        self.all_on(pool.acquire().await?.target()).await
    }

    /// The first row, on a connection of the pool. The query must not have many.
    pub(super) async fn first(self, pool: &Pool) -> Result<Option<Row>> {
        self.first_on(pool.acquire().await?.target()).await
    }

    /// Every row.
    pub(super) async fn all_on(self, target: Target<'_>) -> Result<Vec<Row>> {
        Ok(target.fetch_all(self.sql, self.values, true).await?)
    }

    /// Every row, however long it takes: on a connection of one's own, for somebody who can leave.
    pub(super) async fn unhurried(self, conn: &mut Connection) -> Result<Vec<Row>> {
        Ok(self.stream(conn.target())?.try_collect().await?)
    }

    /// The first row. The query must not have many.
    pub(super) async fn first_on(self, target: Target<'_>) -> Result<Option<Row>> {
        Ok(target.fetch_first(self.sql, self.values).await?)
    }

    /// The rows as they come.
    pub(super) fn stream<'c>(
        self,
        target: Target<'c>,
    ) -> Result<BoxStream<'c, Result<Row, sqlx::Error>>> {
        Ok(target.stream(self.sql, self.values)?)
    }
}
