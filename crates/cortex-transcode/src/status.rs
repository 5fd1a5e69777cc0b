//! A gRPC status as HTTP tells it, its details decoded to real JSON.

use std::time::Duration;

use prost::Message;
use prost_reflect::DynamicMessage;
use tonic::Status;

use crate::{
    json::Writer,
    metadata::REQUEST_ID,
    problem::{Problem, http_status},
    schema::Schema,
};

/// `google.rpc.Status`, as `grpc-status-details-bin` carries it.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct ErrorInfo {
    #[prost(map = "string, string", tag = "3")]
    metadata: std::collections::HashMap<String, String>,
}

/// What the ErrorInfo of `status` says under `key`.
pub(crate) fn fact(status: &Status, key: &str) -> Option<String> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    let infos = details.iter().filter(|detail| detail.type_url.ends_with("/google.rpc.ErrorInfo"));
    let mut infos = infos.filter_map(|info| ErrorInfo::decode(info.value.as_slice()).ok());
    infos.find_map(|mut info| info.metadata.remove(key))
}

/// What `status` is over HTTP.
pub(crate) fn problem(schema: &Schema, status: &Status) -> Problem {
    let details = RpcStatus::decode(status.details()).unwrap_or_default().details;
    Problem {
        http: http_status(status.code()),
        code: status.code(),
        message: status.message().to_owned(),
        retry_after: details.iter().find_map(retry_delay),
        details: details.iter().map(|detail| render(schema, detail)).collect(),
        allow: None,
        content_range: None,
        request_id: status.metadata().as_ref().get(REQUEST_ID).cloned(),
    }
}

fn retry_delay(detail: &prost_types::Any) -> Option<Duration> {
    if !detail.type_url.ends_with("/google.rpc.RetryInfo") {
        return None;
    }
    let delay = RetryInfo::decode(detail.value.as_slice()).ok()?.retry_delay?;
    Duration::try_from(delay).ok()
}

/// The detail as JSON with `@type`; a type that is not in the pool keeps its bytes in base64.
fn render(schema: &Schema, detail: &prost_types::Any) -> String {
    known(schema, detail).unwrap_or_else(|| {
        use base64::Engine as _;
        let value = base64::engine::general_purpose::STANDARD.encode(&detail.value);
        serde_json::json!({"@type": detail.type_url, "value": value}).to_string()
    })
}

fn known(schema: &Schema, detail: &prost_types::Any) -> Option<String> {
    let any = schema.find("google.protobuf.Any")?;
    let mut message = DynamicMessage::new(schema.message(any).descriptor.clone());
    message.transcode_from(detail).ok()?;
    let mut json = Vec::new();
    Writer::new(schema).message(&mut json, any, &message).ok()?;
    String::from_utf8(json).ok()
}
