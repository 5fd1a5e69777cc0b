//! Every layer of the server, on both transports.
#![allow(clippy::panic, reason = "tests fail by it")]

mod common;

use std::time::{Duration, Instant};

use common::{
    Setup, Way,
    echo::{Smuggled, ask, ask_n, told},
    until,
};
use cortex_rpc::{
    CallContext, Identity, REQUEST_ID, ServerConfig, fault, outgoing, reason, retry_after,
};
use futures::StreamExt;
use tonic::{Code, Request};

fn config(change: impl FnOnce(&mut ServerConfig)) -> Setup {
    let mut setup = Setup::default();
    change(&mut setup.server);
    setup
}

on_both_transports! {
    a_call_that_takes_too_long_ends_at_its_deadline(world) {
        let mut client = world.client.clone();
        let mut request = Request::new(ask_n("sleep", 60_000));
        request.set_timeout(Duration::from_millis(50));
        let begun = Instant::now();
        let error = client.echo(request).await.expect_err("too late");
        assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        until("the handler is dropped", || world.state.ended() == 1).await;
    }

    the_deadline_counts_until_the_end_of_a_stream(world) {
        let mut client = world.client.clone();
        let mut request = Request::new(ask("hang"));
        request.set_timeout(Duration::from_millis(150));
        let mut stream = client.stream("Watch", request).await.expect("headers are in time");
        assert_eq!(stream.message().await.expect("in time").expect("an item").text, "first");
        let error = stream.message().await.expect_err("too late");
        assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
        until("the stream is dropped", || world.state.ended() == 1).await;
    }

    a_stream_that_is_always_ready_ends_at_its_deadline_too(world) {
        let mut client = world.client.clone();
        let mut request = Request::new(ask_n("flood", 10));
        request.set_timeout(Duration::from_millis(150));
        let mut stream = client.stream("Watch", request).await.expect("headers are in time");
        let error = loop {
            match stream.message().await {
                // Or nothing could end this test.
                Ok(Some(_)) => tokio::task::yield_now().await,
                Ok(None) => panic!("it has no end of its own"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
    }

    a_contract_gives_a_deadline_and_limits_it(world) {
        let mut client = world.client.clone();
        let left = |text: &str| told(text, "left_ms").parse::<u64>().expect("a deadline");
        let own = client.unary("Brief", ask("context")).await.expect("answered").into_inner();
        assert!((1..=300).contains(&left(&own.text)), "{}", own.text);
        let mut long = Request::new(ask("context"));
        long.set_timeout(Duration::from_secs(3600));
        let cut = client.unary("Brief", long).await.expect("answered").into_inner();
        assert!((301..=600).contains(&left(&cut.text)), "{}", cut.text);
        let usual = client.echo(ask("context")).await.expect("answered").into_inner();
        assert!((20_000..=30_000).contains(&left(&usual.text)), "{}", usual.text);
        let error = client.unary("Brief", ask_n("sleep", 5_000)).await.expect_err("too late");
        assert_eq!(error.code(), Code::DeadlineExceeded);
    }

    a_panic_ends_one_call_only(world) {
        let mut client = world.client.clone();
        let error = client.echo(ask("panic")).await.expect_err("it panics");
        assert_eq!((error.code(), reason(&error).as_deref()), (Code::Internal, Some("PANIC")));
        assert!(!error.message().contains("asked"), "{}", error.message());
        assert_eq!(client.echo(ask("hello")).await.expect("still there").into_inner().text, "hello");
        let counted = "grpc_method=\"Echo\",grpc_code=\"Internal\"} 1";
        until("the panic is counted", || world.metrics().contains(counted)).await;
    }

    a_panic_within_a_stream_ends_that_stream_only(world) {
        let mut client = world.client.clone();
        let mut stream = client.stream("Watch", ask("panic")).await.expect("headers");
        assert_eq!(stream.message().await.expect("before").expect("an item").text, "first");
        let error = stream.message().await.expect_err("it panics");
        assert_eq!((error.code(), reason(&error).as_deref()), (Code::Internal, Some("PANIC")));
        assert!(client.echo(ask("hello")).await.is_ok());
    }

    extensions_do_not_cross(world) {
        let mut client = world.client.clone();
        let mut request = Request::new(ask("smuggled"));
        request.extensions_mut().insert(Smuggled);
        assert_eq!(client.echo(request).await.expect("answered").into_inner().text, "false");
    }

    a_dropped_call_drops_its_handler(world) {
        let mut client = world.client.clone();
        let call = tokio::spawn(async move { client.echo(ask_n("sleep", 60_000)).await });
        until("the handler runs", || world.state.calls() == 1).await;
        call.abort();
        until("the handler is dropped", || world.state.ended() == 1).await;
        let counted = "grpc_method=\"Echo\",grpc_code=\"Canceled\"} 1";
        until("it is counted", || world.metrics().contains(counted)).await;
    }

    a_dropped_stream_drops_its_source(world) {
        let mut client = world.client.clone();
        let mut stream = client.stream("Watch", ask_n("tick", 5)).await.expect("headers");
        stream.message().await.expect("an item");
        drop(stream);
        until("the source is dropped", || world.state.ended() == 1).await;
    }

    a_request_id_is_taken_over_or_made(world) {
        let mut client = world.client.clone();
        let mut request = Request::new(ask("context"));
        request.metadata_mut().insert("x-request-id", "from-the-caller".parse().expect("ascii"));
        let answer = client.echo(request).await.expect("answered");
        assert_eq!(answer.metadata().get(REQUEST_ID.as_str()).expect("echoed"), "from-the-caller");
        assert_eq!(told(&answer.get_ref().text, "request"), "from-the-caller");
        let answer = client.echo(ask("context")).await.expect("answered");
        let made = answer.metadata().get(REQUEST_ID.as_str()).expect("made").to_str().expect("ascii");
        assert!(made.starts_with("req_"), "{made}");
        assert_eq!(told(&answer.get_ref().text, "request"), made);
    }

    an_internal_error_shows_the_request_id_and_nothing_else(world) {
        let mut client = world.client.clone();
        for action in ["internal", "raw_internal"] {
            let mut request = Request::new(ask(action));
            request.metadata_mut().insert("x-request-id", "req-77".parse().expect("ascii"));
            let error = client.echo(request).await.expect_err("it fails");
            assert_eq!(error.code(), Code::Internal);
            assert!(error.message().contains("req-77"), "{}", error.message());
            assert_eq!(cortex_rpc::request_id(&error).as_deref(), Some("req-77"));
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
        let mut stream = client.stream("Watch", ask("internal")).await.expect("headers");
        stream.message().await.expect("an item");
        let error = stream.message().await.expect_err("it fails");
        assert!(cortex_rpc::request_id(&error).is_some(), "{error:?}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }

    a_fault_arrives_with_its_facts(world) {
        let error = world.client.clone().echo(ask("invalid")).await.expect_err("it is");
        let fault = fault(&error);
        assert_eq!(fault.reason, "INVALID_FIELD");
        assert_eq!(fault.violations[0].field, "action");
        assert_eq!(error.code(), Code::InvalidArgument);
    }

    the_trace_goes_on(world) {
        let mut client = world.client.clone();
        let mut request = Request::new(ask("context"));
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        request.metadata_mut().insert("traceparent", parent.parse().expect("ascii"));
        let answer = client.echo(request).await.expect("answered").into_inner();
        assert_eq!(told(&answer.text, "trace"), "0af7651916cd43dd8448eb211c80319c");
        let fresh = client.echo(ask("context")).await.expect("answered").into_inner();
        assert_eq!(told(&fresh.text, "trace").len(), 32);
        assert_ne!(told(&fresh.text, "trace"), told(&answer.text, "trace"));
    }

    the_context_travels_over_two_hops(world) {
        let mut client = world.client.clone();
        let identity = Identity::of_tenant("acme").with_user("ann");
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        let cx = CallContext::background(identity).until(deadline);
        let answer = client.echo(outgoing(&cx, ask_n("onward", 0))).await.expect("answered").into_inner();
        assert_eq!(told(&answer.text, "request"), cx.request_id());
        assert_eq!(told(&answer.text, "trace"), cx.trace().expect("a trace").id().to_string());
        assert_eq!(told(&answer.text, "hops"), "2");
        let left: u64 = told(&answer.text, "left_ms").parse().expect("a deadline");
        assert!((1..=5_000).contains(&left), "{left}");
        // Over a socket nobody is believed yet: authentication is off.
        let (tenant, user) = match world.way {
            Way::InProcess => ("acme", "ann"),
            Way::Tcp => ("default", "-"),
        };
        assert_eq!((told(&answer.text, "tenant"), told(&answer.text, "user")), (tenant, user));
    }

    calls_in_circles_end(world, config(|c| c.max_hops = 2)) {
        let mut client = world.client.clone();
        let cx = CallContext::background(Identity::default()).at_hop(1);
        assert!(client.echo(outgoing(&cx, ask("hello"))).await.is_ok());
        let error = client.echo(outgoing(&cx, ask_n("onward", 0))).await.expect_err("too deep");
        assert_eq!((error.code(), reason(&error).as_deref()), (Code::FailedPrecondition, Some("HOP_LIMIT")));
    }

    unary_calls_and_streams_are_limited_apart(world, config(|c| (c.max_unary_calls, c.max_streams) = (1, 1))) {
        let mut client = world.client.clone();
        let stream = client.stream("Watch", ask("hang")).await.expect("the first");
        let error = client.stream("Watch", ask("hang")).await.expect_err("the second");
        assert_eq!((error.code(), reason(&error).as_deref()), (Code::ResourceExhausted, Some("OVERLOADED")));
        assert!(retry_after(&error).is_some());
        assert_eq!(fault(&error).quota.expect("a quota").subject, "limit:streams");
        // A full house of streams leaves room for a unary call.
        let mut other = world.client.clone();
        let slow = tokio::spawn(async move { other.echo(ask_n("sleep", 60_000)).await });
        until("it runs", || world.state.calls() == 2).await;
        let error = client.echo(ask("hello")).await.expect_err("the second");
        assert_eq!(fault(&error).quota.expect("a quota").subject, "limit:unary_calls");
        // Probes pass.
        let mut health = tonic_health::pb::health_client::HealthClient::new(client.0.clone());
        assert!(health.check(tonic_health::pb::HealthCheckRequest::default()).await.is_ok());
        // What ends makes room.
        slow.abort();
        drop(stream);
        until("both have ended", || world.state.ended() == 2).await;
        until("there is room", || world.metrics().contains("in_flight{service=\"echo\",grpc_type=\"server_stream\",grpc_service=\"cortex.test.v1.EchoService\",grpc_method=\"Watch\"} 0")).await;
        client.stream("Watch", ask("hang")).await.expect("room again");
        client.echo(ask("hello")).await.expect("room again");
    }

    calls_are_counted_by_method_and_code(world) {
        let mut client = world.client.clone();
        client.echo(ask("hello")).await.expect("answered");
        client.echo(ask("invalid")).await.expect_err("it is");
        let mut stream = client.stream("Work", ask_n("count", 2)).await.expect("headers");
        while stream.next().await.is_some() {}
        let expected = [
            "grpc_server_handled_total{service=\"echo\",grpc_type=\"unary\",grpc_service=\"cortex.test.v1.EchoService\",grpc_method=\"Echo\",grpc_code=\"OK\"} 1",
            "grpc_server_handled_total{service=\"echo\",grpc_type=\"unary\",grpc_service=\"cortex.test.v1.EchoService\",grpc_method=\"Echo\",grpc_code=\"InvalidArgument\"} 1",
            "grpc_server_handled_total{service=\"echo\",grpc_type=\"server_stream\",grpc_service=\"cortex.test.v1.EchoService\",grpc_method=\"Work\",grpc_code=\"OK\"} 1",
            "grpc_server_started_total{service=\"echo\",grpc_type=\"unary\",grpc_service=\"cortex.test.v1.EchoService\",grpc_method=\"Echo\"} 2",
            "grpc_server_handling_seconds_count{service=\"echo\",grpc_type=\"unary\",grpc_service=\"cortex.test.v1.EchoService\",grpc_method=\"Echo\"} 2",
        ];
        for line in expected {
            until(line, || world.metrics().contains(line)).await;
        }
    }

    paths_that_clients_make_up_do_not_fill_the_metrics(world) {
        let mut client = world.client.clone();
        for i in 0..50 {
            let error = client.unary(&format!("Made{i}"), ask("hello")).await.expect_err("unknown");
            assert_eq!(error.code(), Code::Unimplemented);
        }
        assert!(!world.metrics().contains("Made"), "{}", world.metrics());
        assert!(world.metrics().contains("grpc_method=\"unknown\",grpc_code=\"Unimplemented\"} 50"));
    }
}
