//! Creating, describing and deleting sessions.

use cortex_core::SessionId;

use super::{
    super::needs::{HolderNeeds, Needs},
    super::work::Work,
    Operation,
};
use crate::{
    adapters::sql::{
        cache::{Cache, OwnedHead, TenantNo},
        work::{Creation, HeadWrite, Purge, SessionRow},
    },
    error::{Result, StorageError},
    journal::{
        Delta, Fingerprint, HolderFacts, Mark, Method, ObjectText, RequestId, RequestKey, Sequence,
        SessionHead, SessionNo, StateDelta,
    },
    json,
    session::{NewSession, SessionPatch, SessionStatus},
    state::{State, StateChange},
    tenant::Tenant,
    time::Stamp,
};

/// Creates a session with an empty journal.
pub(in super::super) struct Create {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) new: NewSession,
    /// The id that it gets, if it is new.
    pub(in super::super) session_id: SessionId,
}

/// What came of it.
pub(in super::super) enum Created {
    /// It is there.
    New,
    /// The request was made before: the session of then, and where it was cut if it is a fork.
    Before { session_id: String, sequence: Sequence },
}

impl Operation for Create {
    type Answer = Created;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        needs.new_sessions += 1;
        if let (Some(tenant), Some(id)) = (cache.tenant(&self.tenant), &self.new.request_id) {
            needs.creations.insert((tenant, id.key(Method::CreateSession)));
        }
    }

    fn decide(&self, work: &mut Work) -> Result<Created> {
        let state = match &self.new.initial_state {
            Some(data) => {
                let change = StateChange::Replace(data.clone());
                Some(State::default().apply(&change, u64::MAX, work.now)?)
            }
            None => None,
        };
        let tenant = work.ensure_tenant(&self.tenant);
        let key = self.new.request_id.as_ref().map(|id| (tenant, id.key(Method::CreateSession)));
        if let (Some(id), Some(key)) = (&self.new.request_id, key)
            && let Some(before) = created_before(work, key, id, self.new.fingerprint)?
        {
            return Ok(before);
        }
        let session = work.cache.new_session();
        let mut head = SessionHead::new(session, self.session_id.to_string(), work.now);
        if let Some(state) = state {
            head.marks = 1;
            let mark = first_mark(&state, work.now);
            work.writes.marks.push((tenant, session, mark));
            work.read.states.insert(session, state);
            work.writes.states.insert(session);
        }
        insert(work, tenant, head, self.new.clone());
        if let Some((_, key)) = key {
            let fingerprint = self.new.fingerprint;
            work.note_creation(Creation { tenant, key, fingerprint, session, sequence: 0 });
        }
        Ok(Created::New)
    }

    fn size(&self) -> usize {
        self.new.metadata.len() + self.new.initial_state.as_ref().map_or(0, String::len)
    }
}

/// What the log keeps of the state that a session begins with.
fn first_mark(state: &State, now: Stamp) -> Mark {
    let replaced = StateDelta::Replace(ObjectText(state.data.clone()));
    let delta = Delta { state: Some(replaced), ..Delta::default() };
    Mark { number: 1, sequence: 0, last_command: 0, quiescent: true, at: now, delta }
}

/// The session that the same request created before.
pub(super) fn created_before(
    work: &Work,
    key: (TenantNo, RequestKey),
    id: &RequestId,
    fingerprint: Fingerprint,
) -> Result<Option<Created>> {
    let Some(creation) = work.read.creations.get(&key) else { return Ok(None) };
    if creation.fingerprint != fingerprint {
        return Err(StorageError::RequestIdReused { request_id: id.as_str().to_owned() });
    }
    let session_id = work.head(creation.session)?.session_id.clone();
    Ok(Some(Created::Before { session_id, sequence: creation.sequence }))
}

/// Puts a new session with its head into the batch.
pub(super) fn insert(work: &mut Work, tenant: TenantNo, head: SessionHead, new: NewSession) {
    let session = head.session;
    work.writes.sessions.push(SessionRow {
        tenant,
        session,
        session_id: head.session_id.clone(),
        new,
        created_at: work.now,
    });
    work.read.ids.insert((tenant, head.session_id.clone()), session);
    work.read.heads.insert(session, OwnedHead { tenant, head });
    work.writes.write_head(session, HeadWrite::Whole);
}

