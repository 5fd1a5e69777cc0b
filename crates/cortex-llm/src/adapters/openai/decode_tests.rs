//! Streams as servers write them, and what becomes of them.

use serde_json::json;

use super::*;
use crate::completion::{ToolCall, ToolCallDelta};

fn read(chunks: &[&str]) -> Result<Vec<Event>, Failure> {
    let mut decoder = Decoder::new(Arc::new(Request::default()));
    let mut events = VecDeque::new();
    for chunk in chunks {
        decoder.chunk(chunk.as_bytes(), &mut events)?;
    }
    decoder.end(&mut events)?;
    Ok(events.into())
}

fn content(text: &str) -> String {
    json!({"choices":[{"index":0,"delta":{"content":text}}]}).to_string()
}

fn finish(reason: &str) -> String {
    json!({"choices":[{"index":0,"delta":{},"finish_reason":reason}]}).to_string()
}

/// A fragment of a tool call: the JSON of one item of `tool_calls`.
fn part(part: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{part}]}}}}]}}"#)
}

fn calls(chunks: &[&str]) -> Vec<(String, String, String)> {
    let events = read(chunks).expect("a whole answer");
    let call = |event| match event {
        Event::ToolCall(ToolCall { call_id, name, arguments, .. }) => {
            Some((call_id, name, arguments))
        }
        _ => None,
    };
    events.into_iter().filter_map(call).collect()
}

fn brief(calls: &[(String, String, String)]) -> Vec<(&str, &str)> {
    calls.iter().map(|(_, name, arguments)| (name.as_str(), arguments.as_str())).collect()
}

#[test]
fn text_and_usage_are_read() {
    let events = read(&[
        r#"{"id":"1","model":"gpt-4o-2024","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
        &content("Hel"),
        &content("lo"),
        &finish("stop"),
        r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,
            "prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":99}}}"#,
    ])
    .expect("a whole answer");
    let usage = Usage {
        prompt_tokens: 9,
        completion_tokens: 2,
        cached_tokens: 4,
        reasoning_tokens: 2,
        estimated: false,
    };
    assert_eq!(
        events,
        [
            Event::Opened { model: "gpt-4o-2024".into() },
            Event::Content("Hel".into()),
            Event::Content("lo".into()),
            Event::Usage(usage),
            Event::Finished(FinishReason::Stop),
        ]
    );
}

