//! Records and their changes.

use cortex_core::PageSize;

use super::{Reader, TENANT};
use crate::{
    adapters::sql::{
        database::Target,
        error::damaged,
        query::Query,
        rows::{self, RECORD},
    },
    error::{Result, StorageError},
    record::{Record, RecordChange, RecordKey, RecordPage},
    tenant::Tenant,
    time::Stamp,
};

/// Changes that one read brings at most.
const CHANGES: i64 = 256;
/// Bytes of one page of records, nearly.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

impl Reader {
    /// One record that has not expired.
    pub(in super::super) async fn record(
        &self,
        tenant: &Tenant,
        key: &RecordKey,
        now: Stamp,
    ) -> Result<Record> {
        let row = Query::new(format!(
            "SELECT {RECORD} FROM records r WHERE r.tenant = {TENANT} AND r.key = ? \
             AND (r.expires_at IS NULL OR r.expires_at > ?)"
        ))
        .tenant(tenant)?
        .bind(key.as_str().to_owned())?
        .bind(now.micros())?
        .first(&self.pool)
        .await?;
        let row = row.ok_or_else(|| StorageError::RecordNotFound { key: key.to_string() })?;
        rows::record(&row)
    }

    /// Records below a prefix, with the revision of the same snapshot.
    pub(in super::super) async fn records(
        &self,
        tenant: &Tenant,
        prefix: &RecordKey,
        (size, from): (PageSize, Option<&str>),
        now: Stamp,
    ) -> Result<RecordPage> {
        use futures::TryStreamExt;

        let mut snapshot = self.pool.snapshot().await?;
        let revision = tenant_revisions(snapshot.target(), tenant).await?.0;
        let query = Query::new(format!(
            "SELECT {RECORD} FROM records r WHERE r.tenant = {TENANT} AND r.key >= ? AND r.key < ? \
             AND r.key > ? AND (r.expires_at IS NULL OR r.expires_at > ?) ORDER BY r.key LIMIT ?"
        ))
        .tenant(tenant)?
        .bind(prefix.as_str())?
        .bind(prefix.end_of_prefix())?
        .bind(from.unwrap_or_default())?
        .bind(now.micros())?
        .bind(i64::from(size.get()) + 1)?;
        let limit = size.get() as usize;
        let (mut records, mut bytes, mut more) = (Vec::new(), 0, false);
        {
            let mut found = query.stream(snapshot.target())?;
            while let Some(row) = found.try_next().await? {
                if records.len() == limit || bytes >= PAGE_BYTES {
                    more = true;
                    break;
                }
                let record = rows::record(&row)?;
                bytes += record.value.len();
                records.push(record);
            }
        }
        snapshot.end().await?;
        let next = records.last().map(|record| record.key.to_string()).filter(|_| more);
        Ok(RecordPage { records, next, revision })
    }

    /// The tenant's last revision.
    pub(in super::super) async fn revision(&self, tenant: &Tenant) -> Result<i64> {
        let mut conn = self.pool.acquire().await?;
        Ok(tenant_revisions(conn.target(), tenant).await?.0)
    }

    /// Changes below a prefix after a revision: last writes and deletions, in order.
    pub(in super::super) async fn record_changes(
        &self,
        tenant: &Tenant,
        prefix: &RecordKey,
        after: i64,
    ) -> Result<Vec<RecordChange>> {
        let mut snapshot = self.pool.snapshot().await?;
        let (_, oldest) = tenant_revisions(snapshot.target(), tenant).await?;
        if after < oldest {
            return Err(StorageError::Compacted { after, oldest });
        }
        let found = Query::new(format!(
            "SELECT {RECORD}, 1 FROM records r WHERE r.tenant = {TENANT} AND r.revision > ? \
             AND r.key >= ? AND r.key < ? \
             UNION ALL SELECT d.key, NULL, d.revision, 0, 0, NULL, 0 FROM tombstones d \
             WHERE d.tenant = {TENANT} AND d.revision > ? AND d.key >= ? AND d.key < ? \
             ORDER BY 3 LIMIT ?"
        ))
        .tenant(tenant)?
        .bind(after)?
        .bind(prefix.as_str())?
        .bind(prefix.end_of_prefix())?
        .tenant(tenant)?
        .bind(after)?
        .bind(prefix.as_str())?
        .bind(prefix.end_of_prefix())?
        .bind(CHANGES)?
        .all_on(snapshot.target())
        .await?;
        snapshot.end().await?;
        found
            .iter()
            .map(|row| {
                let written: bool = row.try_get(6)?;
                let key = RecordKey::parse(&row.try_get::<String>(0)?)
                    .map_err(|_| damaged("record key"))?;
                let record = if written { Some(rows::record(row)?) } else { None };
                Ok(RecordChange { revision: row.try_get(2)?, key, record })
            })
            .collect()
    }

    /// Records that have expired, some of them.
    pub(in super::super) async fn expired_records(
        &self,
        now: Stamp,
    ) -> Result<Vec<(Tenant, RecordKey)>> {
        let found = Query::new(
            "SELECT t.name, r.key FROM records r CROSS JOIN tenants t ON t.tenant = r.tenant \
             WHERE r.expires_at <= ? ORDER BY r.expires_at LIMIT ?",
        )
        .bind(now.micros())?
        .bind(CHANGES)?
        .all(&self.pool)
        .await?;
        found
            .iter()
            .map(|row| {
                let key = RecordKey::parse(&row.try_get::<String>(1)?)
                    .map_err(|_| damaged("record key"))?;
                Ok((Tenant::new(row.try_get::<String>(0)?), key))
            })
            .collect()
    }
}

/// The tenant's last revision, and the last one whose deletions are forgotten.
async fn tenant_revisions(target: Target<'_>, tenant: &Tenant) -> Result<(i64, i64)> {
    let sql = "SELECT record_revision, compacted_revision FROM tenants WHERE name = ?";
    let row = Query::new(sql).tenant(tenant)?.first_on(target).await?;
    Ok(match row {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (0, 0),
    })
}
