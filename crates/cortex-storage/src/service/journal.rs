//! JournalService.

use std::sync::Arc;

use cortex_rpc::to_status;
use cortex_transcode::JsonCodec;
use futures::stream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Answers, answers, scope_of, take,
    transfer::{export_answers, import, import_limits},
};
use crate::{
    config::{Buffers, Limits},
    convert::{
        self, PageRequest, entry_to_proto, execution_to_proto, journal_to_proto, proto,
        session_to_proto,
    },
    error::StorageError,
    ports::{JournalStore, Runnable, TransferStore},
    transfer::{Importer, export, fork, pieces},
    watch::{EntryBatch, RunnableHints, watch_entries},
};

/// JournalService on a store.
#[derive(Clone)]
pub struct JournalApi {
    store: Arc<dyn TransferStore>,
    limits: Limits,
    buffers: Buffers,
    codec: Arc<JsonCodec>,
}

impl JournalApi {
    /// The service on `store`.
    pub fn new(store: Arc<dyn TransferStore>, limits: Limits, buffers: Buffers) -> Self {
        let codec = Arc::new(JsonCodec::new(cortex_proto::descriptor_pool()));
        Self { store, limits, buffers, codec }
    }
}

fn runnable_to_proto(session: Runnable) -> proto::RunnableSession {
    let tenant = session.tenant.to_string();
    proto::RunnableSession { session_id: session.session_id, epoch: session.epoch, tenant }
}

fn batch_to_proto(batch: EntryBatch) -> proto::WatchEntriesResponse {
    let entries = batch.entries.into_iter().map(entry_to_proto).collect();
    proto::WatchEntriesResponse { entries, last_sequence: batch.last }
}

/// The hints as answers; the first one is empty and comes at once.
fn hints_to_answers(hints: RunnableHints) -> Answers<proto::WatchRunnableSessionsResponse> {
    let state = (hints, true);
    let stream = stream::try_unfold(state, |(mut hints, first)| async move {
        if first {
            return Ok(Some((Vec::new(), (hints, false))));
        }
        let sessions = hints.next().await.ok_or(StorageError::Closed)?;
        Ok(Some((sessions, (hints, false))))
    });
    answers(stream, |sessions: Vec<Runnable>| proto::WatchRunnableSessionsResponse {
        sessions: sessions.into_iter().map(runnable_to_proto).collect(),
    })
}

#[tonic::async_trait]
impl proto::journal_service_server::JournalService for JournalApi {
    type WatchRunnableSessionsStream = Answers<proto::WatchRunnableSessionsResponse>;
    type WatchEntriesStream = Answers<proto::WatchEntriesResponse>;
    type ExportJournalStream = Answers<proto::ExportJournalResponse>;

    async fn submit_command(
        &self,
        request: Request<proto::SubmitCommandRequest>,
    ) -> Result<Response<proto::SubmitCommandResponse>, Status> {
        let (tenant, request) = take(request);
        let op = convert::submit(request, &self.limits).map_err(to_status)?;
        let submitted = self.store.submit(&tenant, op).await.map_err(to_status)?;
        Ok(Response::new(proto::SubmitCommandResponse {
            sequence: submitted.sequence,
            duplicate: submitted.duplicate,
            open_turn_id: submitted.open_turn.map(String::from).unwrap_or_default(),
        }))
    }

    async fn register_holder(
        &self,
        request: Request<proto::RegisterHolderRequest>,
    ) -> Result<Response<proto::RegisterHolderResponse>, Status> {
        let (tenant, request) = take(request);
        let op = convert::registration(request, &self.limits).map_err(to_status)?;
        let lease = self.store.register_holder(&tenant, op).await.map_err(to_status)?;
        Ok(Response::new(proto::RegisterHolderResponse {
            lease_expires_at: Some(lease.expires_at.into()),
            voided_holder_id: lease.voided.map(String::from).unwrap_or_default(),
        }))
    }

    async fn renew_holder(
        &self,
        request: Request<proto::RenewHolderRequest>,
    ) -> Result<Response<proto::RenewHolderResponse>, Status> {
        let (tenant, request) = take(request);
        let id = convert::holder_id(&request.holder_id).map_err(to_status)?;
        let (lease, held) = self.store.renew_holder(&tenant, &id).await.map_err(to_status)?;
        let sessions = held
            .into_iter()
            .map(|held| {
                let tenant = held.tenant.to_string();
                proto::HeldSession { session_id: held.session_id, epoch: held.epoch, tenant }
            })
            .collect();
        let lease_expires_at = Some(lease.expires_at.into());
        Ok(Response::new(proto::RenewHolderResponse { lease_expires_at, sessions }))
    }

