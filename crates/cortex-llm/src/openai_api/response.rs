//! Writes a chat completion in one piece.

use std::time::{SystemTime, UNIX_EPOCH};

use cortex_core::ExecutionId;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    answer::Answer,
    completion::{FinishReason, ToolCall, Usage},
    json::RawObject,
};

#[derive(Serialize)]
pub(super) struct Completion<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    usage: UsageObject,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: Message<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: Option<()>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reasoning_content: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    r#type: &'static str,
    function: Function<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
pub(super) struct UsageObject {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

impl From<Usage> for UsageObject {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.total(),
            prompt_tokens_details: PromptDetails { cached_tokens: usage.cached_tokens },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: usage.reasoning_tokens,
            },
        }
    }
}

/// A whole answer.
pub(super) fn completion(answer: &Answer) -> Completion<'_> {
    let text = Some(answer.content.as_str());
    let message = Message {
        role: "assistant",
        content: text.filter(|text| !text.is_empty() || answer.tool_calls.is_empty()),
        refusal: None,
        reasoning_content: &answer.thinking,
        tool_calls: answer.tool_calls.iter().map(call).collect(),
    };
    let finish_reason = finish_reason(answer.finish_reason);
    Completion {
        id: id(),
        object: "chat.completion",
        created: now(),
        model: &answer.model,
        choices: [Choice { index: 0, message, logprobs: None, finish_reason }],
        usage: answer.usage.into(),
    }
}

fn call(call: &ToolCall) -> Call<'_> {
    let data = RawObject::parse(&call.provider_data).unwrap_or_default();
    Call {
        id: &call.call_id,
        r#type: "function",
        function: Function { name: &call.name, arguments: &call.arguments },
        extra_content: data.get("extra_content").map(ToOwned::to_owned),
    }
}

pub(super) fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
}

/// A new id in OpenAI's form.
pub(super) fn id() -> String {
    let id = String::from(ExecutionId::generate());
    format!("chatcmpl-{}", id.trim_start_matches(ExecutionId::PREFIX))
}

/// The current time in seconds, as OpenAI counts.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
