//! What the writer remembers of the committed database, so that a hot append reads nothing.
//!
//! The writer is the only one who writes, so what is here is what is stored. When a transaction fails,
//! all of it is forgotten and read anew.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use cortex_core::HolderId;

use super::{database::Connection, query::Query, rows, starts::Starts};
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
    pub(super) next_session: i64,
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
            next_session: next(conn, NEXT_SESSION).await?,
        })
    }

    /// The number of a tenant that has rows.
    pub(super) fn tenant(&self, tenant: &Tenant) -> Option<TenantNo> {
        self.tenants.get(tenant).map(|row| row.no)
    }
}

/// A number is used again only when nothing of the former session is left.
const NEXT_SESSION: &str = "SELECT coalesce(max(n.session), 0) FROM \
    (SELECT session FROM sessions UNION ALL SELECT session FROM purges) n";

async fn next(conn: &mut Connection, sql: &'static str) -> Result<i64> {
    let row = Query::new(sql).first_on(conn.target()).await?;
    Ok(row.map_or(Ok(0), |row| row.try_get::<i64>(0))? + 1)
}

async fn load_tenants(conn: &mut Connection) -> Result<HashMap<Tenant, TenantRow>> {
    let sql = "SELECT name, tenant, record_revision FROM tenants";
    let mut tenants = HashMap::new();
    for row in Query::new(sql).all_on(conn.target()).await? {
        let name: String = row.try_get(0)?;
        let tenant = TenantRow { no: TenantNo(row.try_get(1)?), revision: row.try_get(2)? };
        tenants.insert(Tenant::new(name), tenant);
    }
    Ok(tenants)
}

async fn load_holders(conn: &mut Connection) -> Result<Holders> {
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
        Self { new: HashMap::new(), old: HashMap::new(), size }
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.new.len() >= self.size {
            self.old = std::mem::take(&mut self.new);
        }
        self.old.remove(&key);
        self.new.insert(key, value);
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
