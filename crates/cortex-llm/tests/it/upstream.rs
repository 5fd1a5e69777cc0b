//! The OpenAI adapter against an upstream that plays scripts: what it says, and each way it can break.
//! The scenarios S01 to S16 are those of FailoverBench v0.1.

use std::time::{Duration, Instant};

use crate::support::{
    CompletionClient, PATIENCE, ask, calculator, complete, complete_with, completions, endpoint,
    isolated,
    upstream::{
        DONE, Script, Step, Upstream, answer, call, content, data, finish, frame, json, saying,
        usage,
    },
    user, with_openai,
};
use cortex_llm::{Llm, LlmConfig};
use cortex_proto::cortex::llm::v1::{
    FinishReason, GenerateRequest, GenerationParameters, complete_response::Event,
};
use cortex_rpc::{Client, ClientConfig, Server};
use tonic::Code;

const MODEL: &str = "openai/gpt-4o";

fn millis(millis: u64) -> cortex_config::Duration {
    cortex_config::Duration::from_millis(millis)
}

/// `openai` at the first, and `spare` at the second upstream.
fn with_spare(primary: &Upstream, spare: &Upstream) -> LlmConfig {
    let mut config = with_openai(&primary.base_url());
    config.endpoints.push(endpoint("spare", &spare.base_url()));
    config
}

fn ask_with_spare() -> cortex_proto::cortex::llm::v1::CompleteRequest {
    let mut request = ask(MODEL, "hi");
    request.fallback_models = vec!["spare/backup".to_owned()];
    request
}

