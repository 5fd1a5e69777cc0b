//! What a batch locks in a database that others write too, before it reads anything else.
//!
//! Every replica locks in the same order, so that they seldom end up waiting for each other: the table
//! of holders, heads by the number of their sessions, revisions of records by the number of their
//! tenants. What is found after that and was not locked has come up in between; the batch is then
//! done again.

use std::collections::BTreeSet;

use super::{
    cache::{TenantNo, load_holders},
    load::Loader,
    needs::{HolderNeeds, Needs},
    row::Row,
    rows::{self, HEAD},
};
use crate::{
    admin,
    error::{Result, StorageError},
    journal::SessionNo,
    tenant::Tenant,
    time::Stamp,
};

/// Who changes leases does so alone, since a registration voids a lease that a renewal prolongs.
const HOLDERS: &str = "SELECT pg_advisory_xact_lock(7021952002)";
/// Notes the batch, and takes a share of the right to write, which no transaction gets while somebody forbids
/// writes. Whoever has moved the installation forbids them until his process ends, so that the row is seen by
/// then.
const MOMENT: &str = "WITH noted AS (INSERT INTO writers (writer, batch, at) \
    SELECT ?, ?, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
    ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, at = excluded.at RETURNING at) \
    SELECT at, \
    CASE WHEN pg_try_advisory_xact_lock_shared(7021952006) THEN 1 ELSE 0 END, \
    CASE WHEN EXISTS (SELECT 1 FROM moves) THEN 1 ELSE 0 END FROM noted";
/// A share of the right to delete bytes of artifacts.
const BYTES: &str =
    "SELECT CASE WHEN pg_try_advisory_xact_lock_shared(7021952005) THEN 1 ELSE 0 END";

/// The time by the database's clock.
///
/// # Errors
/// `Maintenance` when writes are refused.
fn moment(row: &Row) -> Result<Stamp> {
    let (welcome, moved): (bool, bool) = (row.try_get(1)?, row.try_get(2)?);
    match (welcome, moved) {
        (_, true) => Err(StorageError::Maintenance { work: admin::Work::Migrated }),
        (false, _) => Err(StorageError::Maintenance { work: admin::Work::Elsewhere }),
        (true, false) => Ok(Stamp::from_micros(row.try_get(0)?)),
    }
}

impl Loader<'_, '_> {
    /// Locks what `needs` names, reads the heads, the leases and the revisions, and answers the time by the
    /// database's clock.
    ///
    /// # Errors
    /// `Maintenance` when writes are refused.
    pub(super) async fn lock(&mut self, needs: &Needs) -> Result<Stamp> {
        if needs.holders == HolderNeeds::Write {
            self.tx.run(HOLDERS).await?;
        }
        let sessions = self.named_sessions(needs).await?;
        self.lock_heads(&sessions).await?;
        self.lock_revisions(needs).await?;
        if needs.holders != HolderNeeds::None {
            self.cache.holders = load_holders(self.tx.connection()).await?;
        }
        if needs.deletes_bytes {
            let rows = self.tx.run(BYTES).await?;
            let free = rows.first().map_or(Ok(false), |row| row.try_get(0))?;
            self.read.bytes_are_needed = !free;
        }
        let batch = self.tx.batch().ok_or_else(|| StorageError::internal("there is no batch"))?;
        let mut script = self.tx.script();
        script.push(MOMENT).bind(batch.writer.as_bytes().as_slice()).bind(batch.number);
        let rows = self.tx.fetch(script).await?;
        moment(rows.first().ok_or_else(|| StorageError::internal("there is no time"))?)
    }

