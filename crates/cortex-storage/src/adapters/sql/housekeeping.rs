//! What goes away by itself: expired records and cache entries, the rows of deleted sessions, old
//! tombstones and requests. Times of use of the cache are written beside it.

use std::{sync::Weak, time::Duration};

use cortex_core::SessionId;
use tokio_util::sync::CancellationToken;

use super::{
    cache::Cache,
    database::{Connection, Location},
    needs::{HolderNeeds, Needs},
    ops::{ForgetMetricRequests, Operation, OwnLog, RemoveExpired},
    query::Query,
    read::OldRequests,
    store::SqlStore,
    work::Work,
};
use crate::{
    config::StorageConfig,
    error::{Result, StorageError},
    journal::{Entry, Mark, RequestKey, SessionNo},
    tenant::Tenant,
    time::Stamp,
};

/// How long a holder is remembered after its lease was over. One that comes back later is told that its
/// lease is void.
const HOLDER_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many steps pass between two looks for holders to forget.
const HOLDER_STEPS: u32 = 600;
/// Rows that one step clears away, so that no other write waits long for it.
pub(super) const STEP_ROWS: i64 = 2_000;

/// Works every `housekeeping_interval` until the store is gone.
pub(super) async fn run(
    store: Weak<SqlStore>,
    location: Location,
    config: StorageConfig,
    stop: CancellationToken,
) {
    let mut turn = Turn { location, conn: None, mine: false };
    let interval = config.housekeeping_interval.get();
    let retention = Retention {
        tombstones: config.tombstone_retention.get(),
        metric_requests: config.metric_request_retention.get(),
    };
    let mut step = 0_u32;
    let mut sweep = None;
    while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
        let Some(store) = store.upgrade() else { return };
        let kept = match turn.is_mine().await {
            Ok(true) => {
                let kept = store.keep_house(retention, step.is_multiple_of(HOLDER_STEPS)).await;
                kept.and(store.keep_logs(&config, &mut sweep).await)
            }
            Ok(false) => store.write_uses().await,
            Err(error) => Err(error),
        };
        step = step.wrapping_add(1);
        if let Err(error) = kept
            && !matches!(error, StorageError::Maintenance { .. })
        {
            tracing::warn!(%error, "housekeeping failed, and is tried again");
        }
    }
}

/// How long things are remembered after they are over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    pub(super) tombstones: Duration,
    pub(super) metric_requests: Duration,
}

/// Whose turn it is to keep house. Of several replicas it is that of one, as long as its connection
/// lives.
struct Turn {
    location: Location,
    conn: Option<Connection>,
    mine: bool,
}

impl Turn {
    async fn is_mine(&mut self) -> Result<bool> {
        if !self.location.is_shared() {
            return Ok(true);
        }
        let asked = self.ask().await;
        self.mine = *asked.as_ref().unwrap_or(&false);
        if asked.is_err() {
            self.conn = None;
        }
        asked
    }

    async fn ask(&mut self) -> Result<bool> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => {
                self.mine = false;
                self.location.writer().await?
            }
        };
        let conn = self.conn.insert(conn);
        let sql = if self.mine { "SELECT 1" } else { LOCK };
        let row = Query::new(sql).first_on(conn.target()).await?;
        Ok(row.map_or(Ok(false), |row| row.try_get(0))?)
    }
}

/// Ends with the connection.
const LOCK: &str = "SELECT pg_try_advisory_lock(7021952003)::int";

impl SqlStore {
    /// Forgets holders that are long gone.
    pub(super) async fn forget_holders(&self) -> Result<()> {
        let before = self.now().await?.before(HOLDER_RETENTION);
        self.write(ForgetHolders { before }).await
    }

    /// Clears away what is over, in steps between other writes.
    pub(super) async fn keep_house(&self, retention: Retention, holders: bool) -> Result<()> {
        if holders {
            self.forget_holders().await?;
        }
        let now = self.now().await?;
        let keys = self.reader.expired_records(now).await?;
        if !keys.is_empty() {
            self.write(RemoveExpired { keys }).await?;
        }
        self.write_uses().await?;
        self.remove_expired_cached(None).await?;
        let before = now.before(retention.metric_requests);
        if self.reader.has_metric_requests(before).await? {
            self.write(ForgetMetricRequests { before }).await?;
        }
        let before = now.before(retention.tombstones);
        if self.reader.has_tombstones(before).await? {
            self.write(ForgetTombstones { before }).await?;
        }
        self.clear_away().await
    }

    /// Clears away all that is on the list.
    pub(super) async fn clear_away(&self) -> Result<()> {
        let now = self.now().await?;
        while let Some(purge) = self.reader.next_purge(now).await? {
            self.write(PurgeStep { purge }).await?;
        }
        Ok(())
    }

    /// Copies what forks share if it has too many parts, and forgets old requests.
    async fn keep_logs(&self, config: &StorageConfig, sweep: &mut Option<Sweep>) -> Result<()> {
        self.own_logs(config.limits.log_parts).await?;
        let now = self.now().await?;
        self.forget_requests(sweep.get_or_insert_with(|| Sweep::new(now, config)), now).await
    }

