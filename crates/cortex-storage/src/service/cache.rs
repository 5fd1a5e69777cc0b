//! CacheService.

use std::sync::Arc;

use cortex_rpc::to_status;
use tonic::{Request, Response, Status};

use super::take;
use crate::{
    cache::CacheKey,
    config::Limits,
    convert::{self, cache_entry_to_proto, proto},
    ports::CacheStore,
};

/// CacheService on a store.
#[derive(Clone)]
pub struct CacheApi {
    store: Arc<dyn CacheStore>,
    limits: Limits,
}

impl CacheApi {
    /// The service on `store`.
    pub fn new(store: Arc<dyn CacheStore>, limits: Limits) -> Self {
        Self { store, limits }
    }
}

/// What a cleanup answers.
const COMPLETED: &str = "completed";

#[tonic::async_trait]
impl proto::cache_service_server::CacheService for CacheApi {
    async fn get_cache_entry(
        &self,
        request: Request<proto::GetCacheEntryRequest>,
    ) -> Result<Response<proto::GetCacheEntryResponse>, Status> {
        let (tenant, request) = take(request);
        let key = CacheKey::parse(&request.key).map_err(to_status)?;
        let entry = self.store.use_cache_entry(&tenant, &key).await.map_err(to_status)?;
        let entry = Some(cache_entry_to_proto(entry));
        Ok(Response::new(proto::GetCacheEntryResponse { entry }))
    }

    async fn list_cache_entries(
        &self,
        request: Request<proto::ListCacheEntriesRequest>,
    ) -> Result<Response<proto::ListCacheEntriesResponse>, Status> {
        let (tenant, request) = take(request);
        let (query, asked) = convert::cache_query(&request).map_err(to_status)?;
        let page = self.store.cache_entries(&tenant, query).await.map_err(to_status)?;
        Ok(Response::new(proto::ListCacheEntriesResponse {
            entries: page.items.into_iter().map(cache_entry_to_proto).collect(),
            next_page_token: asked.next(page.next),
        }))
    }

    async fn put_cache_entry(
        &self,
        request: Request<proto::PutCacheEntryRequest>,
    ) -> Result<Response<proto::PutCacheEntryResponse>, Status> {
        let (tenant, request) = take(request);
        let put = convert::put_cache_entry(request, &self.limits).map_err(to_status)?;
        let entry = self.store.put_cache_entry(&tenant, put).await.map_err(to_status)?;
        let entry = Some(cache_entry_to_proto(entry));
        Ok(Response::new(proto::PutCacheEntryResponse { entry }))
    }

    async fn delete_cache_entry(
        &self,
        request: Request<proto::DeleteCacheEntryRequest>,
    ) -> Result<Response<proto::DeleteCacheEntryResponse>, Status> {
        let (tenant, request) = take(request);
        let delete = convert::delete_cache_entry(&request).map_err(to_status)?;
        self.store.delete_cache_entry(&tenant, delete).await.map_err(to_status)?;
        let (status, key) = (super::DELETED.to_owned(), request.key);
        Ok(Response::new(proto::DeleteCacheEntryResponse { status, key }))
    }

    async fn cleanup_cache(
        &self,
        request: Request<proto::CleanupCacheRequest>,
    ) -> Result<Response<proto::CleanupCacheResponse>, Status> {
        let (tenant, _) = take(request);
        let deleted = self.store.cleanup_cache(&tenant).await.map_err(to_status)?;
        let deleted = i64::try_from(deleted).unwrap_or(i64::MAX);
        Ok(Response::new(proto::CleanupCacheResponse { status: COMPLETED.to_owned(), deleted }))
    }
}
