//! The test service: by hand what tonic-prost would generate, and what its actions do.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use cortex_core::Fault;
use cortex_rpc::{CallContext, Transport, context, outgoing, status};
use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, stream};
use http::uri::PathAndQuery;
use prost_reflect::DescriptorPool;
use tonic::{Request, Response, Status, Streaming, body::Body, server::NamedService};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

#[derive(Clone, PartialEq, prost::Message)]
pub struct EchoRequest {
    #[prost(string, tag = "1")]
    pub action: String,
    #[prost(uint32, tag = "2")]
    pub n: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct EchoResponse {
    #[prost(string, tag = "1")]
    pub text: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub payload: bytes::Bytes,
}

pub fn ask(action: &str) -> EchoRequest {
    EchoRequest { action: action.to_owned(), n: 0 }
}

pub fn ask_n(action: &str, n: u32) -> EchoRequest {
    EchoRequest { action: action.to_owned(), n }
}

/// The contract, compiled from its source.
pub fn pool() -> DescriptorPool {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proto");
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");
    let mut compiler = protox::Compiler::new([here, ours]).expect("the directories exist");
    compiler.include_imports(true);
    compiler.open_file("cortex/test/v1/echo_service.proto").expect("it compiles");
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).expect("it is valid")
}

/// What happened in the service.
#[derive(Debug, Default)]
pub struct State {
    /// Calls that reached a handler.
    pub calls: AtomicUsize,
    /// Stream items made.
    pub produced: AtomicUsize,
    /// Handlers and streams that were dropped or ended.
    pub ended: AtomicUsize,
}

impl State {
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub fn produced(&self) -> usize {
        self.produced.load(Ordering::SeqCst)
    }

    pub fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }
}

struct Ends(Arc<State>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// In a caller's extensions; must not be seen by the service.
#[derive(Clone)]
pub struct Smuggled;

#[derive(Clone, Default)]
pub struct Echo {
    pub state: Arc<State>,
    /// Where the action `onward` calls.
    pub peer: Option<EchoClient>,
}

type Items = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

fn said(text: impl Into<String>) -> EchoResponse {
    EchoResponse { text: text.into(), payload: bytes::Bytes::new() }
}

impl Echo {
    async fn unary(self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        let nth = self.state.calls.fetch_add(1, Ordering::SeqCst);
        let _ends = Ends(self.state.clone());
        let cx = context(&request);
        let smuggled = request.extensions().get::<Smuggled>().is_some();
        let EchoRequest { action, n } = request.into_inner();
        let answer = match action.as_str() {
            "sleep" => {
                tokio::time::sleep(Duration::from_millis(n.into())).await;
                said("slept")
            }
            "panic" => panic!("the test asked for it"),
            "weigh" => EchoResponse { payload: vec![7; n as usize].into(), ..said("heavy") },
            "context" => said(describe(&cx)),
            "smuggled" => said(smuggled.to_string()),
            "flaky" if nth < n as usize => {
                return Err(status(&Fault::unavailable("FLAKY", "not yet")));
            }
            "flaky_slow" if nth < n as usize => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                said("too late")
            }
            "busy" if nth < n as usize => {
                let fault = Fault::resource_exhausted("BUSY", "later")
                    .with_retry_after(Duration::from_millis(200));
                return Err(status(&fault));
            }
            "busy_long" => {
                let fault = Fault::resource_exhausted("BUSY", "much later")
                    .with_retry_after(Duration::from_secs(3600));
                return Err(status(&fault));
            }
            "internal" => return Err(status(&Fault::internal("DISK", "/secret/path is full"))),
            "raw_internal" => return Err(Status::internal("/secret/path is full")),
            "invalid" => return Err(status(&Fault::invalid("action", "must not be 'invalid'"))),
            "onward" => {
                let mut peer = self.peer.clone().expect("the test gave a peer");
                let next = if n == 0 { ask("context") } else { ask_n("onward", n - 1) };
                return peer.echo(outgoing(&cx, next)).await;
            }
            _ => said(action),
        };
        Ok(Response::new(answer))
    }

    async fn stream(self, request: Request<EchoRequest>) -> Result<Response<Items>, Status> {
        self.state.calls.fetch_add(1, Ordering::SeqCst);
        let EchoRequest { action, n } = request.into_inner();
        let state = self.state.clone();
        let ends = Ends(state.clone());
        let item = move |text: String| {
            let _held = &ends;
            state.produced.fetch_add(1, Ordering::SeqCst);
            Ok(said(text))
        };
        let items: Items = match action.as_str() {
            // One item, then nothing for ever.
            "hang" => stream::once(async { "first".to_owned() })
                .chain(stream::pending())
                .map(item)
                .boxed(),
            // No header before the end of time.
            "stuck" => futures::future::pending().await,
            // An item each n milliseconds.
            "tick" => stream::unfold(0, move |i| async move {
                tokio::time::sleep(Duration::from_millis(n.into())).await;
                Some((i.to_string(), i + 1))
            })
            .map(item)
            .boxed(),
            // n items with 100 ms between them.
            "count" => stream::unfold(0, move |i| async move {
                if i == n {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                Some((i.to_string(), i + 1))
            })
            .map(item)
            .boxed(),
            // Items without end, as fast as they are taken.
            "flood" => stream::repeat("flood".to_owned())
                .map(item)
                .map(move |said: Result<EchoResponse, Status>| {
                    said.map(|said| EchoResponse { payload: vec![7; n as usize].into(), ..said })
                })
                .boxed(),
            // One item, then a panic a little later.
            "panic" => stream::unfold(0, |i| async move {
                tokio::time::sleep(Duration::from_millis(i * 50)).await;
                assert!(i < 1, "the test asked for it");
                Some(("first".to_owned(), i + 1))
            })
            .map(item)
            .boxed(),
            "internal" => stream::iter([
                item("first".into()),
                Err(status(&Fault::internal("DISK", "/secret/path is full"))),
            ])
            .boxed(),
            other => return Err(Status::invalid_argument(other)),
        };
        Ok(Response::new(items))
    }
}

fn describe(cx: &CallContext) -> String {
    format!(
        "tenant={} user={} hops={} request={} trace={} left_ms={}",
        cx.identity.tenant(),
        cx.identity.user().unwrap_or("-"),
        cx.hops(),
        cx.request_id(),
        cx.trace().map(|trace| trace.id().to_string()).unwrap_or_default(),
        cx.time_left().map_or_else(|| "-".to_owned(), |left| left.as_millis().to_string()),
    )
}

/// The value of `key` in what the action `context` says.
pub fn told<'a>(text: &'a str, key: &str) -> &'a str {
    text.split(' ')
        .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
        .unwrap_or_else(|| panic!("no {key} in {text}"))
}

