//! What the operations of a batch need to know, gathered before anything is read.

use std::sync::Arc;

use cortex_core::{ArtifactId, CallId, ExecutionId, HolderId, MessageId, SessionId};

use super::{
    cache::{Cache, SessionKey, TenantNo},
    housekeeping::PurgeRow,
    maps::{HashMap, HashSet},
};
use crate::{
    cache::CacheKey,
    journal::{Append, AppendKey, RequestKey, SessionNo},
    record::RecordKey,
    tenant::Tenant,
};

/// What is needed about one session, beside its head.
#[derive(Debug, Default)]
pub(super) struct SessionNeeds {
    pub(super) requests: Vec<RequestKey>,
    pub(super) calls: Vec<CallId>,
    pub(super) messages: Vec<MessageId>,
    pub(super) state: bool,
    pub(super) description: bool,
    pub(super) parts: bool,
}

/// What is needed about holders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HolderNeeds {
    /// Nothing.
    #[default]
    None,
    /// Their leases.
    Read,
    /// Their leases, to change one.
    Write,
}

/// What the operations of a batch need to know.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// Look up every request. Else an append of nothing but events is taken for new: all that could be
    /// different if it is not is its answer, and then the table of requests refuses the batch, which is
    /// done again with care. So the hot append reads nothing.
    pub(super) careful: bool,
    pub(super) sessions: HashMap<SessionKey, SessionNeeds>,
    pub(super) executions: HashSet<(TenantNo, ExecutionId)>,
    pub(super) holders: HolderNeeds,
    /// Sessions of these holders.
    pub(super) held: HashSet<HolderId>,
    /// Sessions that are created. Only a guess: numbers are reserved for so many.
    pub(super) new_sessions: usize,
    pub(super) names: HashSet<Arc<str>>,
    pub(super) creations: HashSet<(TenantNo, RequestKey)>,
    /// Numbers under which imports are staged.
    pub(super) staged: HashSet<SessionNo>,
    pub(super) records: HashSet<(TenantNo, RecordKey)>,
    pub(super) metric_requests: HashSet<(TenantNo, RequestKey)>,
    /// What the entries of these tenants' caches come to.
    pub(super) caches: HashSet<TenantNo>,
    pub(super) cached: HashSet<(TenantNo, CacheKey)>,
    /// So many entries that were not used for the longest time.
    pub(super) least_used: HashMap<TenantNo, i64>,
    /// What is to be cleared away: rows with pieces go while the batch is read, since only then it is
    /// known what they referred to.
    pub(super) purges: Vec<PurgeRow>,
    pub(super) artifacts: HashSet<(TenantNo, ArtifactId)>,
    /// Whether a work of administration needs bytes of artifacts that would be deleted.
    pub(super) deletes_bytes: bool,
}

impl Needs {
    /// The head of a session, and what the caller adds. A tenant without rows has no sessions.
    pub(super) fn session(
        &mut self,
        cache: &Cache,
        tenant: &Tenant,
        id: &SessionId,
    ) -> Option<(TenantNo, &mut SessionNeeds)> {
        let tenant = cache.tenant(tenant)?;
        let needs = self.sessions.entry((tenant, id.as_str().to_owned())).or_default();
        Some((tenant, needs))
    }

    /// The leases of holders.
    pub(super) fn holders(&mut self, needs: HolderNeeds) {
        self.holders = self.holders.max(needs);
    }

    /// The number of a type or type URL.
    pub(super) fn name(&mut self, name: &Arc<str>) {
        if !self.names.contains(name) {
            self.names.insert(Arc::clone(name));
        }
    }

    /// What an append needs.
    pub(super) fn append(&mut self, cache: &Cache, tenant: &Tenant, op: &Append) {
        let (effects, careful) = (&op.effects, self.careful);
        let Some((tenant, session)) = self.session(cache, tenant, &op.session_id) else { return };
        if let AppendKey::Request(id) = &op.key
            && (careful || !effects.is_empty())
        {
            session.requests.push(id.key(crate::journal::Method::Append));
        }
        session.state |= effects.state.is_some();
        session.calls.extend(effects.intents.iter().map(|intent| intent.call_id.clone()));
        session.messages.extend(effects.messages.iter().map(|new| new.message_id.clone()));
        session
            .messages
            .extend(effects.message_updates.iter().map(|update| update.message_id.clone()));
        session.messages.extend(effects.deleted_messages.iter().cloned());
        let settled = effects.settlements.iter().map(|settlement| &settlement.execution_id);
        let intended = effects.intents.iter().map(|intent| &intent.execution_id);
        let replaced = effects.intents.iter().filter_map(|intent| intent.replaces.as_ref());
        let rows = settled.chain(intended).chain(replaced);
        self.executions.extend(rows.map(|id| (tenant, id.clone())));
        for event in &op.events {
            self.name(&event.name);
            self.name(&event.payload.type_url);
        }
    }
}