fn overloaded() -> Script {
    json(503, "", r#"{"error":{"message":"busy"}}"#)
}

#[tokio::test]
async fn text_streams_with_its_usage_and_the_request_is_right() {
    let upstream = Upstream::playing(answer(&[content("Hel"), content("lo")])).await;
    let mut request = ask(MODEL, "hi");
    request.tools = vec![calculator()];
    let outcome = complete(&with_openai(&upstream.base_url()), request).await;
    outcome.assert_whole();
    assert_eq!(outcome.shape(), ["started", "content", "usage", "finished"]);
    assert_eq!(outcome.text(), "Hello");
    let Event::Started(started) = &outcome.events[0] else { panic!("{:?}", outcome.events) };
    assert_eq!(
        (started.attempt, started.provider.as_str(), started.model.as_str()),
        (1, "openai", "up-1")
    );
    let usage = outcome.events.iter().find_map(|event| match event {
        Event::Usage(usage) => Some((usage.total_tokens, usage.estimated)),
        _ => None,
    });
    assert_eq!(usage, Some((10, false)));

    let sent = upstream.requests().remove(0);
    assert!(sent.head.starts_with("post /v1/chat/completions http/1.1"), "{}", sent.head);
    assert!(sent.head.contains("authorization: bearer sk-test-secret"), "{}", sent.head);
    for part in [r#""model":"gpt-4o""#, r#""include_usage":true"#, r#""name":"calculator""#] {
        assert!(sent.body.contains(part), "{part} is missing in {}", sent.body);
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let upstream = Upstream::playing(saying("hi")).await;
    let mut client = completions(&with_openai(&upstream.base_url()));
    for _ in 0..10 {
        complete_with(&mut client, ask(MODEL, "hi")).await.assert_whole();
    }
    let connections = upstream.requests().iter().map(|request| request.connection).max();
    assert_eq!(connections, Some(0), "ten calls one after the other need one connection");
}

#[tokio::test]
async fn a_fragmented_call_is_put_together_verbatim() {
    let arguments = r#"{"operation":"multiply","b":9007199254740993,"a": 6}"#;
    let mut frames = vec![call(
        r#"{"index":0,"id":"call_up","type":"function","function":{"name":"calculator","arguments":""}}"#,
    )];
    for piece in arguments.as_bytes().chunks(3) {
        let piece = serde_json::Value::from(String::from_utf8_lossy(piece));
        frames.push(call(&format!(r#"{{"index":0,"function":{{"arguments":{piece}}}}}"#)));
    }
    frames.push(finish("tool_calls"));
    // The network cuts where it likes: seven bytes at a time.
    let bytes = frames.concat() + &usage() + DONE;
    let mut script = vec![Step::Stream];
    script.extend(bytes.as_bytes().chunks(7).map(|piece| data(String::from_utf8_lossy(piece))));
    script.push(Step::End);
    let upstream = Upstream::playing(script).await;
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "6 x 7?")).await;
    outcome.assert_whole();
    assert_eq!(outcome.calls(), [("calculator", arguments)]);
    assert_eq!(outcome.shape(), ["started", "call_delta", "call", "usage", "finished"]);
    let joined: String = outcome
        .events
        .iter()
        .filter_map(|event| match event {
            Event::ToolCallDelta(delta) => Some(delta.arguments_delta.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(joined, arguments);
    let Some(Event::Finished(finished)) = outcome.events.last() else { panic!("no end") };
    assert_eq!(finished.finish_reason(), FinishReason::ToolCalls);
}

#[tokio::test]
async fn whole_calls_in_one_chunk_are_told_apart() {
    let part = |id: &str| {
        call(&format!(
            r#"{{"index":0,"id":"{id}","function":{{"name":"{id}","arguments":"{{}}"}}}}"#
        ))
    };
    let upstream = Upstream::playing(answer(&[part("x"), part("y")])).await;
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
    outcome.assert_whole();
    assert_eq!(outcome.calls(), [("x", "{}"), ("y", "{}")]);
}

#[tokio::test]
async fn generate_answers_in_one_piece() {
    let upstream = Upstream::playing(answer(&[content("Hel"), content("lo")])).await;
    let request = GenerateRequest {
        model: MODEL.to_owned(),
        messages: vec![user("hi")],
        ..GenerateRequest::default()
    };
    let mut client = completions(&with_openai(&upstream.base_url()));
    let answer = client.generate(request).await.expect("an answer").into_inner();
    assert_eq!((answer.content.as_str(), answer.model.as_str()), ("Hello", "up-1"));
    assert_eq!(
        (answer.provider_name.as_str(), answer.finish_reason()),
        ("openai", FinishReason::Stop)
    );
    assert_eq!(answer.usage.map(|usage| usage.total_tokens), Some(10));
}

#[tokio::test]
async fn s01_a_short_retry_after_is_waited_for() {
    let limited = json(429, "retry-after-ms: 300\r\n", r#"{"error":{"message":"slow"}}"#);
    let upstream = Upstream::start(vec![limited, saying("hi")]).await;
    let begun = Instant::now();
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
    outcome.assert_whole();
    assert!(begun.elapsed() >= Duration::from_millis(300), "it did not wait");
    assert_eq!(outcome.shape(), ["started", "content", "usage", "finished"], "no trace of it");
    assert_eq!(upstream.attempts(), 2);
}

#[tokio::test]
async fn s02_a_rate_limit_says_when_to_come_back() {
    let limited = json(
        429,
        "retry-after: 30\r\n",
        r#"{"error":{"message":"slow down","type":"tokens","code":"rate_limit_exceeded"}}"#,
    );
    let upstream = Upstream::playing(limited).await;
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
    outcome.assert_failed(Code::ResourceExhausted, "PROVIDER_RATE_LIMITED");
    let status = outcome.result.expect_err("failed");
    assert_eq!(cortex_rpc::retry_after(&status), Some(Duration::from_secs(30)));
    let fault = cortex_rpc::fault(&status);
    assert_eq!(fault.metadata["provider"], "openai");
    assert_eq!(fault.metadata["model"], "gpt-4o");
    assert_eq!(fault.metadata["http_status"], "429");
    assert_eq!(upstream.attempts(), 1, "a long wait is the caller's to decide");
}

#[tokio::test]
async fn s02_used_up_money_is_not_a_rate() {
    let broke = json(429, "", r#"{"error":{"message":"quota","code":"insufficient_quota"}}"#);
    let upstream = Upstream::playing(broke).await;
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
    outcome.assert_failed(Code::ResourceExhausted, "PROVIDER_QUOTA_EXHAUSTED");
    assert_eq!(upstream.attempts(), 1);
}

#[tokio::test]
async fn s03_a_server_error_is_tried_again_once() {
    let broken = || json(500, "", r#"{"error":{"message":"boom"}}"#);
    let upstream = Upstream::start(vec![broken(), saying("hi")]).await;
    complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await.assert_whole();
    assert_eq!(upstream.attempts(), 2);

    let upstream = Upstream::playing(broken()).await;
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
    outcome.assert_failed(Code::Unavailable, "PROVIDER_UNAVAILABLE");
    assert_eq!(upstream.attempts(), 2);
}

#[tokio::test]
async fn s04_s16_an_overloaded_provider_is_replaced_and_the_answer_says_so() {
    let (primary, spare) =
        (Upstream::playing(overloaded()).await, Upstream::playing(saying("from spare")).await);
    let outcome = complete(&with_spare(&primary, &spare), ask_with_spare()).await;
    outcome.assert_whole();
    assert_eq!(outcome.text(), "from spare");
    assert_eq!(primary.attempts(), 1);
    let Event::Started(started) = &outcome.events[0] else { panic!("{:?}", outcome.events) };
    assert_eq!((started.attempt, started.provider.as_str()), (2, "spare"));
    let Some(Event::Finished(finished)) = outcome.events.last() else { panic!("no end") };
    assert!(finished.fallback);
    assert!(spare.requests()[0].body.contains(r#""model":"backup""#));
    assert!(!spare.requests()[0].head.contains("authorization"), "a key stays with its provider");
}

#[tokio::test]
async fn s05_a_reset_before_the_headers_is_tried_again_at_once() {
    let upstream = Upstream::start(vec![vec![Step::Reset], saying("hi")]).await;
    complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await.assert_whole();
    assert_eq!(upstream.attempts(), 2);
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_named() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address").port()
    };
    let config = with_openai(&format!("http://127.0.0.1:{port}/v1"));
    let outcome = complete(&config, ask(MODEL, "hi")).await;
    outcome.assert_failed(Code::Unavailable, "PROVIDER_UNAVAILABLE");
    let message = outcome.result.expect_err("failed").message().to_owned();
    assert!(message.contains(&format!("127.0.0.1:{port}")), "{message}");
}

#[tokio::test]
async fn s06_silence_before_the_headers_is_not_tried_again_but_replaced() {
    let silent = || vec![Step::Hang];
    let upstream = Upstream::playing(silent()).await;
    let mut config = with_openai(&upstream.base_url());
    config.timeouts.first_token = millis(200);
    let outcome = complete(&config, ask(MODEL, "hi")).await;
    outcome.assert_failed(Code::DeadlineExceeded, "PROVIDER_TIMEOUT");
    assert_eq!(upstream.attempts(), 1);
    assert!(upstream.closed(PATIENCE).await, "the connection stays open");

    let (primary, spare) =
        (Upstream::playing(silent()).await, Upstream::playing(saying("from spare")).await);
    let mut config = with_spare(&primary, &spare);
    config.timeouts.first_token = millis(200);
    let outcome = complete(&config, ask_with_spare()).await;
    outcome.assert_whole();
    assert_eq!((outcome.text().as_str(), primary.attempts()), ("from spare", 1));
}

#[tokio::test]
async fn s07_a_late_first_token_is_a_timeout_that_the_caller_can_set() {
    let late = vec![Step::Stream, data(": ping\n\n"), Step::Hang];
    let upstream = Upstream::playing(late).await;
    let mut request = ask(MODEL, "hi");
    request.parameters = Some(GenerationParameters {
        first_token_timeout: Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 }),
        ..GenerationParameters::default()
    });
    let begun = Instant::now();
    let outcome = complete(&with_openai(&upstream.base_url()), request).await;
    outcome.assert_failed(Code::DeadlineExceeded, "PROVIDER_TIMEOUT");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn s08_a_cut_answer_is_never_whole() {
    for end in [vec![Step::Close], vec![Step::Reset], vec![Step::End], vec![data(DONE), Step::End]]
    {
        let mut script = vec![Step::Stream, data(content("half an"))];
        script.extend(end.clone());
        let upstream = Upstream::playing(script).await;
        let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
        outcome.assert_failed(Code::Unavailable, "STREAM_CUT");
        assert_eq!(outcome.text(), "half an", "{end:?}");
        assert_eq!(upstream.attempts(), 1, "{end:?}");
    }
}

#[tokio::test]
async fn s08_s14_a_cut_answer_is_voided_and_given_whole_by_another() {
    let cut = vec![Step::Stream, data(content("half an")), Step::Close];
    let (primary, spare) =
        (Upstream::playing(cut).await, Upstream::playing(saying("a whole answer")).await);
    let outcome = complete(&with_spare(&primary, &spare), ask_with_spare()).await;
    outcome.assert_whole();
    assert_eq!(
        outcome.shape(),
        ["started", "content", "reset", "started", "content", "usage", "finished"]
    );
    assert_eq!(outcome.text(), "a whole answer");
    let reset = outcome.events.iter().find_map(|event| match event {
        Event::AttemptReset(reset) => Some(reset.reason.as_str()),
        _ => None,
    });
    assert_eq!(reset, Some("STREAM_CUT"));
    assert!(!spare.requests()[0].body.contains("half an"), "no prefill");
}

#[tokio::test]
async fn nothing_is_restarted_after_a_complete_call() {
    let whole = call(r#"{"index":0,"id":"a","function":{"name":"x","arguments":"{}"}}"#);
    let next = call(r#"{"index":1,"id":"b","function":{"name":"y","arguments":""}}"#);
    let cut = vec![Step::Stream, data(whole), data(next), Step::Close];
    let (primary, spare) = (Upstream::playing(cut).await, Upstream::playing(saying("never")).await);
    let outcome = complete(&with_spare(&primary, &spare), ask_with_spare()).await;
    outcome.assert_failed(Code::Unavailable, "STREAM_CUT");
    assert_eq!(outcome.calls(), [("x", "{}")]);
    assert_eq!((primary.attempts(), spare.attempts()), (1, 0));
}

#[tokio::test]
async fn an_answer_cut_before_it_began_is_tried_again_without_a_trace() {
    let empty = vec![
        Step::Stream,
        data(frame(r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#)),
        Step::Close,
    ];
    let upstream = Upstream::start(vec![empty, saying("hi")]).await;
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
    outcome.assert_whole();
    assert_eq!(outcome.shape(), ["started", "content", "usage", "finished"]);
}

#[tokio::test]
async fn s09_a_stalled_answer_ends_in_time() {
    let stalled = vec![Step::Stream, data(content("half an")), Step::Hang];
    let upstream = Upstream::playing(stalled).await;
    let mut config = with_openai(&upstream.base_url());
    config.timeouts.idle = millis(200);
    let outcome = complete(&config, ask(MODEL, "hi")).await;
    outcome.assert_failed(Code::DeadlineExceeded, "PROVIDER_TIMEOUT");
    assert!(upstream.closed(PATIENCE).await, "the connection stays open");
}

#[tokio::test]
async fn the_whole_completion_is_bounded() {
    let slow: Vec<Step> = (0..100)
        .flat_map(|_| [data(content("x")), Step::Pause(Duration::from_millis(50))])
        .collect();
    let upstream = Upstream::playing([vec![Step::Stream], slow].concat()).await;
    let mut config = with_openai(&upstream.base_url());
    config.timeouts.total = millis(400);
    let outcome = complete(&config, ask(MODEL, "hi")).await;
    outcome.assert_failed(Code::DeadlineExceeded, "PROVIDER_TIMEOUT");
}

#[tokio::test]
async fn s10_one_malformed_chunk_is_skipped_and_two_are_an_error() {
    let bad = frame(r#"{"choices":[{"del"#);
    let upstream = Upstream::playing(answer(&[content("a"), bad.clone(), content("b")])).await;
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
    outcome.assert_whole();
    assert_eq!(outcome.text(), "ab");

    let upstream = Upstream::playing(answer(&[content("a"), bad.clone(), bad])).await;
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
    outcome.assert_failed(Code::Unavailable, "PROVIDER_PROTOCOL");
}

#[tokio::test]
async fn s11_an_answer_without_done_is_whole() {
    let finished = || vec![Step::Stream, data(content("hi")), data(finish("stop")), data(usage())];
    for end in [Step::End, Step::Close, Step::Hang] {
        let mut script = finished();
        script.push(end.clone());
        let upstream = Upstream::playing(script).await;
        let begun = Instant::now();
        let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
        outcome.assert_whole();
        assert_eq!(outcome.shape(), ["started", "content", "usage", "finished"], "{end:?}");
        assert!(begun.elapsed() < Duration::from_secs(8), "{end:?}");
    }
}

#[tokio::test]
async fn s12_a_conversation_that_is_too_long_is_sent_once() {
    let long = json(
        400,
        "",
        r#"{"error":{"message":"maximum context length is 8192","code":"context_length_exceeded"}}"#,
    );
    let upstream = Upstream::playing(long).await;
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
    outcome.assert_failed(Code::InvalidArgument, "CONTEXT_TOO_LONG");
    assert_eq!(upstream.attempts(), 1);
}

#[tokio::test]
async fn s13_filtered_content_is_not_offered_to_others() {
    let filtered = json(400, "", r#"{"error":{"message":"no","code":"content_filter"}}"#);
    let (primary, spare) =
        (Upstream::playing(filtered).await, Upstream::playing(saying("never")).await);
    let outcome = complete(&with_spare(&primary, &spare), ask_with_spare()).await;
    outcome.assert_failed(Code::InvalidArgument, "CONTENT_FILTERED");
    assert_eq!((primary.attempts(), spare.attempts()), (1, 0));
}

#[tokio::test]
async fn s15_a_provider_that_comes_back_is_used_again() {
    let primary = Upstream::start(vec![overloaded(), overloaded(), saying("from primary")]).await;
    let spare = Upstream::playing(saying("from spare")).await;
    let mut client = completions(&with_spare(&primary, &spare));
    let mut answers = Vec::new();
    for _ in 0..4 {
        let outcome = complete_with(&mut client, ask_with_spare()).await;
        outcome.assert_whole();
        answers.push(outcome.text());
    }
    assert_eq!(answers, ["from spare", "from spare", "from primary", "from primary"]);
}

#[tokio::test]
async fn errors_within_a_stream_are_errors() {
    let error = || frame(r#"{"error":{"message":"boom","type":"server_error"}}"#);
    let early = vec![Step::Stream, data(error()), Step::End];
    let upstream = Upstream::start(vec![early, saying("hi")]).await;
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
    outcome.assert_whole();
    assert_eq!(upstream.attempts(), 2, "nothing was said yet");

    let late = vec![Step::Stream, data(content("half")), data(error()), Step::End];
    let upstream = Upstream::playing(late).await;
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
    outcome.assert_failed(Code::Unavailable, "PROVIDER_UNAVAILABLE");

    let in_200 = json(200, "", r#"{"error":{"message":"no such model","code":"model_not_found"}}"#);
    let upstream = Upstream::playing(in_200).await;
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
    outcome.assert_failed(Code::NotFound, "MODEL_NOT_FOUND");
}

#[tokio::test]
async fn an_answer_that_is_not_streamed_is_read_too() {
    let body = r#"{"model":"up-2","choices":[{"index":0,"message":{"role":"assistant","content":"hi",
        "tool_calls":[{"id":"a","type":"function","function":{"name":"x","arguments":"{\"n\":6}"}}]},
        "finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    let upstream = Upstream::playing(json(200, "", body)).await;
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
    outcome.assert_whole();
    assert_eq!((outcome.text().as_str(), outcome.calls()), ("hi", vec![("x", r#"{"n":6}"#)]));
}

#[tokio::test]
async fn a_refused_key_is_our_configuration_and_is_not_shown() {
    let body = r#"{"error":{"message":"Incorrect API key provided: sk-test-secret","code":"invalid_api_key"}}"#;
    let upstream = Upstream::playing(json(401, "", body)).await;
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
    outcome.assert_failed(Code::FailedPrecondition, "PROVIDER_AUTH");
    let status = format!("{:?}", outcome.result);
    assert!(!status.contains("sk-test-secret"), "{status}");
    assert_eq!(upstream.attempts(), 1);
}

#[tokio::test]
async fn a_model_that_the_provider_does_not_have_is_named() {
    let body =
        r#"{"error":{"message":"The model `gpt-4o` does not exist","code":"model_not_found"}}"#;
    let upstream = Upstream::playing(json(404, "", body)).await;
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
    outcome.assert_failed(Code::NotFound, "MODEL_NOT_FOUND");
    let fault = cortex_rpc::fault(&outcome.result.expect_err("failed"));
    assert_eq!(fault.resource.map(|resource| resource.name).as_deref(), Some(MODEL));
}

#[tokio::test]
async fn a_huge_frame_is_refused() {
    let upstream = Upstream::playing(answer(&[content("a"), content(&"x".repeat(3000))])).await;
    let mut config = with_openai(&upstream.base_url());
    config.limits.frame_bytes = cortex_config::ByteSize::kib(2);
    let outcome = complete(&config, ask(MODEL, "hi")).await;
    outcome.assert_failed(Code::Unavailable, "PROVIDER_PROTOCOL");
}

#[tokio::test]
async fn leaving_closes_the_providers_socket_at_once() {
    for script in
        [vec![Step::Stream, data(content("half an")), Step::Hang], vec![Step::Stream, Step::Flood]]
    {
        let upstream = Upstream::playing(script).await;
        let mut client = completions(&with_openai(&upstream.base_url()));
        let mut stream = client.complete(ask(MODEL, "hi")).await.expect("it begins").into_inner();
        stream.message().await.expect("no error").expect("an event");
        drop(stream);
        assert!(upstream.closed(Duration::from_secs(1)).await, "the provider goes on talking");
    }
    // And before anything was said.
    let upstream = Upstream::playing(vec![Step::Hang]).await;
    let mut client = completions(&with_openai(&upstream.base_url()));
    let asked = tokio::time::timeout(Duration::from_millis(200), client.complete(ask(MODEL, "hi")));
    assert!(asked.await.is_err(), "it cannot have answered");
    assert!(upstream.closed(Duration::from_secs(1)).await, "the provider goes on thinking");
}

#[tokio::test]
async fn leaving_over_tcp_closes_the_providers_socket_too() {
    let upstream =
        Upstream::playing(vec![Step::Stream, data(content("half an")), Step::Hang]).await;
    let llm = Llm::new(&with_openai(&upstream.base_url())).expect("a valid configuration");
    let server = llm.install(Server::builder("llm")).build();
    let listening = server.bind("127.0.0.1:0".parse().expect("an address")).await.expect("bound");
    let url = format!("http://{}", listening.address());
    let serving = tokio::spawn(listening.serve(std::future::pending()));
    let transport = Client::connect_lazy([url], ClientConfig::default()).expect("a transport");
    let mut client = CompletionClient::new(transport);
    let mut stream = client.complete(ask(MODEL, "hi")).await.expect("it begins").into_inner();
    stream.message().await.expect("no error").expect("an event");
    drop(stream);
    assert!(upstream.closed(Duration::from_secs(1)).await, "the provider goes on talking");
    serving.abort();
}

#[tokio::test]
async fn the_callers_deadline_ends_it() {
    let upstream = Upstream::playing(vec![Step::Stream, data(content("x")), Step::Hang]).await;
    let mut client = completions(&with_openai(&upstream.base_url()));
    let mut request = tonic::Request::new(ask(MODEL, "hi"));
    request.set_timeout(Duration::from_millis(300));
    let mut stream = client.complete(request).await.expect("it begins").into_inner();
    let end = async {
        loop {
            if let Err(status) = stream.message().await {
                return status.code();
            }
        }
    };
    let code = tokio::time::timeout(PATIENCE, end).await.expect("it must end");
    assert_eq!(code, Code::DeadlineExceeded);
    drop(stream);
    assert!(upstream.closed(PATIENCE).await, "the provider goes on talking");
}

#[tokio::test]
async fn a_slow_reader_slows_the_provider() {
    let upstream = Upstream::playing(vec![Step::Stream, Step::Flood]).await;
    let mut client = completions(&with_openai(&upstream.base_url()));
    let mut stream = client.complete(ask(MODEL, "hi")).await.expect("it begins").into_inner();
    stream.message().await.expect("no error").expect("an event");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (first, limit) = (upstream.flooded(), 16 << 20);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(first < limit, "{first} bytes were taken from a reader that does not read");
    assert_eq!(upstream.flooded(), first, "the provider is not held back");
}

#[tokio::test]
async fn a_model_that_cannot_be_used_falls_back_too() {
    let upstream = Upstream::playing(saying("hi")).await;
    let mut config = isolated();
    config.endpoints.push(endpoint("spare", &upstream.base_url()));
    let mut request = ask_with_spare();
    request.provider = "google".to_owned();
    request.model = "gemini-2.0-flash".to_owned();
    let outcome = complete(&config, request.clone()).await;
    outcome.assert_whole();
    request.fallback_models.clear();
    let outcome = complete(&config, request).await;
    outcome.assert_failed(Code::FailedPrecondition, "PROVIDER_NOT_CONFIGURED");
}
