//! Wrong input: a precise error that names the field, in gRPC and in JSON, and the service goes on.

use bytes::Bytes;
use cortex_proto::descriptor_pool;
use cortex_transcode::JsonCodec;
use prost_reflect::{FieldDescriptor, Kind, MethodDescriptor};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::{
    port::Port,
    raw::{grpc, grpc_bytes, http, method},
    rpcs::RPCS,
    tenancy::World,
};

/// Fields whose values are made by the receiver's own rules: a wrong one has another reason.
const LEFT_OUT: &[(&str, &str)] = &[
    // Any text is an etag: one that does not fit is a mismatch.
    ("StateService.ReplaceState", "etag"),
    ("StateService.PatchState", "etag"),
    // Any text is a message, up to a size that has a test of its own.
    ("HistoryService.AddMessage", "content"),
    // Negative: so many bytes before the end.
    ("ArtifactService.DownloadArtifact", "offset"),
];

/// A request in which one field is wrong.
struct Wrong {
    rpc: &'static str,
    field: String,
    request: String,
    /// An enum's value cannot be wrong in JSON that can be encoded: the good request as it is encoded,
    /// and the wrong field behind it, which wins.
    encoded: Option<Vec<u8>>,
}

/// Wrong values for a field of a request, by what the contracts say of fields of its name or kind.
fn wrong_values(field: &FieldDescriptor, token: &str) -> Vec<Value> {
    let json = descriptor_pool().get_extension_by_name("cortex.api.v1.json").expect("known");
    let is_json = field.options().has_extension(&json);
    let long = "x".repeat(10_000);
    match (field.name(), field.kind()) {
        _ if field.is_map() || field.is_list() => Vec::new(),
        ("page_size" | "limit" | "offset", _) => vec![json!(-1)],
        ("page_token", _) => vec![json!("nonsense!"), json!(token)],
        ("request_id", _) => vec![json!("x".repeat(129))],
        // A user's name is whatever identifies users elsewhere.
        (name, Kind::String) if name.ends_with("_id") && name != "user_id" => {
            vec![json!("nonsense"), json!("../../etc/passwd"), json!(long)]
        }
        (_, Kind::String) if is_json => vec![json!(7), json!([1, 2]), json!("text")],
        (_, Kind::String) => vec![json!(long)],
        (_, Kind::Enum(_)) => vec![json!(99)],
        (name, Kind::Int64) if name.starts_with("expected_") || name == "after_revision" => {
            vec![json!(-1)]
        }
        _ => Vec::new(),
    }
}

/// Whether an empty value is wrong.
fn is_required(field: &FieldDescriptor) -> bool {
    let behaviour = descriptor_pool().get_extension_by_name("google.api.field_behavior");
    let options = field.options();
    let behaviour = options.get_extension(&behaviour.expect("known")).into_owned();
    // REQUIRED is 2.
    behaviour
        .as_list()
        .is_some_and(|list| list.iter().any(|value| value.as_enum_number() == Some(2)))
}

/// Every method's good request, with one field at a time made wrong.
fn table(world: &World, token: &str) -> Vec<Wrong> {
    let mut table = Vec::new();
    for rpc in RPCS.iter().filter(|rpc| !rpc.name.starts_with("AdminService")) {
        let good: Value = serde_json::from_str(&world.request(rpc)).expect("JSON");
        let input = method(rpc.name).input();
        for field in input.fields() {
            if LEFT_OUT.contains(&(rpc.name, field.name())) {
                continue;
            }
            let mut values = wrong_values(&field, token);
            if is_required(&field) && matches!(field.kind(), Kind::String) && !field.is_list() {
                values.push(Value::Null);
            }
            for value in values {
                let mut request = good.clone();
                request[field.name()] = value;
                let is_enum = matches!(field.kind(), Kind::Enum(_));
                let encoded = is_enum.then(|| {
                    let json = JsonCodec::new(descriptor_pool());
                    let good = json.parse(input.full_name(), &good.to_string()).expect("good");
                    let tag = u8::try_from(field.number() << 3).expect("a small number");
                    [good, vec![tag, 99]].concat()
                });
                let (field, request) = (field.name().to_owned(), request.to_string());
                table.push(Wrong { rpc: rpc.name, field, request, encoded });
            }
        }
    }
    table
}

fn shown(request: &str) -> String {
    request.chars().take(200).collect()
}

/// Why a call's answer is not the refusal that names `field`, if it is not.
fn complaint(wrong: &Wrong, status: &Status) -> Option<String> {
    let fault = cortex_rpc::fault(status);
    let reason = cortex_rpc::reason(status).unwrap_or_default();
    let right = status.code() == Code::InvalidArgument
        && ["INVALID_FIELD", "TOO_LARGE"].contains(&reason.as_str())
        && fault.violations.iter().any(|violation| violation.field == wrong.field);
    (!right).then(|| {
        let fields: Vec<_> = fault.violations.iter().map(|v| v.field.clone()).collect();
        format!(
            "{} {}: {:?} {reason} {fields:?} {}",
            wrong.rpc,
            shown(&wrong.request),
            status.code(),
            status.message()
        )
    })
}

