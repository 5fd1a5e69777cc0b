//! The OpenAI adapter against an upstream that plays scripts: what it says and reads, and how it is
//! left.

use std::time::Duration;

use cortex_llm::Llm;
use cortex_proto::cortex::llm::v1::{FinishReason, GenerateRequest, complete_response::Event};
use cortex_rpc::{Client, ClientConfig, Server};
use tonic::Code;

use crate::support::{
    CompletionClient, MODEL, PATIENCE, ask, ask_with_spare, calculator, complete, complete_with,
    completions, endpoint, isolated, millis,
    upstream::{
        DONE, Step, Upstream, answer, call, content, data, finish, frame, json, saying, usage,
    },
    user, with_openai, with_spare,
};

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

#[tokio::test]
async fn a_web_page_is_no_answer() {
    let page = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>";
    let upstream = Upstream::playing(vec![Step::Raw(page.to_vec())]).await;
    let outcome = complete(&with_openai(&upstream.base_url()), ask(MODEL, "hi")).await;
    outcome.assert_failed(Code::Unavailable, "PROVIDER_PROTOCOL");
    let message = outcome.result.expect_err("failed").message().to_owned();
    assert!(message.contains("base URL"), "{message}");
}