    /// Every session that the batch works on.
    async fn named_sessions(&mut self, needs: &Needs) -> Result<BTreeSet<SessionNo>> {
        const BY_ID: &str = " v CROSS JOIN sessions s ON s.tenant = v.column1 \
            AND s.session_id = v.column2";
        const EXECUTIONS: &str = " v CROSS JOIN executions x ON x.tenant = v.column1 \
            AND x.execution_id = v.column2";
        const ARTIFACTS: &str = " v CROSS JOIN artifacts a ON a.tenant = v.column1 \
            AND a.artifact_id = v.column2";
        const HELD: &str = " v CROSS JOIN heads h ON h.holder_id = v.column1";
        const CREATIONS: &str =
            " v CROSS JOIN creations c ON c.tenant = v.column1 AND c.request = v.column2";
        let (mut sessions, mut unknown) = (BTreeSet::new(), Vec::new());
        for key in needs.sessions.keys() {
            match self.cache.ids.take(key) {
                Some(session) => {
                    sessions.insert(session);
                    self.cache.ids.insert(key.clone(), session);
                }
                None => unknown.push(key),
            }
        }
        let by_id = self.select("s.session", (2, BY_ID), &unknown, |script, (tenant, id)| {
            script.bind(tenant.0).bind(id.as_str());
        });
        let mut found = by_id.await?;
        let keys: Vec<_> = needs.executions.iter().collect();
        let executions =
            self.select("x.session", (2, EXECUTIONS), &keys, |script, (tenant, id)| {
                script.bind(tenant.0).bind(id);
            });
        found.extend(executions.await?);
        let keys: Vec<_> = needs.artifacts.iter().collect();
        let artifacts = self.select("a.session", (2, ARTIFACTS), &keys, |script, (tenant, id)| {
            script.bind(tenant.0).bind(id.as_str());
        });
        found.extend(artifacts.await?);
        let keys: Vec<_> = needs.held.iter().collect();
        let held = self.select("h.session", (1, HELD), &keys, |script, holder| {
            script.bind(holder.as_str());
        });
        found.extend(held.await?);
        let keys: Vec<_> = needs.creations.iter().collect();
        let creations = self.select("c.session", (2, CREATIONS), &keys, |script, (tenant, key)| {
            script.bind(tenant.0).bind(key.0.to_vec());
        });
        found.extend(creations.await?);
        for row in &found {
            sessions.insert(SessionNo(row.try_get(0)?));
        }
        Ok(sessions)
    }

    /// Locks and reads heads. Of one that waited for its lock the newest state is read.
    async fn lock_heads(&mut self, sessions: &BTreeSet<SessionNo>) -> Result<()> {
        const TABLES: &str = " v CROSS JOIN heads h ON h.session = v.column1 \
            CROSS JOIN sessions s ON s.session = h.session ORDER BY h.session FOR UPDATE OF h, s";
        let sessions: Vec<_> = sessions.iter().collect();
        let found = self
            .select(HEAD, (1, TABLES), &sessions, |script, session| {
                script.bind(session.0);
            })
            .await?;
        for row in &found {
            let head = rows::head(row)?;
            self.keep(head);
        }
        Ok(())
    }

    /// Locks and reads the revisions of tenants whose records change; the same locks guard what is
    /// counted of their caches.
    async fn lock_revisions(&mut self, needs: &Needs) -> Result<()> {
        const TABLES: &str = " v CROSS JOIN tenants t ON t.tenant = v.column1 \
            ORDER BY t.tenant FOR NO KEY UPDATE OF t";
        let records = needs.records.iter().map(|(tenant, _)| tenant);
        let tenants: BTreeSet<TenantNo> = records.chain(&needs.caches).copied().collect();
        let tenants: Vec<_> = tenants.into_iter().collect();
        let found = self
            .select("t.name, t.record_revision", (1, TABLES), &tenants, |script, tenant| {
                script.bind(tenant.0);
            })
            .await?;
        for row in &found {
            let tenant = Tenant::new(row.try_get::<String>(0)?);
            if let Some(known) = self.cache.tenants.get_mut(&tenant) {
                known.revision = row.try_get(1)?;
            }
        }
        Ok(())
    }

    /// Says that all of `sessions` are locked.
    ///
    /// # Errors
    /// `Contended` when one has come up after the locks were taken.
    pub(super) fn are_locked<'s>(
        &self,
        mut sessions: impl Iterator<Item = &'s SessionNo>,
    ) -> Result<()> {
        if sessions.all(|session| self.read.heads.contains_key(session)) {
            return Ok(());
        }
        Err(StorageError::Contended { detail: "a session came up in between".to_owned() })
    }
}
