//! What is told about a batch once it is committed.

use std::{collections::HashMap, sync::Arc};

use super::{Hubs, standing};
use crate::{
    adapters::sql::{cache::OwnedHead, work::Work},
    config::Buffers,
    journal::{Entry, HolderFacts, SessionNo},
    ports::{Runnable, Standing},
    tenant::Tenant,
    watch::Notice,
};

/// What followers and other replicas are told about a batch.
pub(super) struct News {
    commits: Vec<(SessionNo, Standing, Vec<Entry>)>,
    deletions: Vec<SessionNo>,
    revisions: Vec<(Tenant, i64)>,
    runnable: Vec<(SessionNo, Runnable)>,
}

impl News {
    /// Of a batch that was decided and whose script is written; takes its entries.
    pub(super) fn of(work: &mut Work) -> Self {
        let runnable = runnable(work);
        let Work { cache, read, writes, .. } = work;
        let commits = writes.heads.keys().filter_map(|session| {
            let OwnedHead { head, .. } = read.heads.get(session)?;
            let entries =
                writes.entries.get_mut(session).map(|(_, entries)| std::mem::take(entries));
            Some((*session, standing(head), entries.unwrap_or_default()))
        });
        let commits = commits.collect();
        let revisions = writes.revisions.iter().filter_map(|tenant| {
            let row = cache.tenants.get(tenant)?;
            Some((tenant.clone(), row.revision))
        });
        let revisions = revisions.collect();
        Self { commits, deletions: writes.deletions.clone(), revisions, runnable }
    }

    /// The sessions whose logs went on.
    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionNo> {
        self.commits.iter().map(|(session, ..)| *session)
    }

    /// Tells it, now that the batch is committed.
    pub(super) fn publish(self, hubs: &Hubs, buffers: &Buffers) {
        if let Some(others) = &hubs.others {
            let sessions = self.sessions().chain(self.deletions.iter().copied());
            let ready = self.runnable.iter().map(|(session, _)| *session);
            others.tell(sessions, ready, self.revisions.iter().map(|(tenant, _)| tenant));
        }
        for (session, standing, entries) in self.commits {
            let most = buffers.watch_commit.as_usize();
            hubs.sessions.publish(session, || Notice::Commit(standing, pushed(entries, most)));
        }
        for session in self.deletions {
            hubs.sessions.publish(session, || Notice::Deleted);
        }
        for (tenant, revision) in self.revisions {
            hubs.revisions.publish(&tenant, revision);
        }
        for (_, hint) in self.runnable {
            hubs.runnable.publish(hint);
        }
    }
}

/// The entries, if they have at most so many bytes.
fn pushed(entries: Vec<Entry>, most: usize) -> Option<Arc<[Entry]>> {
    let bytes: usize = entries.iter().map(Entry::size).sum();
    (bytes <= most).then(|| entries.into())
}

/// The sessions of a batch that somebody should take. Of holders that the batch did not ask for only
/// what is remembered is known: hints may be wrong.
fn runnable(work: &Work) -> Vec<(SessionNo, Runnable)> {
    let heads = work.writes.heads.keys().filter_map(|session| work.read.heads.get(session));
    let ready = heads.filter(|OwnedHead { head, .. }| {
        let is_live = |holder| work.cache.holders.is_live(holder, work.now);
        head.ready_at.is_some_and(|at| at <= work.now) && !head.holder.as_ref().is_some_and(is_live)
    });
    let ready: Vec<_> = ready.collect();
    if ready.is_empty() {
        return Vec::new();
    }
    let names: HashMap<_, &Tenant> =
        work.cache.tenants.iter().map(|(tenant, row)| (row.no, tenant)).collect();
    let hints = ready.into_iter().filter_map(|OwnedHead { tenant, head }| {
        let tenant = (*names.get(tenant)?).clone();
        let (session_id, epoch) = (head.session_id.clone(), head.epoch);
        Some((head.session, Runnable { tenant, session_id, epoch }))
    });
    hints.collect()
}
