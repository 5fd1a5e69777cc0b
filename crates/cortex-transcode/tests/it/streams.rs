//! Streams: server-sent events, lines of JSON, and the choice between a stream and one answer.

use std::time::Duration;

use bytes::Bytes;
use cortex_transcode::Transcoder;
use futures::{FutureExt as _, StreamExt as _, stream};
use http_body_util::BodyExt as _;
use prost_reflect::{DynamicMessage, Value};
use tonic::Status;
use tower::ServiceExt as _;

use crate::server::{Reply, call, message, once, request, send, several, text, transcoder};

fn event(sequence: i64, arm: &str, value: Value) -> DynamicMessage {
    message("WatchBookResponse", &[("sequence", Value::I64(sequence)), (arm, value)])
}

fn said(sequence: i64, words: &str) -> DynamicMessage {
    let delta = message("TextDelta", &[("text", text(words))]);
    event(sequence, "text_delta", Value::Message(delta))
}

/// A transcoder whose streams are always this.
fn always(make: impl Fn() -> Reply + Send + Sync + 'static) -> Transcoder {
    transcoder(move |mut call| {
        let reply = make();
        async move {
            call.request().await;
            reply
        }
        .boxed()
    })
}

#[tokio::test]
async fn events_have_id_name_and_data() {
    let watch = always(|| {
        several(vec![
            Ok(said(1, "a\nb")),
            Ok(event(0, "custom", text("{\"z\": 1.0,\n \"a\": 2}"))),
            Ok(message("WatchBookResponse", &[("sequence", Value::I64(3))])),
        ])
    });
    let answer = call(&watch, "GET", "/v1/books/b/events", "").await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        answer.text(),
        "retry: 1000\n\n\
         id: 1\nevent: text_delta\ndata: {\"text\":\"a\\nb\"}\n\n\
         event: custom\ndata: {\"z\": 1.0,\ndata:  \"a\": 2}\n\n\
         id: 3\ndata: {\"sequence\":3}\n\n"
    );
}

#[tokio::test]
async fn an_event_may_stand_within_a_message() {
    let follow = always(|| {
        let what = message("FollowBookResponse", &[("what", Value::Message(said(5, "a")))]);
        several(vec![Ok(what), Ok(message("FollowBookResponse", &[]))])
    });
    let answer = call(&follow, "GET", "/v1/books/b/follow", "").await;
    let events = "retry: 1000\n\nid: 5\nevent: text_delta\ndata: {\"text\":\"a\"}\n\ndata: {}\n\n";
    assert_eq!(answer.text(), events);
}

#[tokio::test]
async fn lines_are_whole_responses() {
    let watch =
        always(|| several(vec![Ok(said(1, "a")), Ok(event(2, "custom", text("{\n\"a\": 2}")))]));
    let headers = [("accept", "application/x-ndjson")];
    let answer = send(&watch, request("GET", "/v1/books/b/events", &headers, b"")).await;
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(
        answer.text(),
        "{\"sequence\":1,\"text_delta\":{\"text\":\"a\"}}\n{\"sequence\":2,\"custom\":{ \"a\": 2}}\n"
    );
}

#[tokio::test]
async fn response_body_unwraps_every_message() {
    let book = || message("Book", &[("title", text("T"))]);
    let stream = always(move || {
        let wrapped = message("StreamBooksResponse", &[("book", Value::Message(book()))]);
        several(vec![Ok(wrapped)])
    });
    let answer = call(&stream, "GET", "/v1/books:stream", "").await;
    let data = r#"{"book_id":"","title":"T","status":"unspecified","page_count":0,"tags":[]}"#;
    assert_eq!(answer.text(), format!("retry: 1000\n\ndata: {data}\n\n"));
}

