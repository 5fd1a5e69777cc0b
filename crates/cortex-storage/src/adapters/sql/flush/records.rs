//! Records and their revisions.

use crate::{
    adapters::sql::{
        script::Script,
        work::{Work, Writes},
    },
    time::Stamp,
};

impl Work {
    pub(super) fn write_revisions(&self, script: &mut Script) {
        for tenant in &self.writes.revisions {
            if let Some(row) = self.cache.tenants.get(tenant) {
                script.push("UPDATE tenants SET record_revision = ? WHERE tenant = ?;");
                script.bind(row.revision).bind(row.no.0);
            }
        }
    }
}

impl Writes {
    pub(super) fn write_records(&self, script: &mut Script, now: Stamp) {
        let rows: Vec<_> = self.records.iter().collect();
        let table = "records (tenant, key, value, revision, created_at, updated_at, expires_at)";
        let conflict = "ON CONFLICT (tenant, key) DO UPDATE SET value = excluded.value, \
            revision = excluded.revision, created_at = excluded.created_at, \
            updated_at = excluded.updated_at, expires_at = excluded.expires_at";
        script.insert((table, 7, conflict), &rows, |script, ((tenant, key), row)| {
            script
                .bind(tenant.0)
                .bind(key.as_str().to_owned())
                .bind(row.value.to_vec())
                .bind(row.fact.revision)
                .bind(row.fact.created_at.micros())
                .bind(row.updated_at.micros())
                .bind(row.fact.expires_at.map(Stamp::micros));
        });
        for (tenant, key) in &self.record_removals {
            script.push("DELETE FROM records WHERE tenant = ? AND key = ?;");
            script.bind(tenant.0).bind(key.as_str().to_owned());
        }
        let table = "tombstones (tenant, revision, key, deleted_at)";
        script.insert((table, 4, ""), &self.tombstones, |script, (tenant, revision, key)| {
            script.bind(tenant.0).bind(*revision).bind(key.as_str().to_owned()).bind(now.micros());
        });
    }
}
