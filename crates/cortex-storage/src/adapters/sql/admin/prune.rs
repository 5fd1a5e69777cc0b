//! Deleting what is older, or more, than it should be, in steps between other writes.

mod belongings;
mod compact;

use std::collections::{HashMap, HashSet};

use cortex_core::SessionId;
use futures::future::join_all;

use belongings::{Belongings, Referred, Released};

use super::catalogue::{SqlTable, read_schema};
use crate::{
    adapters::sql::{
        cache::TenantNo,
        error::damaged,
        ops::{MetricPlace, PruneMetrics, PruneSession, RemoveArtifact, SessionCriteria},
        query::Query,
        rows,
        store::SqlStore,
    },
    admin::{Outlet, Pace, PruneEvent, PrunePlan, Pruned, Unit},
    error::{Result, StorageError},
    journal::SessionNo,
    session::SessionStatus,
    tenant::Tenant,
    time::Stamp,
};

/// Sessions of one step.
const STEP: i64 = 64;
/// Metrics of one step, so that no other write waits long for it.
const METRIC_STEP: i64 = 2_000;

/// Deletes what the plan says, or counts it.
pub(super) async fn prune(
    store: &SqlStore,
    plan: &PrunePlan,
    out: &Outlet<PruneEvent>,
) -> Result<Pruned> {
    let pace = Pace::new("sessions", 0, Unit::Sessions);
    let tables = read_schema(&mut store.location.reader().await?).await?;
    let mut pruning = Pruning {
        store,
        plan,
        out,
        tables,
        pace,
        pruned: Pruned::default(),
        metrics_below: None,
        artifacts_before: None,
        contents: HashMap::new(),
        gone: HashSet::new(),
    };
    let tenants = Query::new("SELECT tenant, name FROM tenants ORDER BY tenant");
    for row in tenants.all(&store.reader.pool).await? {
        let tenant = Tenant::new(row.try_get::<String>(1)?);
        pruning.tenant(&tenant, row.try_get(0)?).await?;
    }
    if plan.compact {
        pruning.compact().await?;
    }
    Ok(pruning.pruned)
}

struct Pruning<'a> {
    store: &'a SqlStore,
    plan: &'a PrunePlan,
    out: &'a Outlet<PruneEvent>,
    tables: Vec<SqlTable>,
    pace: Pace,
    pruned: Pruned,
    /// Metrics of the tenant below this one go, or are gone.
    metrics_below: Option<MetricPlace>,
    /// Artifacts of the tenant from before this go, or are gone.
    artifacts_before: Option<Stamp>,
    /// What goes of the tenant refers to this.
    contents: HashMap<Referred, Released>,
    /// Sessions that go, or are gone.
    gone: HashSet<SessionNo>,
}

/// A session that may go.
struct Candidate {
    session: SessionNo,
    session_id: SessionId,
}

