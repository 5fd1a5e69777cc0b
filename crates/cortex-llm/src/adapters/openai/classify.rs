//! What an error of a server means. Servers differ in status, code and words; this is the one place
//! that knows them.

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::failure::{Class, Failure};

/// What a response that is not an answer means.
pub(super) fn response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let facts = Facts::of_body(body);
    let class = classify(Some(status.as_u16()), &facts);
    let mut failure = Failure::new(class, message(Some(status), &facts));
    failure.http_status = Some(status.as_u16());
    failure.retry_after = retry_after(headers).or_else(|| facts.retry_after());
    failure.should_retry =
        headers.get("x-should-retry").map(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    failure
}

/// What an error within a stream or a 200 means. `status` is what the server says beside it.
pub(super) fn in_band(error: &RawValue, status: Option<u16>) -> Failure {
    let facts = Facts::of_error(&parse(error.get()));
    let status = status.or_else(|| facts.code.parse().ok()).filter(|s| (400..600).contains(s));
    let mut failure = Failure::new(classify(status, &facts), message(None, &facts));
    failure.http_status = status;
    failure.retry_after = facts.retry_after();
    failure
}

fn message(status: Option<StatusCode>, facts: &Facts) -> String {
    let status = status.map(|status| format!("HTTP {}", status.as_u16()));
    match (status, facts.message.is_empty()) {
        (Some(status), true) => status,
        (Some(status), false) => format!("{status}: {}", facts.message),
        (None, true) => "the provider reported an error without saying which".to_owned(),
        (None, false) => facts.message.clone(),
    }
}

/// What an error says about itself.
#[derive(Debug, Default)]
struct Facts {
    message: String,
    /// `code` and `type`, in lower case.
    code: String,
    kind: String,
}

#[derive(Deserialize)]
struct Body {
    error: Option<Value>,
}

impl Facts {
    /// `{"error":{…}}`, `{"error":"…"}`, `[{"error":{…}}]`, `{"message":…}`, `{"detail":…}` or text.
    fn of_body(body: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(body) else { return Self::default() };
        let value = parse(text);
        let value = match value {
            Value::Array(mut items) if !items.is_empty() => items.swap_remove(0),
            value => value,
        };
        match serde_json::from_value::<Body>(value.clone()) {
            Ok(Body { error: Some(error) }) if !error.is_null() => Self::of_error(&error),
            _ if value.is_object() => Self::of_error(&value),
            // A page of a proxy says nothing to a caller.
            _ if text.trim_start().starts_with('<') => Self::default(),
            _ => Self { message: text.trim().to_owned(), ..Self::default() },
        }
    }

    fn of_error(error: &Value) -> Self {
        let text = |name: &str| match error.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        let message = match error {
            Value::String(message) => message.clone(),
            _ => [text("message"), text("detail")]
                .into_iter()
                .find(|t| !t.is_empty())
                .unwrap_or_default(),
        };
        let kind = [text("type"), text("status")].into_iter().find(|t| !t.is_empty());
        Self {
            message,
            code: text("code").to_lowercase(),
            kind: kind.unwrap_or_default().to_lowercase(),
        }
    }

