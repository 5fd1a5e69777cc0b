//! Writes to one session's journal.

use cortex_core::{ExecutionId, SessionId};

use super::{
    super::needs::{HolderNeeds, Needs},
    super::work::Work,
    Operation,
};
use crate::{
    adapters::sql::cache::{Cache, TenantNo},
    error::{Result, StorageError},
    journal::{
        Acquire, Acquired, Append, Appended, Claim, Direct, DirectOutcome, Execution, Finish,
        Method, Release, SessionNo, Submit, Submitted, acquire, append, claim, direct, finish,
        release, submit,
    },
    tenant::Tenant,
};

/// A write to the session that it names.
pub(in super::super) struct InSession<O> {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) op: O,
}

impl<O> InSession<O> {
    fn session(&self, work: &Work, id: &SessionId) -> Result<(TenantNo, SessionNo)> {
        work.session(&self.tenant, id)
    }
}

impl Operation for InSession<Submit> {
    type Answer = Submitted;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        if let Some((_, session)) = needs.session(cache, &self.tenant, &self.op.session_id) {
            session.requests.extend(self.op.request_id.as_ref().map(|id| id.key(Method::Submit)));
        }
        needs.name(&self.op.command.name);
        needs.name(&self.op.command.payload.type_url);
    }

    fn decide(&self, work: &mut Work) -> Result<Submitted> {
        let (tenant, session) = self.session(work, &self.op.session_id)?;
        let facts = work.facts(tenant, session);
        let decision = submit(work.head(session)?, &self.op, &facts, work.now)?;
        Ok(work.accept(tenant, decision))
    }

    fn size(&self) -> usize {
        self.op.command.payload.value.len()
    }
}

impl Operation for InSession<Append> {
    type Answer = Appended;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        needs.append(cache, &self.tenant, &self.op);
    }

    fn decide(&self, work: &mut Work) -> Result<Appended> {
        let (tenant, session) = self.session(work, &self.op.session_id)?;
        let facts = work.facts(tenant, session);
        let decision = append(work.head(session)?, &self.op, &facts, work.now)?;
        Ok(work.accept(tenant, decision))
    }

    fn size(&self) -> usize {
        let events: usize = self.op.events.iter().map(|event| event.payload.value.len()).sum();
        let messages: usize = self.op.effects.messages.iter().map(|new| new.content.size()).sum();
        events + messages
    }
}

impl Operation for InSession<Direct> {
    type Answer = DirectOutcome;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        if let Some((_, session)) = needs.session(cache, &self.tenant, &self.op.session_id) {
            session.state |= self.op.effect.is_of_state();
            let key = self.op.request_id.as_ref().map(|id| id.key(Method::AddMessage));
            session.requests.extend(key);
        }
        needs.name(&self.op.command.name);
        needs.name(&self.op.command.payload.type_url);
    }

    fn decide(&self, work: &mut Work) -> Result<DirectOutcome> {
        let (tenant, session) = self.session(work, &self.op.session_id)?;
        let facts = work.facts(tenant, session);
        let decision = direct(work.head(session)?, &self.op, &facts, work.now)?;
        Ok(work.accept(tenant, decision))
    }

    fn size(&self) -> usize {
        // What it changes is there twice, but for a text that stands in the command.
        2 * self.op.command.payload.value.len()
    }
}

impl Operation for InSession<Acquire> {
    type Answer = Acquired;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        needs.holders(HolderNeeds::Read);
        needs.session(cache, &self.tenant, &self.op.session_id);
    }

    fn decide(&self, work: &mut Work) -> Result<Acquired> {
        use crate::journal::Facts;

        let (tenant, session) = self.session(work, &self.op.session_id)?;
        let facts = work.facts(tenant, session);
        let decision = acquire(work.head(session)?, &self.op, facts.holders(), work.now)?;
        Ok(work.accept(tenant, decision))
    }

    fn size(&self) -> usize {
        0
    }
}

impl Operation for InSession<Release> {
    type Answer = bool;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        needs.session(cache, &self.tenant, &self.op.session_id);
    }

    fn decide(&self, work: &mut Work) -> Result<bool> {
        let (tenant, session) = self.session(work, &self.op.session_id)?;
        let decision = release(work.head(session)?, &self.op, work.now)?;
        Ok(work.accept(tenant, decision))
    }

    fn size(&self) -> usize {
        0
    }
}

/// A claim. Its session is known by the ledger row.
pub(in super::super) struct ClaimExecution {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) op: Claim,
}

impl Operation for ClaimExecution {
    type Answer = ();

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        need_row(cache, needs, &self.tenant, &self.op.execution_id);
    }

    fn decide(&self, work: &mut Work) -> Result<()> {
        let (tenant, row) = row(work, &self.tenant, &self.op.execution_id)?;
        let decision = claim(work.head(row.session)?, row, &self.op, work.now)?;
        work.accept(tenant, decision);
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}

/// An outcome. Its session is known by the ledger row.
pub(in super::super) struct FinishExecution {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) op: Finish,
}

impl Operation for FinishExecution {
    type Answer = ();

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        need_row(cache, needs, &self.tenant, &self.op.execution_id);
    }

    fn decide(&self, work: &mut Work) -> Result<()> {
        let (tenant, row) = row(work, &self.tenant, &self.op.execution_id)?;
        let decision = finish(work.head(row.session)?, row, &self.op, work.now)?;
        work.accept(tenant, decision);
        Ok(())
    }

    fn size(&self) -> usize {
        self.op.outcome.result.len()
    }
}

fn need_row(cache: &Cache, needs: &mut Needs, tenant: &Tenant, id: &ExecutionId) {
    if let Some(tenant) = cache.tenant(tenant) {
        needs.executions.insert((tenant, id.clone()));
    }
}

/// The row, if its session still exists.
fn row<'w>(work: &'w Work, tenant: &Tenant, id: &ExecutionId) -> Result<(TenantNo, &'w Execution)> {
    let found = work.cache.tenant(tenant).and_then(|tenant| {
        let row = work.read.executions.get(&(tenant, id.clone()))?;
        work.read.heads.contains_key(&row.session).then_some((tenant, row))
    });
    found.ok_or_else(|| StorageError::ExecutionNotFound { execution_id: id.to_string() })
}