    async fn retire_holder(
        &self,
        request: Request<proto::RetireHolderRequest>,
    ) -> Result<Response<proto::RetireHolderResponse>, Status> {
        let (tenant, request) = take(request);
        let id = convert::holder_id(&request.holder_id).map_err(to_status)?;
        let released = self.store.retire_holder(&tenant, &id).await.map_err(to_status)?;
        let released_sessions = i32::try_from(released).unwrap_or(i32::MAX);
        Ok(Response::new(proto::RetireHolderResponse { released_sessions }))
    }

    async fn acquire_session(
        &self,
        request: Request<proto::AcquireSessionRequest>,
    ) -> Result<Response<proto::AcquireSessionResponse>, Status> {
        let (tenant, request) = take(request);
        let op = convert::acquire(&request).map_err(to_status)?;
        let acquired = self.store.acquire(&tenant, op).await.map_err(to_status)?;
        Ok(Response::new(proto::AcquireSessionResponse {
            epoch: acquired.epoch,
            head_sequence: acquired.head,
        }))
    }

    async fn append_events(
        &self,
        request: Request<proto::AppendEventsRequest>,
    ) -> Result<Response<proto::AppendEventsResponse>, Status> {
        let (tenant, request) = take(request);
        let op = convert::append(request, &self.limits).map_err(to_status)?;
        let appended = self.store.append(&tenant, op).await.map_err(to_status)?;
        Ok(Response::new(proto::AppendEventsResponse {
            first_sequence: appended.first,
            last_sequence: appended.last,
            created_at: Some(appended.at.into()),
        }))
    }

    async fn release_session(
        &self,
        request: Request<proto::ReleaseSessionRequest>,
    ) -> Result<Response<proto::ReleaseSessionResponse>, Status> {
        let (tenant, request) = take(request);
        let op = convert::release(&request).map_err(to_status)?;
        let held = self.store.release(&tenant, op).await.map_err(to_status)?;
        Ok(Response::new(proto::ReleaseSessionResponse { held }))
    }

    async fn list_runnable_sessions(
        &self,
        request: Request<proto::ListRunnableSessionsRequest>,
    ) -> Result<Response<proto::ListRunnableSessionsResponse>, Status> {
        let (scope, request) = (scope_of(&request), request.into_inner());
        let asked = PageRequest::parse(request.page_size, &request.page_token, &"runnable");
        let asked = asked.map_err(to_status)?;
        let page = self.store.runnable(&scope, asked.size, asked.from.as_deref()).await;
        let page = page.map_err(to_status)?;
        Ok(Response::new(proto::ListRunnableSessionsResponse {
            sessions: page.items.into_iter().map(runnable_to_proto).collect(),
            next_page_token: asked.next(page.next),
        }))
    }

    async fn watch_runnable_sessions(
        &self,
        request: Request<proto::WatchRunnableSessionsRequest>,
    ) -> Result<Response<Self::WatchRunnableSessionsStream>, Status> {
        let hints = self.store.runnable_hints(&scope_of(&request));
        Ok(Response::new(hints_to_answers(hints)))
    }

    async fn get_journal(
        &self,
        request: Request<proto::GetJournalRequest>,
    ) -> Result<Response<proto::GetJournalResponse>, Status> {
        let (tenant, request) = take(request);
        let id = convert::session_id(&request.session_id).map_err(to_status)?;
        let view = self.store.journal(&tenant, &id).await.map_err(to_status)?;
        Ok(Response::new(proto::GetJournalResponse { journal: Some(journal_to_proto(view)) }))
    }

    async fn list_entries(
        &self,
        request: Request<proto::ListEntriesRequest>,
    ) -> Result<Response<proto::ListEntriesResponse>, Status> {
        let (tenant, request) = take(request);
        let (query, asked) = convert::entry_query(request).map_err(to_status)?;
        let page = self.store.entries(&tenant, query).await.map_err(to_status)?;
        let next = page.entries.last().filter(|_| page.more).map(|last| last.sequence.to_string());
        Ok(Response::new(proto::ListEntriesResponse {
            entries: page.entries.into_iter().map(entry_to_proto).collect(),
            next_page_token: asked.next(next),
            head_sequence: page.head,
        }))
    }