#[tokio::test]
async fn every_wrong_field_is_named_in_grpc_and_in_json() {
    let world = World::new().await;
    let port = &world.port;
    // A token that is well formed and belongs to another query.
    for _ in 0..2 {
        port.session().await;
    }
    let token =
        port.get("/storage/sessions?page_size=1&agent_name=assistant").await.next_page_token();
    assert!(!token.is_empty());
    let mut complaints = Vec::new();
    let table = table(&world, &token);
    assert!(table.len() > 150, "the table is made from the contracts: {}", table.len());
    for wrong in &table {
        let called = method(wrong.rpc);
        let answer = match &wrong.encoded {
            Some(bytes) => {
                let told = grpc_bytes(port, "acme", &called, bytes.clone()).await;
                told.map(|bytes| format!("{bytes:?}"))
            }
            None => grpc(port, "acme", &called, &wrong.request).await,
        };
        match answer {
            Ok(answer) => {
                complaints.push(format!(
                    "{} {}: taken: {answer}",
                    wrong.rpc,
                    shown(&wrong.request)
                ));
            }
            Err(status) => complaints.extend(complaint(wrong, &status)),
        }
        complaints.extend(over_http(port, &called, wrong).await);
    }
    assert!(
        complaints.is_empty(),
        "{} of {}:\n{}",
        complaints.len(),
        table.len(),
        complaints.join("\n")
    );
    port.session().await;
}

async fn over_http(port: &Port, called: &MethodDescriptor, wrong: &Wrong) -> Option<String> {
    // What a browser cannot send, and what is bytes over HTTP, has tests of its own.
    if called.is_client_streaming() {
        return None;
    }
    let answer = http(port, called, &wrong.request).await?;
    let right = answer.status == 400
        && ["INVALID_FIELD", "TOO_LARGE"].contains(&answer.reason().as_str())
        && answer.fields().contains(&wrong.field);
    (!right).then(|| {
        format!(
            "HTTP {} {}: {} {}",
            wrong.rpc,
            shown(&wrong.request),
            answer.status,
            shown(&answer.body)
        )
    })
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_the_service_goes_on() {
    let port = Port::open().await;
    let session = port.session().await;
    let text = |bytes: usize| "x".repeat(bytes);
    for (method, path, body, reason, field) in [
        (
            "POST",
            "/storage/history".to_owned(),
            json!({"session_id": session, "role": "user", "content": text((4 << 20) + 1)}),
            "TOO_LARGE",
            "content",
        ),
        (
            "POST",
            "/storage/sessions".to_owned(),
            json!({"agent_name": "a", "metadata": {"x": text(64 << 10)}}),
            "TOO_LARGE",
            "metadata",
        ),
        (
            "PUT",
            format!("/storage/state/{session}"),
            json!({"data": {"x": text(1 << 20)}}),
            "TOO_LARGE",
            "data",
        ),
        (
            "PUT",
            "/storage/cache/a".to_owned(),
            json!({"value": {"x": text(1 << 20)}}),
            "TOO_LARGE",
            "value",
        ),
        (
            "PUT",
            "/storage/records/a".to_owned(),
            // Four thirds of it as base64.
            json!({"value": text(5_600_000)}),
            "TOO_LARGE",
            "value",
        ),
    ] {
        let answer = port.call(method, &path, Bytes::from(body.to_string())).await;
        answer.refused(400, reason);
        assert_eq!(answer.fields(), [field], "{path}");
    }
    let whole =
        json!({"session_id": session, "role": "user", "content": text(9 << 20)}).to_string();
    port.call("POST", "/storage/history", Bytes::from(whole)).await.refused(413, "BODY_TOO_LARGE");
    // More than a whole gRPC message may have.
    let add = method("HistoryService.AddMessage");
    let status = grpc_bytes(&port, "default", &add, vec![0x1a; 17 << 20]).await;
    assert_eq!(status.expect_err("refused").code(), Code::OutOfRange);
    port.session().await;
}

#[tokio::test]
async fn what_is_no_text_or_no_json_is_refused() {
    let port = Port::open().await;
    for body in [
        &b"{\"agent_name\":\"\xff\xfe\"}"[..],
        b"{\"agent_name\":\"\xc3\x28\"}",
        b"{\"agent_name\":\"\\ud800\"}",
        b"{\"agent_name\":\"a\"",
        b"{\"agent_name\":\"a\"}}",
        b"{'agent_name':'a'}",
        b"agent_name=a",
    ] {
        let answer = port.call("POST", "/storage/sessions", Bytes::from_static(body)).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert!(
            ["MALFORMED_JSON", "INVALID_FIELD"].contains(&answer.reason().as_str()),
            "{}",
            answer.body
        );
    }
    let deep = format!(
        "{{\"agent_name\":\"a\",\"metadata\":{}1{}}}",
        "{\"a\":".repeat(200),
        "}".repeat(200)
    );
    assert_eq!(port.post("/storage/sessions", &deep).await.status, 400);
    let in_path = port.get("/storage/cache/%ff%fe").await;
    in_path.refused(400, "INVALID_PATH");
    let in_query = port.get("/storage/sessions?agent_name=%ff").await;
    in_query.refused(400, "INVALID_FIELD");
    assert_eq!(in_query.fields(), ["agent_name"]);
    // Field 1, a text of two bytes that are no UTF-8.
    let create = method("SessionService.CreateSession");
    let status = grpc_bytes(&port, "default", &create, vec![0x0a, 2, 0xff, 0xfe]).await;
    let status = status.expect_err("refused");
    assert!(matches!(status.code(), Code::Internal | Code::InvalidArgument), "{status}");
    port.session().await;
}

#[tokio::test]
async fn ids_that_are_empty_in_a_path_are_no_route() {
    let port = Port::open().await;
    for path in ["/storage/sessions/", "/storage/state/", "/storage/cache/", "/storage/records/"] {
        let answer = port.get(path).await;
        assert!([404, 405].contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
    }
    let query = port.get("/storage/history?session_id=").await;
    query.refused(400, "INVALID_FIELD");
    assert_eq!(query.fields(), ["session_id"]);
}