#[test]
fn a_call_comes_in_fragments_and_is_complete_when_the_answer_is() {
    let events = read(&[
        &part(r#"{"index":0,"id":"call_a","type":"function","function":{"name":"add","arguments":""}}"#),
        &part(r#"{"index":0,"function":{"arguments":"{\"a\": 6,"}}"#),
        &part(r#"{"index":0,"function":{"arguments":" \"b\":9007199254740993}"}}"#),
        &finish("tool_calls"),
    ])
    .expect("a whole answer");
    let delta = |call_id: &str, name: &str, arguments: &str| {
        Event::ToolCallDelta(ToolCallDelta {
            index: 0,
            call_id: call_id.into(),
            name: name.into(),
            arguments: arguments.into(),
        })
    };
    let call = ToolCall {
        call_id: "call_a".into(),
        name: "add".into(),
        arguments: r#"{"a": 6, "b":9007199254740993}"#.into(),
        ..ToolCall::default()
    };
    assert_eq!(
        events[1..5],
        [
            delta("call_a", "add", ""),
            delta("", "", r#"{"a": 6,"#),
            delta("", "", r#" "b":9007199254740993}"#),
            Event::ToolCall(call),
        ]
    );
    assert_eq!(events.last(), Some(&Event::Finished(FinishReason::ToolCalls)));
}

#[test]
fn a_call_is_complete_as_soon_as_the_next_begins() {
    let mut decoder = Decoder::new(Arc::new(Request::default()));
    let mut events = VecDeque::new();
    for chunk in [
        part(r#"{"index":0,"id":"a","function":{"name":"x","arguments":"{\"n\":1}"}}"#),
        part(r#"{"index":1,"id":"b","function":{"name":"y","arguments":""}}"#),
    ] {
        decoder.chunk(chunk.as_bytes(), &mut events).expect("readable");
    }
    let complete = |event: &&Event| matches!(event, Event::ToolCall(call) if call.name == "x");
    assert_eq!(events.iter().filter(complete).count(), 1);
}

#[test]
fn servers_number_and_name_calls_in_their_own_ways() {
    let stop = finish("tool_calls");
    let whole = |index: &str, id: &str, name: &str| {
        part(&format!(
            r#"{{{index}{id}"function":{{"name":"{name}","arguments":"{{\"n\":\"{name}\"}}"}}}}"#
        ))
    };
    let both = [("x", r#"{"n":"x"}"#), ("y", r#"{"n":"y"}"#)];
    for (what, first, second) in [
        ("index and id", ("\"index\":0,", "\"id\":\"a\","), ("\"index\":1,", "\"id\":\"b\",")),
        (
            "one index, two ids",
            ("\"index\":0,", "\"id\":\"a\","),
            ("\"index\":0,", "\"id\":\"b\","),
        ),
        ("no index", ("", "\"id\":\"a\","), ("", "\"id\":\"b\",")),
        ("no id", ("\"index\":0,", ""), ("\"index\":1,", "")),
        ("one index, no id", ("\"index\":0,", ""), ("\"index\":0,", "")),
        ("neither", ("", ""), ("", "")),
        (
            "one id, two indexes",
            ("\"index\":0,", "\"id\":\"a\","),
            ("\"index\":1,", "\"id\":\"a\","),
        ),
    ] {
        let (first, second) = (whole(first.0, first.1, "x"), whole(second.0, second.1, "y"));
        let found = calls(&[&first, &second, &stop]);
        assert_eq!(brief(&found), both, "{what}");
        assert_ne!(found[0].0, found[1].0, "{what}: ids must differ");
        assert!(found.iter().all(|(id, _, _)| !id.is_empty()), "{what}: ids are made");
    }
}

#[test]
fn fragments_without_index_or_with_repeated_names_belong_to_the_call_before() {
    let found = calls(&[
        &part(r#"{"id":"a","function":{"name":"x","arguments":"{\"n\""}}"#),
        &part(r#"{"function":{"arguments":":1"}}"#),
        &part(r#"{"id":"a","function":{"name":"x","arguments":"}"}}"#),
        &finish("stop"),
    ]);
    assert_eq!(brief(&found), [("x", r#"{"n":1}"#)]);
}

#[test]
fn interleaved_calls_are_put_together() {
    let found = calls(&[
        &part(r#"{"index":0,"id":"a","function":{"name":"x","arguments":"{\"n\""}}"#),
        &part(r#"{"index":1,"id":"b","function":{"name":"y","arguments":"{\"m\""}}"#),
        &part(r#"{"index":0,"function":{"arguments":":1}"}}"#),
        &part(r#"{"index":1,"function":{"arguments":":2}"}}"#),
        &finish("tool_calls"),
    ]);
    assert_eq!(brief(&found), [("x", r#"{"n":1}"#), ("y", r#"{"m":2}"#)]);
}

#[test]
fn absent_arguments_are_an_empty_object_and_objects_stay_verbatim() {
    let stop = finish("tool_calls");
    for arguments in [r#","arguments":"""#, r#","arguments":null"#, "", r#","arguments":"null""#] {
        let chunk =
            part(&format!(r#"{{"index":0,"id":"a","function":{{"name":"x"{arguments}}}}}"#));
        assert_eq!(brief(&calls(&[&chunk, &stop])), [("x", "{}")], "{arguments}");
    }
    let object =
        part(r#"{"index":0,"id":"a","function":{"name":"x","arguments":{"b":1.50,"a":6}}}"#);
    assert_eq!(brief(&calls(&[&object, &stop])), [("x", r#"{"b":1.50,"a":6}"#)]);
}

#[test]
fn arguments_that_are_no_object_are_an_error_and_never_a_call() {
    for arguments in [r#"{\"a\":"#, r#"[1]"#, r#"{\"a\":1} {\"b\":2}"#, "6"] {
        let chunk = part(&format!(
            r#"{{"index":0,"id":"a","function":{{"name":"x","arguments":"{arguments}"}}}}"#
        ));
        let failure = read(&[&chunk, &finish("tool_calls")]).expect_err(arguments);
        assert_eq!(failure.class, Class::BadGeneration, "{arguments}");
    }
    let nameless = part(r#"{"index":0,"id":"a","function":{"arguments":"{}"}}"#);
    assert_eq!(read(&[&nameless, &finish("stop")]).expect_err("nameless").class, Class::Protocol);
    let late = [
        part(r#"{"index":0,"id":"a","function":{"name":"x","arguments":"{}"}}"#),
        part(r#"{"index":1,"id":"b","function":{"name":"y","arguments":"{}"}}"#),
        part(r#"{"index":0,"function":{"arguments":",1"}}"#),
    ];
    let late: Vec<&str> = late.iter().map(String::as_str).collect();
    assert_eq!(read(&late).expect_err("late").class, Class::Protocol);
}

#[test]
fn a_call_that_the_limit_of_tokens_cut_is_left_out() {
    let chunk = part(r#"{"index":0,"id":"a","function":{"name":"x","arguments":"{\"a\":"}}"#);
    let events = read(&[&chunk, &finish("length")]).expect("an answer");
    assert!(!events.iter().any(|event| matches!(event, Event::ToolCall(_))));
    assert_eq!(events.last(), Some(&Event::Finished(FinishReason::Length)));
}

#[test]
fn an_answer_without_its_end_is_cut_and_never_whole() {
    for chunks in [&[][..], &[content("Hel").as_str()]] {
        assert_eq!(read(chunks).expect_err("cut").class, Class::Cut);
    }
    let call = part(r#"{"index":0,"id":"a","function":{"name":"x","arguments":"{}"}}"#);
    assert_eq!(read(&[&call]).expect_err("cut").class, Class::Cut);
}

#[test]
fn one_unreadable_chunk_is_skipped_and_a_second_is_not() {
    let (good, end) = (content("x"), finish("stop"));
    let events = read(&["{\"choices\":[{", &good, &end]).expect("one is skipped");
    assert!(events.contains(&Event::Content("x".into())));
    let failure = read(&["{", &good, "nonsense", &end]).expect_err("two are too many");
    assert_eq!(failure.class, Class::Protocol);
}

#[test]
fn errors_within_the_stream_end_it() {
    for (chunk, class) in [
        (r#"{"error":{"message":"x","type":"server_error"}}"#, Class::ServerError),
        (r#"{"error":{"message":"x","code":429}}"#, Class::RateLimited),
        (r#"[{"error":{"code":503,"status":"UNAVAILABLE"}}]"#, Class::Overloaded),
        (
            r#"{"error":{"message":"x","code":"tool_use_failed"},"status_code":400}"#,
            Class::BadGeneration,
        ),
        (r#"{"choices":[],"x_groq":{"error":"over capacity"}}"#, Class::ServerError),
        (r#"{"choices":[{"delta":{},"finish_reason":"error"}]}"#, Class::ServerError),
    ] {
        assert_eq!(read(&[&content("a"), chunk]).expect_err(chunk).class, class, "{chunk}");
    }
    assert!(read(&[r#"{"error":null,"choices":[]}"#, &finish("stop")]).is_ok());
}

#[test]
fn reasoning_and_odd_contents_are_read() {
    let events = read(&[
        r#"{"choices":[{"delta":{"reasoning_content":"a","content":null}}]}"#,
        r#"{"choices":[{"delta":{"reasoning":"b"}}]}"#,
        r#"{"choices":[{"delta":{"content":[{"type":"text","text":"c"},{"type":"image","x":{}}]}}]}"#,
        r#"{"choices":null}"#,
        r#"{"choices":[{"index":1,"delta":{"content":"another choice"}}]}"#,
        r#"{"choices":[{"delta":{"refusal":"no"},"finish_reason":""}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"x_groq":{"usage":{"prompt_tokens":1,"completion_tokens":2}}}"#,
    ])
    .expect("a whole answer");
    assert_eq!(
        events[1..5],
        [
            Event::Thinking("a".into()),
            Event::Thinking("b".into()),
            Event::Content("c".into()),
            Event::Content("no".into()),
        ]
    );
    assert!(matches!(events[5], Event::Usage(usage) if usage.total() == 3 && !usage.estimated));
}

#[test]
fn a_text_that_no_message_can_hold_is_split() {
    let text = "é".repeat(300_000);
    let events = read(&[&content(&text), &finish("stop")]).expect("a whole answer");
    let pieces: Vec<&String> = events
        .iter()
        .filter_map(|event| match event {
            Event::Content(piece) => Some(piece),
            _ => None,
        })
        .collect();
    assert!(pieces.len() == 3 && pieces.iter().all(|piece| piece.len() <= LONGEST_DELTA));
    assert_eq!(pieces.into_iter().cloned().collect::<String>(), text);
}

#[test]
fn usage_is_estimated_when_the_provider_gives_none() {
    let events = read(&[&content("12345678"), &finish("stop")]).expect("a whole answer");
    let Event::Usage(usage) = events[2] else { panic!("{events:?}") };
    assert!(usage.estimated);
    assert_eq!(usage.completion_tokens, 2);
}

#[test]
fn what_google_wants_to_see_again_is_kept_with_the_call() {
    let chunk = part(
        r#"{"index":0,"id":"a","function":{"name":"x","arguments":"{}"},"extra_content":{"google":{"thought_signature":"c2ln"}}}"#,
    );
    let events = read(&[&chunk, &finish("tool_calls")]).expect("a whole answer");
    let kept = events.iter().find_map(|event| match event {
        Event::ToolCall(call) => Some(call.provider_data.as_str()),
        _ => None,
    });
    assert_eq!(kept, Some(r#"{"extra_content":{"google":{"thought_signature":"c2ln"}}}"#));
}
