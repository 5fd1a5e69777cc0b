//! What is set up once per process: log, panics, and the spans that a collector gets.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use cortex_telemetry::{LogFormat, TelemetryConfig, TelemetryError, TraceContext, init};
use http_body_util::BodyExt;
use tonic::{body::Body, server::NamedService, transport::server::TcpIncoming};

/// Stands in for an OpenTelemetry collector: keeps what is exported.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Bytes>>>);

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl tower::Service<http::Request<Body>> for Collector {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let kept = self.0.clone();
        Box::pin(async move {
            let body = request.into_body().collect().await.expect("a request").to_bytes();
            kept.lock().expect("not poisoned").push(body);
            // An empty ExportTraceServiceResponse.
            let message = Bytes::from_static(&[0, 0, 0, 0, 0]);
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            let frames =
                http_body_util::Full::new(message).with_trailers(async { Some(Ok(trailers)) });
            let mut response = http::Response::new(Body::new(frames));
            let kind = http::HeaderValue::from_static("application/grpc");
            response.headers_mut().insert("content-type", kind);
            Ok(response)
        })
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_reach_the_collector_in_their_callers_trace() {
    let collector = Collector::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let server = tonic::transport::Server::builder().add_service(collector.clone());
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let config = TelemetryConfig {
        otlp_endpoint: Some(endpoint),
        format: LogFormat::Json,
        service_name: "storage-under-test".to_owned(),
        ..TelemetryConfig::default()
    };
    let guard = init(&config).expect("set up");
    assert!(matches!(init(&config), Err(TelemetryError::Twice)));

    let caller = TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let caller = caller.expect("valid");
    let span = tracing::info_span!(target: "cortex_test", "append", otel.name = "append-entries");
    caller.adopt(&span);
    let own = TraceContext::of(&span).expect("spans are exported");
    assert_eq!(own.id(), caller.id());
    assert_ne!(own, caller, "a span of its own in the same trace");
    assert!(own.sampled());
    assert_eq!(span.in_scope(TraceContext::current), Some(own));
    let foreign = tracing::info_span!(target: "h2", "foreign-frame");
    assert_eq!(TraceContext::of(&foreign), None, "not ours: not exported");
    drop((span, foreign));

    // A panic is logged by the hook and ends its own thread only.
    assert!(std::thread::spawn(|| panic!("asked for by the test")).join().is_err());

    tokio::time::timeout(Duration::from_secs(10), guard.shutdown()).await.expect("in time");
    let exported = collector.0.lock().expect("not poisoned").concat();
    assert!(contains(&exported, b"append-entries"), "the span");
    assert!(contains(&exported, b"storage-under-test"), "the service's name");
    let trace_id = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
    assert!(contains(&exported, &trace_id), "the caller's trace");
    assert!(!contains(&exported, b"foreign-frame"));
}
