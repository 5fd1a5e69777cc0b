//! Annotations that do not fit are found at build; the project's own do fit.

use cortex_transcode::{BuildError, Transcoder};
use prost_reflect::DescriptorPool;
use tonic::body::Body;

/// A service that nobody calls.
fn nobody() -> impl tower::Service<
    http::Request<Body>,
    Response = http::Response<Body>,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone
+ Send
+ Sync
+ 'static {
    tower::service_fn(|_| async { Ok(http::Response::new(Body::empty())) })
}

/// Why a service with this method in its contract cannot be built.
fn build(rpcs: &str) -> Result<Transcoder, BuildError> {
    let contract = format!(
        r#"
        syntax = "proto3";
        package t.v1;
        import "google/api/annotations.proto";
        import "google/api/httpbody.proto";
        import "cortex/api/v1/options.proto";
        message In {{ string a = 1; In in = 2; repeated string list = 3; bool stream = 4; }}
        message Out {{
          string a = 1;
          oneof o {{ string b = 2; }}
          oneof failing {{ string error = 3; }}
        }}
        message Other {{ string a = 2; }}
        service S {{
          {rpcs}
        }}
        "#
    );
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = directory.join(format!("contract_{}.proto", std::process::id()));
    let number = rpcs.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    let file = file.with_file_name(format!("contract_{number}.proto"));
    std::fs::write(&file, contract).expect("the target directory is writable");
    let protos = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let mut compiler = protox::Compiler::new([directory, &protos]).expect("the directories exist");
    compiler.include_imports(true).open_file(&file).expect("a valid contract");
    let pool = DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice());
    Transcoder::builder(pool.expect("valid descriptors")).service("t.v1.S", nobody()).build()
}

fn wrong(rpc: &str) -> String {
    build(rpc).expect_err(rpc).to_string()
}

fn rule(rule: &str) -> String {
    wrong(&format!("rpc M(In) returns (Out) {{ option (google.api.http) = {{ {rule} }}; }}"))
}

fn stream(options: &str) -> String {
    wrong(&format!(
        "rpc M(In) returns (stream Out) {{
           option (google.api.http) = {{ get: \"/m\" }};
           option (cortex.api.v1.http_stream) = {{ {options} }};
         }}
         rpc Unary(In) returns (Out);
         rpc Unlike(Other) returns (Out);"
    ))
}

#[test]
fn an_annotation_that_does_not_fit_names_itself() {
    for (found, expected) in [
        (rule(r#"get: "m""#), "t.v1.S.M: GET m: expected `/` at byte 0"),
        (rule(r#"get: "/{b}""#), "t.v1.S.M: GET /{b}: t.v1.In has no field `b`"),
        (rule(r#"get: "/{in}""#), "t.v1.S.M: GET /{in}: the path variable `in` is a message"),
        (rule(r#"get: "/{list}""#), "t.v1.S.M: GET /{list}: `list` cannot be part of a path"),
        (rule(r#"get: "/{a.b}""#), "t.v1.S.M: GET /{a.b}: `a` cannot be part of a path"),
        (rule(r#"post: "/m" body: "b""#), "t.v1.S.M: POST /m: t.v1.In has no field `b`"),
        (rule(r#"get: "/m" response_body: "c""#), "t.v1.S.M: GET /m: t.v1.Out has no field `c`"),
        (rule(r#"body: "*""#), "t.v1.S.M: the rule names no path"),
        (stream(r#"id_field: "x""#), "t.v1.S.M: GET /m: t.v1.Out has no field `x`"),
        (stream(r#"id_field: "a.x""#), "t.v1.S.M: GET /m: `a.x` goes into what is no message"),
        (stream(r#"event_oneof: "x""#), "t.v1.S.M: GET /m: t.v1.Out has no oneof `x`"),
        (
            stream(r#"event_oneof: "failing""#),
            "t.v1.S.M: GET /m: an arm of `failing` is named `error`, as the event of a failed stream",
        ),
        (stream(r#"resume_field: "x""#), "t.v1.S.M: GET /m: t.v1.In has no field `x`"),
        (
            stream(r#"switch_field: "a" unary_method: "Unary""#),
            "t.v1.S.M: GET /m: switch_field `a` is not a boolean",
        ),
        (
            stream(r#"switch_field: "stream" unary_method: "None""#),
            "t.v1.S.M: GET /m: unary_method `None` is not in the service",
        ),
        (
            stream(r#"switch_field: "stream" unary_method: "M""#),
            "t.v1.S.M: GET /m: unary_method `M` is a stream",
        ),
        (
            stream(r#"switch_field: "stream" unary_method: "Unlike""#),
            "t.v1.S.M: GET /m: `a` of Unlike is not the same field in t.v1.In",
        ),
        (
            wrong(
                r#"rpc M(stream In) returns (Out) {
                     option (google.api.http) = { post: "/m" body: "*" };
                   }"#,
            ),
            "t.v1.S.M: POST /m: a stream of requests is only offered for uploads, whose body is a \
             google.api.HttpBody and whose answer is one message",
        ),
        (
            wrong(
                r#"rpc M(In) returns (Out) { option (google.api.http) = { get: "/m/{a}" }; }
                   rpc N(In) returns (Out) { option (google.api.http) = { get: "/m/{in.a}" }; }"#,
            ),
            "t.v1.S.N and t.v1.S.M both answer GET /m/{in.a}",
        ),
    ] {
        assert_eq!(found, expected);
    }
    let unknown =
        Transcoder::builder(crate::server::pool().clone()).service("x.Y", nobody()).build();
    let unknown = unknown.expect_err("no such service").to_string();
    assert_eq!(unknown, "service x.Y is not in the descriptor pool");
}

#[test]
fn a_method_of_any_name_can_be_bound() {
    let built = build(
        r#"rpc M(In) returns (Out) {
             option (google.api.http) = { custom: {kind: "PURGE" path: "/m"} };
           }"#,
    );
    let routes: Vec<_> = built.expect("valid").routes().cloned().collect();
    assert_eq!(routes.len(), 1);
    assert_eq!((routes[0].method.as_str(), routes[0].path.as_str()), ("PURGE", "/m"));
}

#[test]
fn every_contract_of_the_project_can_be_served_together() {
    let pool = cortex_proto::descriptor_pool();
    let mut builder = Transcoder::builder(pool.clone());
    for service in pool.services() {
        builder = builder.service(service.full_name(), nobody());
    }
    let transcoder = builder.build().expect("every annotation fits, and no two routes are one");
    assert!(transcoder.routes().count() > 20);
}