/// Changes what is attached to a session.
pub(in super::super) struct Patch {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) patch: SessionPatch,
}

impl Operation for Patch {
    type Answer = ();

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        if let Some((_, session)) = needs.session(cache, &self.tenant, &self.patch.session_id) {
            session.description = true;
        }
    }

    fn decide(&self, work: &mut Work) -> Result<()> {
        let (_, session) = work.session(&self.tenant, &self.patch.session_id)?;
        let now = work.now;
        let missing = || StorageError::internal("a description was not read");
        let description = work.read.descriptions.get(&session).ok_or_else(missing)?;
        let mut description = description.clone();
        if let Some(patch) = &self.patch.metadata {
            let merged = json::merge_shallow(&description.metadata, patch)
                .map_err(|error| StorageError::invalid("metadata", error.to_string()))?;
            let (bytes, limit) = (merged.len() as u64, self.patch.max_metadata);
            if bytes > limit {
                return Err(StorageError::TooLarge { field: "metadata", bytes, limit });
            }
            description.metadata = merged;
        }
        if let Some(digest) = &self.patch.manifest_digest {
            description.manifest_digest.clone_from(digest);
        }
        work.read.descriptions.insert(session, description);
        work.writes.descriptions.insert(session);
        if let Some(owned) = work.read.heads.get_mut(&session) {
            owned.head.updated_at = now;
            work.writes.write_head(session, HeadWrite::Moved);
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.patch.metadata.as_ref().map_or(0, String::len)
    }
}

/// Deletes a session. Nothing finds its rows from the commit on; the long ones go in steps later.
pub(in super::super) struct Delete {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) session_id: SessionId,
}

impl Operation for Delete {
    type Answer = ();

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        if let Some((_, session)) = needs.session(cache, &self.tenant, &self.session_id) {
            session.state = true;
        }
    }

    fn decide(&self, work: &mut Work) -> Result<()> {
        let (tenant, session) = work.session(&self.tenant, &self.session_id)?;
        delete(work, tenant, session, &self.session_id);
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}

fn delete(work: &mut Work, tenant: TenantNo, session: SessionNo, id: &SessionId) {
    work.read.ids.remove(&(tenant, id.as_str().to_owned()));
    work.read.heads.remove(&session);
    work.read.creations.retain(|_, created| created.session != session);
    work.cache.starts.forget(session);
    work.writes.deletions.push(session);
    work.writes.released.push(session);
    work.writes.purges.push(Purge { session, messages: None, staged: None });
}

/// Which sessions may go. Any of it is enough.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct SessionCriteria {
    /// Ended ones that last changed before this.
    pub(in super::super) ended_before: Option<Stamp>,
    /// Any that last changed before this.
    pub(in super::super) unchanged_before: Option<Stamp>,
    /// Ended ones that were created before this one.
    pub(in super::super) ended_below: Option<SessionNo>,
}

impl SessionCriteria {
    fn take(&self, head: &SessionHead) -> bool {
        let before = |limit: Option<Stamp>| limit.is_some_and(|limit| head.updated_at < limit);
        let below = self.ended_below.is_some_and(|limit| head.session < limit);
        let ended = head.status == SessionStatus::Ended;
        before(self.unchanged_before) || (ended && (before(self.ended_before) || below))
    }
}

/// Deletes a session that nobody uses any more, and says whether it did.
pub(in super::super) struct PruneSession {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) session_id: SessionId,
    pub(in super::super) criteria: SessionCriteria,
}

impl Operation for PruneSession {
    type Answer = bool;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        needs.session(cache, &self.tenant, &self.session_id);
        needs.holders(HolderNeeds::Read);
    }

    fn decide(&self, work: &mut Work) -> Result<bool> {
        let (tenant, session) = match work.session(&self.tenant, &self.session_id) {
            Err(StorageError::SessionNotFound { .. }) => return Ok(false),
            found => found?,
        };
        let head = work.head(session)?;
        let holders = &work.cache.holders;
        let held = head.holder.as_ref().is_some_and(|holder| holders.is_live(holder, work.now));
        if held || head.turn.is_some() || !self.criteria.take(head) {
            return Ok(false);
        }
        delete(work, tenant, session, &self.session_id);
        Ok(true)
    }

    fn size(&self) -> usize {
        0
    }
}
