//! Bodies in and out.

use cortex_transcode::Limits;
use futures::FutureExt as _;
use prost_reflect::Value;

use crate::server::{
    Call, Reply, ask, asked, call, message, once, request, send, text, transcoder,
};

/// A library with one book and one document.
async fn library(mut call: Call) -> Reply {
    let request = call.request().await;
    let book = || {
        let fields =
            [("title", text("T")), ("metadata", text(r#"{"b":1.0,"a":9007199254740993}"#))];
        message("Book", &fields)
    };
    match call.rpc.as_str() {
        "Echo" => once(request),
        "GetBook" => match request.get_field_by_name("name").expect("a name").as_str() {
            Some("none") => once(call.response(&[])),
            _ => once(call.response(&[("book", Value::Message(book()))])),
        },
        "ListBooks" => once(call.response(&[
            (
                "books",
                Value::List(vec![Value::Message(book()), Value::Message(message("Book", &[]))]),
            ),
            ("next_page_token", text("page-2")),
        ])),
        "GetDocument" => {
            let id = request.get_field_by_name("document_id").expect("an id");
            once(call.response(&[("document", text(id.as_str().expect("text")))]))
        }
        "PutDocument" => {
            let document = request.get_field_by_name("document").expect("a document").into_owned();
            once(call.response(&[("document", document)]))
        }
        _ => once(call.response(&[])),
    }
}

fn a_library() -> cortex_transcode::Transcoder {
    transcoder(|call| library(call).boxed())
}

#[tokio::test]
async fn the_answer_is_what_response_body_names() {
    let library = a_library();
    let book = r#"{"book_id":"","title":"T","status":"unspecified","page_count":0,"metadata":{"b":1.0,"a":9007199254740993},"tags":[]}"#;
    let empty = r#"{"book_id":"","title":"","status":"unspecified","page_count":0,"tags":[]}"#;

    let one = call(&library, "GET", "/v1/files/x", "").await;
    assert_eq!((one.status.as_u16(), one.text()), (200, book));
    assert_eq!(one.header("content-type"), Some("application/json"));
    assert_eq!(call(&library, "GET", "/v1/files/none", "").await.text(), "null");

    let bare = call(&library, "GET", "/v1/books", "").await;
    assert_eq!(bare.text(), format!("[{book},{empty}]"));
    assert_eq!(bare.header("x-next-page-token"), Some("page-2"));

    let whole = call(&library, "GET", "/v1/books:search", "").await;
    assert_eq!(whole.text(), format!(r#"{{"books":[{book},{empty}],"next_page_token":"page-2"}}"#));
    assert_eq!(whole.header("x-next-page-token"), None);

    assert_eq!(call(&library, "DELETE", "/v1/books/x", "").await.text(), "{}");
}

#[tokio::test]
async fn a_document_is_the_body_in_both_directions() {
    let library = a_library();
    let document = r#"{"a":6,"b":9007199254740993,"z":1.0,"a2":1e400}"#;
    let stored = call(&library, "PUT", "/v1/documents/d", document).await;
    assert_eq!(stored.text(), format!(r#"{{"document":{document}}}"#));
    let read = call(&library, "GET", "/v1/documents/%7B%22z%22:%201.0%7D", "").await;
    assert_eq!(read.text(), r#"{"z": 1.0}"#);

    let broken = call(&library, "GET", "/v1/documents/%7B", "").await;
    assert_eq!(broken.error(), (500, "the service's answer cannot be told as JSON".to_owned()));
}

#[tokio::test]
async fn an_answer_of_an_echo_is_the_request() {
    let body = r#"{"text":"x","i64":"9007199254740993","status":"BOOK_STATUS_LENT","camelCaseName":"c","nested":{"json":[1.10]},"maybe":0,"choice_text":""}"#;
    let answer = call(&a_library(), "POST", "/v1/echo", body).await;
    let written = answer.text();
    for part in [
        r#""text":"x""#,
        r#""i64":9007199254740993"#,
        r#""status":"lent""#,
        r#""camel_case_name":"c""#,
        r#""json":[1.10]"#,
        r#""maybe":0"#,
        r#""choice_text":"""#,
    ] {
        assert!(written.contains(part), "{part} in {written}");
    }
    assert!(!written.contains("maybe_text"), "{written}");
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let answer = call(&a_library(), "HEAD", "/v1/files/none", "").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
    assert_eq!(answer.header("content-length"), Some("4"));
}

#[tokio::test]
async fn a_body_must_be_json_and_say_so() {
    let asked = asked();
    for (content_type, status) in [
        ("application/json", 409),
        ("Application/JSON; charset=utf-8", 409),
        ("application/merge-patch+json", 409),
        ("application/json; charset=latin1", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
    ] {
        let headers = [("content-type", content_type)];
        let answer = send(&asked, request("POST", "/v1/echo", &headers, b"{}")).await;
        assert_eq!(answer.status.as_u16(), status, "{content_type}");
    }
    let form = [("content-type", "text/plain")];
    let answer = send(&asked, request("POST", "/v1/echo", &form, b"")).await;
    let message = "the body is \"text/plain\"; expected \"application/json\"";
    assert_eq!(answer.error(), (415, message.to_owned()));
    assert_eq!(ask(&asked, "POST", "/v1/echo", "").await, "Echo {}");
    assert_eq!(ask(&asked, "POST", "/v1/echo", " \n").await, "Echo {}");
}

#[tokio::test]
async fn a_body_that_is_wrong_says_where() {
    let asked = asked();
    for (body, error) in [
        (
            "{\"text\":\n \"a\" \"b\"}",
            "400 the body is not valid JSON: expected `,` or `}` at line 2, column 6",
        ),
        ("{", "400 the body is not valid JSON: EOF while parsing an object at line 1, column 1"),
        ("nul", "400 the body is not valid JSON: EOF while parsing a value at line 1, column 3"),
        (
            "{\"double\":1e999}",
            "400 the body is not valid JSON: number out of range at line 1, column 15",
        ),
        (
            "{\"nested\":{\"txt\":1}}",
            "400 nested.txt: is not a field of this request; known fields: flag, ",
        ),
        ("{\"json\":{\"a\":1},\"json\":2}", "400 json: is given twice"),
        ("[]", "400 the body: expected an object, got an array"),
        ("null", "Echo {}"),
    ] {
        let found = ask(&asked, "POST", "/v1/echo", body).await;
        assert!(found.starts_with(error), "{body}: {found}");
    }
    let found = send(
        &asked,
        request(
            "POST",
            "/v1/echo",
            &[("content-type", "application/json")],
            b"{\"text\":\"\xff\"}",
        ),
    );
    assert_eq!(found.await.error().1, "the body is not valid JSON: not UTF-8 after 9 bytes");
    let deep = format!("{{\"json\":{}{}}}", "[".repeat(100), "]".repeat(100));
    let found = ask(&asked, "POST", "/v1/echo", &deep).await;
    let error =
        "400 the body is not valid JSON: nested deeper than 100 levels at line 1, column 108";
    assert_eq!(found, error);
    let found = ask(&asked, "DELETE", "/v1/books/b", "{\"a\":1}").await;
    assert_eq!(found, "400 DELETE /v1/books/{book_id} takes no body; use query parameters");
}

#[tokio::test]
async fn a_body_has_a_limit_with_and_without_a_length() {
    let limits = Limits { body: 10, ..Limits::default() };
    let small = crate::server::transcoder_with(limits, |call| library(call).boxed());
    let message = (413, "the body is larger than 10 bytes".to_owned());
    assert_eq!(call(&small, "POST", "/v1/echo", "{\"text\":\"abc\"}").await.error(), message);
    let announced = [("content-length", "11"), ("content-type", "application/json")];
    assert_eq!(send(&small, request("POST", "/v1/echo", &announced, b"{}")).await.error(), message);
    assert_eq!(call(&small, "POST", "/v1/echo", "{}        ").await.status.as_u16(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    use bytes::Bytes;
    use http_body::Frame;
    use tower::ServiceExt as _;
    let never = futures::stream::pending::<Result<Frame<Bytes>, std::io::Error>>();
    let slow = http::Request::post("/v1/echo").body(http_body_util::StreamBody::new(never));
    let response = a_library().oneshot(slow.expect("valid")).await.expect("it cannot fail");
    assert_eq!(response.status().as_u16(), 408);
}
