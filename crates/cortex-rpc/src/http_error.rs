//! Statuses as Google's JSON errors: what plain HTTP clients get.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Map, Value, json};
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt};

/// The HTTP status that stands for a gRPC code (google/rpc/code.proto).
pub(crate) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Aborted | Code::AlreadyExists => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The name of a code as Google's APIs spell it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// `status` as a JSON response, with the HTTP status of its code and Retry-After where it says when.
pub fn http_error(status: &Status) -> Response<Body> {
    http_error_as(http_status(status.code()), status)
}

/// `status` as a JSON response with an HTTP status of its own, such as 415.
pub(crate) fn http_error_as(code: StatusCode, status: &Status) -> Response<Body> {
    let details = status.get_error_details();
    let body = json!({"error": {
        "code": code.as_u16(),
        "status": code_name(status.code()),
        "message": status.message(),
        "details": details_json(&details),
    }});
    let mut response = json_response(code, &body);
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        // Whole seconds, rounded up (RFC 9110, section 10.2.3).
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// `value` as a response.
pub(crate) fn json_response(code: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(value.to_string()))));
    *response.status_mut() = code;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The details as ProtoJSON writes `google.protobuf.Any`s of them.
fn details_json(details: &ErrorDetails) -> Vec<Value> {
    let mut out = Vec::new();
    let mut push = |name: &str, mut fields: Map<String, Value>| {
        fields.shift_insert(
            0,
            "@type".into(),
            format!("type.googleapis.com/google.rpc.{name}").into(),
        );
        out.push(Value::Object(fields));
    };
    if let Some(info) = details.error_info() {
        let fields =
            json!({"reason": info.reason, "domain": info.domain, "metadata": info.metadata});
        push("ErrorInfo", object(fields));
    }
    if let Some(bad) = details.bad_request() {
        let violation = |v: &tonic_types::FieldViolation| json!({"field": v.field, "description": v.description});
        let violations: Vec<_> = bad.field_violations.iter().map(violation).collect();
        push("BadRequest", object(json!({"field_violations": violations})));
    }
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        push("RetryInfo", object(json!({"retry_delay": format!("{}s", delay.as_secs_f64())})));
    }
    if let Some(info) = details.resource_info() {
        let fields =
            json!({"resource_type": info.resource_type, "resource_name": info.resource_name});
        push("ResourceInfo", object(fields));
    }
    if let Some(quota) = details.quota_failure() {
        let violation = |v: &tonic_types::QuotaViolation| json!({"subject": v.subject, "description": v.description});
        let violations: Vec<_> = quota.violations.iter().map(violation).collect();
        push("QuotaFailure", object(json!({"violations": violations})));
    }
    if let Some(info) = details.request_info() {
        push("RequestInfo", object(json!({"request_id": info.request_id})));
    }
    out
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cortex_core::Fault;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn an_error_is_googles_json_with_its_details() {
        let fault = Fault::resource_exhausted("QUEUE_FULL", "16 messages wait already")
            .with_retry_after(Duration::from_millis(1500))
            .with_quota("session:session_1", "at most 16 messages");
        let response = http_error(&crate::status(&fault));
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let expected = json!({"error": {
            "code": 429,
            "status": "RESOURCE_EXHAUSTED",
            "message": "16 messages wait already",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "QUEUE_FULL", "domain": "cortex", "metadata": {}},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retry_delay": "1.5s"},
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [
                    {"subject": "session:session_1", "description": "at most 16 messages"},
                ]},
            ],
        }});
        assert_eq!(body, expected);
    }
}
