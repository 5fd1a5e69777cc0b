//! One port: plain HTTP beside gRPC, probes, guard, reflection, and the limits of connections.
#![allow(clippy::panic, reason = "tests fail by it")]

mod common;

use std::time::{Duration, Instant};

use common::{
    PATIENCE, Setup, Way, World,
    echo::{self, Echo, ask, ask_n},
    until,
};
use cortex_config::{ByteSize, Duration as Span};
use cortex_rpc::{CallContext, Server, ServerConfig, Transport, not_offered};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_stream::StreamExt;
use tonic::body::Body;

type Answer = (StatusCode, http::HeaderMap, Value);

async fn send(request: Request<Full<bytes::Bytes>>, http2: bool) -> Answer {
    let client = HttpClient::builder(TokioExecutor::new()).http2_only(http2).build_http();
    let answer = tokio::time::timeout(PATIENCE, client.request(request)).await;
    let answer = answer.expect("in time").expect("an answer");
    let (head, body) = answer.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    (head.status, head.headers, serde_json::from_slice(&body).unwrap_or(Value::String(text)))
}

async fn get(url: &str) -> Answer {
    send(Request::get(url).body(Full::default()).expect("a request"), false).await
}

fn post(url: &str) -> http::request::Builder {
    Request::post(url).header("content-type", "application/json")
}

/// A server with everything that a port can carry.
async fn port() -> String {
    let fallback = |_: Transport| {
        tower::service_fn(|request: Request<Body>| async move {
            let context = request.extensions().get::<CallContext>().cloned().unwrap_or_default();
            if request.uri().path() == "/nothing" {
                return Err("the fallback broke at /secret/path");
            }
            assert!(request.uri().path() != "/panic", "the test asked for it");
            let text = format!(
                "{{\"path\":\"{}\",\"id\":\"{}\"}}",
                request.uri().path(),
                context.request_id()
            );
            Ok(Response::new(Full::new(bytes::Bytes::from(text))))
        })
    };
    let routes =
        axum::Router::new().route("/v1/models", axum::routing::get(|| async { "[]" })).route(
            "/v1/take",
            axum::routing::post(|body: bytes::Bytes| async move { body.len().to_string() }),
        );
    let server = Server::builder("echo")
        .config(ServerConfig { max_http_body: ByteSize::kib(64), ..ServerConfig::default() })
        .descriptors(echo::pool())
        .add_service(Echo::default())
        .forward(
            cortex_rpc::Router::new()
                .route("cortex.runtime.v1.WorkflowService", not_offered("workflows")),
        )
        .routes(routes)
        .fallback(fallback)
        .openapi("{\"openapi\":\"3.1.0\"}")
        .ready_check("database", || async { Ok(()) })
        .build();
    let listening = server.bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
    let url = format!("http://{}", listening.address());
    tokio::spawn(listening.serve(std::future::pending()));
    url
}

#[tokio::test]
async fn probes_metrics_and_openapi_answer() {
    let url = port().await;
    for path in ["/health", "/health/ready"] {
        let (code, _, body) = get(&format!("{url}{path}")).await;
        assert_eq!(code, StatusCode::OK);
        assert_eq!((&body["status"], &body["service"]), (&"healthy".into(), &"echo".into()));
        assert_eq!(body["checks"]["database"], "ok");
        assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    }
    let (code, _, body) = get(&format!("{url}/health/live")).await;
    assert_eq!((code, body.get("checks")), (StatusCode::OK, None));
    let (_, headers, body) = get(&format!("{url}/metrics")).await;
    assert!(
        headers["content-type"]
            .to_str()
            .expect("ascii")
            .starts_with("application/openmetrics-text")
    );
    assert!(body.as_str().expect("text").contains("process_resident_memory_bytes"));
    let (_, headers, body) = get(&format!("{url}/openapi.json")).await;
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(body["openapi"], "3.1.0");
}

