//! The scenarios S01 to S16 of FailoverBench v0.1: what a gateway has to survive. A model's name selects
//! nothing here: each scenario has an upstream that plays it.

use std::time::{Duration, Instant};

use cortex_proto::cortex::llm::v1::{GenerationParameters, complete_response::Event};
use tonic::Code;

use crate::support::{
    MODEL, PATIENCE, ask, ask_with_spare, complete, complete_with, completions, millis,
    upstream::{
        DONE, Script, Step, Upstream, answer, content, data, finish, frame, json, saying, usage,
    },
    with_openai, with_spare,
};

fn overloaded() -> Script {
    json(503, "", r#"{"error":{"message":"busy"}}"#)
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
