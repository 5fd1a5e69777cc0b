//! The OpenAI adapter against aimock, an upstream that somebody else wrote.

use std::time::Duration;

use crate::support::{MODEL, aimock::Aimock, ask, calculator, complete, providers, with_openai};
use cortex_proto::cortex::llm::v1::{
    FinishReason, ListModelsRequest, Message, Role, ToolCall, complete_response::Event,
};
use tonic::Code;

#[tokio::test]
async fn text_streams() {
    let aimock = Aimock::start(&[]).await;
    let outcome = complete(&with_openai(&aimock.base_url()), ask(MODEL, "say hello")).await;
    outcome.assert_whole();
    assert_eq!(outcome.text(), "Hello from the mock, in more than one piece.");
    assert_eq!(outcome.shape(), ["started", "content", "usage", "finished"]);
    let deltas = outcome.events.iter().filter(|event| matches!(event, Event::ContentDelta(_)));
    assert!(deltas.count() > 3, "it does not stream");
    let usage = outcome.events.iter().find_map(|event| match event {
        Event::Usage(usage) => {
            Some((usage.prompt_tokens, usage.completion_tokens, usage.estimated))
        }
        _ => None,
    });
    assert_eq!(usage, Some((11, 9, false)));
}

#[tokio::test]
async fn a_fragmented_call_streams_and_its_result_is_answered() {
    let aimock = Aimock::start(&[]).await;
    let config = with_openai(&aimock.base_url());
    let mut request = ask(MODEL, "multiply them");
    request.tools = vec![calculator()];
    let outcome = complete(&config, request.clone()).await;
    outcome.assert_whole();
    let arguments = r#"{"operation":"multiply","b":9007199254740993,"a":6}"#;
    assert_eq!(outcome.calls(), [("calculator", arguments), ("clock", "{}")]);
    let parts = |event: &&Event| matches!(event, Event::ToolCallDelta(delta) if delta.index == 0);
    assert!(outcome.events.iter().filter(parts).count() > 3, "the arguments do not stream");
    let Some(Event::Finished(finished)) = outcome.events.last() else { panic!("no end") };
    assert_eq!(finished.finish_reason(), FinishReason::ToolCalls);

    let called: Vec<ToolCall> = outcome
        .events
        .iter()
        .filter_map(|event| match event {
            Event::ToolCall(call) => Some(call.clone()),
            _ => None,
        })
        .collect();
    let result = |call: &ToolCall| Message {
        role: Role::Tool.into(),
        call_id: call.call_id.clone(),
        name: call.name.clone(),
        content: r#"{"result":54043195528445958}"#.to_owned(),
        ..Message::default()
    };
    let results: Vec<Message> = called.iter().map(result).collect();
    let message =
        Message { role: Role::Assistant.into(), tool_calls: called, ..Message::default() };
    request.messages.push(message);
    request.messages.extend(results);
    let outcome = complete(&config, request).await;
    outcome.assert_whole();
    assert_eq!(outcome.text(), "The product is large.");
}

#[tokio::test]
async fn a_rate_limit_is_told_with_its_wait() {
    let aimock = Aimock::start(&[]).await;
    let outcome = complete(&with_openai(&aimock.base_url()), ask(MODEL, "too fast")).await;
    outcome.assert_failed(Code::ResourceExhausted, "PROVIDER_RATE_LIMITED");
    let status = outcome.result.expect_err("failed");
    assert_eq!(cortex_rpc::retry_after(&status), Some(Duration::from_secs(17)));
}

#[tokio::test]
async fn a_cut_stream_is_no_answer() {
    let aimock = Aimock::start(&[]).await;
    let outcome = complete(&with_openai(&aimock.base_url()), ask(MODEL, "break off")).await;
    outcome.assert_failed(Code::Unavailable, "STREAM_CUT");
    assert!(outcome.text().starts_with("This"), "{:?}", outcome.events);
}

#[tokio::test]
async fn chaos_ends_in_precise_errors() {
    for (switch, code, reason) in [
        ("--chaos-drop", Code::Unavailable, "PROVIDER_UNAVAILABLE"),
        ("--chaos-disconnect", Code::Unavailable, "PROVIDER_UNAVAILABLE"),
        ("--chaos-malformed", Code::Unavailable, "PROVIDER_PROTOCOL"),
    ] {
        let aimock = Aimock::start(&[switch, "1"]).await;
        let outcome = complete(&with_openai(&aimock.base_url()), ask(MODEL, "say hello")).await;
        assert_eq!((outcome.code(), outcome.reason().as_str()), (code, reason), "{switch}");
    }
}

#[tokio::test]
async fn its_models_are_listed() {
    let aimock = Aimock::start(&[]).await;
    let request =
        ListModelsRequest { provider: "openai".to_owned(), ..ListModelsRequest::default() };
    let mut client = providers(&with_openai(&aimock.base_url()));
    let models = client.list_models(request).await.expect("a list").into_inner().models;
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    assert!(names.contains(&"openai/gpt-4o") && names.is_sorted(), "{names:?}");
}
