//! Deleting what is older, or more, than it should be, in steps between other writes.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use cortex_core::SessionId;
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::{
    catalogue::{Of, SqlTable, TABLES, read_schema},
    hold::Lock,
    stats::space,
};
use crate::{
    adapters::sql::{
        cache::TenantNo,
        database::Connection,
        error::damaged,
        ops::{MetricPlace, PruneMetrics, PruneSession, RemoveArtifact, SessionCriteria},
        query::Query,
        rows::{self, LAST_POSITION, clustered},
        store::SqlStore,
    },
    admin::{Outlet, Pace, PruneEvent, PrunePlan, Pruned, Unit},
    content::Pieces,
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
/// How long compacting waits for transactions that may still see what was deleted. What they keep after
/// that is not given back.
const OLDER: Duration = Duration::from_secs(30);
const OLDER_POLL: Duration = Duration::from_millis(50);
/// What is said meanwhile.
const WAITING: &str = "waiting for older transactions";
/// How long compacting waits for writes of other replicas that are under way.
const HOLD: Duration = Duration::from_secs(5);

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

/// Positions up to which entries and marks of a session stay, since forks begin with them.
#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    entries: i64,
    marks: i64,
}

/// What is stored once and referred to: a payload, or an artifact's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Referred {
    Payload([u8; 32]),
    Artifact([u8; 32]),
}

impl Referred {
    /// How often it is referred to, and how many bytes it has.
    fn query(self, tenant: i64) -> Result<Query> {
        let (sql, hash) = match self {
            Self::Payload(hash) => {
                ("SELECT refs, length(bytes) FROM contents WHERE tenant = ? AND hash = ?", hash)
            }
            Self::Artifact(hash) => (
                "SELECT b.uses, max(a.size) FROM artifact_bytes b CROSS JOIN artifacts a \
                 ON a.tenant = b.tenant AND a.digest = b.digest \
                 WHERE b.tenant = ? AND b.digest = ? GROUP BY b.uses",
                hash,
            ),
        };
        Query::new(sql).bind(tenant)?.bind(hash.to_vec())
    }
}

/// A content that is referred to less.
#[derive(Debug, Clone, Copy)]
struct Released {
    bytes: i64,
    /// References that were there before.
    refs: i64,
    /// Those of them that go.
    released: i64,
}

