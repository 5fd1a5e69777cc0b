//! Writing and deleting records.

use super::{super::needs::Needs, super::work::Work, Operation};
use crate::{
    adapters::sql::{
        cache::{Cache, TenantNo},
        work::{RecordFact, RecordRow},
    },
    error::Result,
    record::{DeleteRecord, PutRecord, Record, RecordKey, check_revision},
    tenant::Tenant,
    time::Stamp,
};

/// Writes a record.
pub(in super::super) struct Put {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) put: PutRecord,
}

impl Operation for Put {
    type Answer = Record;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        need(cache, needs, &self.tenant, &self.put.key);
    }

    fn decide(&self, work: &mut Work) -> Result<Record> {
        let now = work.now;
        let before =
            work.cache.tenant(&self.tenant).and_then(|tenant| live(work, tenant, &self.put.key));
        check_revision(&self.put.key, self.put.expected, before.map_or(0, |fact| fact.revision))?;
        let tenant = work.ensure_tenant(&self.tenant);
        let fact = RecordFact {
            revision: next_revision(work, &self.tenant),
            created_at: before.map_or(now, |fact| fact.created_at),
            expires_at: self.put.ttl.map(|ttl| now.after(ttl)),
        };
        let key = (tenant, self.put.key.clone());
        work.read.records.insert(key.clone(), fact);
        work.writes.record_removals.shift_remove(&key);
        let row = RecordRow { value: self.put.value.clone(), fact, updated_at: now };
        work.writes.records.insert(key, row);
        Ok(Record {
            key: self.put.key.clone(),
            value: self.put.value.clone(),
            revision: fact.revision,
            created_at: fact.created_at,
            updated_at: now,
            expires_at: fact.expires_at,
        })
    }

    fn size(&self) -> usize {
        self.put.value.len()
    }
}

/// Deletes a record.
pub(in super::super) struct Remove {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) delete: DeleteRecord,
}

impl Operation for Remove {
    type Answer = Option<i64>;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        need(cache, needs, &self.tenant, &self.delete.key);
    }

    fn decide(&self, work: &mut Work) -> Result<Option<i64>> {
        let key = &self.delete.key;
        let found = work.cache.tenant(&self.tenant).and_then(|tenant| {
            let fact = live(work, tenant, key)?;
            Some((tenant, fact))
        });
        check_revision(key, self.delete.expected, found.map_or(0, |(_, fact)| fact.revision))?;
        let Some((tenant, _)) = found else { return Ok(None) };
        Ok(Some(remove(work, &self.tenant, tenant, key)))
    }

    fn size(&self) -> usize {
        0
    }
}

/// Deletes records that were found to have expired, if they still have.
pub(in super::super) struct RemoveExpired {
    pub(in super::super) keys: Vec<(Tenant, RecordKey)>,
}

impl Operation for RemoveExpired {
    type Answer = ();

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        for (tenant, key) in &self.keys {
            need(cache, needs, tenant, key);
        }
    }

    fn decide(&self, work: &mut Work) -> Result<()> {
        for (tenant, key) in &self.keys {
            let Some(no) = work.cache.tenant(tenant) else { continue };
            let fact = work.read.records.get(&(no, key.clone()));
            if fact.is_some_and(|fact| is_over(fact, work.now)) {
                remove(work, tenant, no, key);
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}

fn need(cache: &Cache, needs: &mut Needs, tenant: &Tenant, key: &RecordKey) {
    if let Some(tenant) = cache.tenant(tenant) {
        needs.records.insert((tenant, key.clone()));
    }
}

fn is_over(fact: &RecordFact, now: Stamp) -> bool {
    fact.expires_at.is_some_and(|at| at <= now)
}

/// The record, unless it has expired.
fn live(work: &Work, tenant: TenantNo, key: &RecordKey) -> Option<RecordFact> {
    let fact = work.read.records.get(&(tenant, key.clone())).copied();
    fact.filter(|fact| !is_over(fact, work.now))
}

fn remove(work: &mut Work, tenant: &Tenant, no: TenantNo, key: &RecordKey) -> i64 {
    let revision = next_revision(work, tenant);
    let slot = (no, key.clone());
    work.read.records.remove(&slot);
    work.writes.records.shift_remove(&slot);
    work.writes.record_removals.insert(slot);
    work.writes.tombstones.push((no, revision, key.clone()));
    revision
}

fn next_revision(work: &mut Work, tenant: &Tenant) -> i64 {
    work.writes.revisions.insert(tenant.clone());
    let Some(row) = work.cache.tenants.get_mut(tenant) else { return 0 };
    row.revision += 1;
    row.revision
}
