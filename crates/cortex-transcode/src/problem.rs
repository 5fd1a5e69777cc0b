//! What went wrong with an HTTP call, and how it is told: a status and Google's JSON error.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tonic::{Code, body::Body};

use crate::metadata::REQUEST_ID;

/// A field that is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Path of the field, such as `messages[2].role`. Empty: the body itself.
    pub(crate) field: String,
    pub(crate) description: String,
}

/// An error as HTTP tells it.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) http: StatusCode,
    pub(crate) code: Code,
    pub(crate) message: String,
    /// The google.rpc details, each one rendered as a JSON object.
    pub(crate) details: Vec<String>,
    pub(crate) retry_after: Option<Duration>,
    /// Value of the header `allow`, for a method that is wrong.
    pub(crate) allow: Option<HeaderValue>,
    /// Value of `content-range`, for a range that is wrong.
    pub(crate) content_range: Option<HeaderValue>,
    /// The name that the service has given the request.
    pub(crate) request_id: Option<HeaderValue>,
}

impl Problem {
    /// A problem that this crate has found, with a stable reason.
    pub(crate) fn new(http: StatusCode, code: Code, reason: &str, message: String) -> Self {
        let info = json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "cortex",
            "metadata": {},
        });
        Self {
            http,
            code,
            message,
            details: vec![info.to_string()],
            retry_after: None,
            allow: None,
            content_range: None,
            request_id: None,
        }
    }

    /// 400, for what is wrong with the request as a whole.
    pub(crate) fn bad_request(reason: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, reason, message.into())
    }

    /// 400, for fields that are wrong. `more` counts those that are not listed.
    pub(crate) fn fields(violations: Vec<Violation>, more: usize) -> Self {
        let rest = violations.len().saturating_sub(1) + more;
        let message = match violations.first() {
            Some(first) if rest > 0 => format!("{first} (and {rest} more)"),
            Some(first) => first.to_string(),
            None => "the request is wrong".to_owned(),
        };
        let listed: Vec<Value> = violations
            .iter()
            .map(
                |violation| json!({"field": violation.field, "description": violation.description}),
            )
            .collect();
        let details = json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "field_violations": listed,
        });
        let mut problem = Self::bad_request("INVALID_FIELD", message);
        problem.details.push(details.to_string());
        problem
    }

    /// 400, for one field that is wrong.
    pub(crate) fn field(field: impl Into<String>, description: impl Into<String>) -> Self {
        let violation = Violation { field: field.into(), description: description.into() };
        Self::fields(vec![violation], 0)
    }

    /// 500: a service answered what its contract does not allow. `cause` is for the log.
    pub(crate) fn response(cause: &str) -> Self {
        tracing::error!(cause, "a response cannot be told as JSON");
        let message = "the service's answer cannot be told as JSON".to_owned();
        let http = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(http, Code::Internal, "INVALID_RESPONSE", message)
    }

    /// The JSON object `{"error":{..}}` on one line.
    pub(crate) fn to_json(&self) -> String {
        let (code, status) = (self.http.as_u16(), code_name(self.code));
        let message = Value::from(self.message.as_str());
        let details = self.details.join(",");
        format!(
            r#"{{"error":{{"code":{code},"status":"{status}","message":{message},"details":[{details}]}}}}"#
        )
    }

    /// The answer.
    pub(crate) fn into_response(self) -> http::Response<Body> {
        let mut response =
            http::Response::new(Body::new(http_body_util::Full::from(self.to_json())));
        *response.status_mut() = self.http;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.http == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, allow);
        }
        if let Some(range) = self.content_range {
            headers.insert(header::CONTENT_RANGE, range);
        }
        if let Some(id) = self.request_id {
            headers.insert(REQUEST_ID, id);
        }
        response
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let field = if self.field.is_empty() { "the body" } else { &self.field };
        write!(f, "{field}: {}", self.description)
    }
}

/// `Retry-After` counts in seconds; earlier than asked would be too early.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// The name of a code as google.rpc.Code spells it.
pub(crate) fn code_name(code: Code) -> &'static str {
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

/// The HTTP status of a gRPC code, as googleapis maps them.
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
        Code::Cancelled => client_closed_request(),
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// 499, which nginx introduced and google.rpc.Code names for CANCELLED.
fn client_closed_request() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
