use super::{request as parse, *};

fn user(content: &str) -> pb::Message {
    pb::Message { role: pb::Role::User.into(), content: content.into(), ..Default::default() }
}

fn base() -> pb::CompleteRequest {
    pb::CompleteRequest { messages: vec![user("hi")], ..Default::default() }
}

fn refused(request: pb::CompleteRequest) -> String {
    match parse(request) {
        Err(LlmError::Invalid(fault)) => fault.violations[0].field.clone(),
        other => panic!("not refused as invalid: {other:?}"),
    }
}

fn calls(name: &str, arguments: &str) -> Vec<pb::ToolCall> {
    let call = pb::ToolCall {
        call_id: "call_1".into(),
        name: name.into(),
        arguments: arguments.into(),
        ..Default::default()
    };
    vec![call]
}

#[test]
fn the_smallest_request_is_read() {
    let request = parse(base()).expect("valid");
    assert_eq!(request.messages, [Message::User("hi".into())]);
    assert_eq!(request.tool_choice, ToolChoice::Auto);
    assert_eq!(request.commit, Commit::AtToolCall);
}

#[test]
fn each_nonsense_names_its_field() {
    let tool = |name: &str, parameters: &str| pb::Tool {
        name: name.into(),
        parameters: parameters.into(),
        ..Default::default()
    };
    let with_parameters = |parameters: pb::GenerationParameters| pb::CompleteRequest {
        parameters: Some(parameters),
        ..base()
    };
    let message = |message: pb::Message| pb::CompleteRequest { messages: vec![message], ..base() };
    let role = |role: pb::Role| pb::Message { role: role.into(), ..Default::default() };
    let choice = |mode: pb::ToolChoiceMode, name: &str| pb::CompleteRequest {
        tool_choice: Some(pb::ToolChoice { mode: mode.into(), name: name.into() }),
        ..base()
    };
    for (request, field) in [
        (pb::CompleteRequest::default(), "messages"),
        (message(role(pb::Role::Unspecified)), "messages[0].role"),
        (message(role(pb::Role::Tool)), "messages[0].call_id"),
        (
            message(pb::Message { tool_calls: calls("x", "{}"), ..user("hi") }),
            "messages[0].tool_calls",
        ),
        (
            message(pb::Message { tool_calls: calls("x", "[1]"), ..role(pb::Role::Assistant) }),
            "messages[0].tool_calls[0].arguments",
        ),
        (
            message(pb::Message { tool_calls: calls("", ""), ..role(pb::Role::Assistant) }),
            "messages[0].tool_calls[0].name",
        ),
        (pb::CompleteRequest { tools: vec![tool("a b", "")], ..base() }, "tools[0].name"),
        (
            pb::CompleteRequest { tools: vec![tool("a", ""), tool("a", "")], ..base() },
            "tools[1].name",
        ),
        (pb::CompleteRequest { tools: vec![tool("a", "{")], ..base() }, "tools[0].parameters"),
        (choice(pb::ToolChoiceMode::Tool, "x"), "tool_choice.name"),
        (choice(pb::ToolChoiceMode::Required, ""), "tool_choice.mode"),
        (pb::CompleteRequest { temperature: Some(2.5), ..base() }, "parameters.temperature"),
        (pb::CompleteRequest { max_tokens: Some(0), ..base() }, "parameters.max_tokens"),
        (
            with_parameters(pb::GenerationParameters {
                top_p: Some(f64::NAN),
                ..Default::default()
            }),
            "parameters.top_p",
        ),
        (
            with_parameters(pb::GenerationParameters { extra: "7".into(), ..Default::default() }),
            "parameters.extra",
        ),
        (
            with_parameters(pb::GenerationParameters {
                stop: vec!["x".into(); 17],
                ..Default::default()
            }),
            "parameters.stop",
        ),
        (
            with_parameters(pb::GenerationParameters {
                first_token_timeout: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
                ..Default::default()
            }),
            "parameters.first_token_timeout",
        ),
        (pb::CompleteRequest { model: "x\n".into(), ..base() }, "model"),
        (
            pb::CompleteRequest { fallback_models: vec!["x".into(); 17], ..base() },
            "fallback_models",
        ),
    ] {
        assert_eq!(refused(request), field);
    }
}

#[test]
fn arguments_of_earlier_calls_stay_verbatim() {
    let arguments = r#"{ "b": 6, "a": 9007199254740993, "c": 1.50 }"#;
    let message = pb::Message {
        role: pb::Role::Assistant.into(),
        tool_calls: calls("x", arguments),
        ..Default::default()
    };
    let request = parse(pb::CompleteRequest { messages: vec![message], ..base() });
    let Message::Assistant { tool_calls, .. } = &request.expect("valid").messages[0] else {
        panic!("not an assistant's message")
    };
    assert_eq!(tool_calls[0].arguments, arguments);
}

#[test]
fn parameters_win_over_the_predecessors_names_and_google_is_gemini() {
    let request = pb::CompleteRequest {
        provider: "Google".into(),
        temperature: Some(1.0),
        max_tokens: Some(7),
        parameters: Some(pb::GenerationParameters { temperature: Some(0.5), ..Default::default() }),
        ..base()
    };
    let request = parse(request).expect("valid");
    assert_eq!(request.provider, "gemini");
    assert_eq!(request.parameters.temperature, Some(0.5));
    assert_eq!(request.parameters.max_tokens, Some(7));
}
