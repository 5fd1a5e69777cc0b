//! Metrics: pages of them, and what they come to.

use cortex_core::SessionId;
use futures::TryStreamExt;
use tokio::sync::mpsc;

use super::{Reader, TENANT};
use crate::{
    adapters::sql::{
        error::damaged,
        query::Query,
        row::Row,
        rows::{self, METRIC},
    },
    error::{Result, StorageError},
    metric::{
        Aggregation, Aggregator, GroupKey, Labels, Metric, MetricFilter, MetricPlace, MetricQuery,
        Sample, Series,
    },
    ports::Page,
    tenant::Tenant,
    time::Stamp,
};

/// Numbers of a session that is gone are gone, too, even before they are cleared away.
const TABLES: &str = "metrics m LEFT JOIN sessions s ON s.session = m.session";
const THERE: &str = "(m.session IS NULL OR s.session IS NOT NULL)";
/// Numbers that go to the aggregation together.
const CHUNK: usize = 1024;
/// Such pieces that may wait for it.
const CHUNKS: usize = 4;

impl Reader {
    /// A page of numbers, newest first.
    pub(in super::super) async fn metrics(
        &self,
        tenant: &Tenant,
        query: MetricQuery,
    ) -> Result<Page<Metric>> {
        let (size, offset) = (query.page_size, query.offset);
        let mut sql = self.filtered(METRIC, tenant, &query.filter).await?;
        if let Some(MetricPlace { timestamp, number }) = query.before {
            sql = sql.push(" AND (m.measured_at, m.metric) < (?, ?)");
            sql = sql.bind(timestamp.micros())?.bind(number)?;
        }
        let sql = sql
            .push(" ORDER BY m.measured_at DESC, m.metric DESC LIMIT ?")
            .bind(i64::from(size.get()) + 1)?
            .push(" OFFSET ?")
            .bind(offset)?;
        self.small_page(sql, size, |row| {
            let (number, metric) = rows::metric(row)?;
            let place = MetricPlace { timestamp: metric.timestamp, number };
            Ok((place.to_string(), metric.size(), metric))
        })
        .await
    }

    /// What numbers come to. They are read as they are stored, oldest first, and worked out on a thread
    /// for blocking work.
    pub(in super::super) async fn aggregate(
        &self,
        tenant: &Tenant,
        aggregation: Aggregation,
    ) -> Result<Vec<Series>> {
        let limit = i64::try_from(aggregation.max_numbers).unwrap_or(i64::MAX - 1) + 1;
        let columns = sample_columns(&aggregation.group_by);
        let query = self
            .filtered(&columns, tenant, &aggregation.filter)
            .await?
            .push(" ORDER BY m.measured_at LIMIT ?")
            .bind(limit)?;
        let (chunks, mut waiting) = mpsc::channel::<Vec<Sample>>(CHUNKS);
        let work = tokio::task::spawn_blocking(move || {
            let mut aggregator = Aggregator::new(&aggregation);
            while let Some(chunk) = waiting.blocking_recv() {
                chunk.iter().try_for_each(|sample| aggregator.push(sample))?;
            }
            Ok(aggregator.finish())
        });
        let read = self.send_samples(query, chunks).await;
        let worked_out: Result<Vec<Series>> =
            work.await.map_err(|error| StorageError::internal(error.to_string()))?;
        // What is refused stops the reading, too; the refusal is what the caller wants to know.
        let series = worked_out?;
        read.map(|()| series)
    }

    /// Reads until there is no more, or nobody wants more.
    async fn send_samples(&self, query: Query, chunks: mpsc::Sender<Vec<Sample>>) -> Result<()> {
        let mut conn = self.pool.acquire().await?;
        let mut found = query.stream(conn.target())?;
        let mut chunk = Vec::with_capacity(CHUNK);
        while let Some(row) = found.try_next().await? {
            chunk.push(sample(&row)?);
            if chunk.len() == CHUNK && chunks.send(std::mem::take(&mut chunk)).await.is_err() {
                return Ok(());
            }
        }
        // Fails only when nobody wants more.
        let _ = chunks.send(chunk).await;
        Ok(())
    }

    /// A query of `columns` of the numbers that a filter lets through.
    async fn filtered(
        &self,
        columns: &str,
        tenant: &Tenant,
        filter: &MetricFilter,
    ) -> Result<Query> {
        let session = match &filter.session_id {
            Some(id) => Some(self.session_number(tenant, id).await?),
            None => None,
        };
        let start = format!("SELECT {columns} FROM {TABLES} WHERE m.tenant = {TENANT} AND {THERE}");
        let mut query = Query::new(start)
            .tenant(tenant)?
            .filter(" AND m.session = ?", session)?
            .filter(" AND m.metric_name = ?", filter.metric_name.clone())?
            .filter(" AND m.entity_type = ?", filter.entity_type.clone())?
            .filter(" AND m.entity_name = ?", filter.entity_name.clone())?
            .filter(" AND m.measured_at >= ?", filter.start.map(Stamp::micros))?
            .filter(" AND m.measured_at < ?", filter.end.map(Stamp::micros))?;
        for piece in filter.labels.pieces() {
            // Whether the text has the piece, in a form that every database has.
            query = query.filter(" AND replace(m.labels, ?, '') <> m.labels", Some(piece))?;
        }
        Ok(query)
    }

    async fn session_number(&self, tenant: &Tenant, id: &SessionId) -> Result<i64> {
        Ok(self.head(tenant, id).await?.session.0)
    }
}

/// The columns of [`sample`]; what no group asks for is not read.
fn sample_columns(group_by: &[GroupKey]) -> String {
    let by_label = group_by.iter().any(|key| matches!(key, GroupKey::Label(_)));
    let wanted = |wanted: bool, column: &'static str| if wanted { column } else { "''" };
    format!(
        "m.measured_at, m.value, {}, {}, {}, {}",
        wanted(group_by.contains(&GroupKey::EntityType), "m.entity_type"),
        wanted(group_by.contains(&GroupKey::EntityName), "m.entity_name"),
        wanted(group_by.contains(&GroupKey::SessionId), "coalesce(s.session_id, '')"),
        wanted(by_label, "m.labels"),
    )
}

fn sample(row: &Row) -> Result<Sample> {
    Ok(Sample {
        timestamp: Stamp::from_micros(row.try_get(0)?),
        value: row.try_get(1)?,
        entity_type: row.try_get(2)?,
        entity_name: row.try_get(3)?,
        session_id: row.try_get(4)?,
        labels: Labels::decode(&row.try_get::<String>(5)?).ok_or_else(|| damaged("label"))?,
    })
}
