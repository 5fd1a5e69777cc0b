//! What the writer remembers of the committed database, so that a hot append reads nothing.
//!
//! SQLite's writer is the only one who writes, so what is here is what is stored. When a transaction
//! fails, all of it is forgotten and read anew.
//!
//! A database that others write too is another matter: there only what never changes is remembered,
//! the numbers of tenants, names and sessions. Everything else is read in each batch under locks, and
//! new numbers come from the database.

use std::{
    collections::{BTreeSet, VecDeque},
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use cortex_core::HolderId;

use super::{database::Connection, maps::HashMap, query::Query, rows, starts::Starts};
use crate::{
    error::Result,
    journal::{Holder, HolderFacts, SessionHead, SessionNo},
    tenant::Tenant,
    time::Stamp,
};

/// The number of a tenant inside one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TenantNo(pub(super) i64);

/// A session as requests name it.
pub(super) type SessionKey = (TenantNo, String);

/// A head with its tenant.
#[derive(Debug, Clone)]
pub(super) struct OwnedHead {
    pub(super) tenant: TenantNo,
    pub(super) head: SessionHead,
}

/// A tenant as stored.
#[derive(Debug, Clone)]
pub(super) struct TenantRow {
    pub(super) no: TenantNo,
    pub(super) revision: i64,
}

/// Types and type URLs that are remembered, at most twice.
const NAMES: usize = 4096;

/// What the writer remembers.
pub(super) struct Cache {
    pub(super) tenants: HashMap<Tenant, TenantRow>,
    pub(super) holders: Holders,
    pub(super) names: Recent<Arc<str>, i64>,
    pub(super) ids: Recent<SessionKey, SessionNo>,
    pub(super) heads: Recent<SessionNo, OwnedHead>,
    pub(super) starts: Starts,
    pub(super) next_name: i64,
    next_session: i64,
    /// Of a database that others write too.
    shared: Option<Shared>,
}

/// New numbers of a database that others write too: what was reserved, and what is wanted beyond.
#[derive(Debug, Default)]
struct Shared {
    tenants: HashMap<Tenant, TenantNo>,
    sessions: VecDeque<SessionNo>,
    wanted: Mutex<Wanted>,
}

/// Numbers that a batch needs and that are not reserved for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Of tenants that are not known.
    pub(super) tenants: BTreeSet<Tenant>,
    /// Of new sessions: how many.
    pub(super) sessions: usize,
}

impl Shared {
    fn wanted(&self) -> std::sync::MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    /// Reads what is always remembered; heads and names follow as they are needed.
    pub(super) async fn load(conn: &mut Connection, heads: usize) -> Result<Self> {
        Ok(Self {
            tenants: load_tenants(conn).await?,
            holders: load_holders(conn).await?,
            names: Recent::new(NAMES),
            ids: Recent::new(heads),
            heads: Recent::new(heads),
            starts: Starts::new(heads),
            next_name: next(conn, "SELECT coalesce(max(name_no), 0) FROM names").await?,
            next_session: next(conn, LAST_SESSION).await?,
            shared: conn.is_shared().then(Shared::default),
        })
    }

    /// Whether others write the database too.
    pub(super) fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// The number of a tenant that has rows.
    pub(super) fn tenant(&self, tenant: &Tenant) -> Option<TenantNo> {
        let known = self.tenants.get(tenant).map(|row| row.no);
        if let (None, Some(shared)) = (known, &self.shared)
            && !shared.tenants.contains_key(tenant)
        {
            shared.wanted().tenants.insert(tenant.clone());
        }
        known
    }

    /// The number of a tenant that gets its first row.
    pub(super) fn new_tenant(&mut self, tenant: &Tenant) -> TenantNo {
        let last = self.tenants.values().map(|row| row.no.0).max().unwrap_or(0);
        let reserved = self.shared.as_mut().and_then(|shared| shared.tenants.remove(tenant));
        let no = reserved.unwrap_or(TenantNo(last + 1));
        self.tenants.insert(tenant.clone(), TenantRow { no, revision: 0 });
        no
    }

    /// The number of a new session.
    pub(super) fn new_session(&mut self) -> SessionNo {
        if let Some(shared) = &mut self.shared {
            if let Some(reserved) = shared.sessions.pop_front() {
                return reserved;
            }
            shared.wanted().sessions += 1;
        }
        self.next_session += 1;
        SessionNo(self.next_session - 1)
    }

    /// Begins a batch: what was reserved for the one before is no use to this one. Of a tenant that was
    /// new then somebody else may have written rows since.
    pub(super) fn begin_batch(&mut self) {
        if let Some(shared) = &mut self.shared {
            *shared = Shared::default();
        }
    }

    /// Numbers that the batch needs and that were not reserved. With any of them what was decided
    /// does not hold: the batch has to be done again.
    pub(super) fn wanted(&self) -> Wanted {
        self.shared.as_ref().map_or_else(Wanted::default, |shared| shared.wanted().clone())
    }