    /// Gives forks whose logs have more than `most` parts rows of their own.
    async fn own_logs(&self, most: usize) -> Result<()> {
        while let Some((tenant, session_id, standing)) = self.reader.parted(most).await? {
            let rest = self.reader.shared_rest(standing).await?;
            self.own(&tenant, &session_id, rest).await?;
        }
        Ok(())
    }

    /// Copies what comes next into rows of the fork's own; nothing: lets go of what it shared.
    pub(super) async fn own(
        &self,
        tenant: &Tenant,
        session_id: &SessionId,
        (entries, marks): (Vec<Entry>, Vec<Mark>),
    ) -> Result<()> {
        let (tenant, session_id) = (tenant.clone(), session_id.clone());
        self.write(OwnLog { tenant, session_id, entries, marks }).await
    }

    /// Looks at the next requests of a sweep, and forgets those that are old.
    async fn forget_requests(&self, sweep: &mut Sweep, now: Stamp) -> Result<()> {
        if now < sweep.next {
            return Ok(());
        }
        let before = now.before(sweep.retention);
        let looked = self.reader.old_requests(sweep.place, before, SWEEP_ROWS).await?;
        let Some((session, key, old)) = looked else {
            *sweep = Sweep { place: START, next: now.after(SWEEP_INTERVAL), ..*sweep };
            return Ok(());
        };
        if !old.is_empty() {
            self.write(ForgetRequests { requests: old }).await?;
        }
        sweep.place = (session, key);
        Ok(())
    }
}

/// How long storage is open before it forgets a request, so that everybody who still repeats one has come
/// through; and the time between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);
/// Requests that one step of a sweep looks at.
const SWEEP_ROWS: i64 = 2_000;
/// Before every request.
const START: (SessionNo, RequestKey) = (SessionNo(i64::MIN), RequestKey([0; 16]));

/// A walk through all requests. There is no index by age, since every append would pay for it.
#[derive(Debug, Clone, Copy)]
struct Sweep {
    /// The request that was looked at last.
    place: (SessionNo, RequestKey),
    /// When to go on.
    next: Stamp,
    retention: Duration,
}

impl Sweep {
    fn new(now: Stamp, config: &StorageConfig) -> Self {
        let (next, retention) = (now.after(SWEEP_INTERVAL), config.request_retention.get());
        Self { place: START, next, retention }
    }
}

/// Forgets requests. A repeated one would be a new one from then on.
struct ForgetRequests {
    requests: OldRequests,
}

impl Operation for ForgetRequests {
    type Answer = ();

    fn needs(&self, _: &Cache, _: &mut Needs) {}

    fn decide(&self, work: &mut Work) -> Result<()> {
        work.writes.forgotten_requests.extend_from_slice(&self.requests);
        Ok(())
    }

    fn size(&self) -> usize {
        self.requests.len() * size_of::<(SessionNo, RequestKey)>()
    }
}

/// One entry of the list of what is to be cleared away.
#[derive(Debug, Clone, Copy)]
pub(super) struct PurgeRow {
    pub(super) purge: i64,
    pub(super) session: i64,
    /// Messages up to this position; absent: everything.
    pub(super) messages: Option<i64>,
    /// It was staged by an import that brought nothing for too long.
    pub(super) staged: bool,
}

/// Clears away some rows, and takes the entry off the list when nothing is left.
struct PurgeStep {
    purge: PurgeRow,
}

impl Operation for PurgeStep {
    type Answer = ();

    fn needs(&self, _: &Cache, needs: &mut Needs) {
        if self.purge.staged {
            needs.staged.insert(SessionNo(self.purge.session));
        } else {
            needs.purges.push(self.purge);
        }
    }

    /// Of what was staged and given up nothing goes before nobody can go on with it.
    fn decide(&self, work: &mut Work) -> Result<()> {
        if !self.purge.staged {
            work.writes.purge_steps.push(self.purge);
            return Ok(());
        }
        let session = SessionNo(self.purge.session);
        if work.read.staged.get(&session).is_some_and(|until| *until <= work.now) {
            work.lease(session, None);
        }
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}

/// Forgets holders whose leases were over before a time. A holder that is not known is a void one, so
/// sessions that still name it are free.
struct ForgetHolders {
    before: Stamp,
}

impl Operation for ForgetHolders {
    type Answer = ();

    fn needs(&self, _: &Cache, needs: &mut Needs) {
        needs.holders(HolderNeeds::Write);
    }

    fn decide(&self, work: &mut Work) -> Result<()> {
        let over =
            work.cache.holders.0.extract_if(|_, owned| owned.holder.expires_at < self.before);
        work.writes.forgotten_holders.extend(over.map(|(id, _)| id));
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}

/// Forgets deletions of records from before a time.
struct ForgetTombstones {
    before: Stamp,
}

impl Operation for ForgetTombstones {
    type Answer = ();

    fn needs(&self, _: &Cache, _: &mut Needs) {}

    fn decide(&self, work: &mut Work) -> Result<()> {
        work.writes.forget_tombstones = Some(self.before);
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}