#[tokio::test]
async fn an_error_before_the_first_message_is_a_status_and_after_it_an_event() {
    let error = || Status::not_found("no such book");
    let json =
        r#"{"error":{"code":404,"status":"NOT_FOUND","message":"no such book","details":[]}}"#;
    let at_once = always(move || several(vec![Err(error())]));
    let answer = call(&at_once, "GET", "/v1/books/b/events", "").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (404, json));

    let later = always(move || several(vec![Ok(said(7, "a")), Err(error())]));
    let answer = call(&later, "GET", "/v1/books/b/events", "").await;
    assert_eq!(answer.status.as_u16(), 200);
    let events = answer.text();
    assert!(events.ends_with(&format!("\n\nevent: error\ndata: {json}\n\n")), "{events}");

    let headers = [("accept", "application/x-ndjson")];
    let answer = send(&later, request("GET", "/v1/books/b/events", &headers, b"")).await;
    let last = answer.text().lines().last().expect("a line").to_owned();
    assert_eq!(last, json);
}

#[tokio::test]
async fn a_message_that_breaks_its_contract_ends_the_stream_with_an_error() {
    let broken = always(|| several(vec![Ok(event(1, "custom", text("{"))), Ok(said(2, "b"))]));
    let answer = call(&broken, "GET", "/v1/books/b/events", "").await;
    let events = answer.text();
    assert!(
        events.starts_with("retry: 1000\n\nevent: error\ndata: {\"error\":{\"code\":500,"),
        "{events}"
    );
    assert!(!events.contains("text_delta"), "{events}");
}

/// What the service was asked when a stream was wanted.
async fn resumed(method: &str, path: &str, id: &str, body: &str) -> (u16, String) {
    let asked = crate::server::asked();
    let headers = [("last-event-id", id), ("content-type", "application/json")];
    send(&asked, request(method, path, &headers, body.as_bytes())).await.error()
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_event() {
    let get = async |id, query| resumed("GET", &format!("/v1/books/b/events{query}"), id, "").await;
    let asked = |fields: &str| (409, format!("WatchBook {{book_id=\"b\"{fields}}}"));
    assert_eq!(get("41", "").await, asked(" after_sequence=41"));
    assert_eq!(get("41", "?after_sequence=7").await, asked(" after_sequence=41"));
    assert_eq!(get("", "?after_sequence=7").await, asked(" after_sequence=7"));
    let message = "Last-Event-ID: expected a 64-bit integer, got \"x1\"; send an id of this stream";
    assert_eq!(get("x1", "").await, (400, message.to_owned()));
    let other = resumed("GET", "/v1/books:stream", "41", "").await;
    assert_eq!(other, (409, "StreamBooks {}".to_owned()));
}

#[tokio::test]
async fn a_post_resumes_only_by_its_request_id() {
    let post = async |body| resumed("POST", "/v1/books/b/ask", "4", body).await;
    let message = "a POST with Last-Event-ID resumes the call of its `request_id`; send the same \
                   `request_id` again";
    assert_eq!(post("{\"question\":\"q\"}").await, (400, message.to_owned()));
    let asked = r#"Ask {book_id="b" request_id="r" after_sequence=4}"#;
    assert_eq!(post("{\"request_id\":\"r\"}").await, (409, asked.to_owned()));
}

#[tokio::test]
async fn nothing_after_the_last_event_is_204_only_when_resuming() {
    let over = always(|| several(vec![]));
    let resuming = [("last-event-id", "9")];
    let answer = send(&over, request("GET", "/v1/books/b/events", &resuming, b"")).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (204, ""));
    let answer = call(&over, "GET", "/v1/books/b/events?after_sequence=9", "").await;
    assert_eq!(answer.status.as_u16(), 204);
    let answer = call(&over, "GET", "/v1/books/b/events", "").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "retry: 1000\n\n"));
}

