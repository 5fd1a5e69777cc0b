//! The client's layers: retry, deadline per attempt, balance, circuit breaker.
#![allow(clippy::panic, reason = "tests fail by it")]

mod common;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use common::{
    Way, World,
    echo::{Echo, EchoClient, State, ask, ask_n},
    methods, serve, until,
};
use cortex_config::Duration as Span;
use cortex_rpc::{Client, ClientConfig, ServerConfig, reason, retry_after};
use cortex_telemetry::Metrics;
use tonic::{Code, Request};

/// In-process transports have the client's layers with their defaults; over TCP a test may change them.
fn over(way: Way, world: &World, config: ClientConfig) -> EchoClient {
    let client = Client::new(config).with_methods(methods());
    EchoClient(match way {
        Way::InProcess => {
            client.layers(cortex_rpc::local(Echo { state: world.state.clone(), peer: None }))
        }
        Way::Tcp => client.connect([&world.url]).expect("a valid URL"),
    })
}

on_both_transports! {
    idempotent_calls_are_repeated(world) {
        let mut client = over(world.way, &world, ClientConfig::default());
        let answer = client.unary("Read", ask_n("flaky", 2)).await.expect("the third attempt");
        assert_eq!(answer.into_inner().text, "flaky");
        assert_eq!(world.state.calls(), 3);
    }

    other_calls_are_not(world) {
        let mut client = over(world.way, &world, ClientConfig::default());
        let error = client.echo(ask_n("flaky", 2)).await.expect_err("the first attempt");
        assert_eq!((error.code(), reason(&error).as_deref()), (Code::Unavailable, Some("FLAKY")));
        assert_eq!(world.state.calls(), 1);
    }

    attempts_are_counted(world) {
        let mut config = ClientConfig::default();
        config.retry.max_attempts = 3;
        config.retry.backoff = Span::from_millis(1);
        let mut client = over(world.way, &world, config);
        let error = client.unary("Read", ask_n("flaky", 100)).await.expect_err("always");
        assert_eq!(reason(&error).as_deref(), Some("FLAKY"));
        assert_eq!(world.state.calls(), 3);
    }

    a_service_says_when_to_come_back(world) {
        let mut client = over(world.way, &world, ClientConfig::default());
        let begun = Instant::now();
        client.unary("Read", ask_n("busy", 1)).await.expect("the second attempt");
        assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
        let begun = Instant::now();
        let error = client.unary("Read", ask("busy_long")).await.expect_err("an hour is too long");
        assert_eq!(retry_after(&error), Some(Duration::from_secs(3600)));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    no_attempt_begins_after_the_deadline(world) {
        let mut client = over(world.way, &world, ClientConfig::default());
        let mut request = Request::new(ask_n("busy", 100));
        request.set_timeout(Duration::from_millis(190));
        let begun = Instant::now();
        let error = client.unary("Read", request).await.expect_err("always");
        assert_eq!(error.code(), Code::ResourceExhausted, "the failure, not the time-out: {error}");
        assert!(begun.elapsed() < Duration::from_millis(190), "{:?}", begun.elapsed());
        assert_eq!(world.state.calls(), 1);
    }

    each_attempt_has_its_own_time(world) {
        let config =
            ClientConfig { attempt_timeout: Span::from_millis(100), ..ClientConfig::default() };
        let mut client = over(world.way, &world, config);
        let begun = Instant::now();
        client.unary("Read", ask_n("flaky_slow", 1)).await.expect("the second attempt");
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        until("the first was dropped", || world.state.calls() == 2).await;
    }

    failures_use_up_the_budget(world) {
        let mut config = ClientConfig::default();
        config.retry.budget = 4.0;
        config.retry.backoff = Span::from_millis(1);
        config.breaker.failures = 1000;
        let mut client = over(world.way, &world, config);
        for _ in 0..10 {
            client.unary("Read", ask_n("flaky", 1000)).await.expect_err("always");
        }
        // One repetition, then half of the tokens are gone.
        assert_eq!(world.state.calls(), 11);
    }

    calls_are_counted_at_the_client(world) {
        let metrics = Metrics::for_service("caller");
        let client = Client::default().with_methods(methods()).with_metrics(&metrics);
        let mut client = EchoClient(match world.way {
            Way::InProcess => client.layers(world.client.0.clone()),
            Way::Tcp => client.connect([&world.url]).expect("a valid URL"),
        });
        client.echo(ask("hello")).await.expect("answered");
        let line = "grpc_client_handled_total{service=\"caller\",grpc_type=\"unary\",grpc_service=\"cortex.test.v1.EchoService\",grpc_method=\"Echo\",grpc_code=\"OK\"} 1";
        until(line, || metrics.encode().contains(line)).await;
    }
}

/// One of several endpoints.
async fn endpoint(at: &str) -> (Arc<State>, String, tokio::task::JoinHandle<cortex_rpc::Stopped>) {
    let state = Arc::new(State::default());
    let server = serve(Echo { state: state.clone(), peer: None }, ServerConfig::default());
    let listening = server.bind(at.parse().expect("an address")).await.expect("a port");
    let address = listening.address().to_string();
    (state, address, tokio::spawn(listening.serve(std::future::pending())))
}

/// An address where nothing listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

fn connect(addresses: &[&String], config: ClientConfig) -> EchoClient {
    let urls = addresses.iter().map(|address| format!("http://{address}"));
    EchoClient(Client::new(config).with_methods(methods()).connect(urls).expect("valid URLs"))
}

#[tokio::test]
async fn calls_are_spread_over_endpoints() {
    let (a, url_a, _serving_a) = endpoint("127.0.0.1:0").await;
    let (b, url_b, _serving_b) = endpoint("127.0.0.1:0").await;
    let client = connect(&[&url_a, &url_b], ClientConfig::default());
    let calls = (0..40).map(|_| {
        let mut client = client.clone();
        async move { client.echo(ask_n("sleep", 20)).await.map(|_| ()) }
    });
    assert!(futures::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(a.calls() + b.calls(), 40);
    assert!(a.calls().abs_diff(b.calls()) <= 12, "{} and {}", a.calls(), b.calls());
}

#[tokio::test]
async fn a_dead_endpoint_is_left_alone() {
    let (alive, url, _serving) = endpoint("127.0.0.1:0").await;
    let dead = nowhere();
    let mut client = connect(&[&url, &dead], ClientConfig::default());
    for _ in 0..50 {
        // Not idempotent, but a call that could not be sent may be repeated.
        client.echo(ask("hello")).await.expect("the other endpoint answers");
    }
    assert_eq!(alive.calls(), 50);
}

#[tokio::test]
async fn a_service_that_is_away_is_unavailable_and_then_not_even_tried() {
    let address = nowhere();
    let mut config = ClientConfig::default();
    config.retry.max_attempts = 1;
    config.breaker.open = Span::from_millis(200);
    let mut client = connect(&[&address], config);
    for _ in 0..5 {
        let error = client.echo(ask("hello")).await.expect_err("nobody is there");
        assert_eq!(
            (error.code(), reason(&error).as_deref()),
            (Code::Unavailable, Some("CONNECT_FAILED")),
            "{error}"
        );
        let expected =
            format!("cannot connect to {address}: tcp connect error: Connection refused");
        assert!(error.message().starts_with(&expected), "{error}");
    }
    let error = client.echo(ask("hello")).await.expect_err("the circuit is open");
    assert_eq!(
        (error.code(), reason(&error).as_deref()),
        (Code::Unavailable, Some("CIRCUIT_OPEN")),
        "{error}"
    );
    assert!(error.message().contains(&address), "{error}");
    assert!(retry_after(&error).expect("when") <= Duration::from_millis(200));
    // It comes (back).
    let (_state, _, _serving) = endpoint(&address).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    client.echo(ask("hello")).await.expect("one call tries, and closes the circuit");
    client.echo(ask("hello")).await.expect("closed");
}

#[tokio::test]
async fn a_call_survives_the_restart_of_its_service() {
    let (_, address, serving) = endpoint("127.0.0.1:0").await;
    let mut client = connect(&[&address], ClientConfig::default());
    client.unary("Read", ask("hello")).await.expect("answered");
    serving.abort();
    let _ = serving.await;
    let mut late = client.clone();
    let call = tokio::spawn(async move { late.unary("Read", ask("hello")).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (_state, _, _serving) = endpoint(&address).await;
    call.await.expect("no panic").expect("answered by the new one");
}

#[tokio::test]
async fn a_connection_that_breaks_is_unavailable_and_not_repeated_blindly() {
    let (state, address, serving) = endpoint("127.0.0.1:0").await;
    let mut client = connect(&[&address], ClientConfig::default());
    let mut caller = client.clone();
    let call = tokio::spawn(async move { caller.echo(ask_n("sleep", 60_000)).await });
    let mut stream = client.stream("Watch", ask("hang")).await.expect("headers");
    stream.message().await.expect("an item");
    until("both run", || state.calls() == 2).await;
    serving.abort();
    let error = call.await.expect("no panic").expect_err("it broke");
    assert_eq!(
        (error.code(), reason(&error).as_deref()),
        (Code::Unavailable, Some("CONNECTION_LOST")),
        "{error}"
    );
    let error = stream.message().await.expect_err("it broke");
    assert_eq!(
        (error.code(), reason(&error).as_deref()),
        (Code::Unavailable, Some("CONNECTION_LOST")),
        "{error}"
    );
}

#[tokio::test]
async fn names_are_looked_up() {
    let (_, address, _serving) = endpoint("127.0.0.1:0").await;
    let port = address.rsplit(':').next().expect("a port").to_owned();
    let mut client = connect(&[&format!("localhost:{port}")], ClientConfig::default());
    client.echo(ask("hello")).await.expect("answered");
    let mut nameless = connect(&[&"no-such-host.invalid:1".to_owned()], ClientConfig::default());
    let error = nameless.echo(ask("hello")).await.expect_err("no such host");
    assert_eq!(
        (error.code(), reason(&error).as_deref()),
        (Code::Unavailable, Some("NAME_NOT_RESOLVED")),
        "{error}"
    );
}
