//! Faults as gRPC statuses with `google.rpc` details, and back.
//!
//! Every status that leaves a service of ours carries `google.rpc.ErrorInfo` with the domain
//! `cortex` and a reason that docs/errors.md lists.

use std::{
    collections::{BTreeMap, HashSet},
    error::Error,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use cortex_core::{Fault, FieldViolation, Kind, Quota, Resource};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every `ErrorInfo` of ours.
pub const ERROR_DOMAIN: &str = "cortex";

/// The message of every INTERNAL status. The request id layer adds the id.
const INTERNAL_MESSAGE: &str = "internal error";

/// The reason of a fault that came from a status without one.
const NO_REASON: &str = "UPSTREAM_ERROR";

/// The status for `fault`.
///
/// An INTERNAL fault keeps its reason and loses its message and metadata, which name internals: they
/// go to the log, here, once. The server's request id layer then adds the request id to the status.
pub fn status(fault: &Fault) -> Status {
    if fault.kind == Kind::Internal {
        tracing::error!(reason = fault.reason, error = %fault.message, metadata = ?fault.metadata, "internal error");
        return hidden(fault);
    }
    shown(fault)
}

/// The status for the error of a service: `.map_err(to_status)?`.
///
/// As [`status`], and an INTERNAL error is logged with the whole chain of its sources.
pub fn to_status<E>(error: E) -> Status
where
    E: Into<Fault> + Error,
{
    let chain = chain(&error);
    let fault = error.into();
    if fault.kind == Kind::Internal {
        tracing::error!(reason = fault.reason, error = %chain, metadata = ?fault.metadata, "internal error");
        return hidden(&fault);
    }
    shown(&fault)
}

/// `error` and everything that caused it, from the outside in. What an outer message repeats of an
/// inner one is not said twice.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        source = error.source();
    }
    text
}

/// What a status says, as a fault: the inverse of [`status`] for everything but INTERNAL messages.
///
/// A status without an `ErrorInfo` gets the reason `UPSTREAM_ERROR`. UNKNOWN becomes INTERNAL.
pub fn fault(status: &Status) -> Fault {
    let details = status.get_error_details();
    let mut fault = Fault::new(kind(status.code()), NO_REASON, status.message());
    if let Some(info) = details.error_info() {
        fault.reason = reason_text(&info.reason);
        fault.metadata = info.metadata.clone().into_iter().collect::<BTreeMap<_, _>>();
    }
    if let Some(bad) = details.bad_request() {
        fault.violations = bad
            .field_violations
            .iter()
            .map(|v| FieldViolation { field: v.field.clone(), description: v.description.clone() })
            .collect();
    }
    fault.retry_after = details.retry_info().and_then(|info| info.retry_delay);
    fault.resource = details.resource_info().map(|info| Resource {
        kind: info.resource_type.clone(),
        name: info.resource_name.clone(),
    });
    fault.quota = details
        .quota_failure()
        .and_then(|quota| quota.violations.first())
        .map(|v| Quota { subject: v.subject.clone(), description: v.description.clone() });
    fault
}

/// The reason in a status's `ErrorInfo`, for example `SESSION_NOT_FOUND`.
pub fn reason(status: &Status) -> Option<String> {
    Some(status.get_details_error_info()?.reason)
}

/// When trying again can help, from a status's `RetryInfo`.
pub fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// The id under which the service logged what happened, from a status's `RequestInfo`.
pub fn request_id(status: &Status) -> Option<String> {
    Some(status.get_details_request_info()?.request_id)
}

/// The same INTERNAL status for everybody: its message and details name nothing but `request_id`.
///
/// Says `None` for a status that needs no change: another code, or one that already names its
/// request because a service further in has done this. A status that did not come from
/// [`status`] or [`to_status`] has not been logged yet: that happens here.
pub(crate) fn seal(status: &Status, request_id: &str) -> Option<Status> {
    if !matches!(status.code(), Code::Internal | Code::Unknown) {
        return None;
    }
    let details = status.get_error_details();
    if details.request_info().is_some() && is_ours(&details) {
        return None;
    }
    if !is_ours(&details) {
        tracing::error!(code = ?status.code(), error = status.message(), "internal error");
    }
    let reason =
        details.error_info().filter(|_| is_ours(&details)).map_or("INTERNAL", |i| &i.reason);
    let mut sealed = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, no_metadata());
    sealed.set_request_info(request_id, "");
    let message = format!("{INTERNAL_MESSAGE}; the log has it under request id {request_id}");
    Some(Status::with_error_details(Code::Internal, message, sealed))
}

