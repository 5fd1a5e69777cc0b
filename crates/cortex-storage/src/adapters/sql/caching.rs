//! The cache on the writer and the readers: times of use, and what is evicted when.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{ops, store::SqlStore};
use crate::{
    cache::{CacheEntry, CacheKey, CacheQuery, DeleteCacheEntry, PutCacheEntry, Uses},
    config::CacheBounds,
    error::Result,
    ports::{CacheStore, Page},
    tenant::Tenant,
};

/// What the store keeps of the cache in memory.
pub(super) struct Caching {
    bounds: CacheBounds,
    uses: Mutex<Uses>,
}

impl Caching {
    pub(super) fn new(bounds: CacheBounds) -> Self {
        Self { bounds, uses: Mutex::default() }
    }

    fn uses(&self) -> MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl CacheStore for SqlStore {
    async fn use_cache_entry(&self, tenant: &Tenant, key: &CacheKey) -> Result<CacheEntry> {
        let now = self.now().await?;
        let mut entry = self.reader.cached(tenant, key, now).await?;
        let full = {
            let mut uses = self.caching.uses();
            if let Some(last) = uses.last(tenant, key) {
                entry.accessed_at = entry.accessed_at.max(last);
            }
            uses.note(tenant, key, now);
            uses.len() >= self.caching.bounds.waiting_uses
        };
        if full && let Err(error) = self.write_uses().await {
            // What was read is read. The times are lost, so that they do not fill the memory.
            tracing::warn!(%error, "times of use of the cache cannot be written");
            *self.caching.uses() = Uses::default();
        }
        Ok(entry)
    }

    async fn cache_entries(&self, tenant: &Tenant, query: CacheQuery) -> Result<Page<CacheEntry>> {
        let now = self.now().await?;
        let mut page = self.reader.cached_page(tenant, query, now).await?;
        let uses = self.caching.uses();
        for entry in &mut page.items {
            if let Some(last) = uses.last(tenant, &entry.key) {
                entry.accessed_at = entry.accessed_at.max(last);
            }
        }
        Ok(page)
    }

    async fn put_cache_entry(&self, tenant: &Tenant, put: PutCacheEntry) -> Result<CacheEntry> {
        let bounds = self.caching.bounds.clone();
        let (entry, over) =
            self.write(ops::PutCached { tenant: tenant.clone(), put, bounds }).await?;
        if over {
            self.evict(tenant, &entry.key).await?;
        }
        Ok(entry)
    }

    async fn delete_cache_entry(&self, tenant: &Tenant, delete: DeleteCacheEntry) -> Result<()> {
        self.write(ops::RemoveCached { tenant: tenant.clone(), delete }).await
    }

    async fn cleanup_cache(&self, tenant: &Tenant) -> Result<u64> {
        self.remove_expired_cached(Some(tenant)).await
    }
}

impl SqlStore {
    /// Removes what was not used for the longest time, in steps, until the bounds hold. The times of use
    /// are written first, since it is by them that entries are chosen.
    async fn evict(&self, tenant: &Tenant, keep: &CacheKey) -> Result<()> {
        self.write_uses().await?;
        let step = || ops::Evict {
            tenant: tenant.clone(),
            bounds: self.caching.bounds.clone(),
            keep: keep.clone(),
        };
        while self.write(step()).await? {}
        Ok(())
    }

    /// Writes the times of use that wait.
    pub(super) async fn write_uses(&self) -> Result<()> {
        let uses = self.caching.uses().waiting();
        if uses.is_empty() {
            return Ok(());
        }
        self.write(ops::WriteUses { uses: uses.clone() }).await?;
        self.caching.uses().written(&uses);
        Ok(())
    }

    /// Removes entries whose time is over, in steps; of one tenant, or of all. Answers how many.
    pub(super) async fn remove_expired_cached(&self, tenant: Option<&Tenant>) -> Result<u64> {
        let mut removed = 0;
        loop {
            let entries = self.reader.expired_cached(tenant, self.now().await?).await?;
            if entries.is_empty() {
                return Ok(removed);
            }
            removed += self.write(ops::RemoveExpiredCached { entries }).await?;
        }
    }
}
