//! What requests that record metrics, and writes of the cache, need to know.

use super::Loader;
use crate::{
    adapters::sql::{
        cache::TenantNo,
        needs::Needs,
        rows::{self, CACHE_FACT},
        work::CacheTotals,
    },
    error::Result,
    journal::{Fingerprint, RequestKey},
    time::Stamp,
};

impl Loader<'_, '_> {
    pub(super) async fn metric_requests(&mut self, needs: &Needs) -> Result<()> {
        let tables =
            " v CROSS JOIN metric_requests r ON r.tenant = v.column1 AND r.request = v.column2";
        let keys: Vec<_> = needs.metric_requests.iter().collect();
        let columns = "r.tenant, r.request, r.fingerprint, r.at";
        let found = self
            .select(columns, (2, tables), &keys, |script, (tenant, key)| {
                script.bind(tenant.0).bind(key.0.to_vec());
            })
            .await?;
        for row in &found {
            let key = (TenantNo(row.try_get(0)?), RequestKey(rows::half_hash(row, 1)?));
            let fingerprint = Fingerprint(rows::half_hash(row, 2)?);
            let known = (fingerprint, Stamp::from_micros(row.try_get(3)?));
            self.read.metric_requests.insert(key, known);
        }
        Ok(())
    }

    pub(super) async fn cache(&mut self, needs: &Needs) -> Result<()> {
        self.cache_totals(needs).await?;
        let tables = " v CROSS JOIN cache_entries c ON c.tenant = v.column1 AND c.key = v.column2";
        let keys: Vec<_> = needs.cached.iter().collect();
        let found = self
            .select(CACHE_FACT, (2, tables), &keys, |script, (tenant, key)| {
                script.bind(tenant.0).bind(key.as_str());
            })
            .await?;
        for row in &found {
            let (key, fact) = rows::cache_fact(row)?;
            self.read.cached.insert(key, fact);
        }
        for (tenant, count) in &needs.least_used {
            self.least_used(*tenant, *count).await?;
        }
        Ok(())
    }

    async fn cache_totals(&mut self, needs: &Needs) -> Result<()> {
        let tables = " v CROSS JOIN caches c ON c.tenant = v.column1";
        let keys: Vec<_> = needs.caches.iter().collect();
        let columns = "c.tenant, c.revision, c.entries, c.bytes";
        let found = self
            .select(columns, (1, tables), &keys, |script, tenant| {
                script.bind(tenant.0);
            })
            .await?;
        for row in &found {
            let totals = CacheTotals {
                revision: row.try_get(1)?,
                entries: row.try_get(2)?,
                bytes: row.try_get(3)?,
            };
            self.read.cache_totals.insert(TenantNo(row.try_get(0)?), totals);
        }
        Ok(())
    }

    async fn least_used(&mut self, tenant: TenantNo, count: i64) -> Result<()> {
        let mut script = self.tx.script();
        script.push(&format!(
            "SELECT {CACHE_FACT} FROM cache_entries c WHERE c.tenant = ? \
             ORDER BY c.accessed_at, c.entry LIMIT ?;"
        ));
        script.bind(tenant.0).bind(count);
        let found = self.tx.fetch(script).await?;
        let mut keys = Vec::with_capacity(found.len());
        for row in &found {
            let (slot, fact) = rows::cache_fact(row)?;
            keys.push(slot.1.clone());
            self.read.cached.insert(slot, fact);
        }
        self.read.least_used.insert(tenant, keys);
        Ok(())
    }
}
