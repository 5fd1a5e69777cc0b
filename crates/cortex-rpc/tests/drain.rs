//! An orderly stop: phases, watches, work, the deadline, the second signal.
#![allow(clippy::panic, reason = "tests fail by it")]

mod common;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use common::{
    PATIENCE, Setup, Way, World,
    echo::{ask, ask_n},
    until,
};
use cortex_config::Duration as Span;
use cortex_rpc::{Stopped, reason, retry_after};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

fn drains(notice: u64, deadline: u64) -> Setup {
    let mut setup = Setup::default();
    setup.server.drain.notice = Span::from_millis(notice);
    setup.server.drain.deadline = Span::from_millis(deadline);
    setup
}

const CLEAN: Stopped = Stopped { forced_calls: 0, forced_connections: 0 };

async fn stopped(world: World) -> Stopped {
    let ended = tokio::time::timeout(PATIENCE, world.serving).await;
    ended.expect("it stops in time").expect("it does not panic")
}

on_both_transports! {
    watches_end_at_once_and_work_finishes(world, drains(0, 8_000)) {
        let mut client = world.client.clone();
        let mut watch = client.stream("Watch", ask("hang")).await.expect("headers");
        watch.message().await.expect("an item");
        let work = client.stream("Work", ask_n("count", 5)).await.expect("headers");
        let mut early = client.clone();
        let stuck = tokio::spawn(async move { early.stream("Watch", ask("stuck")).await });
        until("all run", || world.state.calls() == 3).await;
        let begun = Instant::now();
        world.server.drain().leaving().cancel();

        let error = watch.message().await.expect_err("it ends");
        assert_eq!((error.code(), reason(&error).as_deref()), (Code::Unavailable, Some("DRAINING")));
        assert!(retry_after(&error).is_some());
        let error = stuck.await.expect("no panic").expect_err("it ends before its headers");
        assert_eq!(error.code(), Code::Unavailable);
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());

        let items: Vec<_> = work.collect().await;
        assert!(items.iter().all(Result::is_ok), "{items:?}");
        assert_eq!(items.len(), 5);
        assert_eq!(stopped(world).await, CLEAN);
    }

    work_that_does_not_finish_is_forced(world, drains(0, 300)) {
        let mut client = world.client.clone();
        let mut work = client.stream("Work", ask_n("tick", 20)).await.expect("headers");
        work.message().await.expect("an item");
        let begun = Instant::now();
        world.server.drain().leaving().cancel();
        let error = loop {
            match work.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it has no end of its own"),
                Err(error) => break error,
            }
        };
        assert_eq!((error.code(), reason(&error).as_deref()), (Code::Unavailable, Some("DRAINING")));
        assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
        let way = world.way;
        let stopped = stopped(world).await;
        assert_eq!(stopped.forced_calls, 1);
        assert_eq!(stopped.forced_connections, usize::from(way == Way::Tcp));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    health_says_so_first_while_calls_are_still_taken(world, drains(600, 1_000)) {
        let mut health = HealthClient::new(world.client.0.clone());
        let ask_health = || HealthCheckRequest { service: String::new() };
        let mut watch = health.watch(ask_health()).await.expect("headers").into_inner();
        let first = watch.message().await.expect("a status").expect("a status");
        assert_eq!(first.status(), ServingStatus::Serving);
        world.server.drain().leaving().cancel();
        let next = watch.message().await.expect("a status").expect("a status");
        assert_eq!(next.status(), ServingStatus::NotServing);
        for service in ["", "cortex.test.v1.EchoService"] {
            let asked = HealthCheckRequest { service: service.to_owned() };
            let now = health.check(asked).await.expect("answered").into_inner();
            assert_eq!(now.status(), ServingStatus::NotServing, "{service}");
        }
        assert!(world.client.clone().echo(ask("hello")).await.is_ok(), "still served");
        let code = reqwest_like(world.address(), "GET /health/ready HTTP/1.1").await;
        assert!(code.starts_with("HTTP/1.1 503"), "{code}");
        let code = reqwest_like(world.address(), "GET /health/live HTTP/1.1").await;
        assert!(code.starts_with("HTTP/1.1 200"), "{code}");
        stopped(world).await;
    }
}

/// The answer to one HTTP/1.1 request.
async fn reqwest_like(address: &str, line: &str) -> String {
    let mut socket = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let request = format!("{line}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("it takes it");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("it answers");
    answer
}

#[tokio::test]
async fn half_a_request_does_not_hold_up_the_stop() {
    let mut setup = drains(0, 30_000);
    setup.server.header_timeout = Span::from_millis(300);
    let world = World::with(Way::Tcp, setup).await;
    let mut sockets = Vec::new();
    for sent in ["", "P", "PRI * HTTP/2.0\r\n", "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Le"]
    {
        let mut socket = tokio::net::TcpStream::connect(world.address()).await.expect("it listens");
        socket.write_all(sent.as_bytes()).await.expect("it takes it");
        sockets.push(socket);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    world.server.drain().leaving().cancel();
    assert_eq!(stopped(world).await, CLEAN);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn after_the_stop_nothing_listens() {
    let world = World::with(Way::Tcp, drains(0, 300)).await;
    let address = world.address().to_owned();
    world.server.drain().leaving().cancel();
    stopped(world).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

/// Runs only as the child of the test below.
#[test]
#[ignore = "runs as a child process of a_second_signal_exits_at_once"]
fn child_that_never_finishes_its_work() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let world = World::with(Way::Tcp, drains(0, 60_000)).await;
        let stop = cortex_rpc::shutdown_on_signal();
        let mut work =
            world.client.clone().stream("Work", ask_n("tick", 20)).await.expect("headers");
        work.message().await.expect("an item");
        let listening = world.server.bind("127.0.0.1:0".parse().expect("an address")).await;
        let serving = tokio::spawn(listening.expect("a port").serve(stop));
        println!("ready");
        while work.message().await.is_ok() {}
        let _ = serving.await;
    });
}

#[test]
fn a_second_signal_exits_at_once() {
    let me = std::env::current_exe().expect("this test");
    let mut child = Command::new(me)
        .args(["--exact", "child_that_never_finishes_its_work", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut lines =
        std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("piped")));
    assert!(lines.any(|line| line.is_ok_and(|line| line.contains("ready"))), "it got ready");
    let signal = || {
        let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    };
    signal();
    std::thread::sleep(Duration::from_millis(300));
    signal();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "it is still there");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(128 + 15));
}
