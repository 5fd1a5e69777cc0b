//! Events in the predecessor's words, for a caller who takes one answer.

use std::collections::BTreeMap;

use cortex_proto::cortex::agent::v1::{
    MessageChunk, SessionEvent, ToolCallCompleted, ToolResult, session_event::Event,
    tool_call_event::Part,
};
use serde_json::value::RawValue;

/// Gathers the chunks of one turn.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    chunks: Vec<(i32, MessageChunk)>,
    /// Text of the attempt under way, in pieces: thought or content.
    text: Vec<(&'static str, String)>,
    /// What stands of each ended attempt.
    answered: BTreeMap<i32, ()>,
    attempt: i32,
    response: String,
}

impl Chunks {
    /// Takes in the next event of the turn.
    pub(crate) fn take(&mut self, event: &SessionEvent) {
        match &event.event {
            Some(Event::ThinkingDelta(delta)) => self.grow("thought", delta.attempt, &delta.text),
            Some(Event::ContentDelta(delta)) => self.grow("content", delta.attempt, &delta.text),
            Some(Event::ToolCall(call)) => {
                self.enter(call.attempt);
                if let Some(Part::Completed(completed)) = &call.part {
                    self.keep_text();
                    self.push("tool_call", &tool_call(&call.call_id, completed));
                }
            }
            Some(Event::AttemptRestarted(cut)) => self.void(cut.attempt),
            Some(Event::AttemptSealed(_)) => self.text.clear(),
            Some(Event::MessageAdded(added)) if added.attempt > 0 => {
                self.keep_text();
                self.answered.insert(added.attempt, ());
            }
            Some(Event::ToolResult(result)) => self.push("tool_result", &tool_result(result)),
            Some(Event::TurnCompleted(_)) => self.push("done", r#"{"message":"Complete"}"#),
            Some(Event::TurnCancelled(cancelled)) => {
                let data =
                    serde_json::json!({ "message": "Cancelled", "reason": cancelled.reason });
                self.push("done", &data.to_string());
            }
            _ => {}
        }
    }

    /// The whole text, and the chunks in order.
    pub(crate) fn finish(mut self) -> (String, Vec<MessageChunk>) {
        self.keep_text();
        let chunks = self.chunks.into_iter().map(|(_, chunk)| chunk).collect();
        (self.response, chunks)
    }

    fn enter(&mut self, attempt: i32) {
        self.attempt = self.attempt.max(attempt);
    }

    fn grow(&mut self, kind: &'static str, attempt: i32, text: &str) {
        self.enter(attempt);
        match self.text.last_mut() {
            Some((last, grown)) if *last == kind => grown.push_str(text),
            _ => self.text.push((kind, text.to_owned())),
        }
    }

    /// Text that no cut can make void any more becomes chunks.
    fn keep_text(&mut self) {
        for (kind, text) in std::mem::take(&mut self.text) {
            if kind == "content" {
                self.response.push_str(&text);
            }
            self.push(kind, &serde_json::Value::String(text).to_string());
        }
    }

    fn void(&mut self, attempt: i32) {
        self.text.clear();
        self.chunks.retain(|(of, _)| *of != attempt || self.answered.contains_key(of));
    }

    fn push(&mut self, kind: &str, data: &str) {
        let chunk = MessageChunk { r#type: kind.to_owned(), data: data.to_owned() };
        self.chunks.push((self.attempt, chunk));
    }
}

fn tool_call(call_id: &str, completed: &ToolCallCompleted) -> String {
    object(&[
        ("id", quoted(call_id)),
        ("name", quoted(&completed.name)),
        ("arguments", raw(&completed.arguments)),
    ])
}

fn tool_result(result: &ToolResult) -> String {
    let error = if result.error.is_empty() { "null".to_owned() } else { quoted(&result.error) };
    object(&[
        ("call_id", quoted(&result.call_id)),
        ("name", quoted(&result.name)),
        ("result", raw(&result.result)),
        ("error", error),
    ])
}

/// A JSON object of values that are JSON text already: numbers keep their spelling.
fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> =
        fields.iter().map(|(key, value)| format!("{}:{value}", quoted(key))).collect();
    format!("{{{}}}", fields.join(","))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// JSON text as it is; what is none, or nothing, becomes null.
fn raw(text: &str) -> String {
    let parsed: Result<&RawValue, _> = serde_json::from_str(text);
    parsed.map_or_else(|_| "null".to_owned(), |value| value.get().to_owned())
}

#[cfg(test)]
mod tests {
    use cortex_proto::cortex::agent::v1::CompletionReason;

    use super::*;
    use crate::turn;

    fn take(chunks: &mut Chunks, event: Event) {
        chunks.take(&turn::in_turn("turn_1", event));
    }

    #[test]
    fn a_restarted_attempt_leaves_no_trace() {
        let mut chunks = Chunks::default();
        take(&mut chunks, turn::content_delta(1, "wrong".into()));
        take(&mut chunks, turn::attempt_restarted(1, "cut"));
        take(&mut chunks, turn::content_delta(2, "ri".into()));
        take(&mut chunks, turn::content_delta(2, "ght".into()));
        take(&mut chunks, turn::answer_added("msg_1", 2, Vec::new()));
        take(&mut chunks, turn::turn_completed("msg_1", CompletionReason::Stop, 1));
        let (response, chunks) = chunks.finish();
        assert_eq!(response, "right");
        let kinds: Vec<&str> = chunks.iter().map(|chunk| chunk.r#type.as_str()).collect();
        assert_eq!(kinds, ["content", "done"]);
        assert_eq!(chunks[0].data, r#""right""#);
    }

    #[test]
    fn arguments_stay_verbatim() {
        let mut chunks = Chunks::default();
        let arguments = r#"{"b":6,"a":9007199254740993,"c":1.0}"#;
        take(&mut chunks, turn::call_completed(1, "call_1", "t", "tool", arguments, "", "exec_1"));
        let (_, chunks) = chunks.finish();
        assert!(chunks[0].data.contains(arguments), "{}", chunks[0].data);
    }
}
