//! Entries of the cache.

use super::{Reader, TENANT};
use crate::{
    adapters::sql::{
        query::Query,
        rows::{self, CACHED},
    },
    cache::{CacheEntry, CacheKey, CacheQuery, Used},
    error::{Result, StorageError},
    ports::Page,
    tenant::Tenant,
    time::Stamp,
};

/// Entries that are found to have expired together.
const EXPIRED: i64 = 1_000;
/// Whether an entry's time is not over, in a query whose next value is the time.
const THERE: &str = "(c.expires_at IS NULL OR c.expires_at > ?)";

impl Reader {
    /// One entry whose time is not over.
    pub(in super::super) async fn cached(
        &self,
        tenant: &Tenant,
        key: &CacheKey,
        now: Stamp,
    ) -> Result<CacheEntry> {
        let row = Query::new(format!(
            "SELECT {CACHED} FROM cache_entries c WHERE c.tenant = {TENANT} AND c.key = ? AND {THERE}"
        ))
        .tenant(tenant)?
        .bind(key.as_str())?
        .bind(now.micros())?
        .first(&self.pool)
        .await?;
        let row = row.ok_or_else(|| StorageError::CacheEntryNotFound { key: key.to_string() })?;
        rows::cached(&row)
    }

    /// A page of entries, by key.
    pub(in super::super) async fn cached_page(
        &self,
        tenant: &Tenant,
        query: CacheQuery,
        now: Stamp,
    ) -> Result<Page<CacheEntry>> {
        let size = query.page_size;
        let sql = Query::new(format!(
            "SELECT {CACHED} FROM cache_entries c WHERE c.tenant = {TENANT} AND {THERE} \
             AND c.key >= ?"
        ))
        .tenant(tenant)?
        .bind(now.micros())?
        .bind(query.prefix.as_str())?
        .filter(" AND c.key < ?", query.prefix.end_of_prefix())?
        .filter(" AND c.key > ?", query.after)?
        .push(" ORDER BY c.key LIMIT ?")
        .bind(i64::from(size.get()) + 1)?;
        self.small_page(sql, size, |row| {
            let entry = rows::cached(row)?;
            let bytes = entry.key.as_str().len() + entry.value.len();
            Ok((entry.key.to_string(), bytes, entry))
        })
        .await
    }

    /// Entries whose time is over, some of them; of one tenant, or of all.
    pub(in super::super) async fn expired_cached(
        &self,
        tenant: Option<&Tenant>,
        now: Stamp,
    ) -> Result<Vec<Used>> {
        let found = Query::new(
            "SELECT t.name, c.key FROM cache_entries c CROSS JOIN tenants t ON t.tenant = c.tenant \
             WHERE c.expires_at <= ?",
        )
        .bind(now.micros())?
        .filter(" AND t.name = ?", tenant.map(Tenant::as_str))?
        .push(" ORDER BY c.expires_at LIMIT ?")
        .bind(EXPIRED)?
        .all(&self.pool)
        .await?;
        found
            .iter()
            .map(|row| Ok((Tenant::new(row.try_get::<String>(0)?), rows::cache_key(row, 1)?)))
            .collect()
    }
}
