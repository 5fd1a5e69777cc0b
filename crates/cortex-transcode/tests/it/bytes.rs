//! google.api.HttpBody: downloads, ranges, uploads.

use bytes::Bytes;
use cortex_transcode::Transcoder;
use futures::{FutureExt as _, StreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message as _;
use prost_reflect::{DynamicMessage, Value};
use tonic::{Code, Status};
use tower::ServiceExt as _;

use crate::errors::{any, details};
use crate::server::{Call, Reply, call, once, pool, request, send, text, transcoder, with_fields};

fn http_body(content_type: &str, data: &'static [u8]) -> DynamicMessage {
    let descriptor = pool().get_message_by_name("google.api.HttpBody").expect("it is imported");
    let data = Value::Bytes(Bytes::from_static(data));
    with_fields(&descriptor, &[("content_type", text(content_type)), ("data", data)])
}

async fn shelf(mut call: Call) -> Reply {
    match call.rpc.as_str() {
        "ReadBook" => once(http_body("text/plain", b"0123456789")),
        "DownloadBook" => {
            let id = field(&call.request().await, "book_id");
            downloaded(&call, id.as_str().expect("text"))
        }
        "SeekBook" => {
            let request = call.request().await;
            sought(&call, &request)
        }
        _ => written(call).await,
    }
}

fn field(message: &DynamicMessage, name: &str) -> Value {
    message.get_field_by_name(name).expect("a field").into_owned()
}

/// Ten bytes in pieces, some of which are in the way.
fn downloaded(call: &Call, id: &str) -> Reply {
    let piece =
        |data| Ok(call.response(&[("content", Value::Message(http_body("text/plain", data)))]));
    let size = if id == "unknown" { 0 } else { 10 };
    let facts = [("size", Value::I64(size)), ("digest", text("d1")), ("name", text("a/bä \".txt"))];
    let mut pieces =
        vec![Ok(call.response(&facts)), piece(b"0123"), piece(b""), piece(b"456"), piece(b"789")];
    match id {
        "failing" => pieces.insert(3, Err(Status::data_loss("unreadable"))),
        "short" => pieces.truncate(4),
        "empty" => pieces.clear(),
        "absent" => pieces = vec![Err(Status::not_found("no such book"))],
        _ => {}
    }
    Ok(tonic::Response::new(stream::iter(pieces).boxed()))
}

/// What offset and length ask for. The name tells what they were.
fn sought(call: &Call, request: &DynamicMessage) -> Reply {
    let number = |name| field(request, name).as_i64().expect("a number");
    let (offset, length) = (number("offset"), number("length"));
    let begin = usize::try_from(if offset < 0 { 10 + offset } else { offset }).expect("small");
    if begin >= 10 {
        let told = field(request, "book_id").as_str() == Some("told");
        let details = if told { size_told(10) } else { Bytes::new() };
        return Err(Status::with_details(Code::OutOfRange, "beyond the end", details));
    }
    let end =
        if length == 0 { 10 } else { 10.min(begin + usize::try_from(length).expect("small")) };
    let bytes = http_body("text/plain", &b"0123456789"[begin..end]);
    let size = if field(request, "book_id").as_str() == Some("unknown") { 0 } else { 10 };
    once(call.response(&[
        ("content", Value::Message(bytes)),
        ("size", Value::I64(size)),
        ("digest", text("d1")),
        ("name", text(&format!("{offset}+{length}"))),
    ]))
}

/// An ErrorInfo that says how many bytes there are.
fn size_told(size: u64) -> Bytes {
    #[derive(Clone, PartialEq, prost::Message)]
    struct ErrorInfo {
        #[prost(map = "string, string", tag = "3")]
        metadata: std::collections::HashMap<String, String>,
    }
    let metadata = [("size".to_owned(), size.to_string())].into();
    let info = ErrorInfo { metadata }.encode_to_vec();
    details(vec![any("google.rpc.ErrorInfo", info)])
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
        let message = "the range lies outside of the 10 bytes that there are";
        assert_eq!(answer.error(), (416, message.to_owned()));
        assert_eq!(answer.header("content-range"), Some("bytes */10"));
    }
    let range = [("range", "bytes=0-3")];
    let unknown = send(&a_shelf(), request("GET", "/v1/books/unknown/download", &range, b"")).await;
    assert_eq!((unknown.status.as_u16(), unknown.text()), (200, "0123456789"));
}