    fn names(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.code == *word || self.kind == *word)
    }

    fn says(&self, words: &[&str]) -> bool {
        let message = self.message.to_lowercase();
        words.iter().any(|word| message.contains(word))
    }

    /// "Please try again in 7m12.5s".
    fn retry_after(&self) -> Option<Duration> {
        let message = self.message.to_lowercase();
        let (_, after) = message.split_once("try again in ").or(message.split_once("retry in "))?;
        go_duration(after.split_whitespace().next()?.trim_end_matches('.'))
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

const MONEY: [&str; 8] = [
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "billing_error",
    "enforced_spend_limit_reached",
    "insufficient_balance",
    "insufficient_credits",
    "quota_exceeded",
];
const MONEY_WORDS: [&str; 4] = [
    "exceeded your current quota",
    "credit balance",
    "insufficient balance",
    "insufficient credits",
];
const CONTEXT: [&str; 3] =
    ["context_length_exceeded", "exceed_context_size_error", "string_above_max_length"];
const CONTEXT_WORDS: [&str; 7] = [
    "maximum context length",
    "context length",
    "context window",
    "context size",
    "prompt is too long",
    "input is too long",
    "reduce the length of the messages",
];
const FILTER: [&str; 4] = [
    "content_filter",
    "content_policy_violation",
    "responsibleaipolicyviolation",
    "moderation_blocked",
];
const NO_MODEL: [&str; 4] =
    ["model_not_found", "model_decommissioned", "invalid_model", "unknown_model"];
const BAD_GENERATION: [&str; 2] = ["tool_use_failed", "malformed_function_call"];

/// The canonical table, top to bottom: what the error says is more precise than its status.
fn classify(status: Option<u16>, facts: &Facts) -> Class {
    let is_request = status.is_none_or(|status| matches!(status, 400 | 404 | 413 | 422));
    if status == Some(402) || facts.names(&MONEY) || facts.says(&MONEY_WORDS) {
        Class::Quota
    } else if facts.names(&BAD_GENERATION) {
        Class::BadGeneration
    } else if facts.names(&FILTER) {
        Class::ContentFiltered
    } else if facts.names(&CONTEXT) || (is_request && facts.says(&CONTEXT_WORDS)) {
        Class::ContextTooLong
    } else if facts.names(&NO_MODEL) {
        Class::ModelNotFound
    } else {
        status.map_or_else(|| by_name(facts), |status| by_status(status, facts))
    }
}

fn by_status(status: u16, facts: &Facts) -> Class {
    match status {
        401 | 403 => Class::Auth,
        404 if facts.says(&["model"]) => Class::ModelNotFound,
        408 | 409 => Class::Conflict,
        413 => Class::ContextTooLong,
        429 => Class::RateLimited,
        498 | 503 | 529 => Class::Overloaded,
        500.. => Class::ServerError,
        _ => Class::Rejected,
    }
}

/// An error without a status: within a stream, what cannot be told is the server's own trouble.
fn by_name(facts: &Facts) -> Class {
    if facts.names(&["rate_limit_exceeded", "rate_limit_error", "tokens", "requests"]) {
        Class::RateLimited
    } else if facts.names(&["invalid_api_key", "authentication_error", "permission_error"]) {
        Class::Auth
    } else if facts.names(&["overloaded_error", "unavailable", "overloaded"]) {
        Class::Overloaded
    } else if facts.names(&["invalid_request_error", "bad_request", "invalid_argument"]) {
        Class::Rejected
    } else {
        Class::ServerError
    }
}

/// `retry-after-ms`, else `retry-after` in seconds. Dates, which no provider sends, are not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    const MILLIS: HeaderName = HeaderName::from_static("retry-after-ms");
    let number = |name: HeaderName| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number(MILLIS).map(|ms| ms / 1000.0).or_else(|| number(header::RETRY_AFTER))?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A duration as Go prints it: `1m2.5s`, `350ms`.
fn go_duration(mut text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    while !text.is_empty() {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|at| *at > 0)?;
        let number: f64 = text[..digits].parse().ok()?;
        let rest = &text[digits..];
        let unit = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        text = rest[unit..].trim_start_matches([',', '.']);
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Failure {
        let status = StatusCode::from_u16(status).expect("a status");
        response(status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn errors_of_many_servers_are_told_apart() {
        for (status, body, class) in [
            (
                429,
                r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                Class::Quota,
            ),
            (402, "", Class::Quota),
            (
                429,
                r#"{"error":{"message":"slow","type":"tokens","code":"rate_limit_exceeded"}}"#,
                Class::RateLimited,
            ),
            (
                401,
                r#"{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}"#,
                Class::Auth,
            ),
            (403, "<html>no</html>", Class::Auth),
            (
                404,
                r#"{"error":{"message":"The model `x` does not exist","code":"model_not_found"}}"#,
                Class::ModelNotFound,
            ),
            (404, r#"{"error":"model 'x' not found, try pulling it first"}"#, Class::ModelNotFound),
            (404, "404 page not found", Class::Rejected),
            (
                400,
                r#"{"error":{"message":"decommissioned","code":"model_decommissioned"}}"#,
                Class::ModelNotFound,
            ),
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens","code":null}}"#,
                Class::ContextTooLong,
            ),
            (
                400,
                r#"{"object":"error","message":"the prompt is too long","type":"BadRequestError","code":400}"#,
                Class::ContextTooLong,
            ),
            (413, "", Class::ContextTooLong),
            (
                400,
                r#"{"error":{"message":"no","code":"content_policy_violation"}}"#,
                Class::ContentFiltered,
            ),
            (
                400,
                r#"{"error":{"message":"Failed to call a function","code":"tool_use_failed","failed_generation":"<x>"}}"#,
                Class::BadGeneration,
            ),
            (400, r#"{"error":{"message":"bad temperature"}}"#, Class::Rejected),
            (422, r#"{"detail":"wrong"}"#, Class::Rejected),
            (408, "", Class::Conflict),
            (500, "boom", Class::ServerError),
            (502, "<html>bad gateway</html>", Class::ServerError),
            (503, "", Class::Overloaded),
            (529, "", Class::Overloaded),
            (
                400,
                r#"[{"error":{"code":400,"message":"context window","status":"INVALID_ARGUMENT"}}]"#,
                Class::ContextTooLong,
            ),
        ] {
            assert_eq!(of(status, body).class, class, "{status} {body}");
        }
    }

    #[test]
    fn messages_are_the_providers_own_but_no_pages() {
        assert_eq!(of(400, r#"{"error":{"message":"bad"}}"#).message, "HTTP 400: bad");
        assert_eq!(of(502, "<html>x</html>").message, "HTTP 502");
        assert_eq!(of(422, r#"{"detail":[{"loc":1}]}"#).message, r#"HTTP 422: [{"loc":1}]"#);
    }

    #[test]
    fn waits_are_read_from_headers_and_words() {
        let wait = |pairs: &[(&'static str, &str)], body: &str| {
            let headers = pairs
                .iter()
                .map(|(k, v)| (HeaderName::from_static(k), v.parse().expect("a value")))
                .collect();
            response(StatusCode::TOO_MANY_REQUESTS, &headers, body.as_bytes()).retry_after
        };
        assert_eq!(wait(&[("retry-after", "2")], ""), Some(Duration::from_secs(2)));
        let both = [("retry-after", "2"), ("retry-after-ms", "1500")];
        assert_eq!(wait(&both, ""), Some(Duration::from_millis(1500)));
        let words = r#"{"error":{"message":"Please try again in 1m2.5s. Visit us"}}"#;
        assert_eq!(wait(&[], words), Some(Duration::from_millis(62_500)));
        assert_eq!(wait(&[("retry-after", "soon")], "try again in a while"), None);
    }

    #[test]
    fn errors_within_a_stream_have_their_class() {
        let class = |text: &str, status| {
            let raw: Box<RawValue> = RawValue::from_string(text.to_owned()).expect("JSON");
            in_band(&raw, status).class
        };
        assert_eq!(class(r#"{"message":"x","type":"server_error"}"#, None), Class::ServerError);
        assert_eq!(class(r#"{"message":"x","code":429}"#, None), Class::RateLimited);
        assert_eq!(
            class(r#"{"message":"x","code":"tool_use_failed"}"#, Some(400)),
            Class::BadGeneration
        );
        assert_eq!(class(r#""gone""#, None), Class::ServerError);
        assert_eq!(class(r#"{"code":503,"status":"UNAVAILABLE"}"#, None), Class::Overloaded);
    }
}
