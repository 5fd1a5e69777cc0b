//! Between the contracts and the domain: every check of a request is here.

use std::collections::BTreeSet;

use cortex_proto::cortex::llm::v1 as pb;
use serde_json::value::RawValue;

use crate::{
    answer::Answer,
    catalog::canonical,
    completion::{
        Commit, FinishReason, Message, Output, Request, Tool, ToolCall, ToolCallDelta, ToolChoice,
        Usage,
    },
    error::LlmError,
};

mod parameters;
mod providers;

pub(crate) use parameters::parameters;
pub(crate) use providers::{model, provider};

/// Messages of one conversation at most.
pub(crate) const MAX_MESSAGES: usize = 10_000;
/// Tools of one request at most.
pub(crate) const MAX_TOOLS: usize = 256;
/// Fallback models of one request at most.
const MAX_FALLBACKS: usize = 16;
/// Characters of a model's or a provider's name at most.
const MAX_NAME: usize = 256;

/// Parses a request of Complete.
///
/// # Errors
/// [`LlmError::Invalid`], which names the field.
pub(crate) fn request(request: pb::CompleteRequest) -> Result<Request, LlmError> {
    let mut generation = request.parameters.unwrap_or_default();
    generation.temperature = generation.temperature.or(request.temperature);
    generation.max_tokens = generation.max_tokens.or(request.max_tokens);
    let messages = messages(request.messages)?;
    let tools = tools(request.tools)?;
    if request.fallback_models.len() > MAX_FALLBACKS {
        return Err(LlmError::invalid("fallback_models", format!("more than {MAX_FALLBACKS}")));
    }
    Ok(Request {
        model: name("model", request.model)?,
        provider: canonical(&name("provider", request.provider)?),
        messages,
        tool_choice: tool_choice(request.tool_choice, &tools)?,
        tools,
        parameters: parameters(generation)?,
        fallback_models: request.fallback_models,
        session_id: request.session_id,
        commit: Commit::AtToolCall,
    })
}

/// A request of Generate is one of Complete.
pub(crate) fn as_complete(request: pb::GenerateRequest) -> pb::CompleteRequest {
    pb::CompleteRequest {
        model: request.model,
        provider: request.provider,
        messages: request.messages,
        tools: request.tools,
        tool_choice: request.tool_choice,
        parameters: request.parameters,
        fallback_models: request.fallback_models,
        session_id: request.session_id,
        stream: false,
        temperature: request.temperature,
        max_tokens: request.max_tokens,
    }
}

fn name(field: &str, name: String) -> Result<String, LlmError> {
    if name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(LlmError::invalid(field, format!("needs up to {MAX_NAME} printable bytes")));
    }
    Ok(name.trim().to_owned())
}

fn messages(messages: Vec<pb::Message>) -> Result<Vec<Message>, LlmError> {
    if messages.is_empty() {
        return Err(LlmError::invalid("messages", "needs at least one message"));
    }
    if messages.len() > MAX_MESSAGES {
        return Err(LlmError::invalid("messages", format!("more than {MAX_MESSAGES}")));
    }
    messages.into_iter().enumerate().map(|(at, message)| self::message(at, message)).collect()
}

fn message(at: usize, message: pb::Message) -> Result<Message, LlmError> {
    let field = |name: &str| format!("messages[{at}].{name}");
    let pb::Message { content, tool_calls, call_id, name, .. } = message;
    let role = pb::Role::try_from(message.role).unwrap_or_default();
    if !tool_calls.is_empty() && role != pb::Role::Assistant {
        return Err(LlmError::invalid(field("tool_calls"), "only an assistant's message has them"));
    }
    match role {
        pb::Role::Unspecified => {
            Err(LlmError::invalid(field("role"), "needs user, assistant, system or tool"))
        }
        pb::Role::User => Ok(Message::User(content)),
        pb::Role::System => Ok(Message::System(content)),
        pb::Role::Assistant => {
            let calls = tool_calls.into_iter().enumerate();
            let tool_calls =
                calls.map(|(n, call)| tool_call(at, n, call)).collect::<Result<_, _>>();
            Ok(Message::Assistant { content, tool_calls: tool_calls? })
        }
        pb::Role::Tool if call_id.is_empty() => {
            Err(LlmError::invalid(field("call_id"), "a tool's message needs the call's id"))
        }
        pb::Role::Tool => Ok(Message::Tool { call_id, name, content }),
    }
}

