//! Storage and the manifest service as far as the container service calls them, over the same wire.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use cortex_core::{ExecutionId, Fault, SessionId};
use cortex_proto::cortex::{
    manifest::v1::{
        GetBundleRequest, GetBundleResponse, ResolveToolRequest, ResolveToolResponse, ToolSpec,
    },
    storage::v1::{
        ClaimExecutionRequest, ClaimExecutionResponse, DeleteRecordRequest, DeleteRecordResponse,
        Execution, ExecutionState, FinishExecutionRequest, FinishExecutionResponse,
        GetExecutionRequest, GetExecutionResponse, ListExecutionsRequest, ListExecutionsResponse,
        ListRecordsRequest, ListRecordsResponse, PutRecordRequest, PutRecordResponse, Record,
    },
};
use cortex_rpc::{Transport, local, status};
use futures::stream;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, ServerStreamingService, UnaryService},
};
use tonic_prost::ProstCodec;

/// Storage: ledger rows under the protocol's rules, and records.
#[derive(Clone, Default)]
pub(crate) struct Storage(Arc<Mutex<Rows>>);

#[derive(Default)]
struct Rows {
    executions: BTreeMap<String, Execution>,
    epochs: BTreeMap<String, i64>,
    records: BTreeMap<String, Record>,
    away: bool,
}

impl Storage {
    /// An intended row of `session` at epoch 1.
    pub(crate) fn intend(&self, session: &SessionId, tool: &str) -> ExecutionId {
        let id = ExecutionId::generate();
        let row = Execution {
            execution_id: id.to_string(),
            session_id: session.to_string(),
            kind: "tool".into(),
            name: tool.into(),
            state: ExecutionState::Intended.into(),
            ..Default::default()
        };
        let mut rows = self.rows();
        rows.epochs.entry(session.to_string()).or_insert(1);
        rows.executions.insert(id.to_string(), row);
        id
    }

    /// Makes a row claimed by an incarnation of `instance` that is dead.
    pub(crate) fn claim_by_the_dead(&self, id: &ExecutionId, instance: &str) -> String {
        let claimant = cortex_core::ClaimantId::generate().to_string();
        let mut rows = self.rows();
        let row = rows.executions.get_mut(id.as_str()).unwrap();
        row.state = ExecutionState::Claimed.into();
        row.claimant_id.clone_from(&claimant);
        row.claimant_instance = instance.into();
        claimant
    }

    pub(crate) fn row(&self, id: &ExecutionId) -> Execution {
        self.rows().executions[id.as_str()].clone()
    }

    pub(crate) fn records(&self) -> Vec<String> {
        self.rows().records.keys().cloned().collect()
    }

    /// Whether every call is answered with UNAVAILABLE.
    pub(crate) fn set_away(&self, away: bool) {
        self.rows().away = away;
    }

