//! Entries of the cache, and what each tenant's come to.

use crate::{
    adapters::sql::{
        script::Script,
        work::{Work, Writes},
    },
    time::Stamp,
};

const CACHED: &str =
    "cache_entries (tenant, key, value, bytes, revision, ttl, created_at, accessed_at, expires_at)";
const CACHED_CONFLICT: &str = "ON CONFLICT (tenant, key) DO UPDATE SET value = excluded.value, \
    bytes = excluded.bytes, revision = excluded.revision, ttl = excluded.ttl, \
    created_at = excluded.created_at, accessed_at = excluded.accessed_at, \
    expires_at = excluded.expires_at";
const USE: &str = "UPDATE cache_entries SET accessed_at = v.column3 FROM ";
const USED: &str = " v WHERE cache_entries.tenant = v.column1 AND cache_entries.key = v.column2 \
    AND cache_entries.accessed_at < v.column3";
const TOTALS: &str = "caches (tenant, revision, entries, bytes)";
const TOTALS_CONFLICT: &str = "ON CONFLICT (tenant) DO UPDATE SET revision = excluded.revision, \
    entries = excluded.entries, bytes = excluded.bytes";

impl Work {
    pub(super) fn write_cache_totals(&self, script: &mut Script) {
        let totals = self.writes.cache_totals.iter();
        let rows: Vec<_> =
            totals.filter_map(|no| Some((*no, *self.read.cache_totals.get(no)?))).collect();
        script.insert((TOTALS, 4, TOTALS_CONFLICT), &rows, |script, (tenant, totals)| {
            script.bind(tenant.0).bind(totals.revision).bind(totals.entries).bind(totals.bytes);
        });
    }
}

impl Writes {
    pub(super) fn write_cached(&self, script: &mut Script) {
        let rows: Vec<_> = self.cached.iter().collect();
        script.insert((CACHED, 9, CACHED_CONFLICT), &rows, |script, ((tenant, key), row)| {
            script
                .bind(tenant.0)
                .bind(key.as_str())
                .bind(row.value.as_str())
                .bind(row.fact.bytes)
                .bind(row.fact.revision)
                .bind(row.ttl.map(|ttl| i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)))
                .bind(row.created_at.micros())
                .bind(row.created_at.micros())
                .bind(row.fact.expires_at.map(Stamp::micros));
        });
        script.values((USE, 3, USED), &self.cache_uses, |script, (tenant, key, at)| {
            script.bind(tenant.0).bind(key.as_str()).bind(at.micros());
        });
        let removals: Vec<_> = self.cached_removals.iter().collect();
        let (before, after) = (
            "DELETE FROM cache_entries WHERE (tenant, key) IN (SELECT column1, column2 FROM ",
            " v WHERE column1 IS NOT NULL)",
        );
        script.values((before, 2, after), &removals, |script, (tenant, key)| {
            script.bind(tenant.0).bind(key.as_str());
        });
    }
}