fn tool_call(at: usize, n: usize, call: pb::ToolCall) -> Result<ToolCall, LlmError> {
    let field = |name: &str| format!("messages[{at}].tool_calls[{n}].{name}");
    if call.call_id.is_empty() {
        return Err(LlmError::invalid(field("call_id"), "is empty"));
    }
    if call.name.is_empty() {
        return Err(LlmError::invalid(field("name"), "is empty"));
    }
    let arguments = if call.arguments.trim().is_empty() { "{}".to_owned() } else { call.arguments };
    json_object(&field("arguments"), arguments.clone())?;
    if !call.provider_data.is_empty() {
        json_object(&field("provider_data"), call.provider_data.clone())?;
    }
    Ok(ToolCall {
        index: u32::try_from(n).unwrap_or(u32::MAX),
        call_id: call.call_id,
        name: call.name,
        arguments,
        provider_data: call.provider_data,
    })
}

fn tools(tools: Vec<pb::Tool>) -> Result<Vec<Tool>, LlmError> {
    if tools.len() > MAX_TOOLS {
        return Err(LlmError::invalid("tools", format!("more than {MAX_TOOLS}")));
    }
    let mut seen = BTreeSet::new();
    let mut parsed = Vec::with_capacity(tools.len());
    for (at, tool) in tools.into_iter().enumerate() {
        let field = |name: &str| format!("tools[{at}].{name}");
        check_tool_name(&field("name"), &tool.name)?;
        if !seen.insert(tool.name.clone()) {
            return Err(LlmError::invalid(
                field("name"),
                format!("'{}' is there twice", tool.name),
            ));
        }
        let parameters = optional_object(&field("parameters"), tool.parameters)?;
        parsed.push(Tool { name: tool.name, description: tool.description, parameters });
    }
    Ok(parsed)
}

/// Checks the name of a tool: what every provider accepts.
pub(crate) fn check_tool_name(field: &str, name: &str) -> Result<(), LlmError> {
    let fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if name.is_empty() || name.len() > 64 || !fits {
        let description = format!("'{name}' is not 1 to 64 of a-z A-Z 0-9 _ -");
        return Err(LlmError::invalid(field, description));
    }
    Ok(())
}

fn tool_choice(choice: Option<pb::ToolChoice>, tools: &[Tool]) -> Result<ToolChoice, LlmError> {
    let Some(choice) = choice else { return Ok(ToolChoice::Auto) };
    let parsed = match choice.mode() {
        pb::ToolChoiceMode::Unspecified | pb::ToolChoiceMode::Auto => ToolChoice::Auto,
        pb::ToolChoiceMode::None => ToolChoice::None,
        pb::ToolChoiceMode::Required => ToolChoice::Required,
        pb::ToolChoiceMode::Tool => ToolChoice::Tool(choice.name),
    };
    check_tool_choice(&parsed, tools)?;
    Ok(parsed)
}

/// Checks that the chosen tool is among the tools.
pub(crate) fn check_tool_choice(choice: &ToolChoice, tools: &[Tool]) -> Result<(), LlmError> {
    match choice {
        ToolChoice::Tool(name) if !tools.iter().any(|tool| tool.name == *name) => {
            Err(LlmError::invalid("tool_choice.name", format!("'{name}' is not among the tools")))
        }
        ToolChoice::Required if tools.is_empty() => {
            Err(LlmError::invalid("tool_choice.mode", "required needs at least one tool"))
        }
        _ => Ok(()),
    }
}