fn is_ours(details: &ErrorDetails) -> bool {
    details.error_info().is_some_and(|info| info.domain == ERROR_DOMAIN)
}

fn hidden(fault: &Fault) -> Status {
    let details = ErrorDetails::with_error_info(fault.reason, ERROR_DOMAIN, no_metadata());
    Status::with_error_details(Code::Internal, INTERNAL_MESSAGE, details)
}

/// Longest text in a status, in bytes. A status travels in headers, which peers limit to 16 KiB or
/// more together; one that is too large would tear down the stream instead of explaining itself.
const LONGEST_TEXT: usize = 2048;
/// Most wrong fields that a status names.
const MOST_VIOLATIONS: usize = 16;

/// `text`, cut to what a status may carry.
fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_TEXT)]
}

fn shown(fault: &Fault) -> Status {
    let metadata: std::collections::HashMap<_, _> =
        fault.metadata.iter().map(|(k, v)| (k.clone(), short(v).to_owned())).collect();
    let mut details = ErrorDetails::with_error_info(fault.reason, ERROR_DOMAIN, metadata);
    for violation in fault.violations.iter().take(MOST_VIOLATIONS) {
        details.add_bad_request_violation(&violation.field, short(&violation.description));
    }
    if fault.retry_after.is_some() {
        details.set_retry_info(fault.retry_after);
    }
    if let Some(resource) = &fault.resource {
        details.set_resource_info(&resource.kind, &resource.name, "", "");
    }
    if let Some(quota) = &fault.quota {
        details.add_quota_failure_violation(&quota.subject, &quota.description);
    }
    Status::with_error_details(code(fault.kind), short(&fault.message), details)
}

fn no_metadata() -> std::collections::HashMap<String, String> {
    std::collections::HashMap::new()
}

/// The gRPC code of a kind of fault.
pub fn code(kind: Kind) -> Code {
    match kind {
        Kind::Cancelled => Code::Cancelled,
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::FailedPrecondition => Code::FailedPrecondition,
        Kind::Aborted => Code::Aborted,
        Kind::OutOfRange => Code::OutOfRange,
        Kind::Unimplemented => Code::Unimplemented,
        Kind::Internal => Code::Internal,
        Kind::Unavailable => Code::Unavailable,
        Kind::DataLoss => Code::DataLoss,
        Kind::Unauthenticated => Code::Unauthenticated,
    }
}

/// The kind of fault that a gRPC code stands for. OK and UNKNOWN, which no fault has, are internal.
pub fn kind(code: Code) -> Kind {
    match code {
        Code::Cancelled => Kind::Cancelled,
        Code::InvalidArgument => Kind::InvalidArgument,
        Code::DeadlineExceeded => Kind::DeadlineExceeded,
        Code::NotFound => Kind::NotFound,
        Code::AlreadyExists => Kind::AlreadyExists,
        Code::PermissionDenied => Kind::PermissionDenied,
        Code::ResourceExhausted => Kind::ResourceExhausted,
        Code::FailedPrecondition => Kind::FailedPrecondition,
        Code::Aborted => Kind::Aborted,
        Code::OutOfRange => Kind::OutOfRange,
        Code::Unimplemented => Kind::Unimplemented,
        Code::Unavailable => Kind::Unavailable,
        Code::DataLoss => Kind::DataLoss,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::Ok | Code::Unknown | Code::Internal => Kind::Internal,
    }
}

