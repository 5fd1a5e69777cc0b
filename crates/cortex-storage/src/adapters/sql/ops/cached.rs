//! Writing, deleting and evicting entries of the cache.

use super::{super::needs::Needs, super::work::Work, Operation};
use crate::{
    adapters::sql::{
        cache::{Cache, TenantNo},
        work::{CacheFact, CacheRow, CacheTotals},
    },
    cache::{CacheEntry, CacheKey, DeleteCacheEntry, PutCacheEntry, Used, check_revision},
    config::CacheBounds,
    error::{Result, StorageError},
    tenant::Tenant,
    time::Stamp,
};

/// Entries that one step evicts at most, so that no other write waits long for it.
const EVICTIONS: i64 = 256;
/// An eviction goes below the bounds by this part of them, so that not every write needs one.
const SPARE: u64 = 64;

impl CacheTotals {
    fn take_in(&mut self, bytes: i64) {
        self.entries += 1;
        self.bytes += bytes;
    }

    fn leave_out(&mut self, bytes: i64) {
        self.entries -= 1;
        self.bytes -= bytes;
    }

    /// Whether there is more than `bounds` allow, or than a part of them.
    fn is_over(&self, bounds: &CacheBounds, spare: bool) -> bool {
        let below = |bound: u64| if spare { bound - bound / SPARE } else { bound };
        let over = |number: i64, bound| u64::try_from(number).unwrap_or(0) > below(bound);
        over(self.entries, bounds.entries) || over(self.bytes, bounds.bytes.get())
    }
}

/// Writes an entry.
pub(in super::super) struct PutCached {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) put: PutCacheEntry,
    pub(in super::super) bounds: CacheBounds,
}

impl Operation for PutCached {
    /// The entry, and whether the cache is over its bounds now.
    type Answer = (CacheEntry, bool);

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        need(cache, needs, &self.tenant, &self.put.key);
    }

    fn decide(&self, work: &mut Work) -> Result<Self::Answer> {
        let (now, key) = (work.now, &self.put.key);
        let found = work.cache.tenant(&self.tenant).and_then(|tenant| live(work, tenant, key));
        check_revision(key, self.put.expected, found.map_or(0, |fact| fact.revision))?;
        let tenant = work.ensure_tenant(&self.tenant);
        forget(work, tenant, key);
        let bytes = i64::try_from(self.put.size()).unwrap_or(i64::MAX);
        let totals = work.read.cache_totals.entry(tenant).or_default();
        totals.take_in(bytes);
        totals.revision += 1;
        let fact = CacheFact {
            revision: totals.revision,
            bytes,
            expires_at: self.put.ttl.map(|ttl| now.after(ttl)),
        };
        let over = totals.is_over(&self.bounds, false);
        let slot = (tenant, key.clone());
        work.read.cached.insert(slot.clone(), fact);
        work.writes.cached_removals.shift_remove(&slot);
        let (value, ttl) = (self.put.value.clone(), self.put.ttl);
        let row = CacheRow { value: value.clone(), ttl, fact, created_at: now };
        work.writes.cached.insert(slot, row);
        work.writes.cache_totals.insert(tenant);
        let entry = CacheEntry {
            key: key.clone(),
            value,
            ttl,
            created_at: now,
            accessed_at: now,
            expires_at: fact.expires_at,
            revision: fact.revision,
        };
        Ok((entry, over))
    }

    fn size(&self) -> usize {
        self.put.size()
    }
}

/// Deletes an entry.
pub(in super::super) struct RemoveCached {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) delete: DeleteCacheEntry,
}

impl Operation for RemoveCached {
    type Answer = ();

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        need(cache, needs, &self.tenant, &self.delete.key);
    }

    fn decide(&self, work: &mut Work) -> Result<()> {
        let key = &self.delete.key;
        let found = work.cache.tenant(&self.tenant).and_then(|tenant| {
            let fact = live(work, tenant, key)?;
            Some((tenant, fact))
        });
        let Some((tenant, fact)) = found else {
            return Err(StorageError::CacheEntryNotFound { key: key.to_string() });
        };
        check_revision(key, self.delete.expected, fact.revision)?;
        remove(work, tenant, key);
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}