impl Pruning<'_> {
    async fn tell(&mut self, more: i64) -> Result<()> {
        match self.pace.advance(more) {
            Some(progress) => self.out.tell(PruneEvent::Progress(progress)).await,
            None => Ok(()),
        }
    }

    /// Metrics and artifacts first: those of a session that goes are then counted once.
    async fn tenant(&mut self, tenant: &Tenant, number: i64) -> Result<()> {
        self.contents.clear();
        self.metrics_below = self.metrics_below(number).await?;
        if let Some(below) = self.metrics_below {
            self.metrics(number, below).await?;
        }
        let now = self.store.now().await?;
        self.artifacts_before = self.plan.artifact_age.map(|age| now.before(age));
        if let Some(before) = self.artifacts_before {
            self.artifacts(tenant, number, before).await?;
        }
        if self.plan.names_sessions() {
            let criteria = self.criteria(number).await?;
            self.sessions_of(tenant, number, &criteria).await?;
        }
        let gone = self.contents.values().filter(|content| content.released >= content.refs);
        self.pruned.freed_content_bytes += gone.map(|content| content.bytes).sum::<i64>();
        Ok(())
    }

    /// Deletes a tenant's artifacts from before a time. Their bytes are cleared away after that.
    async fn artifacts(&mut self, tenant: &Tenant, number: i64, before: Stamp) -> Result<()> {
        self.pace.enter("artifacts", 0, Unit::Rows);
        let mut after = 0;
        loop {
            let sql = "SELECT artifact, artifact_id, digest FROM artifacts \
                WHERE tenant = ? AND artifact > ? AND created_at < ? ORDER BY artifact LIMIT ?";
            let query =
                Query::new(sql).bind(number)?.bind(after)?.bind(before.micros())?.bind(STEP)?;
            let found = query.all(&self.store.reader.pool).await?;
            let Some(last) = found.last() else { return Ok(()) };
            after = last.try_get(0)?;
            let mut referred = Vec::new();
            for row in &found {
                if row.try_get::<Option<&[u8]>>(2)?.is_some() {
                    referred.push(Referred::Artifact(*rows::digest(row, 2)?.as_bytes()));
                }
            }
            self.note(number, &referred).await?;
            referred.iter().for_each(|content| self.release(*content));
            self.pruned.count("artifacts", found.len() as i64);
            if !self.plan.validate_only {
                for row in &found {
                    self.remove_artifact(tenant, &row.try_get::<String>(1)?).await?;
                }
            }
            self.tell(found.len() as i64).await?;
        }
    }

    async fn remove_artifact(&self, tenant: &Tenant, id: &str) -> Result<()> {
        let artifact_id = id.parse().map_err(|_| damaged("artifact id"))?;
        let remove = RemoveArtifact { tenant: tenant.clone(), artifact_id };
        match self.store.write(remove).await {
            // Somebody else was faster.
            Err(StorageError::ArtifactNotFound { .. }) => Ok(()),
            removed => removed,
        }
    }

    /// The first metric that stays, by time and key.
    async fn metrics_below(&self, tenant: i64) -> Result<Option<MetricPlace>> {
        let now = self.store.now().await?;
        let by_age = self.plan.metric_age.map(|age| (now.before(age).micros(), 0));
        let by_count = match self.plan.keep_metrics {
            Some(0) => Some((i64::MAX, i64::MAX)),
            Some(kept) => {
                let sql = "SELECT measured_at, metric FROM metrics WHERE tenant = ? \
                    ORDER BY measured_at DESC, metric DESC LIMIT 1 OFFSET ?";
                let query = Query::new(sql).bind(tenant)?.bind(i64::from(kept) - 1)?;
                let row = query.first(&self.store.reader.pool).await?;
                row.map(|row| Ok::<_, StorageError>((row.try_get(0)?, row.try_get(1)?)))
                    .transpose()?
            }
            None => None,
        };
        Ok(by_age.max(by_count))
    }

    async fn metrics(&mut self, tenant: i64, below: MetricPlace) -> Result<()> {
        let sql =
            "SELECT count(*) FROM metrics WHERE tenant = ? AND (measured_at, metric) < (?, ?)";
        let query = Query::new(sql).bind(tenant)?.bind(below.0)?.bind(below.1)?;
        let row = query.first(&self.store.reader.pool).await?;
        let count: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
        self.pruned.count("metrics", count);
        if self.plan.validate_only {
            return Ok(());
        }
        self.pace.enter("metrics", count, Unit::Rows);
        let mut left = count;
        while left > 0 {
            let rows = left.min(METRIC_STEP);
            self.store.write(PruneMetrics { tenant: TenantNo(tenant), below, rows }).await?;
            left -= rows;
            self.tell(rows).await?;
        }
        Ok(())
    }

    async fn criteria(&self, tenant: i64) -> Result<SessionCriteria> {
        let now = self.store.now().await?;
        let before = |age: Option<_>| age.map(|age| now.before(age));
        let ended_below = match self.plan.keep_ended_sessions {
            Some(0) => Some(SessionNo(i64::MAX)),
            Some(kept) => self.oldest_kept(tenant, kept).await?,
            None => None,
        };
        Ok(SessionCriteria {
            ended_before: before(self.plan.ended_session_age),
            unchanged_before: before(self.plan.session_age),
            ended_below,
        })
    }

    /// The oldest of the newest ended sessions; none when there are not so many.
    async fn oldest_kept(&self, tenant: i64, kept: u32) -> Result<Option<SessionNo>> {
        let sql = "SELECT session FROM sessions WHERE tenant = ? AND status = ? \
            ORDER BY session DESC LIMIT 1 OFFSET ?";
        let row = Query::new(sql)
            .bind(tenant)?
            .bind(SessionStatus::Ended.number())?
            .bind(i64::from(kept) - 1)?
            .first(&self.store.reader.pool)
            .await?;
        row.map(|row| Ok(SessionNo(row.try_get(0)?))).transpose()
    }

    async fn sessions_of(
        &mut self,
        tenant: &Tenant,
        number: i64,
        criteria: &SessionCriteria,
    ) -> Result<()> {
        self.pace.enter("sessions", 0, Unit::Sessions);
        // Forks come before what they begin with.
        let mut before = i64::MAX;
        loop {
            let found = self.candidates(number, criteria, before).await?;
            let Some(last) = found.last() else { break };
            before = last.session.0;
            self.step((tenant, number), criteria, &found).await?;
            self.tell(found.len() as i64).await?;
        }
        Ok(())
    }

    /// Sessions that may go, newest first, of those older than `before`. What is held or has an open turn
    /// stays.
    async fn candidates(
        &self,
        tenant: i64,
        criteria: &SessionCriteria,
        before: i64,
    ) -> Result<Vec<Candidate>> {
        let never = Stamp::from_micros(i64::MIN);
        let ended = SessionStatus::Ended.number();
        let found = Query::new(
            "SELECT h.session, s.session_id FROM sessions s \
             CROSS JOIN heads h ON h.session = s.session \
             LEFT JOIN holders o ON o.holder_id = h.holder_id \
             WHERE s.tenant = ? AND s.session < ? AND h.turn_id IS NULL \
             AND (o.holder_id IS NULL OR o.voided <> 0 OR o.expires_at <= ?) \
             AND (h.updated_at < ? OR (s.status = ? AND (h.updated_at < ? OR s.session < ?))) \
             ORDER BY s.session DESC LIMIT ?",
        )
        .bind(tenant)?
        .bind(before)?
        .bind(self.store.now().await?.micros())?
        .bind(criteria.unchanged_before.unwrap_or(never).micros())?
        .bind(ended)?
        .bind(criteria.ended_before.unwrap_or(never).micros())?
        .bind(criteria.ended_below.map_or(0, |session| session.0))?
        .bind(STEP)?
        .all(&self.store.reader.pool)
        .await?;
        let candidate = |row: &crate::adapters::sql::row::Row| {
            let session_id = row.try_get::<String>(1)?.parse();
            let session_id = session_id.map_err(|_| damaged("session id"))?;
            Ok(Candidate { session: SessionNo(row.try_get(0)?), session_id })
        };
        found.iter().map(candidate).collect()
    }

    async fn step(
        &mut self,
        (tenant, number): (&Tenant, i64),
        criteria: &SessionCriteria,
        found: &[Candidate],
    ) -> Result<()> {
        let mut belongings = Vec::with_capacity(found.len());
        for candidate in found {
            let kept = self.kept(candidate.session).await?;
            let contents = self.contents_of(candidate.session, kept).await?;
            self.note(number, &contents).await?;
            let rows = self.rows_of(candidate.session, kept).await?;
            belongings.push(Belongings { rows, contents });
            self.gone.insert(candidate.session);
        }
        let deleted = if self.plan.validate_only {
            vec![true; found.len()]
        } else {
            self.delete(tenant, criteria, found).await?
        };
        for ((candidate, gone), deleted) in found.iter().zip(belongings).zip(deleted) {
            if !deleted {
                self.gone.remove(&candidate.session);
                continue;
            }
            gone.rows.iter().for_each(|(collection, rows)| self.pruned.count(collection, *rows));
            gone.contents.iter().for_each(|content| self.release(*content));
        }
        Ok(())
    }

    fn release(&mut self, content: Referred) {
        self.contents.entry(content).and_modify(|content| content.released += 1);
    }

    /// Deletes the sessions, unless somebody has taken them up meanwhile, and clears away their rows.
    async fn delete(
        &self,
        tenant: &Tenant,
        criteria: &SessionCriteria,
        found: &[Candidate],
    ) -> Result<Vec<bool>> {
        let writes = found.iter().map(|candidate| {
            self.store.write(PruneSession {
                tenant: tenant.clone(),
                session_id: candidate.session_id.clone(),
                criteria: criteria.clone(),
            })
        });
        let deleted: Result<Vec<bool>> = join_all(writes).await.into_iter().collect();
        let deleted = deleted?;
        self.store.clear_away().await?;
        Ok(deleted)
    }
}