#[tokio::test]
async fn a_service_that_can_seek_is_asked_for_the_range() {
    let get = async |path: &str, headers: &[(&str, &str)]| {
        let path = format!("/v1/books/{path}");
        let answer = send(&a_shelf(), request("GET", &path, headers, b"")).await;
        let asked = answer.header("content-disposition").unwrap_or_default().to_owned();
        let asked = asked.split('"').nth(1).unwrap_or_default().to_owned();
        (answer.status.as_u16(), answer.text().to_owned(), asked)
    };
    let told = |status: u16, text: &str, asked: &str| (status, text.to_owned(), asked.to_owned());
    assert_eq!(get("b/seek", &[]).await, told(200, "0123456789", "0+0"));
    assert_eq!(get("b/seek", &[("range", "bytes=3-6")]).await, told(206, "3456", "3+4"));
    assert_eq!(get("b/seek", &[("range", "bytes=8-99")]).await, told(206, "89", "8+92"));
    assert_eq!(get("b/seek", &[("range", "bytes=-3")]).await, told(206, "789", "-3+0"));
    assert_eq!(get("b/seek", &[("range", "bytes=10-")]).await.0, 416);
    assert_eq!(get("b/seek", &[("range", "bytes=-0")]).await.0, 416);
    for (path, headers) in [
        ("/v1/books/told/seek", &[("range", "bytes=10-")][..]),
        ("/v1/books/told/seek?offset=10", &[]),
    ] {
        let answer = send(&a_shelf(), request("GET", path, headers, b"")).await;
        let told = (answer.status.as_u16(), answer.header("content-range"));
        assert_eq!(told, (416, Some("bytes */10")), "{path}");
    }
    // The caller's own offset is no range of HTTP.
    assert_eq!(get("b/seek?offset=4", &[("range", "bytes=0-1")]).await, told(200, "456789", "4+0"));
    // A range of something else, or of what has no known size, is everything.
    let other = [("range", "bytes=3-6"), ("if-range", "\"d0\"")];
    assert_eq!(get("b/seek", &other).await, told(200, "0123456789", "0+0"));
    let same = [("range", "bytes=3-6"), ("if-range", "\"d1\"")];
    assert_eq!(get("b/seek", &same).await, told(206, "3456", "3+4"));
    assert_eq!(
        get("unknown/seek", &[("range", "bytes=3-6")]).await,
        told(200, "0123456789", "0+0")
    );
}

#[tokio::test]
async fn a_file_name_survives_every_client() {
    let answer = call(&a_shelf(), "GET", "/v1/books/b/download", "").await;
    let disposition = "attachment; filename=\"b_ _.txt\"; filename*=UTF-8''b%C3%A4%20%22.txt";
    assert_eq!(answer.header("content-disposition"), Some(disposition));
    assert_eq!(answer.header("etag"), Some("\"d1\""));
}

#[tokio::test]
async fn conditions_are_about_the_etag() {
    let get = async |headers: &[(&str, &str)]| {
        let answer = send(&a_shelf(), request("GET", "/v1/books/b/download", headers, b"")).await;
        (answer.status.as_u16(), answer.text().len())
    };
    assert_eq!(get(&[("if-none-match", "\"d1\"")]).await, (304, 0));
    assert_eq!(get(&[("if-none-match", "\"d0\", W/\"d1\"")]).await, (304, 0));
    assert_eq!(get(&[("if-none-match", "\"d2\"")]).await, (200, 10));
    assert_eq!(get(&[("range", "bytes=0-3"), ("if-range", "\"d1\"")]).await, (206, 4));
    assert_eq!(get(&[("range", "bytes=0-3"), ("if-range", "\"d2\"")]).await, (200, 10));
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