    pub(crate) fn transport(&self) -> Transport {
        local(Fake(Arc::new(self.clone())))
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claim(&self, request: ClaimExecutionRequest) -> Result<ClaimExecutionResponse, Status> {
        let rows = &mut *self.rows();
        let row = rows.executions.get_mut(&request.execution_id).ok_or_else(not_found)?;
        if row.claimant_id == request.claimant_id {
            return Ok(ClaimExecutionResponse { execution: Some(row.clone()) });
        }
        if rows.epochs.get(&row.session_id) != Some(&request.epoch) {
            return Err(status(&Fault::aborted("STALE_EPOCH", "stale")));
        }
        if row.state() != ExecutionState::Intended {
            let refused = Fault::failed_precondition("EXECUTION_NOT_INTENDED", "refused");
            return Err(status(&refused.with("state", row.state().as_str_name())));
        }
        row.state = ExecutionState::Claimed.into();
        row.claimant_id = request.claimant_id;
        row.claimant_instance = request.claimant_instance;
        Ok(ClaimExecutionResponse { execution: Some(row.clone()) })
    }

    fn finish(&self, request: FinishExecutionRequest) -> Result<FinishExecutionResponse, Status> {
        let mut rows = self.rows();
        let row = rows.executions.get_mut(&request.execution_id).ok_or_else(not_found)?;
        if row.state() == ExecutionState::Claimed {
            row.state = ExecutionState::Finished.into();
            row.outcome = request.outcome;
        }
        Ok(FinishExecutionResponse { execution: Some(row.clone()) })
    }

    fn list(&self, request: ListExecutionsRequest) -> ListExecutionsResponse {
        let rows = self.rows();
        let executions = rows.executions.values().filter(|row| {
            row.claimant_instance == request.claimant_instance && row.state() == request.state()
        });
        ListExecutionsResponse { executions: executions.cloned().collect(), ..Default::default() }
    }

    fn put(&self, request: PutRecordRequest) -> PutRecordResponse {
        let record = Record { key: request.key, value: request.value, ..Default::default() };
        self.rows().records.insert(record.key.clone(), record.clone());
        PutRecordResponse { record: Some(record) }
    }

    fn delete(&self, request: &DeleteRecordRequest) -> DeleteRecordResponse {
        let deleted = self.rows().records.remove(&request.key).is_some();
        DeleteRecordResponse { deleted, ..Default::default() }
    }

    fn list_records(&self, request: &ListRecordsRequest) -> ListRecordsResponse {
        let rows = self.rows();
        let records = rows.records.values().filter(|r| r.key.starts_with(&request.prefix));
        ListRecordsResponse { records: records.cloned().collect(), ..Default::default() }
    }
}

fn not_found() -> Status {
    status(&Fault::not_found("EXECUTION_NOT_FOUND", "no such execution"))
}

impl Answer for Storage {
    async fn answer(&self, call: http::Request<Body>) -> http::Response<Body> {
        if self.rows().away {
            return Status::unavailable("storage is away").into_http();
        }
        let this = self.clone();
        match call.uri().path().rsplit('/').next().unwrap_or_default() {
            "ClaimExecution" => unary(call, move |request| this.claim(request)).await,
            "FinishExecution" => unary(call, move |request| this.finish(request)).await,
            "GetExecution" => {
                unary(call, move |request: GetExecutionRequest| {
                    let execution = this.rows().executions.get(&request.execution_id).cloned();
                    let execution = Some(execution.ok_or_else(not_found)?);
                    Ok(GetExecutionResponse { execution })
                })
                .await
            }
            "ListExecutions" => unary(call, move |request| Ok(this.list(request))).await,
            "PutRecord" => unary(call, move |request| Ok(this.put(request))).await,
            "DeleteRecord" => unary(call, move |request| Ok(this.delete(&request))).await,
            "ListRecords" => unary(call, move |request| Ok(this.list_records(&request))).await,
            other => Status::unimplemented(other).into_http(),
        }
    }
}

/// The manifest service: tools and their bundles.
#[derive(Clone, Default)]
pub(crate) struct Manifests {
    pub(crate) tools: BTreeMap<String, ToolSpec>,
    pub(crate) bundles: BTreeMap<String, Bytes>,
}

impl Manifests {
    pub(crate) fn transport(self) -> Transport {
        local(Fake(Arc::new(self)))
    }
}

impl Answer for Manifests {
    async fn answer(&self, call: http::Request<Body>) -> http::Response<Body> {
        let this = self.clone();
        match call.uri().path().rsplit('/').next().unwrap_or_default() {
            "ResolveTool" => {
                unary(call, move |request: ResolveToolRequest| {
                    let missing = Fault::not_found("MANIFEST_NOT_FOUND", "no such tool");
                    let tool = this.tools.get(&request.name).cloned();
                    Ok(ResolveToolResponse { tool: Some(tool.ok_or_else(|| status(&missing))?) })
                })
                .await
            }
            "GetBundle" => {
                let mut grpc = Grpc::new(ProstCodec::default());
                grpc.server_streaming(Bundles(this), call).await
            }
            other => Status::unimplemented(other).into_http(),
        }
    }
}

struct Bundles(Manifests);

impl ServerStreamingService<GetBundleRequest> for Bundles {
    type Response = GetBundleResponse;
    type ResponseStream = stream::Iter<std::vec::IntoIter<Result<GetBundleResponse, Status>>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<GetBundleRequest>) -> Self::Future {
        let Some(bundle) = self.0.bundles.get(&request.get_ref().digest) else {
            return ready(Err(Status::not_found("no such bundle")));
        };
        let pieces: Vec<_> = bundle
            .chunks(64 << 10)
            .map(|piece| Ok(GetBundleResponse { data: Bytes::copy_from_slice(piece) }))
            .collect();
        ready(Ok(Response::new(stream::iter(pieces))))
    }
}

/// Answers calls by path.
trait Answer: Send + Sync + 'static {
    fn answer(
        &self,
        call: http::Request<Body>,
    ) -> impl Future<Output = http::Response<Body>> + Send;
}

struct Fake<A>(Arc<A>);

impl<A> Clone for Fake<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Answer> tower::Service<http::Request<Body>> for Fake<A> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: http::Request<Body>) -> Self::Future {
        let answers = Arc::clone(&self.0);
        Box::pin(async move { Ok(answers.answer(call).await) })
    }
}

async fn unary<Q, R, F>(call: http::Request<Body>, answer: F) -> http::Response<Body>
where
    Q: prost::Message + Default + 'static,
    R: prost::Message + Default + 'static,
    F: FnMut(Q) -> Result<R, Status> + Send,
{
    let mut grpc = Grpc::new(ProstCodec::<R, Q>::default());
    grpc.unary(Unary(answer), call).await
}

struct Unary<F>(F);

impl<Q, R, F: FnMut(Q) -> Result<R, Status>> UnaryService<Q> for Unary<F> {
    type Response = R;
    type Future = Ready<Result<Response<R>, Status>>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        ready((self.0)(request.into_inner()).map(Response::new))
    }
}
