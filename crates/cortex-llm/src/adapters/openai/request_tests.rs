use serde_json::{Value, json};

use super::*;
use crate::config::{EndpointConfig, LlmConfig};

fn endpoint() -> Endpoint {
    let custom = EndpointConfig {
        name: "v".into(),
        base_url: "http://localhost/v1".into(),
        ..EndpointConfig::default()
    };
    Endpoint::custom(&custom, &LlmConfig::default()).expect("a valid endpoint")
}

fn written(request: &Request, model: &str) -> String {
    let body = body(request, model, &endpoint()).expect("writes");
    String::from_utf8(body.to_vec()).expect("UTF-8")
}

fn read(request: &Request) -> Value {
    serde_json::from_str(&written(request, "m")).expect("JSON")
}

fn raw(text: &str) -> Option<Box<RawValue>> {
    Some(RawValue::from_string(text.to_owned()).expect("JSON"))
}

fn ask() -> Request {
    Request { messages: vec![Message::User("hi".into())], ..Request::default() }
}

#[test]
fn the_smallest_request_says_nothing_that_was_not_asked() {
    assert_eq!(
        read(&ask()),
        json!({"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,
               "stream_options":{"include_usage":true}})
    );
}

#[test]
fn a_conversation_with_calls_is_written() {
    let arguments = r#"{ "b": 9007199254740993, "a": 1.50 }"#;
    let call = ToolCall {
        call_id: "call_1".into(),
        name: "x".into(),
        arguments: arguments.into(),
        provider_data: r#"{"extra_content":{"google":{"thought_signature":"s"}}}"#.into(),
        ..ToolCall::default()
    };
    let mut request = ask();
    request.messages = vec![
        Message::System("be brief".into()),
        Message::User("hi".into()),
        Message::Assistant { content: String::new(), tool_calls: vec![call] },
        Message::Tool { call_id: "call_1".into(), name: "x".into(), content: "7".into() },
        Message::Assistant { content: String::new(), tool_calls: Vec::new() },
    ];
    assert_eq!(
        read(&request)["messages"],
        json!([
            {"role":"system","content":"be brief"},
            {"role":"user","content":"hi"},
            {"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function",
              "function":{"name":"x","arguments":arguments},
              "extra_content":{"google":{"thought_signature":"s"}}}]},
            {"role":"tool","content":"7","tool_call_id":"call_1"},
            {"role":"assistant","content":""},
        ])
    );
}

#[test]
fn schemas_and_extras_go_in_as_they_came() {
    let mut request = ask();
    let schema = r#"{"type":"object","properties":{"z":{"maximum":9007199254740993},"a":{}}}"#;
    let tool =
        |name: &str, parameters| Tool { name: name.into(), description: "does".into(), parameters };
    request.tools = vec![tool("x", raw(schema)), tool("y", None)];
    request.tool_choice = ToolChoice::Tool("x".into());
    request.parameters.extra = raw(r#"{"seed":1.50,"stream_options":{"include_usage":false}}"#);
    request.parameters.response_schema = raw(r#"{"type":"object","z":1.0}"#);
    let text = written(&request, "m");
    for part in [
        schema,
        r#"{"name":"y","description":"does","parameters":{"type":"object","properties":{}}}"#,
        r#""tool_choice":{"type":"function","function":{"name":"x"}}"#,
        r#""seed":1.50"#,
        r#""stream_options":{"include_usage":false}"#,
        r#""response_format":{"type":"json_schema","json_schema":{"name":"answer","schema":{"type":"object","z":1.0}}}"#,
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn parameters_are_written_and_the_limit_has_the_models_name_for_it() {
    let mut request = ask();
    request.parameters = Parameters {
        temperature: Some(0.5),
        top_k: Some(3),
        max_tokens: Some(7),
        stop: vec!["END".into()],
        seed: Some(-1),
        reasoning_effort: "low".into(),
        ..Parameters::default()
    };
    let body = read(&request);
    assert_eq!(body["temperature"], json!(0.5));
    assert_eq!(body["top_k"], json!(3));
    assert_eq!(body["stop"], json!(["END"]));
    assert_eq!(body["seed"], json!(-1));
    assert_eq!(body["reasoning_effort"], json!("low"));
    for (model, field) in [
        ("gpt-4o", "max_tokens"),
        ("o3-mini", "max_completion_tokens"),
        ("openai/gpt-5-nano", "max_completion_tokens"),
        ("olmo-2", "max_tokens"),
    ] {
        let text = written(&request, model);
        assert!(text.contains(&format!("\"{field}\":7")), "{model}: {text}");
    }
}
