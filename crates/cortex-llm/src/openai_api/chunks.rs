//! Writes the chunks of a streamed chat completion.

use serde::Serialize;
use serde_json::value::RawValue;

use super::response::{self, UsageObject};
use crate::{
    completion::{Output, ToolCall, ToolCallDelta, Usage},
    json::RawObject,
};

/// The literal that ends a stream.
const DONE: &str = "[DONE]";

/// Writes one stream.
pub(super) struct Writer {
    id: String,
    created: u64,
    model: String,
    include_usage: bool,
    usage: Usage,
    /// Whether arguments were sent, by call.
    has_arguments: Vec<bool>,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [ChunkChoice<'a>],
    /// `null` in every chunk but the last, when usage was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageObject>>,
}

#[derive(Serialize)]
struct ChunkChoice<'a> {
    index: u32,
    delta: Delta<'a>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[CallPart<'a>; 1]>,
}

#[derive(Serialize)]
struct CallPart<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    function: FunctionPart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct FunctionPart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

impl Writer {
    pub(super) fn new(include_usage: bool) -> Self {
        Self {
            id: response::id(),
            created: response::now(),
            model: String::new(),
            include_usage,
            usage: Usage::default(),
            has_arguments: Vec::new(),
        }
    }

    /// The frames that an output becomes.
    pub(super) fn write(&mut self, output: Output) -> Vec<String> {
        match output {
            Output::Started { model, .. } => {
                self.model = model;
                let delta =
                    Delta { role: Some("assistant"), content: Some(""), ..Delta::default() };
                vec![self.delta(delta)]
            }
            Output::Content(text) => {
                vec![self.delta(Delta { content: Some(&text), ..Delta::default() })]
            }
            Output::Thinking(text) => {
                vec![self.delta(Delta { reasoning_content: Some(&text), ..Delta::default() })]
            }
            Output::ToolCallDelta(delta) => vec![self.call_delta(&delta)],
            Output::ToolCall(call) => self.call(&call),
            Output::Usage(usage) => {
                self.usage = usage;
                Vec::new()
            }
            // Not for requests of this API: they commit at their first content.
            Output::Reset { .. } => Vec::new(),
            Output::Finished { reason, .. } => self.finish(response::finish_reason(reason)),
        }
    }

    fn call_delta(&mut self, delta: &ToolCallDelta) -> String {
        let at = delta.index as usize;
        if self.has_arguments.len() <= at {
            self.has_arguments.resize(at + 1, false);
        }
        self.has_arguments[at] |= !delta.arguments.is_empty();
        let is_first = !delta.call_id.is_empty();
        self.call_part(CallPart {
            index: delta.index,
            id: is_first.then_some(delta.call_id.as_str()),
            r#type: is_first.then_some("function"),
            function: FunctionPart {
                name: is_first.then_some(delta.name.as_str()),
                arguments: &delta.arguments,
            },
            extra_content: None,
        })
    }

    /// What the deltas did not say: arguments that were absent, and what the provider wants back.
    fn call(&self, call: &ToolCall) -> Vec<String> {
        let said = self.has_arguments.get(call.index as usize) == Some(&true);
        let data = RawObject::parse(&call.provider_data).unwrap_or_default();
        let extra_content = data.get("extra_content");
        if said && extra_content.is_none() {
            return Vec::new();
        }
        let arguments = if said { "" } else { &call.arguments };
        let function = FunctionPart { name: None, arguments };
        let part = CallPart { index: call.index, id: None, r#type: None, function, extra_content };
        vec![self.call_part(part)]
    }

    fn call_part(&self, part: CallPart<'_>) -> String {
        self.delta(Delta { tool_calls: Some([part]), ..Delta::default() })
    }

    fn finish(&self, reason: &'static str) -> Vec<String> {
        let mut frames = vec![self.choice(Delta::default(), Some(reason))];
        if self.include_usage {
            frames.push(self.chunk(&[], Some(Some(self.usage.into()))));
        }
        frames.push(DONE.to_owned());
        frames
    }

    fn delta(&self, delta: Delta<'_>) -> String {
        self.choice(delta, None)
    }

    fn choice(&self, delta: Delta<'_>, finish_reason: Option<&'static str>) -> String {
        let choice = ChunkChoice { index: 0, delta, logprobs: None, finish_reason };
        self.chunk(&[choice], self.include_usage.then_some(None))
    }

    fn chunk(&self, choices: &[ChunkChoice<'_>], usage: Option<Option<UsageObject>>) -> String {
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            choices,
            usage,
        };
        serde_json::to_string(&chunk).expect("texts and numbers serialise to JSON")
    }
}