/// A JSON object as text, checked and kept verbatim.
pub(crate) fn json_object(field: &str, text: String) -> Result<Box<RawValue>, LlmError> {
    let value = RawValue::from_string(text)
        .map_err(|error| LlmError::invalid(field, format!("is not JSON: {error}")))?;
    if !value.get().starts_with('{') {
        return Err(LlmError::invalid(field, "is not a JSON object"));
    }
    Ok(value)
}

fn optional_object(field: &str, text: String) -> Result<Option<Box<RawValue>>, LlmError> {
    if text.trim().is_empty() { Ok(None) } else { json_object(field, text).map(Some) }
}

/// An output as the contract has it.
pub(crate) fn response(output: Output) -> pb::CompleteResponse {
    use pb::complete_response::Event;
    let event = match output {
        Output::Started { attempt, provider, model } => {
            let attempt = i32::try_from(attempt).unwrap_or(i32::MAX);
            Event::Started(pb::CompletionStarted { attempt, provider, model })
        }
        Output::Content(text) => Event::ContentDelta(pb::ContentDelta { text }),
        Output::Thinking(text) => Event::ThinkingDelta(pb::ThinkingDelta { text }),
        Output::ToolCallDelta(delta) => Event::ToolCallDelta(tool_call_delta(delta)),
        Output::ToolCall(call) => Event::ToolCall(tool_call_out(call)),
        Output::Usage(usage) => Event::Usage(self::usage(usage)),
        Output::Reset { reason, message } => {
            Event::AttemptReset(pb::AttemptReset { reason: reason.to_owned(), message })
        }
        Output::Finished { reason, fallback } => Event::Finished(pb::CompletionFinished {
            finish_reason: finish_reason(reason).into(),
            fallback,
        }),
    };
    pb::CompleteResponse { event: Some(event) }
}

/// A whole answer as the contract has it.
pub(crate) fn generated(answer: Answer) -> pb::GenerateResponse {
    pb::GenerateResponse {
        content: answer.content,
        provider_name: answer.provider,
        model: answer.model,
        usage: Some(usage(answer.usage)),
        tool_calls: answer.tool_calls.into_iter().map(tool_call_out).collect(),
        finish_reason: finish_reason(answer.finish_reason).into(),
        thinking: answer.thinking,
    }
}

fn tool_call_delta(delta: ToolCallDelta) -> pb::ToolCallDelta {
    pb::ToolCallDelta {
        index: index(delta.index),
        call_id: delta.call_id,
        name: delta.name,
        arguments_delta: delta.arguments,
    }
}

/// A tool call as the contract has it.
fn tool_call_out(call: ToolCall) -> pb::ToolCall {
    pb::ToolCall {
        index: index(call.index),
        call_id: call.call_id,
        name: call.name,
        arguments: call.arguments,
        provider_data: call.provider_data,
    }
}

fn index(index: u32) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

/// Usage as the contract has it.
fn usage(usage: Usage) -> pb::Usage {
    let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
    pb::Usage {
        prompt_tokens: count(usage.prompt_tokens),
        completion_tokens: count(usage.completion_tokens),
        total_tokens: count(usage.total()),
        cached_tokens: count(usage.cached_tokens),
        reasoning_tokens: count(usage.reasoning_tokens),
        estimated: usage.estimated,
        cost_usd: String::new(),
    }
}

/// A finish reason as the contract has it.
fn finish_reason(reason: FinishReason) -> pb::FinishReason {
    match reason {
        FinishReason::Stop => pb::FinishReason::Stop,
        FinishReason::Length => pb::FinishReason::Length,
        FinishReason::ToolCalls => pb::FinishReason::ToolCalls,
        FinishReason::ContentFilter => pb::FinishReason::ContentFilter,
    }
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