/// Deletes entries that were found to have expired, if they still have.
pub(in super::super) struct RemoveExpiredCached {
    pub(in super::super) entries: Vec<Used>,
}

impl Operation for RemoveExpiredCached {
    /// How many there were.
    type Answer = u64;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        for (tenant, key) in &self.entries {
            need(cache, needs, tenant, key);
        }
    }

    fn decide(&self, work: &mut Work) -> Result<u64> {
        let mut removed = 0;
        for (tenant, key) in &self.entries {
            let Some(tenant) = work.cache.tenant(tenant) else { continue };
            let fact = work.read.cached.get(&(tenant, key.clone()));
            if fact.is_some_and(|fact| is_over(fact, work.now)) {
                remove(work, tenant, key);
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn size(&self) -> usize {
        0
    }
}

/// Deletes some of the entries that were not used for the longest time, if the cache is over its
/// bounds.
pub(in super::super) struct Evict {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) bounds: CacheBounds,
    /// The entry that made it necessary, which stays.
    pub(in super::super) keep: CacheKey,
}

impl Operation for Evict {
    /// Whether there is more to evict.
    type Answer = bool;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        if let Some(tenant) = cache.tenant(&self.tenant) {
            needs.least_used.insert(tenant, EVICTIONS);
            needs.caches.insert(tenant);
        }
    }

    fn decide(&self, work: &mut Work) -> Result<bool> {
        let Some(tenant) = work.cache.tenant(&self.tenant) else { return Ok(false) };
        let over = |work: &Work| {
            let totals = work.read.cache_totals.get(&tenant);
            totals.is_some_and(|totals| totals.is_over(&self.bounds, true))
        };
        let candidates = work.read.least_used.get(&tenant).cloned().unwrap_or_default();
        let mut removed = false;
        for key in candidates {
            if !over(work) {
                return Ok(false);
            }
            let slot = (tenant, key);
            let written = work.writes.cached.contains_key(&slot);
            if slot.1 != self.keep && !written && work.read.cached.contains_key(&slot) {
                remove(work, tenant, &slot.1);
                removed = true;
            }
        }
        Ok(removed && over(work))
    }

    fn size(&self) -> usize {
        0
    }
}

/// Writes times of use.
pub(in super::super) struct WriteUses {
    pub(in super::super) uses: Vec<(Used, Stamp)>,
}

impl Operation for WriteUses {
    type Answer = ();

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        // Not for what it says, but so that nobody else works on these caches at the same time.
        needs.caches.extend(self.uses.iter().filter_map(|((tenant, _), _)| cache.tenant(tenant)));
    }

    fn decide(&self, work: &mut Work) -> Result<()> {
        for ((tenant, key), at) in &self.uses {
            if let Some(tenant) = work.cache.tenant(tenant) {
                work.writes.cache_uses.push((tenant, key.clone(), *at));
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.uses.iter().map(|((_, key), _)| key.as_str().len() + 16).sum()
    }
}

fn need(cache: &Cache, needs: &mut Needs, tenant: &Tenant, key: &CacheKey) {
    if let Some(tenant) = cache.tenant(tenant) {
        needs.cached.insert((tenant, key.clone()));
        needs.caches.insert(tenant);
    }
}

fn is_over(fact: &CacheFact, now: Stamp) -> bool {
    fact.expires_at.is_some_and(|at| at <= now)
}

/// The entry, unless its time is over.
fn live(work: &Work, tenant: TenantNo, key: &CacheKey) -> Option<CacheFact> {
    let fact = work.read.cached.get(&(tenant, key.clone())).copied();
    fact.filter(|fact| !is_over(fact, work.now))
}

/// Counts an entry no more, if there is one.
fn forget(work: &mut Work, tenant: TenantNo, key: &CacheKey) {
    if let Some(fact) = work.read.cached.remove(&(tenant, key.clone())) {
        work.read.cache_totals.entry(tenant).or_default().leave_out(fact.bytes);
    }
}

fn remove(work: &mut Work, tenant: TenantNo, key: &CacheKey) {
    forget(work, tenant, key);
    let slot = (tenant, key.clone());
    work.writes.cached.shift_remove(&slot);
    work.writes.cached_removals.insert(slot);
    work.writes.cache_totals.insert(tenant);
}
