//! Forks, imports, and logs that become a session's own.

use cortex_core::SessionId;

use super::{
    super::needs::Needs,
    super::work::Work,
    Operation,
    session::{Created, created_before, insert},
};
use crate::{
    adapters::sql::{
        cache::{Cache, TenantNo},
        work::{Creation, HeadWrite, Purge},
    },
    error::{Result, StorageError},
    journal::{
        Entry, Fingerprint, Fork, Mark, Method, Projection, RequestId, RequestKey, SessionNo,
        forked_head, restored_head, shared_parts,
    },
    ports::FinishImport,
    session::NewSession,
    tenant::Tenant,
    time::Stamp,
};

/// Creates a session that shares the log of another one.
pub(in super::super) struct ForkSession {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) op: Fork,
    /// The id that it gets, if it is new.
    pub(in super::super) session_id: SessionId,
}

/// What the request of a fork is stored under: it is unique in the session that is forked.
pub(in super::super) fn fork_key(parent: &SessionId, id: &RequestId) -> RequestKey {
    id.key_within(Method::ForkJournal, parent.as_str())
}

impl Operation for ForkSession {
    type Answer = Created;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        let Some((tenant, session)) = needs.session(cache, &self.tenant, &self.op.parent) else {
            return;
        };
        session.parts = true;
        needs.new_sessions += 1;
        let key = self.op.request_id.as_ref().map(|id| fork_key(&self.op.parent, id));
        needs.creations.extend(key.map(|key| (tenant, key)));
    }

    fn decide(&self, work: &mut Work) -> Result<Created> {
        let (tenant, parent) = work.session(&self.tenant, &self.op.parent)?;
        let Fork { request_id, fingerprint, cut, .. } = &self.op;
        let key = request_id.as_ref().map(|id| (tenant, fork_key(&self.op.parent, id)));
        let before = known(work, key, request_id.as_ref(), *fingerprint)?;
        if let Some(before) = before {
            return Ok(before);
        }
        let own = work.read.parts.get(&parent).map_or(&[][..], Vec::as_slice);
        let parts = shared_parts(parent, own, *cut);
        let session = work.cache.new_session();
        let head = forked_head(session, self.session_id.to_string(), &self.op, work.now);
        let description = self.op.description.clone();
        let new = NewSession {
            agent_name: description.agent_name,
            user_id: description.user_id,
            metadata: description.metadata,
            initial_state: None,
            manifest_digest: description.manifest_digest,
            request_id: request_id.clone(),
            fingerprint: *fingerprint,
        };
        insert(work, tenant, head, new);
        work.writes.parts.insert(session, parts.clone());
        work.read.parts.insert(session, parts);
        project(work, tenant, session, &self.op.projection);
        if let Some((_, key)) = key {
            let (fingerprint, sequence) = (*fingerprint, cut.sequence);
            work.note_creation(Creation { tenant, key, fingerprint, session, sequence });
        }
        Ok(Created::New)
    }

    fn size(&self) -> usize {
        size_of(&self.op.projection)
    }
}

fn known(
    work: &Work,
    key: Option<(TenantNo, RequestKey)>,
    id: Option<&RequestId>,
    fingerprint: Fingerprint,
) -> Result<Option<Created>> {
    match (key, id) {
        (Some(key), Some(id)) => created_before(work, key, id, fingerprint),
        _ => Ok(None),
    }
}

/// Writes history and state of a new session.
fn project(work: &mut Work, tenant: TenantNo, session: SessionNo, projection: &Projection) {
    for (message, place) in &projection.messages {
        work.read.messages.insert((session, message.message_id.clone()), message.position);
        work.writes.messages.push((tenant, session, message.clone(), place.clone()));
    }
    if projection.state.version > 0 {
        work.read.states.insert(session, projection.state.clone());
        work.writes.states.insert(session);
    }
}

fn size_of(projection: &Projection) -> usize {
    let messages: usize =
        projection.messages.iter().map(|(m, _)| m.content.len() + m.metadata.len()).sum();
    messages + projection.state.data.len()
}

/// Reserves the number of a session to come.
pub(in super::super) struct BeginImport {
    pub(in super::super) lease: std::time::Duration,
}

impl Operation for BeginImport {
    type Answer = SessionNo;

    fn needs(&self, _: &Cache, needs: &mut Needs) {
        needs.new_sessions += 1;
    }

    fn decide(&self, work: &mut Work) -> Result<SessionNo> {
        let session = work.cache.new_session();
        let staged = Some(work.now.after(self.lease));
        work.writes.purges.push(Purge { session, messages: None, staged });
        Ok(session)
    }

    fn size(&self) -> usize {
        0
    }
}

/// Stages entries and marks of an import.
pub(in super::super) struct ExtendImport {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) session: SessionNo,
    pub(in super::super) entries: Vec<Entry>,
    pub(in super::super) marks: Vec<Mark>,
    pub(in super::super) lease: std::time::Duration,
}

