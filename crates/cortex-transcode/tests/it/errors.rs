//! Errors of services as HTTP tells them.

use futures::FutureExt as _;
use prost::Message as _;
use tonic::{Code, Status};

use crate::server::{call, request, send, transcoder};

pub(crate) fn any(url: &str, value: Vec<u8>) -> prost_types::Any {
    prost_types::Any { type_url: format!("type.googleapis.com/{url}"), value }
}

pub(crate) fn details(details: Vec<prost_types::Any>) -> bytes::Bytes {
    #[derive(Clone, PartialEq, prost::Message)]
    struct RpcStatus {
        #[prost(message, repeated, tag = "3")]
        details: Vec<prost_types::Any>,
    }
    RpcStatus { details }.encode_to_vec().into()
}

#[tokio::test]
async fn every_code_has_its_status() {
    for (code, status, name) in [
        (Code::Cancelled, 499, "CANCELLED"),
        (Code::Unknown, 500, "UNKNOWN"),
        (Code::InvalidArgument, 400, "INVALID_ARGUMENT"),
        (Code::DeadlineExceeded, 504, "DEADLINE_EXCEEDED"),
        (Code::NotFound, 404, "NOT_FOUND"),
        (Code::AlreadyExists, 409, "ALREADY_EXISTS"),
        (Code::PermissionDenied, 403, "PERMISSION_DENIED"),
        (Code::ResourceExhausted, 429, "RESOURCE_EXHAUSTED"),
        (Code::FailedPrecondition, 400, "FAILED_PRECONDITION"),
        (Code::Aborted, 409, "ABORTED"),
        (Code::OutOfRange, 400, "OUT_OF_RANGE"),
        (Code::Unimplemented, 501, "UNIMPLEMENTED"),
        (Code::Internal, 500, "INTERNAL"),
        (Code::Unavailable, 503, "UNAVAILABLE"),
        (Code::DataLoss, 500, "DATA_LOSS"),
        (Code::Unauthenticated, 401, "UNAUTHENTICATED"),
    ] {
        let failing =
            transcoder(move |_| async move { Err(Status::new(code, "it is \"so\"")) }.boxed());
        for path in ["/v1/files/x", "/v1/books/b/events"] {
            let answer = call(&failing, "GET", path, "").await;
            assert_eq!(answer.status.as_u16(), status, "{code:?}");
            let body = format!(
                r#"{{"error":{{"code":{status},"status":"{name}","message":"it is \"so\"","details":[]}}}}"#
            );
            assert_eq!(answer.text(), body);
            assert_eq!(answer.header("content-type"), Some("application/json"));
            let challenge = (code == Code::Unauthenticated).then_some("Bearer");
            assert_eq!(answer.header("www-authenticate"), challenge);
        }
    }
}

#[tokio::test]
async fn details_are_json_and_retry_info_a_header() {
    // google.rpc.ErrorInfo {reason: "BUSY", domain: "cortex", metadata: {"a": "b"}}
    let info = b"\x0a\x04BUSY\x12\x06cortex\x1a\x06\x0a\x01a\x12\x01b".to_vec();
    // google.rpc.RetryInfo {retry_delay: {seconds: 1, nanos: 500000000}}
    let retry = b"\x0a\x08\x08\x01\x10\x80\xca\xb5\xee\x01".to_vec();
    let all = details(vec![
        any("google.rpc.ErrorInfo", info),
        any("google.rpc.RetryInfo", retry),
        any("some.Other", b"\x01\x02".to_vec()),
    ]);
    let failing = transcoder(move |_| {
        let all = all.clone();
        async move { Err(Status::with_details(Code::Unavailable, "busy", all)) }.boxed()
    });
    let answer =
        send(&failing, request("GET", "/v1/files/x", &[("x-request-id", "r1")], b"")).await;
    assert_eq!(answer.header("retry-after"), Some("2"));
    assert_eq!(answer.header("x-request-id"), Some("r1"));
    assert_eq!(
        answer.text(),
        concat!(
            r#"{"error":{"code":503,"status":"UNAVAILABLE","message":"busy","details":["#,
            r#"{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"BUSY","domain":"cortex","metadata":{"a":"b"}},"#,
            r#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retry_delay":"1.5s"},"#,
            r#"{"@type":"type.googleapis.com/some.Other","value":"AQI="}]}}"#
        )
    );
}

#[tokio::test]
async fn details_that_are_damaged_do_not_hide_the_error() {
    let failing = transcoder(move |_| {
        let damaged = bytes::Bytes::from_static(b"\xff\xff");
        async move { Err(Status::with_details(Code::NotFound, "gone", damaged)) }.boxed()
    });
    assert_eq!(call(&failing, "GET", "/v1/files/x", "").await.error(), (404, "gone".to_owned()));
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_is_an_error_too() {
    let broken = tower::service_fn(|_: http::Request<tonic::body::Body>| async {
        Err::<http::Response<tonic::body::Body>, _>(Status::unavailable("nobody is there"))
    });
    let transcoder = cortex_transcode::Transcoder::builder(crate::server::pool().clone())
        .service(crate::server::LIBRARY, broken)
        .build()
        .expect("the annotations fit");
    let answer = call(&transcoder, "GET", "/v1/files/x", "").await;
    assert_eq!(answer.error(), (503, "nobody is there".to_owned()));
}

#[tokio::test]
async fn the_services_request_id_wins() {
    let named = transcoder(move |call| {
        async move {
            let mut response = crate::server::once(call.response(&[]))?;
            response.metadata_mut().insert("x-request-id", "theirs".parse().expect("ASCII"));
            Ok(response)
        }
        .boxed()
    });
    for path in ["/v1/files/x", "/v1/books:stream"] {
        let answer = send(&named, request("GET", path, &[("x-request-id", "ours")], b"")).await;
        assert_eq!(answer.header("x-request-id"), Some("theirs"), "{path}");
    }
    let failing = transcoder(move |_| {
        let mut status = Status::internal("see the log");
        status.metadata_mut().insert("x-request-id", "theirs".parse().expect("ASCII"));
        async move { Err(status) }.boxed()
    });
    for path in ["/v1/files/x", "/v1/books:stream"] {
        let answer = send(&failing, request("GET", path, &[("x-request-id", "ours")], b"")).await;
        assert_eq!(answer.error(), (500, "see the log".to_owned()));
        assert_eq!(answer.header("x-request-id"), Some("theirs"), "{path}");
    }
}
