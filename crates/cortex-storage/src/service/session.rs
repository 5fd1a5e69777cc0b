//! SessionService.

use std::sync::Arc;

use cortex_rpc::to_status;
use tonic::{Request, Response, Status};

use super::take;
use crate::{
    config::Limits,
    convert::{self, proto, session_to_proto},
    error::Result as StorageResult,
    ports::{JournalStore, SessionStore},
    session::Session,
    tenant::Tenant,
};

/// SessionService on a store.
#[derive(Clone)]
pub struct SessionApi {
    sessions: Arc<dyn SessionStore>,
    journal: Arc<dyn JournalStore>,
    limits: Limits,
}

impl SessionApi {
    /// The service on a store's sessions and journal.
    pub fn new(
        sessions: Arc<dyn SessionStore>,
        journal: Arc<dyn JournalStore>,
        limits: Limits,
    ) -> Self {
        Self { sessions, journal, limits }
    }

    /// The status first, since it may be refused.
    async fn update(
        &self,
        tenant: &Tenant,
        request: &proto::UpdateSessionRequest,
    ) -> StorageResult<Session> {
        let id = convert::session_id(&request.session_id)?;
        let patch = convert::session_patch(request, &self.limits)?;
        if let Some(change) = convert::status_change(request, &self.limits)? {
            self.journal.direct(tenant, change).await?;
        }
        if let Some(patch) = patch {
            self.sessions.patch_session(tenant, patch).await?;
        }
        self.sessions.session(tenant, &id).await
    }
}

#[tonic::async_trait]
impl proto::session_service_server::SessionService for SessionApi {
    async fn create_session(
        &self,
        request: Request<proto::CreateSessionRequest>,
    ) -> Result<Response<proto::CreateSessionResponse>, Status> {
        let (tenant, request) = take(request);
        let new = convert::new_session(request, &self.limits).map_err(to_status)?;
        let session = self.sessions.create_session(&tenant, new).await.map_err(to_status)?;
        let session = Some(session_to_proto(session));
        Ok(Response::new(proto::CreateSessionResponse { session }))
    }

    async fn get_session(
        &self,
        request: Request<proto::GetSessionRequest>,
    ) -> Result<Response<proto::GetSessionResponse>, Status> {
        let (tenant, request) = take(request);
        let id = convert::session_id(&request.session_id).map_err(to_status)?;
        let session = self.sessions.session(&tenant, &id).await.map_err(to_status)?;
        Ok(Response::new(proto::GetSessionResponse { session: Some(session_to_proto(session)) }))
    }

    async fn list_sessions(
        &self,
        request: Request<proto::ListSessionsRequest>,
    ) -> Result<Response<proto::ListSessionsResponse>, Status> {
        let (tenant, request) = take(request);
        let (query, asked) = convert::session_query(&request).map_err(to_status)?;
        let page = self.sessions.sessions(&tenant, query).await.map_err(to_status)?;
        Ok(Response::new(proto::ListSessionsResponse {
            sessions: page.items.into_iter().map(session_to_proto).collect(),
            next_page_token: asked.next(page.next),
        }))
    }

    async fn update_session(
        &self,
        request: Request<proto::UpdateSessionRequest>,
    ) -> Result<Response<proto::UpdateSessionResponse>, Status> {
        let (tenant, request) = take(request);
        let session = self.update(&tenant, &request).await.map_err(to_status)?;
        let session = Some(session_to_proto(session));
        Ok(Response::new(proto::UpdateSessionResponse { session }))
    }

    async fn delete_session(
        &self,
        request: Request<proto::DeleteSessionRequest>,
    ) -> Result<Response<proto::DeleteSessionResponse>, Status> {
        let (tenant, request) = take(request);
        let id = convert::session_id(&request.session_id).map_err(to_status)?;
        self.sessions.delete_session(&tenant, &id).await.map_err(to_status)?;
        let status = super::DELETED.to_owned();
        Ok(Response::new(proto::DeleteSessionResponse { status, session_id: id.into() }))
    }
}
