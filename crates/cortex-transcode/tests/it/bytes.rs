//! google.api.HttpBody: downloads, ranges, uploads.

use bytes::Bytes;
use cortex_transcode::Transcoder;
use futures::{FutureExt as _, StreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost_reflect::{DynamicMessage, Value};
use tonic::Status;
use tower::ServiceExt as _;

use crate::server::{Call, Reply, call, once, pool, request, send, text, transcoder, with_fields};

fn http_body(content_type: &str, data: &'static [u8]) -> DynamicMessage {
    let descriptor = pool().get_message_by_name("google.api.HttpBody").expect("it is imported");
    let data = Value::Bytes(Bytes::from_static(data));
    with_fields(&descriptor, &[("content_type", text(content_type)), ("data", data)])
}

async fn shelf(mut call: Call) -> Reply {
    match call.rpc.as_str() {
        "ReadBook" => {
            let mut reply = once(http_body("text/plain", b"0123456789"))?;
            reply.metadata_mut().insert("etag", "\"e1\"".parse().expect("ASCII"));
            Ok(reply)
        }
        "DownloadBook" => {
            let request = call.request().await;
            let id = request.get_field_by_name("book_id").expect("an id");
            let id = id.as_str().expect("text").to_owned();
            let piece = |data| {
                Ok(call.response(&[("content", Value::Message(http_body("text/plain", data)))]))
            };
            let mut pieces = vec![piece(b"0123"), piece(b""), piece(b"456"), piece(b"789")];
            match id.as_str() {
                "failing" => pieces.insert(2, Err(Status::data_loss("unreadable"))),
                "short" => pieces.truncate(3),
                "empty" => pieces.clear(),
                "absent" => pieces = vec![Err(Status::not_found("no such book"))],
                _ => {}
            }
            let mut reply = tonic::Response::new(stream::iter(pieces).boxed());
            if id != "unknown" {
                let length = if id == "empty" { "0" } else { "10" };
                reply.metadata_mut().insert("x-content-length", length.parse().expect("ASCII"));
            }
            Ok(reply)
        }
        _ => written(call).await,
    }
}

/// Answers what arrived.
async fn written(mut call: Call) -> Reply {
    let (mut size, mut requests) = (0, 0);
    let (mut content_type, mut author, mut book) = (String::new(), String::new(), String::new());
    while let Some(request) = call.requests.next().await {
        let request = request?;
        let get = |name| request.get_field_by_name(name).expect("a field").into_owned();
        let content = get("content");
        let content = content.as_message().expect("a message");
        let data = content.get_field_by_name("data").expect("a field").into_owned();
        size += data.as_bytes().expect("bytes").len();
        let kind = content.get_field_by_name("content_type").expect("a field").into_owned();
        content_type += kind.as_str().expect("text");
        author += get("author").as_str().expect("text");
        book += get("book_id").as_str().expect("text");
        requests += 1;
    }
    once(call.response(&[
        ("size", Value::I64(i64::try_from(size).expect("small"))),
        ("content_type", text(&content_type)),
        ("requests", Value::I32(requests)),
        ("author", text(&author)),
        ("book_id", text(&book)),
    ]))
}

fn a_shelf() -> Transcoder {
    transcoder(|call| shelf(call).boxed())
}

#[tokio::test]
async fn a_download_is_its_bytes_and_cannot_run_in_a_browser() {
    for path in ["/v1/books/b/content", "/v1/books/b/download"] {
        let answer = call(&a_shelf(), "GET", path, "").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "0123456789"), "{path}");
        assert_eq!(answer.header("content-type"), Some("text/plain"));
        assert_eq!(answer.header("accept-ranges"), Some("bytes"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let policy = "default-src 'none'; sandbox";
        assert_eq!(answer.header("content-security-policy"), Some(policy));
    }
    let streamed = call(&a_shelf(), "GET", "/v1/books/b/download", "").await;
    assert_eq!(streamed.header("content-length"), Some("10"));
    let unknown = call(&a_shelf(), "GET", "/v1/books/unknown/download", "").await;
    assert_eq!((unknown.text(), unknown.header("accept-ranges")), ("0123456789", None));
    let empty = call(&a_shelf(), "GET", "/v1/books/empty/download", "").await;
    assert_eq!((empty.status.as_u16(), empty.text()), (200, ""));
    assert_eq!(empty.header("content-type"), Some("application/octet-stream"));
}

#[tokio::test]
async fn a_range_is_served_where_the_length_is_known() {
    for path in ["/v1/books/b/content", "/v1/books/b/download"] {
        for (range, part, content_range) in [
            ("bytes=0-3", "0123", "bytes 0-3/10"),
            ("bytes=3-6", "3456", "bytes 3-6/10"),
            ("bytes=8-", "89", "bytes 8-9/10"),
            ("bytes=-1", "9", "bytes 9-9/10"),
        ] {
            let answer = send(&a_shelf(), request("GET", path, &[("range", range)], b"")).await;
            assert_eq!((answer.status.as_u16(), answer.text()), (206, part), "{path} {range}");
            assert_eq!(answer.header("content-range"), Some(content_range));
        }
        let outside = [("range", "bytes=10-")];
        let answer = send(&a_shelf(), request("GET", path, &outside, b"")).await;
        let message = "range \"bytes=10-\" lies outside of the 10 bytes that there are";
        assert_eq!(answer.error(), (416, message.to_owned()));
        assert_eq!(answer.header("content-range"), Some("bytes */10"));
    }
    let range = [("range", "bytes=0-3")];
    let unknown = send(&a_shelf(), request("GET", "/v1/books/unknown/download", &range, b"")).await;
    assert_eq!((unknown.status.as_u16(), unknown.text()), (200, "0123456789"));
}

#[tokio::test]
async fn conditions_are_about_the_etag() {
    let get = async |headers: &[(&str, &str)]| {
        let answer = send(&a_shelf(), request("GET", "/v1/books/b/content", headers, b"")).await;
        (answer.status.as_u16(), answer.text().len())
    };
    assert_eq!(get(&[("if-none-match", "\"e1\"")]).await, (304, 0));
    assert_eq!(get(&[("if-none-match", "\"e0\", W/\"e1\"")]).await, (304, 0));
    assert_eq!(get(&[("if-none-match", "\"e2\"")]).await, (200, 10));
    assert_eq!(get(&[("range", "bytes=0-3"), ("if-range", "\"e1\"")]).await, (206, 4));
    assert_eq!(get(&[("range", "bytes=0-3"), ("if-range", "\"e2\"")]).await, (200, 10));
}

#[tokio::test]
async fn a_download_that_fails_is_never_taken_for_a_whole_one() {
    let absent = call(&a_shelf(), "GET", "/v1/books/absent/download", "").await;
    assert_eq!(absent.error(), (404, "no such book".to_owned()));
    let failing = call(&a_shelf(), "GET", "/v1/books/failing/download", "").await;
    assert_eq!(failing.status.as_u16(), 200);
    assert_eq!(failing.body, Err("unreadable".to_owned()));
    let short = call(&a_shelf(), "GET", "/v1/books/short/download", "").await;
    assert_eq!(short.body, Err("3 bytes of the download are missing".to_owned()));
    // The part before the failure is whole.
    let range = [("range", "bytes=0-3")];
    let part = send(&a_shelf(), request("GET", "/v1/books/failing/download", &range, b"")).await;
    assert_eq!((part.status.as_u16(), part.text()), (206, "0123"));
}

#[tokio::test]
async fn bytes_are_stored_in_one_message_or_many() {
    let headers = [("content-type", "image/png")];
    let path = "/v1/books/b/content?author=a";
    let answer = send(&a_shelf(), request("PUT", path, &headers, b"\x89PNG")).await;
    let stored = r#"{"size":4,"content_type":"image/png","requests":1,"author":"a","book_id":"b"}"#;
    assert_eq!(answer.text(), stored);

    let large = vec![7; 600 << 10];
    let path = "/v1/books/b/upload?author=a";
    let answer = send(&a_shelf(), request("POST", path, &headers, &large)).await;
    let stored =
        r#"{"size":614400,"content_type":"image/png","requests":3,"author":"a","book_id":"b"}"#;
    assert_eq!(answer.text(), stored);
    let answer = send(&a_shelf(), request("POST", path, &headers, b"")).await;
    let stored = r#"{"size":0,"content_type":"image/png","requests":1,"author":"a","book_id":"b"}"#;
    assert_eq!(answer.text(), stored);
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_not_stored() {
    let frames = stream::iter([
        Ok(Frame::data(Bytes::from_static(b"half"))),
        Err(std::io::Error::other("connection reset")),
    ]);
    let upload = http::Request::post("/v1/books/b/upload").body(StreamBody::new(frames));
    let response = a_shelf().oneshot(upload.expect("valid")).await.expect("it cannot fail");
    assert_eq!(response.status().as_u16(), 400);
    let body = response.into_body().collect().await.expect("an error").to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(body.contains("the body broke off: "), "{body}");
}
