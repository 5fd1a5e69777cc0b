//! The built-in model, as a caller sees it.

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::completion::{Tool, ToolChoice};

const CALCULATOR: &str = r#"{"type":"object","properties":{
    "operation":{"type":"string","enum":["add","subtract","multiply","divide"]},
    "a":{"type":"number"},"b":{"type":"number"}},"required":["operation","a","b"]}"#;
const CLOCK: &str = r#"{"type":"object","properties":{"timezone":{"type":"string"},
    "format":{"type":"string","enum":["iso","unix"]}},"required":[]}"#;
const ANALYZER: &str =
    r#"{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}"#;
const SEARCH: &str = r#"{"type":"object","properties":{"query":{"type":"string"},
    "max_results":{"type":"integer","default":5}},"required":["query"]}"#;
const MEMORY: &str = r#"{"type":"object","properties":{"key":{"type":"string"},
    "value":{"type":"string"},"tags":{"type":"array","items":{"type":"string"}}},"required":["key","value"]}"#;

fn tool(name: &str, schema: &str) -> Tool {
    let parameters = Some(RawValue::from_string(schema.to_owned()).expect("a schema"));
    Tool { name: name.to_owned(), description: String::new(), parameters }
}

fn tools() -> Vec<Tool> {
    vec![
        tool("calculator", CALCULATOR),
        tool("clock", CLOCK),
        tool("text_analyzer", ANALYZER),
        tool("web_search", SEARCH),
        tool("memory_set", MEMORY),
    ]
}

fn ask(text: &str) -> Request {
    Request { messages: vec![Message::User(text.to_owned())], tools: tools(), ..Request::default() }
}

fn answer(request: Request) -> Vec<Event> {
    events(&Arc::new(request)).collect()
}

fn called(text: &str) -> Vec<(String, String)> {
    answer(ask(text))
        .into_iter()
        .filter_map(|event| match event {
            Event::ToolCall(call) => Some((call.name, call.arguments)),
            _ => None,
        })
        .collect()
}

