//! StateService.

use std::sync::Arc;

use cortex_rpc::to_status;
use tonic::{Request, Response, Status};

use super::take;
use crate::{
    config::Limits,
    convert::{self, proto, state_to_proto},
    error::{Result as StorageResult, StorageError},
    journal::{Direct, DirectOutcome},
    ports::{JournalStore, SessionStore},
    tenant::Tenant,
    time::Stamp,
};

/// StateService on a store.
#[derive(Clone)]
pub struct StateApi {
    sessions: Arc<dyn SessionStore>,
    journal: Arc<dyn JournalStore>,
    limits: Limits,
}

impl StateApi {
    /// The service on a store's sessions and journal.
    pub fn new(
        sessions: Arc<dyn SessionStore>,
        journal: Arc<dyn JournalStore>,
        limits: Limits,
    ) -> Self {
        Self { sessions, journal, limits }
    }

    async fn change(&self, tenant: &Tenant, op: Direct) -> StorageResult<proto::SessionState> {
        let session_id = op.session_id.to_string();
        match self.journal.direct(tenant, op).await? {
            DirectOutcome::State(state) => Ok(state_to_proto(session_id, state, Stamp::default())),
            _ => Err(StorageError::internal("changing the state answered something else")),
        }
    }
}

#[tonic::async_trait]
impl proto::state_service_server::StateService for StateApi {
    async fn get_state(
        &self,
        request: Request<proto::GetStateRequest>,
    ) -> Result<Response<proto::GetStateResponse>, Status> {
        let (tenant, request) = take(request);
        let id = convert::session_id(&request.session_id).map_err(to_status)?;
        let (state, created_at) = self.sessions.state(&tenant, &id).await.map_err(to_status)?;
        let state = Some(state_to_proto(id.into(), state, created_at));
        Ok(Response::new(proto::GetStateResponse { state }))
    }

    async fn replace_state(
        &self,
        request: Request<proto::ReplaceStateRequest>,
    ) -> Result<Response<proto::ReplaceStateResponse>, Status> {
        let (tenant, request) = take(request);
        let op = convert::replace_state(request, &self.limits).map_err(to_status)?;
        let state = Some(self.change(&tenant, op).await.map_err(to_status)?);
        Ok(Response::new(proto::ReplaceStateResponse { state }))
    }

    async fn patch_state(
        &self,
        request: Request<proto::PatchStateRequest>,
    ) -> Result<Response<proto::PatchStateResponse>, Status> {
        let (tenant, request) = take(request);
        let op = convert::patch_state(request, &self.limits).map_err(to_status)?;
        let state = Some(self.change(&tenant, op).await.map_err(to_status)?);
        Ok(Response::new(proto::PatchStateResponse { state }))
    }

    async fn clear_state(
        &self,
        request: Request<proto::ClearStateRequest>,
    ) -> Result<Response<proto::ClearStateResponse>, Status> {
        let (tenant, request) = take(request);
        let op = convert::clear_state(&request, &self.limits).map_err(to_status)?;
        self.change(&tenant, op).await.map_err(to_status)?;
        let (status, session_id) = (super::DELETED.to_owned(), request.session_id);
        Ok(Response::new(proto::ClearStateResponse { status, session_id }))
    }
}
