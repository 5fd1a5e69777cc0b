//! Holders and their leases.

use cortex_core::HolderId;

use super::{
    super::needs::{HolderNeeds, Needs},
    super::work::Work,
    Operation,
};
use crate::{
    adapters::sql::{
        cache::{Cache, OwnedHead, OwnedHolder, TenantNo},
        work::HeadWrite,
    },
    error::{Result, StorageError},
    journal::{Holder, Lease, Registration},
    tenant::Tenant,
};

/// A new incarnation. The lease of the former one is void in the same transaction.
pub(in super::super) struct RegisterHolder {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) op: Registration,
}

impl Operation for RegisterHolder {
    type Answer = Lease;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        cache.tenant(&self.tenant);
        needs.holders(HolderNeeds::Write);
    }

    fn decide(&self, work: &mut Work) -> Result<Lease> {
        let id = &self.op.holder_id;
        if let Some(OwnedHolder { tenant, holder }) = work.cache.holders.0.get(id) {
            if holder.voided || work.cache.tenant(&self.tenant) != Some(*tenant) {
                return Err(StorageError::LeaseVoid { holder_id: id.to_string() });
            }
            if holder.instance != self.op.instance {
                return Err(StorageError::invalid("instance", "is not the one of this holder"));
            }
            return renew(work, &self.tenant, id);
        }
        let tenant = work.ensure_tenant(&self.tenant);
        let voids = self.void_former(work, tenant);
        let expires_at = work.now.after(self.op.duration);
        let holder = Holder {
            holder_id: id.clone(),
            instance: self.op.instance.clone(),
            duration: self.op.duration,
            expires_at,
            voided: false,
            voids: voids.clone(),
        };
        work.cache.holders.0.insert(id.clone(), OwnedHolder { tenant, holder });
        work.writes.holders.insert(id.clone());
        Ok(Lease { expires_at, voided: voids })
    }

    fn size(&self) -> usize {
        0
    }
}

impl RegisterHolder {
    fn void_former(&self, work: &mut Work, tenant: TenantNo) -> Option<HolderId> {
        let mut former = None;
        for (id, OwnedHolder { tenant: of, holder }) in &mut work.cache.holders.0 {
            if *of == tenant && holder.instance == self.op.instance && !holder.voided {
                holder.voided = true;
                work.writes.holders.insert(id.clone());
                former = Some(id.clone());
            }
        }
        former
    }
}

/// Renews a lease.
pub(in super::super) struct RenewHolder {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) holder_id: HolderId,
}

impl Operation for RenewHolder {
    type Answer = Lease;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        cache.tenant(&self.tenant);
        needs.holders(HolderNeeds::Write);
    }

    fn decide(&self, work: &mut Work) -> Result<Lease> {
        renew(work, &self.tenant, &self.holder_id)
    }

    fn size(&self) -> usize {
        0
    }
}

/// Renews the lease of a holder that the tenant registered.
fn renew(work: &mut Work, tenant: &Tenant, id: &HolderId) -> Result<Lease> {
    let void = || StorageError::LeaseVoid { holder_id: id.to_string() };
    let tenant = work.cache.tenant(tenant).ok_or_else(void)?;
    let owned = work.cache.holders.0.get_mut(id);
    let owned =
        owned.filter(|owned| owned.tenant == tenant && !owned.holder.voided).ok_or_else(void)?;
    let holder = &mut owned.holder;
    holder.expires_at = work.now.after(holder.duration);
    work.writes.holders.insert(id.clone());
    Ok(Lease { expires_at: holder.expires_at, voided: holder.voids.clone() })
}

/// Ends an incarnation: nobody holds its sessions.
pub(in super::super) struct RetireHolder {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) holder_id: HolderId,
}

impl Operation for RetireHolder {
    type Answer = u64;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        if cache.tenant(&self.tenant).is_some() {
            needs.holders(HolderNeeds::Write);
            needs.held.insert(self.holder_id.clone());
        }
    }

    fn decide(&self, work: &mut Work) -> Result<u64> {
        let tenant = work.cache.tenant(&self.tenant);
        let owned = work.cache.holders.0.get_mut(&self.holder_id);
        let Some(owned) = owned.filter(|owned| Some(owned.tenant) == tenant) else { return Ok(0) };
        owned.holder.voided = true;
        work.writes.holders.insert(self.holder_id.clone());
        let mut released = 0;
        for (session, OwnedHead { head, .. }) in &mut work.read.heads {
            if head.holder.as_ref() == Some(&self.holder_id) {
                head.holder = None;
                head.updated_at = work.now;
                head.refresh_readiness(work.now);
                work.writes.write_head(*session, HeadWrite::Whole);
                released += 1;
            }
        }
        Ok(released)
    }

    fn size(&self) -> usize {
        0
    }
}