#[tokio::test]
async fn what_is_missing_makes_a_service_unready_and_not_dead() {
    let server = Server::builder("echo")
        .ready_check("docker", || async {
            Err("no Docker engine at /var/run/docker.sock".to_owned())
        })
        .ready_check("stuck", std::future::pending)
        .build();
    let listening = server.bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
    let url = format!("http://{}", listening.address());
    tokio::spawn(listening.serve(std::future::pending()));
    let (code, _, body) = get(&format!("{url}/health/ready")).await;
    assert_eq!((code, &body["status"]), (StatusCode::SERVICE_UNAVAILABLE, &"degraded".into()));
    assert_eq!(body["checks"]["docker"], "no Docker engine at /var/run/docker.sock");
    assert_eq!(body["checks"]["stuck"], "no answer in 2s");
    assert_eq!(get(&format!("{url}/health")).await.0, StatusCode::OK);
    assert_eq!(get(&format!("{url}/health/live")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn routes_win_over_the_fallback_on_both_versions_of_http() {
    let url = port().await;
    for http2 in [false, true] {
        let of = |path: &str| {
            Request::get(format!("{url}{path}")).header("x-request-id", "abc").body(Full::default())
        };
        let (code, headers, body) = send(of("/v1/models").expect("a request"), http2).await;
        assert_eq!((code, body), (StatusCode::OK, Value::Array(vec![])));
        assert_eq!(headers["x-request-id"], "abc");
        let (code, _, body) = send(of("/agent/session").expect("a request"), http2).await;
        assert_eq!((code, &body["path"]), (StatusCode::OK, &"/agent/session".into()));
        assert_eq!(body["id"], "abc", "the context reaches the fallback");
        // A path of a route with another method is the fallback's too.
        let other = post(&format!("{url}/v1/models")).body(Full::from("{}")).expect("a request");
        assert_eq!(send(other, http2).await.2["path"], "/v1/models");
    }
}

#[tokio::test]
async fn the_fallbacks_calls_carry_the_context_and_are_no_hop() {
    let fallback = |transport: Transport| {
        tower::service_fn(move |request: Request<Body>| {
            let mut client = echo::EchoClient(transport.clone());
            async move {
                let mut call = tonic::Request::new(ask("context"));
                *call.extensions_mut() = request.extensions().clone();
                let said = client.echo(call).await.expect("answered").into_inner().text;
                Ok::<_, std::convert::Infallible>(Response::new(Full::new(bytes::Bytes::from(
                    said,
                ))))
            }
        })
    };
    let echo = Echo::default();
    let server = Server::builder("echo")
        .descriptors(echo::pool())
        .add_service(echo)
        .fallback(fallback)
        .build();
    let peer = "127.0.0.1:1".parse().expect("an address");
    let peer = cortex_rpc::Peer::Socket { remote: peer, local: peer };
    let request = Request::get("http://localhost/x")
        .header("x-request-id", "abc")
        .header("x-cortex-tenant", "somebody-else")
        .body(Body::empty());
    let answer = server.answer(request.expect("a request"), peer).await;
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    let said = String::from_utf8_lossy(&body).into_owned();
    assert_eq!(echo::told(&said, "request"), "abc");
    assert_eq!(echo::told(&said, "tenant"), "default", "a socket is not believed, on any way");
    assert_eq!(echo::told(&said, "hops"), "0");
}

#[tokio::test]
async fn failures_are_googles_json_and_never_internals() {
    let url = port().await;
    for path in ["/nothing", "/panic"] {
        let (code, headers, body) = get(&format!("{url}{path}")).await;
        assert_eq!(
            (code, &body["error"]["status"]),
            (StatusCode::INTERNAL_SERVER_ERROR, &"INTERNAL".into()),
            "{path}"
        );
        let id = headers["x-request-id"].to_str().expect("ascii");
        assert!(body["error"]["message"].as_str().expect("text").contains(id));
        assert!(
            !body.to_string().contains("secret") && !body.to_string().contains("asked"),
            "{body}"
        );
    }
    let bare = Server::builder("bare").build();
    let request = Request::get("http://localhost/x").body(Body::empty()).expect("a request");
    let answer = bare.answer(request, cortex_rpc::Peer::InProcess).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(answer.headers()["content-type"], "application/json");
}

#[tokio::test]
async fn a_web_page_cannot_drive_the_mesh() {
    let url = port().await;
    let take = format!("{url}/v1/take");
    let cases = [
        (post(&take), StatusCode::OK, "4"),
        (post(&take).header("origin", url.clone()), StatusCode::OK, "4"),
        (
            post(&take).header("origin", "https://evil.com"),
            StatusCode::FORBIDDEN,
            "ORIGIN_NOT_ALLOWED",
        ),
        (post(&take).header("host", "evil.com"), StatusCode::FORBIDDEN, "HOST_NOT_ALLOWED"),
        (
            Request::post(&take).header("content-type", "text/plain"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "CONTENT_TYPE",
        ),
        (Request::post(&take), StatusCode::UNSUPPORTED_MEDIA_TYPE, "CONTENT_TYPE"),
    ];
    for (request, code, told) in cases {
        let (got, headers, body) =
            send(request.body(Full::from("true")).expect("a request"), false).await;
        assert_eq!(got, code, "{body}");
        if code == StatusCode::OK {
            assert_eq!(body.to_string(), told);
        } else {
            assert_eq!(body["error"]["code"], code.as_u16());
            assert_eq!(body["error"]["details"][0]["reason"], told, "{body}");
            assert!(headers.contains_key("x-request-id"));
        }
    }
    // Probes are asked by any name.
    let probe =
        Request::get(format!("{url}/health")).header("host", "gateway").body(Full::default());
    assert_eq!(send(probe.expect("a request"), false).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let url = port().await;
    let big = post(&format!("{url}/v1/take")).body(Full::from(vec![b' '; 65 << 10]));
    assert_eq!(send(big.expect("a request"), false).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn grpc_over_http_1_is_told_what_it_needs() {
    let url = port().await;
    let request = Request::post(format!("{url}/cortex.test.v1.EchoService/Echo"))
        .header("content-type", "application/grpc")
        .body(Full::default());
    let (code, _, body) = send(request.expect("a request"), false).await;
    assert_eq!(
        (code, &body["error"]["details"][0]["reason"]),
        (StatusCode::BAD_REQUEST, &"HTTP2_NEEDED".into())
    );
}

async fn grpc(url: &str) -> Transport {
    cortex_rpc::Client::default().with_methods(common::methods()).connect([url]).expect("a URL")
}

#[tokio::test]
async fn reflection_shows_what_is_served_with_its_options() {
    use tonic_reflection::pb::v1::{
        ExtensionRequest, ServerReflectionRequest,
        server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let url = port().await;
    let mut client = ServerReflectionClient::new(grpc(&url).await);
    let ask =
        |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let questions = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("cortex.test.v1.EchoService.Brief".into()),
        MessageRequest::FileContainingSymbol("no.such.Thing".into()),
        MessageRequest::FileContainingExtension(ExtensionRequest {
            containing_type: "google.protobuf.MethodOptions".into(),
            extension_number: 50702,
        }),
        MessageRequest::AllExtensionNumbersOfType("google.protobuf.MethodOptions".into()),
        MessageRequest::FileByFilename("cortex/api/v1/options.proto".into()),
    ];
    let answers = client
        .server_reflection_info(tokio_stream::iter(questions.map(ask)))
        .await
        .expect("headers")
        .into_inner();
    let answers: Vec<_> =
        answers.map(|a| a.expect("an answer").message_response.expect("set")).collect().await;
    let [
        MessageResponse::ListServicesResponse(list),
        MessageResponse::FileDescriptorResponse(file),
        MessageResponse::ErrorResponse(error),
        MessageResponse::FileDescriptorResponse(extension),
        MessageResponse::AllExtensionNumbersResponse(numbers),
        MessageResponse::FileDescriptorResponse(by_name),
    ] = answers.as_slice()
    else {
        panic!("{answers:?}");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    let expected = [
        "cortex.runtime.v1.WorkflowService",
        "cortex.test.v1.EchoService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];
    assert_eq!(names, expected);
    assert_eq!(error.error_code, tonic::Code::NotFound as i32);
    assert_eq!(extension.file_descriptor_proto, by_name.file_descriptor_proto);
    assert!(numbers.extension_number.contains(&50702));
    // The options of Brief survive: 300 ms is in its file, as (cortex.api.v1.call).
    let mut pool = prost_reflect::DescriptorPool::global();
    for bytes in by_name.file_descriptor_proto.iter().chain(&file.file_descriptor_proto) {
        pool.decode_file_descriptor_proto(bytes.as_slice())
            .expect("a file that stands on known ones");
    }
    let method = cortex_rpc::MethodTable::from_pool(&pool);
    let brief = method.get("/cortex.test.v1.EchoService/Brief").expect("described");
    assert_eq!(brief.deadline(None), Some(Duration::from_millis(300)));
}

#[tokio::test]
async fn the_older_reflection_answers_too() {
    use tonic_reflection::pb::v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let url = port().await;
    let mut client = ServerReflectionClient::new(grpc(&url).await);
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers =
        client.server_reflection_info(tokio_stream::once(question)).await.expect("headers");
    let answer = answers.into_inner().message().await.expect("an answer").expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    assert!(list.service.iter().any(|service| service.name == "cortex.test.v1.EchoService"));
}

#[tokio::test]
async fn health_knows_each_service_by_name() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let url = port().await;
    let mut client = HealthClient::new(grpc(&url).await);
    for service in [
        "",
        "cortex.test.v1.EchoService",
        "cortex.runtime.v1.WorkflowService",
        "grpc.health.v1.Health",
    ] {
        let asked = HealthCheckRequest { service: service.to_owned() };
        let now = client.check(asked).await.expect("answered").into_inner();
        assert_eq!(now.status, 1, "{service}");
    }
    let asked = HealthCheckRequest { service: "no.such.Service".to_owned() };
    assert_eq!(client.check(asked).await.expect_err("unknown").code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn forwarded_calls_reach_their_service_undecoded_and_the_rest_is_unimplemented() {
    let backend = World::new(Way::Tcp).await;
    let mesh =
        cortex_rpc::Router::new().route("cortex.test.v1.EchoService", grpc(&backend.url).await);
    let gateway = Server::builder("gateway").descriptors(echo::pool()).forward(mesh).build();
    let listening = gateway.bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
    let url = format!("http://{}", listening.address());
    tokio::spawn(listening.serve(std::future::pending()));
    let mut client = echo::EchoClient(grpc(&url).await);
    let mut request = tonic::Request::new(ask("context"));
    request.metadata_mut().insert("x-request-id", "abc".parse().expect("ascii"));
    let answer = client.echo(request).await.expect("answered");
    assert_eq!(echo::told(&answer.get_ref().text, "request"), "abc");
    assert_eq!(echo::told(&answer.get_ref().text, "hops"), "2");
    let error = client.echo(ask("internal")).await.expect_err("it fails");
    assert_eq!(cortex_rpc::reason(&error).as_deref(), Some("DISK"));
    let mut stream = client.stream("Watch", ask_n("tick", 5)).await.expect("headers");
    for expected in 0..3 {
        assert_eq!(
            stream.message().await.expect("an item").expect("an item").text,
            expected.to_string()
        );
    }
    drop(stream);
    until("the source is dropped", || backend.state.ended() == 3).await;
    let mut workflows = tonic::client::Grpc::new(grpc(&url).await);
    workflows.ready().await.expect("ready");
    let codec = tonic_prost::ProstCodec::<echo::EchoRequest, echo::EchoResponse>::default();
    let path = "/cortex.runtime.v1.WorkflowService/StartWorkflow".parse().expect("a path");
    let error =
        workflows.unary(tonic::Request::new(ask("x")), path, codec).await.expect_err("not here");
    assert_eq!(
        (error.code(), cortex_rpc::reason(&error).as_deref()),
        (tonic::Code::Unimplemented, Some("SERVICE_UNKNOWN"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_do_not_wait_for_nagle() {
    let world = World::new(Way::Tcp).await;
    let mut client = world.client.clone();
    let mut times = Vec::new();
    for _ in 0..51 {
        let begun = Instant::now();
        client.echo(ask_n("weigh", 64 << 10)).await.expect("answered");
        times.push(begun.elapsed());
    }
    times.sort();
    // Nagle and delayed acknowledgements make it 40 ms.
    assert!(times[25] < Duration::from_millis(20), "p50 {:?}", times[25]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_holds_back_its_source() {
    let world = World::new(Way::Tcp).await;
    let mut client = world.client.clone();
    const ITEM: u32 = 16 << 10;
    let mut stream = client.stream("Watch", ask_n("flood", ITEM)).await.expect("headers");
    stream.message().await.expect("an item");
    until("items were made", || world.state.produced() > 1).await;
    let settled = async {
        let mut last = 0;
        while last != world.state.produced() {
            last = world.state.produced();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        last
    };
    let produced = tokio::time::timeout(PATIENCE, settled).await.expect("it stops");
    let bytes = produced * ITEM as usize;
    // The window, the send buffer and what is being encoded; with HTTP/2's usual windows it is 2 MB.
    assert!(bytes <= 640 << 10, "{bytes} bytes were made for a reader that took one item");
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let mut setup = Setup::default();
    setup.server.header_timeout = Span::from_millis(200);
    let world = World::with(Way::Tcp, setup).await;
    for sent in ["", "PRI * HT", "GET / HTTP/1.1\r\nHost: loc"] {
        let mut socket = TcpStream::connect(world.address()).await.expect("it listens");
        socket.write_all(sent.as_bytes()).await.expect("it takes it");
        let mut rest = Vec::new();
        let closed =
            tokio::time::timeout(Duration::from_secs(3), socket.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "still open after '{sent}'");
    }
}

#[tokio::test]
async fn huge_headers_are_refused() {
    let url = port().await;
    let request = Request::get(format!("{url}/v1/models")).header("x-big", "x".repeat(70 << 10));
    let (code, ..) = send(request.body(Full::default()).expect("a request"), false).await;
    assert_eq!(code, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let mut setup = Setup::default();
    setup.server.max_connections = 1;
    let world = World::with(Way::Tcp, setup).await;
    let mut first = world.client.clone();
    first.echo(ask("hello")).await.expect("the first connection");
    let mut second = TcpStream::connect(world.address()).await.expect("the kernel takes it");
    second.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("taken");
    let mut byte = [0; 1];
    let early = tokio::time::timeout(Duration::from_millis(200), second.read(&mut byte)).await;
    assert!(early.is_err(), "answered beside the first");
    drop((first, world.client));
    tokio::time::timeout(PATIENCE, second.read_exact(&mut byte))
        .await
        .expect("its turn")
        .expect("answered");
}