impl NamedService for Echo {
    const NAME: &'static str = "cortex.test.v1.EchoService";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        let mut grpc = tonic::server::Grpc::new(ProstCodec::<EchoResponse, EchoRequest>::default());
        async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            Ok(match method.as_str() {
                "Echo" | "Read" | "Brief" => {
                    grpc.unary(service_fn(move |request| this.clone().unary(request)), request)
                        .await
                }
                "Watch" | "Work" => {
                    let handler = service_fn(move |request| this.clone().stream(request));
                    grpc.server_streaming(handler, request).await
                }
                _ => Status::unimplemented(method).into_http(),
            })
        }
        .boxed()
    }
}

#[derive(Clone)]
pub struct EchoClient(pub Transport);

type Codec = ProstCodec<EchoRequest, EchoResponse>;

impl EchoClient {
    pub async fn unary(
        &mut self,
        method: &str,
        request: impl tonic::IntoRequest<EchoRequest>,
    ) -> Result<Response<EchoResponse>, Status> {
        let mut grpc = tonic::client::Grpc::new(self.0.clone());
        grpc.ready().await.map_err(|error| Status::from_error(error.into_inner()))?;
        grpc.unary(request.into_request(), path(method), Codec::default()).await
    }

    pub async fn echo(
        &mut self,
        request: impl tonic::IntoRequest<EchoRequest>,
    ) -> Result<Response<EchoResponse>, Status> {
        self.unary("Echo", request).await
    }

    pub async fn stream(
        &mut self,
        method: &str,
        request: impl tonic::IntoRequest<EchoRequest>,
    ) -> Result<Streaming<EchoResponse>, Status> {
        let mut grpc = tonic::client::Grpc::new(self.0.clone());
        grpc.ready().await.map_err(|error| Status::from_error(error.into_inner()))?;
        let answer =
            grpc.server_streaming(request.into_request(), path(method), Codec::default()).await?;
        Ok(answer.into_inner())
    }
}

fn path(method: &str) -> PathAndQuery {
    format!("/{}/{method}", Echo::NAME).parse().expect("a path")
}
