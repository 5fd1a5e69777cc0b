//! Forks, exports and imports on the writer and the readers.

use cortex_core::SessionId;

use super::{
    ops::{self, Created},
    store::SqlStore,
};
use crate::{
    entry_text::EntryText,
    error::{Result, StorageError},
    journal::{Cut, Entry, Fork, ForkRequest, Mark, MarkNo, Sequence, SessionNo},
    ports::{FinishImport, TransferStore, Whole},
    session::Session,
    tenant::Tenant,
    transfer::Forked,
};

#[tonic::async_trait]
impl TransferStore for SqlStore {
    async fn whole(&self, tenant: &Tenant, id: &SessionId) -> Result<Whole> {
        self.reader.whole(tenant, id).await
    }

    async fn last_quiescent(&self, session: SessionNo, until: Sequence) -> Result<Cut> {
        self.reader.last_quiescent(session, until).await
    }

    async fn marks(&self, session: SessionNo, after: MarkNo, until: MarkNo) -> Result<Vec<Mark>> {
        self.reader.marks(session, (after, until)).await
    }

    async fn forked_before(
        &self,
        tenant: &Tenant,
        request: &ForkRequest,
    ) -> Result<Option<Forked>> {
        let Some(id) = &request.request_id else { return Ok(None) };
        let key = ops::fork_key(&request.session_id, id);
        let Some(created) = self.reader.creation(tenant, key).await? else { return Ok(None) };
        let (fingerprint, session_id, sequence) = created;
        if fingerprint != request.fingerprint {
            return Err(StorageError::RequestIdReused { request_id: id.as_str().to_owned() });
        }
        let session = self.reader.session(tenant, &session_id).await?;
        Ok(Some(Forked { session, sequence }))
    }

    async fn fork(&self, tenant: &Tenant, op: Fork) -> Result<Forked> {
        let (session_id, cut) = (SessionId::generate(), op.cut.sequence);
        let fork = ops::ForkSession { tenant: tenant.clone(), op, session_id: session_id.clone() };
        let (id, sequence) = match self.write(fork).await? {
            Created::New => (session_id, cut),
            Created::Before { session_id, sequence } => (stored_id(session_id)?, sequence),
        };
        Ok(Forked { session: self.reader.session(tenant, &id).await?, sequence })
    }

    async fn begin_import(&self) -> Result<SessionNo> {
        self.write(ops::BeginImport { lease: self.import_lease }).await
    }

    async fn extend_import(
        &self,
        tenant: &Tenant,
        staged: SessionNo,
        entries: Vec<Entry>,
        marks: Vec<Mark>,
    ) -> Result<()> {
        let (tenant, lease) = (tenant.clone(), self.import_lease);
        self.write(ops::ExtendImport { tenant, session: staged, entries, marks, lease }).await
    }

    async fn staged_texts(&self, staged: SessionNo, places: &[EntryText]) -> Result<Vec<u64>> {
        self.reader.text_sizes(staged, places).await
    }

    async fn finish_import(&self, tenant: &Tenant, op: FinishImport) -> Result<Session> {
        let session_id = SessionId::generate();
        let end = ops::EndImport { tenant: tenant.clone(), op, session_id: session_id.clone() };
        let id = match self.write(end).await? {
            Created::New => session_id,
            Created::Before { session_id, .. } => stored_id(session_id)?,
        };
        self.reader.session(tenant, &id).await
    }

    async fn abandon_import(&self, staged: SessionNo) -> Result<()> {
        self.write(ops::AbandonImport { session: staged }).await
    }
}

fn stored_id(text: String) -> Result<SessionId> {
    SessionId::parse(text).map_err(|error| StorageError::internal(error.to_string()))
}
