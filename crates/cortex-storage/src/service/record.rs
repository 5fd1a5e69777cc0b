//! RecordService.

use std::sync::Arc;

use cortex_rpc::to_status;
use tonic::{Request, Response, Status};

use super::{Answers, answers, take};
use crate::{
    config::Limits,
    convert::{self, PageRequest, change_to_proto, proto, record_to_proto},
    ports::RecordStore,
    record::RecordKey,
    watch::watch_records,
};

/// RecordService on a store.
#[derive(Clone)]
pub struct RecordApi {
    store: Arc<dyn RecordStore>,
    limits: Limits,
}

impl RecordApi {
    /// The service on `store`.
    pub fn new(store: Arc<dyn RecordStore>, limits: Limits) -> Self {
        Self { store, limits }
    }
}

#[tonic::async_trait]
impl proto::record_service_server::RecordService for RecordApi {
    type WatchRecordsStream = Answers<proto::WatchRecordsResponse>;

    async fn get_record(
        &self,
        request: Request<proto::GetRecordRequest>,
    ) -> Result<Response<proto::GetRecordResponse>, Status> {
        let (tenant, request) = take(request);
        let key = RecordKey::parse(&request.key).map_err(to_status)?;
        let record = self.store.record(&tenant, &key).await.map_err(to_status)?;
        Ok(Response::new(proto::GetRecordResponse { record: Some(record_to_proto(record)) }))
    }

    async fn list_records(
        &self,
        request: Request<proto::ListRecordsRequest>,
    ) -> Result<Response<proto::ListRecordsResponse>, Status> {
        let (tenant, request) = take(request);
        let prefix = RecordKey::parse_prefix(&request.prefix).map_err(to_status)?;
        let asked = PageRequest::parse(request.page_size, &request.page_token, &prefix);
        let asked = asked.map_err(to_status)?;
        let page = self.store.records(&tenant, &prefix, asked.size, asked.from.as_deref()).await;
        let page = page.map_err(to_status)?;
        Ok(Response::new(proto::ListRecordsResponse {
            records: page.records.into_iter().map(record_to_proto).collect(),
            next_page_token: asked.next(page.next),
            revision: page.revision,
        }))
    }

    async fn put_record(
        &self,
        request: Request<proto::PutRecordRequest>,
    ) -> Result<Response<proto::PutRecordResponse>, Status> {
        let (tenant, request) = take(request);
        let put = convert::put_record(request, &self.limits).map_err(to_status)?;
        let record = self.store.put_record(&tenant, put).await.map_err(to_status)?;
        Ok(Response::new(proto::PutRecordResponse { record: Some(record_to_proto(record)) }))
    }

    async fn delete_record(
        &self,
        request: Request<proto::DeleteRecordRequest>,
    ) -> Result<Response<proto::DeleteRecordResponse>, Status> {
        let (tenant, request) = take(request);
        let delete = convert::delete_record(&request).map_err(to_status)?;
        let revision = self.store.delete_record(&tenant, delete).await.map_err(to_status)?;
        let (deleted, revision) = (revision.is_some(), revision.unwrap_or(0));
        Ok(Response::new(proto::DeleteRecordResponse { deleted, revision }))
    }

    async fn watch_records(
        &self,
        request: Request<proto::WatchRecordsRequest>,
    ) -> Result<Response<Self::WatchRecordsStream>, Status> {
        let (tenant, request) = take(request);
        let prefix = RecordKey::parse_prefix(&request.prefix).map_err(to_status)?;
        let after =
            convert::not_negative("after_revision", request.after_revision).map_err(to_status)?;
        let revisions = self.store.watch_revisions(&tenant).await.map_err(to_status)?;
        let watch = watch_records(Arc::clone(&self.store), revisions, tenant, prefix, after);
        Ok(Response::new(answers(watch.map_err(to_status)?, change_to_proto)))
    }
}