    /// Has numbers for `wanted` from now on, and wants nothing.
    pub(super) async fn reserve(&mut self, conn: &mut Connection, wanted: &Wanted) -> Result<()> {
        let Some(shared) = &mut self.shared else { return Ok(()) };
        *shared.wanted() = Wanted::default();
        for tenant in &wanted.tenants {
            let sql = "SELECT tenant, record_revision FROM tenants WHERE name = ?";
            if let Some(row) = Query::new(sql).tenant(tenant)?.first_on(conn.target()).await? {
                let row = TenantRow { no: TenantNo(row.try_get(0)?), revision: row.try_get(1)? };
                self.tenants.insert(tenant.clone(), row);
            } else {
                let numbers = reserve(conn, "tenants", "tenant", 1).await?;
                shared.tenants.extend(numbers.first().map(|no| (tenant.clone(), TenantNo(*no))));
            }
        }
        let missing = wanted.sessions.saturating_sub(shared.sessions.len());
        if missing > 0 {
            let numbers = reserve(conn, "sessions", "session", missing).await?;
            shared.sessions.extend(numbers.into_iter().map(SessionNo));
        }
        Ok(())
    }
}

/// Numbers that nobody else gets.
async fn reserve(
    conn: &mut Connection,
    table: &str,
    column: &str,
    count: usize,
) -> Result<Vec<i64>> {
    let rows =
        Query::new("SELECT nextval(pg_get_serial_sequence(?, ?)) FROM generate_series(1, ?)")
            .bind(table)?
            .bind(column)?
            .bind(i64::try_from(count).unwrap_or(i64::MAX))?
            .all_on(conn.target())
            .await?;
    let mut numbers = Vec::with_capacity(rows.len());
    for row in &rows {
        numbers.push(row.try_get(0)?);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A number is used again only when nothing of the former session is left.
pub(super) const LAST_SESSION: &str = "SELECT coalesce(max(n.session), 0) FROM \
    (SELECT max(session) AS session FROM sessions UNION ALL SELECT max(session) FROM purges \
    UNION ALL SELECT max(owner) FROM parts) n";

async fn next(conn: &mut Connection, sql: &'static str) -> Result<i64> {
    let row = Query::new(sql).first_on(conn.target()).await?;
    Ok(row.map_or(Ok(0), |row| row.try_get::<i64>(0))? + 1)
}

async fn load_tenants(conn: &mut Connection) -> Result<HashMap<Tenant, TenantRow>> {
    let sql = "SELECT name, tenant, record_revision FROM tenants";
    let mut tenants = HashMap::default();
    for row in Query::new(sql).all_on(conn.target()).await? {
        let name: String = row.try_get(0)?;
        let tenant = TenantRow { no: TenantNo(row.try_get(1)?), revision: row.try_get(2)? };
        tenants.insert(Tenant::new(name), tenant);
    }
    Ok(tenants)
}

/// Every holder that is remembered.
pub(super) async fn load_holders(conn: &mut Connection) -> Result<Holders> {
    let sql =
        "SELECT tenant, holder_id, instance, duration, expires_at, voided, voids FROM holders";
    let mut holders = Holders::default();
    for row in Query::new(sql).all_on(conn.target()).await? {
        let owned = OwnedHolder { tenant: TenantNo(row.try_get(0)?), holder: rows::holder(&row)? };
        holders.0.insert(owned.holder.holder_id.clone(), owned);
    }
    Ok(holders)
}

/// A holder with the tenant that registered it.
#[derive(Debug, Clone)]
pub(super) struct OwnedHolder {
    pub(super) tenant: TenantNo,
    pub(super) holder: Holder,
}

/// Every holder whose lease is remembered. A holder may hold sessions of any tenant.
#[derive(Debug, Default)]
pub(super) struct Holders(pub(super) HashMap<HolderId, OwnedHolder>);

impl HolderFacts for Holders {
    fn is_valid(&self, holder: &HolderId) -> bool {
        self.0.get(holder).is_some_and(|owned| !owned.holder.voided)
    }

    fn is_live(&self, holder: &HolderId, now: Stamp) -> bool {
        self.0.get(holder).is_some_and(|owned| owned.holder.is_live(now))
    }
}

/// A map that forgets what was not used lately: it keeps between `size` and twice as many.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    new: HashMap<K, V>,
    old: HashMap<K, V>,
    size: usize,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    pub(super) fn new(size: usize) -> Self {
        Self { new: HashMap::default(), old: HashMap::default(), size }
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.new.len() >= self.size {
            self.old = std::mem::take(&mut self.new);
        }
        self.old.remove(&key);
        self.new.insert(key, value);
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.new.get(key).or_else(|| self.old.get(key))
    }

    /// Takes the value out; the caller puts it back to keep it.
    pub(super) fn take(&mut self, key: &K) -> Option<V> {
        self.new.remove(key).or_else(|| self.old.remove(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_lately_is_forgotten() {
        let mut recent = Recent::new(2);
        for key in 0..2 {
            recent.insert(key, key);
        }
        assert_eq!(recent.take(&0), Some(0));
        recent.insert(0, 0);
        for key in 10..14 {
            recent.insert(key, key);
        }
        assert_eq!(recent.take(&1), None);
        assert_eq!(recent.take(&13), Some(13));
        assert!(recent.new.len() + recent.old.len() <= 4);
    }
}
