//! MetricService.

use std::sync::Arc;

use cortex_rpc::to_status;
use tonic::{Request, Response, Status};

use super::take;
use crate::{
    config::Limits,
    convert::{self, metric_to_proto, proto, recorded_to_proto, series_to_proto},
    ports::MetricStore,
};

/// MetricService on a store.
#[derive(Clone)]
pub struct MetricApi {
    store: Arc<dyn MetricStore>,
    limits: Limits,
}

impl MetricApi {
    /// The service on `store`.
    pub fn new(store: Arc<dyn MetricStore>, limits: Limits) -> Self {
        Self { store, limits }
    }
}

#[tonic::async_trait]
impl proto::metric_service_server::MetricService for MetricApi {
    async fn record_metric(
        &self,
        request: Request<proto::RecordMetricRequest>,
    ) -> Result<Response<proto::RecordMetricResponse>, Status> {
        let (tenant, request) = take(request);
        let record = convert::record_metric(request).map_err(to_status)?;
        let metrics = Arc::clone(&record.metrics);
        let recorded = self.store.record_metrics(&tenant, record).await.map_err(to_status)?;
        let metric = recorded_to_proto(&metrics, recorded);
        Ok(Response::new(proto::RecordMetricResponse { metric }))
    }

    async fn batch_record_metrics(
        &self,
        request: Request<proto::BatchRecordMetricsRequest>,
    ) -> Result<Response<proto::BatchRecordMetricsResponse>, Status> {
        let (tenant, request) = take(request);
        let record = convert::batch(request).map_err(to_status)?;
        let recorded = self.store.record_metrics(&tenant, record).await.map_err(to_status)?;
        Ok(Response::new(proto::BatchRecordMetricsResponse {
            recorded: i32::try_from(recorded.ids.len()).unwrap_or(i32::MAX),
            metric_ids: recorded.ids.into_iter().map(String::from).collect(),
        }))
    }

    async fn list_metrics(
        &self,
        request: Request<proto::ListMetricsRequest>,
    ) -> Result<Response<proto::ListMetricsResponse>, Status> {
        let (tenant, request) = take(request);
        let (query, asked) = convert::metric_query(&request).map_err(to_status)?;
        let page = self.store.metrics(&tenant, query).await.map_err(to_status)?;
        Ok(Response::new(proto::ListMetricsResponse {
            metrics: page.items.into_iter().map(metric_to_proto).collect(),
            next_page_token: asked.next(page.next),
        }))
    }

    async fn aggregate_metrics(
        &self,
        request: Request<proto::AggregateMetricsRequest>,
    ) -> Result<Response<proto::AggregateMetricsResponse>, Status> {
        let (tenant, request) = take(request);
        let asked = convert::aggregation(&request, &self.limits).map_err(to_status)?;
        let group_by = asked.group_by.clone();
        let series = self.store.aggregate(&tenant, asked).await.map_err(to_status)?;
        let series = series.into_iter().map(|series| series_to_proto(&group_by, series)).collect();
        Ok(Response::new(proto::AggregateMetricsResponse { series }))
    }
}
