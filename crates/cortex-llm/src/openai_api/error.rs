//! Errors in OpenAI's shape.

use std::{fmt, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use cortex_core::{Fault, Kind};
use serde_json::json;

use crate::error::LlmError;

/// An error as clients of OpenAI's API read it.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    retry_after: Option<Duration>,
}

const INVALID: &str = "invalid_request_error";

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: String) -> Self {
        Self { status, message, kind, code: None, param: None, retry_after: None }
    }

    pub(super) fn media_type() -> Self {
        let message = "the content type must be application/json".to_owned();
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID, message)
    }

    pub(super) fn body(status: StatusCode, problem: &impl fmt::Display) -> Self {
        Self::new(status, INVALID, problem.to_string())
    }

    pub(super) fn invalid(param: &str, message: impl fmt::Display) -> Self {
        let mut error = Self::new(StatusCode::BAD_REQUEST, INVALID, message.to_string());
        error.param = Some(param.to_owned()).filter(|param| !param.is_empty());
        error
    }

    /// The error as the JSON of a body or of a frame.
    pub(super) fn to_json(&self) -> String {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }})
        .to_string()
    }
}

impl From<LlmError> for ApiError {
    fn from(error: LlmError) -> Self {
        let fault = Fault::from(error);
        let (status, kind, code) = shape(&fault);
        let mut error = Self::new(status, kind, fault.message);
        error.code = code;
        error.retry_after = fault.retry_after;
        let param = fault.violations.into_iter().next().map(|violation| violation.field);
        error.param =
            param.map(|name| name.strip_prefix("parameters.").unwrap_or(&name).to_owned());
        error
    }
}

/// Status, type and code. What is wrong with our keys or our providers is never the caller's 401.
fn shape(fault: &Fault) -> (StatusCode, &'static str, Option<&'static str>) {
    let server = |status, code| (status, "server_error", Some(code));
    match fault.reason {
        "MODEL_NOT_FOUND" | "PROVIDER_NOT_FOUND" => {
            (StatusCode::NOT_FOUND, INVALID, Some("model_not_found"))
        }
        "PROVIDER_RATE_LIMITED" => {
            (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", Some("rate_limit_exceeded"))
        }
        "PROVIDER_QUOTA_EXHAUSTED" => {
            (StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", Some("insufficient_quota"))
        }
        "CONTEXT_TOO_LONG" => (StatusCode::BAD_REQUEST, INVALID, Some("context_length_exceeded")),
        "CONTENT_FILTERED" => (StatusCode::BAD_REQUEST, INVALID, Some("content_filter")),
        "PROVIDER_REJECTED" => (StatusCode::BAD_REQUEST, INVALID, Some("provider_rejected")),
        "PROVIDER_AUTH" => server(StatusCode::BAD_GATEWAY, "provider_auth"),
        "PROVIDER_PROTOCOL" => server(StatusCode::BAD_GATEWAY, "provider_protocol"),
        "STREAM_CUT" => server(StatusCode::BAD_GATEWAY, "stream_cut"),
        "PROVIDER_TIMEOUT" => server(StatusCode::GATEWAY_TIMEOUT, "provider_timeout"),
        "PROVIDER_UNAVAILABLE" => server(StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable"),
        "PROVIDER_NOT_CONFIGURED" if fault.kind == Kind::Unimplemented => {
            server(StatusCode::NOT_IMPLEMENTED, "provider_not_configured")
        }
        "PROVIDER_NOT_CONFIGURED" => {
            server(StatusCode::SERVICE_UNAVAILABLE, "provider_not_configured")
        }
        _ => match fault.kind {
            Kind::InvalidArgument => (StatusCode::BAD_REQUEST, INVALID, None),
            Kind::Unimplemented => server(StatusCode::NOT_IMPLEMENTED, "not_offered"),
            _ => server(StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        },
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let mut response = (self.status, json, self.to_json()).into_response();
        if let Some(after) = self.retry_after {
            // Whole seconds, rounded up (RFC 9110, section 10.2.3).
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
