//! Over a socket, where lengths, chunks and closed connections are real.

use std::{net::SocketAddr, time::Duration};

use cortex_transcode::Transcoder;
use futures::{FutureExt as _, StreamExt as _, stream};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use proptest::prelude::*;
use prost_reflect::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tonic::Status;

use crate::server::{asked, message, once, request, send, text, transcoder};

/// Serves on a port of the loopback until the test ends.
async fn serve(transcoder: Transcoder) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = TowerToHyperService::new(transcoder.clone());
            tokio::spawn(async move {
                let io = TokioIo::new(socket);
                let _ =
                    auto::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
            });
        }
    });
    address
}

/// Sends a request of HTTP/1.1 on a connection of its own and reads to its end.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).await.expect("the server listens");
    socket.write_all(request.as_bytes()).await.expect("the server reads");
    let mut answer = Vec::new();
    let reading = socket.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .expect("in time")
        .expect("an answer");
    String::from_utf8(answer).expect("text")
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n")
}

#[tokio::test]
async fn answers_have_lengths_and_downloads_too() {
    let address = serve(transcoder(|call| {
        async move {
            if call.rpc == "GetBook" {
                return once(call.response(&[]));
            }
            let body = crate::server::pool().get_message_by_name("google.api.HttpBody");
            let data = Value::Bytes(b"0123456789".as_slice().into());
            let content = crate::server::with_fields(&body.expect("imported"), &[("data", data)]);
            once(call.response(&[("content", Value::Message(content)), ("size", Value::I64(10))]))
        }
        .boxed()
    }))
    .await;
    let answer = exchange(address, &get("/v1/files/x", "")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\ncontent-length: 4\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nnull"), "{answer}");

    let answer = exchange(address, &get("/v1/books/b/download", "range: bytes=2-4\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 206 Partial Content\r\n"), "{answer}");
    assert!(answer.contains("\r\ncontent-length: 3\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n234"), "{answer}");

    let head = get("/v1/files/x", "").replacen("GET", "HEAD", 1);
    let answer = exchange(address, &head).await;
    assert!(answer.contains("\r\ncontent-length: 4\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

fn said() -> prost_reflect::DynamicMessage {
    let delta = message("TextDelta", &[("text", text("a"))]);
    message("WatchBookResponse", &[("text_delta", Value::Message(delta))])
}

#[tokio::test]
async fn events_arrive_while_the_stream_runs_and_a_closed_socket_ends_the_call() {
    let (alive, gone) = tokio::sync::mpsc::channel::<()>(1);
    let endless = transcoder(move |_| {
        let messages = stream::unfold(alive.clone(), async |alive| {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some((Ok::<_, Status>(said()), alive))
        });
        async move { Ok(tonic::Response::new(messages.boxed())) }.boxed()
    });
    let address = serve(endless).await;
    let mut socket = TcpStream::connect(address).await.expect("the server listens");
    let request = get("/v1/books/b/events", "");
    socket.write_all(request.as_bytes()).await.expect("the server reads");
    let mut seen = String::new();
    while seen.matches("event: text_delta").count() < 3 {
        let mut piece = [0; 1024];
        let length = socket.read(&mut piece).await.expect("the stream runs");
        assert!(length > 0, "the stream ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    drop(socket);
    // The transcoder holds one sender, the stream another.
    let ended = async {
        while gone.sender_strong_count() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("the call ends");
}

proptest! {
    #[test]
    fn no_request_panics(
        method in "GET|POST|PUT|PATCH|DELETE",
        path in "/v1/(books|shelves/a/books|files|echo|documents|books:search)?(/[a-z%:*.~0-9]{0,8}){0,3}",
        query in "([a-z_.]{0,9}=?[a-z0-9%+.,:-]{0,9}&?){0,4}|filter.not.status=[a-z0-9]{0,4}",
        body in "\\{?(\"(text|book|title|i32|json)\":([0-9]{1,3}|\"a\"|\\{\\}|null),?){0,3}\\}?|\\PC{0,20}",
        id in "[0-9a-z]{0,4}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let headers = [("last-event-id", id.as_str()), ("range", "bytes=0-3")];
        let uri = format!("{path}?{query}");
        prop_assume!(uri.parse::<http::Uri>().is_ok());
        let request = request(&method, &uri, &headers, body.as_bytes());
        let answer = runtime.expect("a runtime").block_on(send(&asked(), request));
        // Never the transcoder's own fault.
        prop_assert!(answer.status.as_u16() < 500, "{:?}", answer);
        prop_assert!(answer.body.is_ok());
    }
}