impl Operation for ExtendImport {
    type Answer = ();

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        cache.tenant(&self.tenant);
        needs.staged.insert(self.session);
        need_names(needs, &self.entries);
    }

    fn decide(&self, work: &mut Work) -> Result<()> {
        check_staged(work, self.session)?;
        let tenant = work.ensure_tenant(&self.tenant);
        put_log(work, tenant, self.session, &self.entries, &self.marks);
        work.lease(self.session, Some(work.now.after(self.lease)));
        Ok(())
    }

    fn size(&self) -> usize {
        log_size(&self.entries, &self.marks)
    }
}

fn need_names(needs: &mut Needs, entries: &[Entry]) {
    for entry in entries {
        needs.name(&entry.name);
        needs.name(&entry.payload.type_url);
    }
}

fn put_log(
    work: &mut Work,
    tenant: TenantNo,
    session: SessionNo,
    entries: &[Entry],
    marks: &[Mark],
) {
    work.writes.silent.push((session, tenant, entries.to_vec()));
    work.writes.marks.extend(marks.iter().map(|mark| (tenant, session, mark.clone())));
}

fn log_size(entries: &[Entry], marks: &[Mark]) -> usize {
    entries.iter().map(Entry::size).sum::<usize>() + marks.iter().map(Mark::size).sum::<usize>()
}

/// That an import may go on: nothing of it was cleared away.
fn check_staged(work: &Work, session: SessionNo) -> Result<()> {
    match work.read.staged.get(&session) {
        Some(until) if *until > work.now => Ok(()),
        _ => Err(StorageError::ImportExpired),
    }
}

/// Creates the session that was staged.
pub(in super::super) struct EndImport {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) op: FinishImport,
    /// The id that it gets, if it is new.
    pub(in super::super) session_id: SessionId,
}

impl Operation for EndImport {
    type Answer = Created;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        needs.staged.extend(self.op.staged);
        needs.new_sessions += usize::from(self.op.staged.is_none());
        if let (Some(tenant), Some(id)) = (cache.tenant(&self.tenant), &self.op.new.request_id) {
            needs.creations.insert((tenant, id.key(Method::ImportJournal)));
        }
    }

    fn decide(&self, work: &mut Work) -> Result<Created> {
        let FinishImport { staged, new, end, projection } = &self.op;
        let tenant = work.ensure_tenant(&self.tenant);
        let key = new.request_id.as_ref().map(|id| (tenant, id.key(Method::ImportJournal)));
        if let Some(before) = known(work, key, new.request_id.as_ref(), new.fingerprint)? {
            if let Some(session) = staged {
                work.lease(*session, None);
            }
            return Ok(before);
        }
        let session = match staged {
            Some(session) => {
                check_staged(work, *session)?;
                work.read.staged.remove(session);
                work.writes.unstaged.push(*session);
                *session
            }
            None => work.cache.new_session(),
        };
        let session_id = self.session_id.to_string();
        let head = restored_head(session, session_id, *end, projection, work.now);
        insert(work, tenant, head, new.clone());
        project(work, tenant, session, projection);
        if let Some((_, key)) = key {
            let fingerprint = new.fingerprint;
            work.note_creation(Creation { tenant, key, fingerprint, session, sequence: 0 });
        }
        Ok(Created::New)
    }

    fn size(&self) -> usize {
        size_of(&self.op.projection)
    }
}

/// Lets what was staged be cleared away.
pub(in super::super) struct AbandonImport {
    pub(in super::super) session: SessionNo,
}

impl Operation for AbandonImport {
    type Answer = ();

    fn needs(&self, _: &Cache, needs: &mut Needs) {
        needs.staged.insert(self.session);
    }

    fn decide(&self, work: &mut Work) -> Result<()> {
        if work.read.staged.contains_key(&self.session) {
            work.lease(self.session, None);
        }
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}

impl Work {
    /// Until when an import may go on; absent: no more.
    pub(in super::super) fn lease(&mut self, session: SessionNo, until: Option<Stamp>) {
        match until {
            Some(until) => drop(self.read.staged.insert(session, until)),
            None => drop(self.read.staged.remove(&session)),
        }
        self.writes.leases.push((session, until));
    }
}

/// Copies the next entries and marks that a fork shares into rows of its own, or, when all of them are
/// there, lets go of those that it shared.
pub(in super::super) struct OwnLog {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) session_id: SessionId,
    pub(in super::super) entries: Vec<Entry>,
    pub(in super::super) marks: Vec<Mark>,
}

impl Operation for OwnLog {
    type Answer = ();

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        if let Some((_, session)) = needs.session(cache, &self.tenant, &self.session_id) {
            session.parts = true;
        }
        need_names(needs, &self.entries);
    }

    fn decide(&self, work: &mut Work) -> Result<()> {
        // A session that was deleted meanwhile needs no rows.
        let Ok((tenant, session)) = work.session(&self.tenant, &self.session_id) else {
            return Ok(());
        };
        if !self.entries.is_empty() || !self.marks.is_empty() {
            put_log(work, tenant, session, &self.entries, &self.marks);
            return Ok(());
        }
        work.read.parts.remove(&session);
        work.writes.released.push(session);
        if let Some(owned) = work.read.heads.get_mut(&session) {
            owned.head.shared = 0;
            work.writes.write_head(session, HeadWrite::Whole);
        }
        Ok(())
    }

    fn size(&self) -> usize {
        log_size(&self.entries, &self.marks)
    }
}
