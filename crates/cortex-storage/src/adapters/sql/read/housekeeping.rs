//! What is to be cleared away.

use super::Reader;
use crate::{
    adapters::sql::{housekeeping::PurgeRow, query::Query, rows::half_hash},
    error::Result,
    journal::{RequestKey, SessionNo},
    time::Stamp,
};

/// Requests that were made long ago.
pub(in super::super) type OldRequests = Vec<(SessionNo, RequestKey)>;

impl Reader {
    /// The time by PostgreSQL's clock.
    pub(in super::super) async fn now(&self) -> Result<Stamp> {
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        let row = Query::new(sql).first(&self.pool).await?;
        Ok(Stamp::from_micros(row.map_or(Ok(0), |row| row.try_get(0))?))
    }

    /// The oldest entry of the list of what is to be cleared away. Imports that may go on are none.
    pub(in super::super) async fn next_purge(&self, now: Stamp) -> Result<Option<PurgeRow>> {
        let sql = "SELECT purge, session, messages, staged FROM purges \
            WHERE staged IS NULL OR staged <= ? ORDER BY purge LIMIT 1";
        let row = Query::new(sql).bind(now.micros())?.first(&self.pool).await?;
        let Some(row) = row else { return Ok(None) };
        let (purge, session, messages) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let staged = row.try_get::<Option<i64>>(3)?.is_some();
        Ok(Some(PurgeRow { purge, session, messages, staged }))
    }

    /// The next requests in the order of their keys: how far they go, and which of them were made before a
    /// time. `None` when there are no more.
    pub(in super::super) async fn old_requests(
        &self,
        (session, key): (SessionNo, RequestKey),
        before: Stamp,
        rows: i64,
    ) -> Result<Option<(SessionNo, RequestKey, OldRequests)>> {
        let sql = "SELECT session, request, at FROM requests WHERE (session, request) > (?, ?) \
            ORDER BY session, request LIMIT ?";
        let query = Query::new(sql).bind(session.0)?.bind(key.0.to_vec())?.bind(rows)?;
        let (mut last, mut old) = (None, Vec::new());
        for row in query.all(&self.pool).await? {
            let place = (SessionNo(row.try_get(0)?), RequestKey(half_hash(&row, 1)?));
            last = Some(place);
            if row.try_get::<i64>(2)? < before.micros() {
                old.push(place);
            }
        }
        Ok(last.map(|(session, key)| (session, key, old)))
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
