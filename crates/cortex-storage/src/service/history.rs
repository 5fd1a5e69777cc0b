//! HistoryService.

use std::sync::Arc;

use cortex_rpc::to_status;
use tonic::{Request, Response, Status};

use super::take;
use crate::{
    config::Limits,
    convert::{self, message_to_proto, proto},
    error::{Result as StorageResult, StorageError},
    history::Message,
    journal::DirectOutcome,
    ports::{JournalStore, SessionStore},
    tenant::Tenant,
};

/// HistoryService on a store.
#[derive(Clone)]
pub struct HistoryApi {
    sessions: Arc<dyn SessionStore>,
    journal: Arc<dyn JournalStore>,
    limits: Limits,
}

impl HistoryApi {
    /// The service on a store's sessions and journal.
    pub fn new(
        sessions: Arc<dyn SessionStore>,
        journal: Arc<dyn JournalStore>,
        limits: Limits,
    ) -> Self {
        Self { sessions, journal, limits }
    }

    async fn add(
        &self,
        tenant: &Tenant,
        request: proto::AddMessageRequest,
    ) -> StorageResult<Message> {
        let op = convert::add_message(request, &self.limits)?;
        let session = op.session_id.clone();
        match self.journal.direct(tenant, op).await? {
            DirectOutcome::Added(message) => Ok(message),
            DirectOutcome::AddedBefore(id) => {
                let id = convert::message_id(&id)?;
                self.sessions.message(tenant, &session, &id).await
            }
            _ => Err(StorageError::internal("adding a message answered something else")),
        }
    }
}

#[tonic::async_trait]
impl proto::history_service_server::HistoryService for HistoryApi {
    async fn add_message(
        &self,
        request: Request<proto::AddMessageRequest>,
    ) -> Result<Response<proto::AddMessageResponse>, Status> {
        let (tenant, request) = take(request);
        let message = self.add(&tenant, request).await.map_err(to_status)?;
        let message = Some(message_to_proto(message));
        Ok(Response::new(proto::AddMessageResponse { message }))
    }

    async fn list_messages(
        &self,
        request: Request<proto::ListMessagesRequest>,
    ) -> Result<Response<proto::ListMessagesResponse>, Status> {
        let (tenant, request) = take(request);
        let (query, asked) = convert::message_query(&request).map_err(to_status)?;
        let page = self.sessions.messages(&tenant, query).await.map_err(to_status)?;
        Ok(Response::new(proto::ListMessagesResponse {
            messages: page.items.into_iter().map(message_to_proto).collect(),
            next_page_token: asked.next(page.next),
        }))
    }

    async fn clear_history(
        &self,
        request: Request<proto::ClearHistoryRequest>,
    ) -> Result<Response<proto::ClearHistoryResponse>, Status> {
        let (tenant, request) = take(request);
        let op = convert::clear_history(&request, &self.limits).map_err(to_status)?;
        self.journal.direct(&tenant, op).await.map_err(to_status)?;
        let (status, session_id) = (super::DELETED.to_owned(), request.session_id);
        Ok(Response::new(proto::ClearHistoryResponse { status, session_id }))
    }
}
