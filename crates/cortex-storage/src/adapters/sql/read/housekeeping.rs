//! What is to be cleared away.

use super::Reader;
use crate::{
    adapters::sql::{housekeeping::PurgeRow, query::Query},
    error::Result,
    time::Stamp,
};

impl Reader {
    /// The time by PostgreSQL's clock.
    pub(in super::super) async fn now(&self) -> Result<Stamp> {
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        let row = Query::new(sql).first(&self.pool).await?;
        Ok(Stamp::from_micros(row.map_or(Ok(0), |row| row.try_get(0))?))
    }

    /// The oldest entry of the list of what is to be cleared away.
    pub(in super::super) async fn next_purge(&self) -> Result<Option<PurgeRow>> {
        let sql = "SELECT purge, session, messages FROM purges ORDER BY purge LIMIT 1";
        let Some(row) = Query::new(sql).first(&self.pool).await? else { return Ok(None) };
        let (purge, session, messages) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(Some(PurgeRow { purge, session, messages }))
    }

    /// Whether there are deletions of records from before a time.
    pub(in super::super) async fn has_tombstones(&self, before: Stamp) -> Result<bool> {
        let sql = "SELECT 1 FROM tombstones WHERE deleted_at < ? LIMIT 1";
        let row = Query::new(sql).bind(before.micros())?.first(&self.pool).await?;
        Ok(row.is_some())
    }

    /// Whether there are requests that recorded metrics before a time.
    pub(in super::super) async fn has_metric_requests(&self, before: Stamp) -> Result<bool> {
        let sql = "SELECT 1 FROM metric_requests WHERE at < ? LIMIT 1";
        let row = Query::new(sql).bind(before.micros())?.first(&self.pool).await?;
        Ok(row.is_some())
    }
}