/// `reason` for the life of the process, as [`Fault::reason`] wants it.
///
/// Reasons are a small closed set, but they come off the wire: what is too long, not
/// UPPER_SNAKE_CASE or beyond the limit of different ones is not kept.
pub fn reason_text(reason: &str) -> &'static str {
    const MOST_REASONS: usize = 1024;
    const LONGEST_REASON: usize = 63; // google.rpc.ErrorInfo's own limit
    static REASONS: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);

    let valid = |b: u8| matches!(b, b'A'..=b'Z' | b'0'..=b'9' | b'_');
    if reason.is_empty() || reason.len() > LONGEST_REASON || !reason.bytes().all(valid) {
        return NO_REASON;
    }
    let mut guard = REASONS.lock().unwrap_or_else(PoisonError::into_inner);
    let reasons = guard.get_or_insert_default();
    if let Some(known) = reasons.get(reason) {
        return known;
    }
    if reasons.len() >= MOST_REASONS {
        return NO_REASON;
    }
    let kept: &'static str = Box::leak(reason.into());
    reasons.insert(kept);
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [Kind; 15] = [
        Kind::Cancelled,
        Kind::InvalidArgument,
        Kind::DeadlineExceeded,
        Kind::NotFound,
        Kind::AlreadyExists,
        Kind::PermissionDenied,
        Kind::ResourceExhausted,
        Kind::FailedPrecondition,
        Kind::Aborted,
        Kind::OutOfRange,
        Kind::Unimplemented,
        Kind::Internal,
        Kind::Unavailable,
        Kind::DataLoss,
        Kind::Unauthenticated,
    ];

    #[derive(Debug, thiserror::Error)]
    #[error("cannot append")]
    struct Append(#[source] std::io::Error);

    impl From<Append> for Fault {
        fn from(error: Append) -> Self {
            Self::internal("DISK", format!("{error} to /secret/path")).with("path", "/secret/path")
        }
    }

    #[test]
    fn kinds_and_codes_are_a_bijection() {
        for kind_ in KINDS {
            assert_eq!(kind(code(kind_)), kind_);
        }
    }

    #[test]
    fn an_internal_error_shows_its_reason_and_nothing_else() {
        let status = to_status(Append(std::io::Error::other("disk on fire")));
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), "internal error");
        assert_eq!(reason(&status).as_deref(), Some("DISK"));
        let wire = format!("{:?}{:?}", status, String::from_utf8_lossy(status.details()));
        assert!(!wire.contains("secret") && !wire.contains("fire"), "{wire}");
    }

    #[test]
    fn sealing_names_the_request_once() {
        let sealed = seal(&Status::internal("SELECT * FROM secrets"), "req_1").expect("sealed");
        assert_eq!(request_id(&sealed).as_deref(), Some("req_1"));
        assert!(sealed.message().contains("req_1"));
        assert!(!sealed.message().contains("secrets"));
        assert!(seal(&sealed, "req_2").is_none(), "the innermost request id stays");
        assert!(seal(&Status::not_found("x"), "req_1").is_none());
    }

    #[test]
    fn a_foreign_status_becomes_a_fault() {
        let fault = fault(&Status::not_found("no such bucket"));
        assert_eq!((fault.kind, fault.reason), (Kind::NotFound, "UPSTREAM_ERROR"));
        assert_eq!(fault.message, "no such bucket");
    }

    #[test]
    fn hostile_reasons_are_not_kept() {
        for bad in ["", "lower", "WITH SPACE", &"X".repeat(64)] {
            assert_eq!(reason_text(bad), NO_REASON);
        }
    }

    #[test]
    fn a_huge_message_is_cut_at_a_character() {
        let status = status(&Fault::not_found("HUGE", "ü".repeat(100_000)));
        assert_eq!(status.message().len(), LONGEST_TEXT);
    }

    #[test]
    fn causes_are_told_once_each() {
        let error = Append(std::io::Error::other("disk on fire"));
        assert_eq!(chain(&error), "cannot append: disk on fire");
    }

    proptest! {
        #[test]
        fn a_fault_survives_the_wire(
            kind_ in proptest::sample::select(KINDS.to_vec()),
            message in ".{1,60}",
            pairs in proptest::collection::btree_map("[a-z]{1,8}", ".{0,20}", 0..4),
            violations in proptest::collection::vec(("[a-z.]{1,12}", ".{1,20}"), 0..3),
            retry in proptest::option::of(0u64..10_000_000),
            resource in proptest::option::of(("[a-z]{1,8}", "[a-z0-9_]{1,20}")),
            quota in proptest::option::of(("[a-z:]{1,8}", ".{1,20}")),
        ) {
            prop_assume!(kind_ != Kind::Internal);
            let mut sent = Fault::new(kind_, "SOME_REASON", message);
            sent.metadata = pairs;
            sent.violations = violations
                .into_iter()
                .map(|(field, description)| FieldViolation { field, description })
                .collect();
            sent.retry_after = retry.map(Duration::from_millis);
            sent.resource = resource.map(|(kind, name)| Resource { kind, name });
            sent.quota = quota.map(|(subject, description)| Quota { subject, description });

            let mut headers = http::HeaderMap::new();
            status(&sent).add_header(&mut headers).expect("valid headers");
            let received = Status::from_header_map(&headers).expect("a status");
            prop_assert_eq!(fault(&received), sent);
        }
    }
}