/// What goes with a session.
struct Belongings {
    rows: Vec<(&'static str, i64)>,
    /// What its rows refer to, as often as they do.
    contents: Vec<Referred>,
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

    /// What stays of the log of a session for forks that stay.
    async fn kept(&self, session: SessionNo) -> Result<Kept> {
        let sql = "SELECT session, last, last_mark FROM parts WHERE owner = ?";
        let parts = Query::new(sql).bind(session.0)?.all(&self.store.reader.pool).await?;
        let mut kept = Kept::default();
        for part in &parts {
            if !self.gone.contains(&SessionNo(part.try_get(0)?)) {
                kept.entries = kept.entries.max(part.try_get(1)?);
                kept.marks = kept.marks.max(part.try_get(2)?);
            }
        }
        Ok(kept)
    }

    /// What the rows of a session refer to, as often as they do.
    async fn contents_of(&self, session: SessionNo, kept: Kept) -> Result<Vec<Referred>> {
        let mut contents = Vec::new();
        for table in self.tables.iter().filter(|table| table.column("pieces").is_some()) {
            let of = format!("SELECT pieces FROM {}", table.table.name);
            let Some(query) = of_session(&of, table.table.of, session)? else { continue };
            let query = without_kept(query, table.table.name, session, kept)?;
            let query = query.push(" AND pieces IS NOT NULL");
            for row in query.all(&self.store.reader.pool).await? {
                let pieces = Pieces::decode(row.try_get(0)?).ok_or_else(|| damaged("cut"))?;
                contents.extend(pieces.hashes().map(|hash| Referred::Payload(hash.0)));
            }
        }
        let mut query =
            Query::new("SELECT digest FROM artifacts WHERE digest IS NOT NULL AND session = ?")
                .bind(session.0)?;
        if let Some(before) = self.artifacts_before {
            query = query.push(" AND created_at >= ?").bind(before.micros())?;
        }
        for row in query.all(&self.store.reader.pool).await? {
            contents.push(Referred::Artifact(*rows::digest(&row, 0)?.as_bytes()));
        }
        Ok(contents)
    }

    /// Notes how large contents are and how often they are referred to, as long as they are there.
    async fn note(&mut self, tenant: i64, contents: &[Referred]) -> Result<()> {
        let unknown: HashSet<_> =
            contents.iter().filter(|hash| !self.contents.contains_key(*hash)).copied().collect();
        for content in unknown {
            let found = content.query(tenant)?.first(&self.store.reader.pool).await?;
            if let Some(row) = found {
                let (refs, bytes) = (row.try_get(0)?, row.try_get(1)?);
                self.contents.insert(content, Released { bytes, refs, released: 0 });
            }
        }
        Ok(())
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

    /// How many rows a session has in each collection.
    async fn rows_of(&self, session: SessionNo, kept: Kept) -> Result<Vec<(&'static str, i64)>> {
        let mut counts = Vec::new();
        for table in TABLES {
            let Some(collection) = table.collection else { continue };
            let of = format!("SELECT count(*) FROM {}", table.name);
            let Some(mut query) = of_session(&of, table.of, session)? else { continue };
            query = without_kept(query, table.name, session, kept)?;
            if let Some(before) = self.artifacts_before.filter(|_| collection == "artifacts") {
                query = query.push(" AND created_at >= ?").bind(before.micros())?;
            }
            if let Some((at, metric)) = self.metrics_below.filter(|_| collection == "metrics") {
                query =
                    query.push(" AND (measured_at, metric) >= (?, ?)").bind(at)?.bind(metric)?;
            }
            let rows = query.first(&self.store.reader.pool).await?;
            counts.push((collection, rows.map_or(Ok(0), |row| row.try_get(0))?));
        }
        Ok(counts)
    }

    /// Gives unused space back. Other writes wait meanwhile.
    async fn compact(&mut self) -> Result<()> {
        let mut conn = self.store.location.worker().await?;
        let (before, free) = space(&mut conn).await?;
        if self.plan.validate_only {
            self.pruned.freed_database_bytes = free;
            return Ok(());
        }
        self.wait_for_older(&mut conn).await?;
        self.pace.enter("compacting", before, Unit::Bytes);
        self.tell(0).await?;
        let quiet = self.store.quiet().await?;
        // Writers of other replicas are told, rather than kept waiting for tables.
        let hold = self.store.location.hold(Lock::Writes, HOLD).await?;
        let compacted = vacuum(&mut conn).await;
        drop((hold, quiet));
        compacted.map_err(|error| match error {
            StorageError::Full => {
                let what = "a second copy of the database, which compacting makes".to_owned();
                StorageError::DiskFull { what }
            }
            other => other,
        })?;
        let (after, _) = space(&mut conn).await?;
        self.pruned.freed_database_bytes = (before - after).max(0);
        self.tell(before).await
    }

    /// PostgreSQL keeps deleted rows as long as a transaction may see them that began before, in
    /// whichever database of the server. Waits until those have ended, as long as [`OLDER`].
    async fn wait_for_older(&mut self, conn: &mut Connection) -> Result<()> {
        const NUMBER: &str = "SELECT pg_current_xact_id()::text::bigint";
        const ENDED: &str = "SELECT CASE WHEN \
            pg_snapshot_xmin(pg_current_snapshot())::text::bigint > ? THEN 1 ELSE 0 END";
        if matches!(conn, Connection::Sqlite(_)) {
            return Ok(());
        }
        self.pace.enter(WAITING, 0, Unit::Rows);
        let row = Query::new(NUMBER).first_on(conn.target()).await?;
        let number: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
        let until = Instant::now() + OLDER;
        while Instant::now() < until {
            let row = Query::new(ENDED).bind(number)?.first_on(conn.target()).await?;
            if row.map_or(Ok(false), |row| row.try_get(0))? {
                break;
            }
            self.tell(0).await?;
            sleep(OLDER_POLL).await;
        }
        Ok(())
    }
}

/// `select` of the rows of one session; none when rows of the table belong to no session.
fn of_session(select: &str, of: Of, session: SessionNo) -> Result<Option<Query>> {
    let query = match of {
        Of::Nothing => return Ok(None),
        Of::Session => Query::new(format!("{select} WHERE session = ?")).bind(session.0)?,
        Of::Execution => Query::new(format!(
            "{select} WHERE (tenant, execution_id) IN \
             (SELECT tenant, execution_id FROM executions WHERE session = ?)"
        ))
        .bind(session.0)?,
        Of::Clustered(key) => Query::new(format!("{select} WHERE {key} BETWEEN ? AND ?"))
            .bind(clustered(session, 0))?
            .bind(clustered(session, LAST_POSITION))?,
    };
    Ok(Some(query))
}

/// The same query without rows of a log that stay.
fn without_kept(query: Query, table: &str, session: SessionNo, kept: Kept) -> Result<Query> {
    match table {
        "entries" => query.push(" AND entry > ?").bind(clustered(session, kept.entries)),
        "marks" => query.push(" AND mark > ?").bind(clustered(session, kept.marks)),
        _ => Ok(query),
    }
}

async fn vacuum(conn: &mut Connection) -> Result<()> {
    let statements: Vec<String> = match conn {
        // The second one gives the bytes back now, unless somebody reads what is older.
        Connection::Sqlite(_) => {
            ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"].map(str::to_owned).to_vec()
        }
        Connection::Postgres(_) => {
            TABLES.iter().map(|table| format!("VACUUM (FULL, ANALYZE) {}", table.name)).collect()
        }
    };
    for sql in statements {
        Query::new(sql).unhurried(conn).await?;
    }
    Ok(())
}