fn text(events: &[Event]) -> String {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Content(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

#[track_caller]
fn assert_calls(text: &str, expected: &[(&str, &str)]) {
    let calls = called(text);
    let calls: Vec<(&str, &str)> = calls.iter().map(|(n, a)| (n.as_str(), a.as_str())).collect();
    assert_eq!(calls, expected, "{text}");
}

#[test]
fn arithmetic_is_understood_in_many_words() {
    let multiply = r#"{"operation":"multiply","a":6,"b":7}"#;
    for text in [
        "use the calculator to multiply 6 by 7",
        "Use the calculator to multiply 6 by 7.",
        "multiply 6 by 7 with the calculator, please",
        "multiply 6 by 7",
        "What is 6 times 7? Ask the calculator!",
        "calculator: 6 x 7",
        "the calculator should compute 6*7",
        "use the `calculator` tool: operation=multiply, a=6, b=7",
        "with 6 use the calculator to multiply by 7",
    ] {
        assert_calls(text, &[("calculator", multiply)]);
    }
    for (text, arguments) in [
        ("use the calculator to add 1.50 and -2", r#"{"operation":"add","a":1.50,"b":-2}"#),
        ("calculator 10 minus 3", r#"{"operation":"subtract","a":10,"b":3}"#),
        ("use the calculator to subtract 3 from 10", r#"{"operation":"subtract","a":10,"b":3}"#),
        (
            "have the calculator divide 9007199254740993 by 1",
            r#"{"operation":"divide","a":9007199254740993,"b":1}"#,
        ),
        (
            r#"run calculator {"b": 7, "a": 6.0, "operation": "multiply"}"#,
            r#"{"b": 7, "a": 6.0, "operation": "multiply"}"#,
        ),
    ] {
        assert_calls(text, &[("calculator", arguments)]);
    }
}

#[test]
fn texts_come_from_quotations_or_the_rest() {
    for (text, name, arguments) in [
        (
            "analyze \"Hello world.\" with the text analyzer",
            "text_analyzer",
            r#"{"text":"Hello world."}"#,
        ),
        ("Use text_analyzer on this: The cat sat.", "text_analyzer", r#"{"text":"The cat sat"}"#),
        (
            "use the text analyzer on it's a fine day",
            "text_analyzer",
            r#"{"text":"it's a fine day"}"#,
        ),
        (
            "Do a web search for quantum computing in 2024",
            "web_search",
            r#"{"query":"quantum computing in 2024"}"#,
        ),
        (
            "use web_search with query=rust max_results=3",
            "web_search",
            r#"{"query":"rust","max_results":3}"#,
        ),
        (
            "web search: query: rust and tokio, max results: 7",
            "web_search",
            r#"{"query":"rust and tokio","max_results":7}"#,
        ),
        (
            "use memory_set to keep 'colour' as 'blue'",
            "memory_set",
            r#"{"key":"colour","value":"blue"}"#,
        ),
    ] {
        assert_calls(text, &[(name, arguments)]);
    }
}

#[test]
fn several_tools_are_called_in_their_order() {
    assert_calls(
        "use the clock and the calculator to add 1 and 2",
        &[("clock", "{}"), ("calculator", r#"{"operation":"add","a":1,"b":2}"#)],
    );
    assert_calls(
        "Use the calculator to add 1 and 2, then use the calculator to multiply 3 by 4.",
        &[
            ("calculator", r#"{"operation":"add","a":1,"b":2}"#),
            ("calculator", r#"{"operation":"multiply","a":3,"b":4}"#),
        ],
    );
    assert_calls(
        "use the text analyzer on hello there and the clock",
        &[("text_analyzer", r#"{"text":"hello there"}"#), ("clock", "{}")],
    );
}

#[test]
fn what_is_not_asked_for_is_not_called() {
    for text in ["hello", "do not use the clock", "what is 6 or 7?", "use the calculator", ""] {
        assert_calls(text, &[]);
    }
    let said = text(&answer(ask("use the calculator")));
    assert!(said.contains("operation and a and b"), "{said}");
    let none = Request { tool_choice: ToolChoice::None, ..ask("use the clock") };
    assert!(!answer(none).iter().any(|event| matches!(event, Event::ToolCall(_))));
}

#[test]
fn a_forced_tool_is_called_whatever_the_words() {
    let choice = ToolChoice::Tool("text_analyzer".to_owned());
    let events = answer(Request { tool_choice: choice, ..ask("nice weather") });
    assert!(events.iter().any(|event| {
        matches!(event, Event::ToolCall(call) if call.name == "text_analyzer"
            && call.arguments == r#"{"text":"nice weather"}"#)
    }));
    let required = Request { tool_choice: ToolChoice::Required, ..ask("hm") };
    assert!(answer(required).iter().any(|event| matches!(event, Event::ToolCall(_))));
}

#[test]
fn a_call_streams_in_parts_and_is_the_same_each_time() {
    let events = answer(ask("use the calculator to multiply 6 by 7"));
    assert_eq!(events, answer(ask("use the calculator to multiply 6 by 7")));
    let mut joined = String::new();
    for event in &events {
        match event {
            Event::ToolCallDelta(delta) => {
                assert_eq!(delta.call_id.is_empty(), !joined.is_empty());
                joined.push_str(&delta.arguments);
            }
            Event::ToolCall(call) => {
                assert_eq!(call.arguments, joined);
                assert_eq!(call.call_id.len(), "call_".len() + 16);
            }
            _ => {}
        }
    }
    let [.., Event::Usage(usage), Event::Finished(reason)] = &events[..] else {
        panic!("{events:?} does not end with usage and the end")
    };
    assert_eq!(*reason, FinishReason::ToolCalls);
    assert!(usage.estimated && usage.completion_tokens > 0);
}

fn with_result(tool: &str, content: &str) -> Request {
    let mut request = ask("use the tool");
    let call = ToolCall { call_id: "call_1".into(), name: tool.into(), ..ToolCall::default() };
    request.messages.push(Message::Assistant { content: String::new(), tool_calls: vec![call] });
    let (call_id, name) = ("call_1".to_owned(), String::new());
    request.messages.push(Message::Tool { call_id, name, content: content.to_owned() });
    request
}

#[test]
fn a_result_is_told_as_it_is() {
    for (content, said) in [
        (r#"{"result":42}"#, "The calculator says 42."),
        (r#"{"result":9007199254740993}"#, "The calculator says 9007199254740993."),
        (r#"{"operation":"add","result":{"value":1.50}}"#, "The calculator says 1.50."),
        (r#"{"words":3}"#, "The calculator says 3."),
        (r#""done!""#, "The calculator says done!"),
        ("plain", "The calculator says plain."),
        (r#"{"a":1,"b":2}"#, r#"The calculator says {"a":1,"b":2}."#),
        (r#"{"error":"division by zero"}"#, "The calculator failed: division by zero."),
        (r#"{"error":{"message":"no"},"result":null}"#, "The calculator failed: no."),
    ] {
        let text = text(&answer(with_result("calculator", content)));
        assert!(text.starts_with(said), "{content}: {text}");
        assert!(text.contains("rehearsal") && text.contains("OPENAI_API_KEY"), "{text}");
    }
}

#[test]
fn an_older_result_does_not_answer_a_new_message() {
    let mut request = with_result("calculator", r#"{"result":42}"#);
    request.messages.push(Message::User("use the clock".to_owned()));
    assert!(answer(request).iter().any(|event| matches!(event, Event::ToolCall(_))));
}

#[test]
fn ids_are_not_used_twice_in_a_conversation() {
    let request = ask("use the clock and the clock");
    let wanted = || vec![intent::Wanted { tool: "clock".into(), arguments: "{}".into() }];
    let first = calls(&request, wanted()).remove(0);
    let mut later = ask("use the clock");
    later.messages =
        vec![Message::Assistant { content: String::new(), tool_calls: vec![first.clone()] }];
    assert_ne!(calls(&later, wanted())[0].call_id, first.call_id);
}

#[test]
fn every_other_answer_says_that_it_is_a_rehearsal() {
    let events = answer(ask("What is quantum computing?"));
    let text = text(&events);
    for part in ["rehearsal", "OPENAI_API_KEY", "GROQ_API_KEY", "Ollama", "quantum", "calculator"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    let longest = events.iter().filter_map(|event| match event {
        Event::Content(piece) => Some(piece.chars().count()),
        _ => None,
    });
    assert_eq!(longest.max(), Some(4));
}

#[test]
fn tokens_can_be_rehearsed_and_limited() {
    let pieces = |request| {
        let events = answer(request);
        let count = events.iter().filter(|event| matches!(event, Event::Content(_))).count();
        (count, events.last().cloned())
    };
    let finished = |reason| Some(Event::Finished(reason));
    assert_eq!(pieces(ask("rehearse 1000 tokens")), (1000, finished(FinishReason::Stop)));
    let mut limited = ask("rehearse 1000 tokens");
    limited.parameters.max_tokens = Some(10);
    assert_eq!(pieces(limited), (10, finished(FinishReason::Length)));
}

proptest! {
    #[test]
    fn any_message_is_answered_and_any_call_is_an_object(
        text in "((use|the|calculator|clock|text_analyzer|web search|multiply|a=|7|-1.5|,|:|\"x\"|and|for|\\{\\}) ?){0,12}|.{0,60}",
    ) {
        for event in answer(ask(&text)) {
            if let Event::ToolCall(call) = event {
                let parsed = serde_json::from_str::<serde_json::Map<_, _>>(&call.arguments);
                prop_assert!(parsed.is_ok(), "{}", call.arguments);
            }
        }
    }
}