    async fn watch_entries(
        &self,
        request: Request<proto::WatchEntriesRequest>,
    ) -> Result<Response<Self::WatchEntriesStream>, Status> {
        let (tenant, request) = take(request);
        let query = convert::entry_watch(&request).map_err(to_status)?;
        let following = self.store.follow(&tenant, &query.session_id).await.map_err(to_status)?;
        let store: Arc<dyn JournalStore> = self.store.clone();
        let watch = watch_entries(store, following, query, &self.buffers);
        Ok(Response::new(answers(watch.map_err(to_status)?, batch_to_proto)))
    }

    async fn claim_execution(
        &self,
        request: Request<proto::ClaimExecutionRequest>,
    ) -> Result<Response<proto::ClaimExecutionResponse>, Status> {
        let (tenant, request) = take(request);
        let op = convert::claim(request).map_err(to_status)?;
        let execution = self.store.claim(&tenant, op).await.map_err(to_status)?;
        let execution = Some(execution_to_proto(execution));
        Ok(Response::new(proto::ClaimExecutionResponse { execution }))
    }

    async fn finish_execution(
        &self,
        request: Request<proto::FinishExecutionRequest>,
    ) -> Result<Response<proto::FinishExecutionResponse>, Status> {
        let (tenant, request) = take(request);
        let op = convert::finish(request, &self.limits).map_err(to_status)?;
        let execution = self.store.finish(&tenant, op).await.map_err(to_status)?;
        let execution = Some(execution_to_proto(execution));
        Ok(Response::new(proto::FinishExecutionResponse { execution }))
    }

    async fn get_execution(
        &self,
        request: Request<proto::GetExecutionRequest>,
    ) -> Result<Response<proto::GetExecutionResponse>, Status> {
        let (tenant, request) = take(request);
        let id = convert::execution_id(&request.execution_id).map_err(to_status)?;
        let execution = self.store.execution(&tenant, &id).await.map_err(to_status)?;
        let execution = Some(execution_to_proto(execution));
        Ok(Response::new(proto::GetExecutionResponse { execution }))
    }

    async fn list_executions(
        &self,
        request: Request<proto::ListExecutionsRequest>,
    ) -> Result<Response<proto::ListExecutionsResponse>, Status> {
        let (tenant, request) = take(request);
        let (query, asked) = convert::execution_query(&request).map_err(to_status)?;
        let page = self.store.executions(&tenant, query).await.map_err(to_status)?;
        Ok(Response::new(proto::ListExecutionsResponse {
            executions: page.items.into_iter().map(execution_to_proto).collect(),
            next_page_token: asked.next(page.next),
        }))
    }

    async fn fork_journal(
        &self,
        request: Request<proto::ForkJournalRequest>,
    ) -> Result<Response<proto::ForkJournalResponse>, Status> {
        let (tenant, request) = take(request);
        let op = convert::fork(request, &self.limits).map_err(to_status)?;
        let forked = fork(&*self.store, &tenant, op).await.map_err(to_status)?;
        Ok(Response::new(proto::ForkJournalResponse {
            session: Some(session_to_proto(forked.session)),
            sequence: forked.sequence,
        }))
    }

    async fn export_journal(
        &self,
        request: Request<proto::ExportJournalRequest>,
    ) -> Result<Response<Self::ExportJournalStream>, Status> {
        let (tenant, request) = take(request);
        let id = convert::session_id(&request.session_id).map_err(to_status)?;
        let whole = self.store.whole(&tenant, &id).await.map_err(to_status)?;
        let lines = export(Arc::clone(&self.store), whole, Arc::clone(&self.codec));
        Ok(Response::new(export_answers(pieces(lines))))
    }

    async fn import_journal(
        &self,
        request: Request<Streaming<proto::ImportJournalRequest>>,
    ) -> Result<Response<proto::ImportJournalResponse>, Status> {
        let (tenant, requests) = take(request);
        let (store, codec) = (Arc::clone(&self.store), Arc::clone(&self.codec));
        let importer = Importer::new(store, tenant, codec, import_limits(&self.limits));
        let session = Some(session_to_proto(import(importer, requests).await?));
        Ok(Response::new(proto::ImportJournalResponse { session }))
    }
}