#[tokio::test]
async fn a_field_chooses_between_stream_and_one_answer() {
    let both = transcoder(|mut call| {
        async move {
            let request = call.shown().await;
            match call.rpc.as_str() {
                "Answer" => once(call.response(&[("answer", text(&request))])),
                _ => several(vec![Ok(said(1, &request))]),
            }
        }
        .boxed()
    });
    let post = async |body: &str| call(&both, "POST", "/v1/books/b/ask", body).await;
    let one = post(r#"{"stream":false,"question":"q","request_id":"r"}"#).await;
    assert_eq!(one.header("content-type"), Some("application/json"));
    let fields = r#"{book_id=\"b\" question=\"q\" request_id=\"r\"}"#;
    assert_eq!(one.text(), format!("{{\"answer\":\"{fields}\"}}"));
    for body in ["{\"stream\":true}", "{}", "{\"stream\":null}"] {
        let streamed = post(body).await;
        assert_eq!(streamed.header("content-type"), Some("text/event-stream"), "{body}");
    }
}

/// The pieces of a body with when they came, in seconds.
async fn pieces(transcoder: &Transcoder, path: &str, seconds: u64) -> (u64, Vec<(u64, Bytes)>) {
    let begin = tokio::time::Instant::now();
    let request = request("GET", path, &[], b"");
    let response = transcoder.clone().oneshot(request).await.expect("it cannot fail");
    let answered = begin.elapsed().as_secs();
    assert_eq!(response.status().as_u16(), 200);
    let mut body = response.into_body();
    let mut pieces = Vec::new();
    let reading = async {
        while let Some(frame) = body.frame().await {
            let data = frame.expect("no error").into_data().expect("data");
            pieces.push((begin.elapsed().as_secs(), data));
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(seconds), reading).await;
    (answered, pieces)
}

fn silent_then(seconds: u64, last: Option<DynamicMessage>) -> Reply {
    let wait = async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        last.map(Ok)
    };
    let messages = stream::once(wait).filter_map(futures::future::ready);
    Ok(tonic::Response::new(messages.boxed()))
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_answered_after_a_second_and_kept_alive() {
    let silent = always(|| silent_then(50, Some(said(1, "late"))));
    let (answered, pieces) = pieces(&silent, "/v1/books/b/events", 100).await;
    assert_eq!(answered, 1);
    let beat = Bytes::from_static(b": heartbeat\n\n");
    let event = Bytes::from_static(b"id: 1\nevent: text_delta\ndata: {\"text\":\"late\"}\n\n");
    let retry = Bytes::from_static(b"retry: 1000\n\n");
    assert_eq!(
        pieces,
        [(1, retry), (16, beat.clone()), (31, beat.clone()), (46, beat), (50, event)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_open_is_answered_before_the_heartbeat_is_due() {
    let slow = transcoder(|_| {
        async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            several(vec![Ok(said(1, "a")), Err(Status::unavailable("drained"))])
        }
        .boxed()
    });
    let (answered, pieces) = pieces(&slow, "/v1/books/b/events", 100).await;
    assert_eq!(answered, 15);
    let last = pieces.last().expect("a piece");
    assert_eq!(last.0, 20);
    assert!(last.1.starts_with(b"id: 1\n"), "{:?}", last.1);
    let text = String::from_utf8_lossy(&last.1);
    assert!(text.contains("event: error\ndata: {\"error\":{\"code\":503"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_late_first_error_within_the_second_is_still_a_status() {
    let failing = always(|| {
        let wait = async {
            tokio::time::sleep(Duration::from_millis(900)).await;
            Err(Status::out_of_range("beyond the head"))
        };
        Ok(tonic::Response::new(stream::once(wait).boxed()))
    });
    let answer = call(&failing, "GET", "/v1/books/b/events", "").await;
    assert_eq!(answer.error(), (400, "beyond the head".to_owned()));
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_call() {
    let (alive, gone) = tokio::sync::oneshot::channel::<()>();
    let alive = std::sync::Mutex::new(Some(alive));
    let endless = transcoder(move |_| {
        let alive = alive.lock().expect("not poisoned").take();
        let messages = stream::unfold(alive, async |alive| {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Some((Ok(said(1, "a")), alive))
        });
        async move { Ok(tonic::Response::new(messages.boxed())) }.boxed()
    });
    let request = request("GET", "/v1/books/b/events", &[], b"");
    let response = endless.clone().oneshot(request).await.expect("it cannot fail");
    let mut body = response.into_body();
    assert!(body.frame().await.is_some());
    drop(body);
    let ended = tokio::time::timeout(Duration::from_secs(5), gone).await.expect("in time");
    assert!(ended.is_err(), "the sender is dropped with the stream");
}

#[tokio::test]
async fn what_is_ready_is_sent_in_one_piece() {
    let burst = always(|| several((1..=100).map(|it| Ok(said(it, "a"))).collect()));
    let (_, pieces) = pieces(&burst, "/v1/books/b/events", 5).await;
    assert_eq!(pieces.len(), 1, "100 events of 60 bytes are one piece");
}
