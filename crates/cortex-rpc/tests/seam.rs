//! The bare seam: `local` and `remote` behave the same, whatever serves at the other end.
#![allow(clippy::panic, reason = "tests fail by it")]

mod common;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use common::{
    echo::{Echo, EchoClient, Smuggled, State, ask, ask_n},
    until,
};
use cortex_rpc::{local, reason, remote};
use tonic::{Code, Request, transport::server::TcpIncoming};

/// A client of tonic's own server, which has none of our layers, or of the service itself.
async fn world(tcp: bool) -> (EchoClient, Arc<State>) {
    let state = Arc::new(State::default());
    let echo = Echo { state: state.clone(), peer: None };
    if !tcp {
        return (EchoClient(local(echo)), state);
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_service(echo);
    tokio::spawn(server.serve_with_incoming(incoming));
    let channel = tonic::transport::Endpoint::from_shared(url).expect("a URL").connect_lazy();
    (EchoClient(remote(channel)), state)
}

#[tokio::test]
async fn running_out_of_time_is_deadline_exceeded() {
    for tcp in [false, true] {
        let (mut client, state) = world(tcp).await;
        let mut request = Request::new(ask_n("sleep", 60_000));
        request.set_timeout(Duration::from_millis(50));
        let begun = Instant::now();
        let error = client.echo(request).await.expect_err("too late");
        assert_eq!(error.code(), Code::DeadlineExceeded, "tcp {tcp}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(5), "tcp {tcp}: {:?}", begun.elapsed());
        until("the handler is dropped", || state.ended() == 1).await;
    }
}

#[tokio::test]
async fn the_time_counts_until_the_end_of_the_body() {
    for tcp in [false, true] {
        let (mut client, state) = world(tcp).await;
        let mut request = Request::new(ask("hang"));
        request.set_timeout(Duration::from_millis(100));
        let mut stream = client.stream("Watch", request).await.expect("headers");
        stream.message().await.expect("an item");
        let error = stream.message().await.expect_err("too late");
        assert_eq!(error.code(), Code::DeadlineExceeded, "tcp {tcp}: {error}");
        until("the stream is dropped", || state.ended() == 1).await;
    }
}

#[tokio::test]
async fn a_panic_does_not_reach_the_caller() {
    let (mut client, _) = world(false).await;
    let error = client.echo(ask("panic")).await.expect_err("it panics");
    assert_eq!((error.code(), reason(&error).as_deref()), (Code::Internal, Some("PANIC")));
    client.echo(ask("hello")).await.expect("still there");
    // A foreign server cuts the stream without a word; whether it did the work, nobody knows.
    let (mut client, _) = world(true).await;
    let error = client.echo(ask("panic")).await.expect_err("it panics");
    assert_eq!(
        (error.code(), reason(&error).as_deref()),
        (Code::Unavailable, Some("CONNECTION_LOST")),
        "{error}"
    );
    client.echo(ask("hello")).await.expect("still there");
}

#[tokio::test]
async fn extensions_do_not_cross() {
    for tcp in [false, true] {
        let (mut client, _) = world(tcp).await;
        let mut request = Request::new(ask("smuggled"));
        request.extensions_mut().insert(Smuggled);
        assert_eq!(client.echo(request).await.expect("answered").into_inner().text, "false");
    }
}

#[tokio::test]
async fn a_service_that_is_away_is_unavailable() {
    let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
    let error = EchoClient(remote(channel)).echo(ask("hello")).await.expect_err("nobody is there");
    assert_eq!(
        (error.code(), reason(&error).as_deref()),
        (Code::Unavailable, Some("CONNECT_FAILED"))
    );
}
