//! Writes a request in OpenAI's JSON. Schemas and arguments go in as they came.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    completion::{Message, Parameters, Request, Tool, ToolCall, ToolChoice},
    config::{Endpoint, MaxTokensField},
    failure::{Class, Failure},
    json::RawObject,
};

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<WireChoice<'a>>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(flatten)]
    parameters: WireParameters<'a>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct WireParameters<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reasoning_effort: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "json_schema")]
struct ResponseFormat<'a> {
    json_schema: NamedSchema<'a>,
}

#[derive(Serialize)]
struct NamedSchema<'a> {
    name: &'static str,
    schema: &'a RawValue,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

#[derive(Serialize)]
struct WireCall<'a> {
    id: &'a str,
    r#type: &'static str,
    function: WireFunction<'a>,
    /// What Google's OpenAI-compatible API wants to see again.
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct WireFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct WireTool<'a> {
    r#type: &'static str,
    function: WireToolFunction<'a>,
}

#[derive(Serialize)]
struct WireToolFunction<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    parameters: &'a RawValue,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireChoice<'a> {
    Mode(&'static str),
    Tool { r#type: &'static str, function: ChosenFunction<'a> },
}

#[derive(Serialize)]
struct ChosenFunction<'a> {
    name: &'a str,
}

/// The schema of a tool without parameters.
const NO_PARAMETERS: &str = r#"{"type":"object","properties":{}}"#;

/// The body of a request for a streamed completion.
///
/// `parameters.extra` is added last and wins.
///
/// # Errors
/// [`Class::Rejected`] when it cannot be written, which only `extra` can cause.
pub(super) fn body(request: &Request, model: &str, endpoint: &Endpoint) -> Result<Bytes, Failure> {
    let failed = |error: serde_json::Error| {
        Failure::new(Class::Rejected, format!("the request cannot be written: {error}"))
    };
    let no_parameters: &RawValue = serde_json::from_str(NO_PARAMETERS).map_err(failed)?;
    let body = Body {
        model,
        messages: request.messages.iter().map(message).collect(),
        tools: request.tools.iter().map(|t| tool(t, no_parameters)).collect(),
        tool_choice: choice(&request.tool_choice),
        stream: true,
        stream_options: StreamOptions { include_usage: true },
        parameters: parameters(&request.parameters, model, endpoint),
    };
    let written = serde_json::to_vec(&body).map_err(failed)?;
    let Some(extra) = &request.parameters.extra else { return Ok(written.into()) };
    let mut fields: RawObject = serde_json::from_slice(&written).map_err(failed)?;
    fields.merge(RawObject::parse(extra.get()).map_err(failed)?);
    Ok(serde_json::to_vec(&fields).map_err(failed)?.into())
}

fn message(message: &Message) -> WireMessage<'_> {
    let plain = |role, content| WireMessage {
        role,
        content: Some(content),
        tool_calls: Vec::new(),
        tool_call_id: None,
    };
    match message {
        Message::System(text) => plain("system", text),
        Message::User(text) => plain("user", text),
        Message::Assistant { content, tool_calls } => WireMessage {
            role: "assistant",
            content: Some(content.as_str())
                .filter(|text| !text.is_empty() || tool_calls.is_empty()),
            tool_calls: tool_calls.iter().map(call).collect(),
            tool_call_id: None,
        },
        Message::Tool { call_id, content, .. } => {
            WireMessage { tool_call_id: Some(call_id), ..plain("tool", content) }
        }
    }
}

fn call(call: &ToolCall) -> WireCall<'_> {
    let data = RawObject::parse(&call.provider_data).unwrap_or_default();
    WireCall {
        id: &call.call_id,
        r#type: "function",
        function: WireFunction { name: &call.name, arguments: &call.arguments },
        extra_content: data.get("extra_content").map(ToOwned::to_owned),
    }
}

fn tool<'a>(tool: &'a Tool, no_parameters: &'a RawValue) -> WireTool<'a> {
    WireTool {
        r#type: "function",
        function: WireToolFunction {
            name: &tool.name,
            description: &tool.description,
            parameters: tool.parameters.as_deref().unwrap_or(no_parameters),
        },
    }
}

fn choice(choice: &ToolChoice) -> Option<WireChoice<'_>> {
    match choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(WireChoice::Mode("none")),
        ToolChoice::Required => Some(WireChoice::Mode("required")),
        ToolChoice::Tool(name) => {
            Some(WireChoice::Tool { r#type: "function", function: ChosenFunction { name } })
        }
    }
}

fn parameters<'a>(given: &'a Parameters, model: &str, endpoint: &Endpoint) -> WireParameters<'a> {
    let completion_field = match endpoint.max_tokens_field {
        MaxTokensField::ByModel => is_reasoning(model),
        MaxTokensField::MaxTokens => false,
        MaxTokensField::MaxCompletionTokens => true,
    };
    let format = |schema: &'a RawValue| ResponseFormat {
        json_schema: NamedSchema { name: "answer", schema },
    };
    WireParameters {
        temperature: given.temperature,
        top_p: given.top_p,
        top_k: given.top_k.filter(|_| endpoint.sends_top_k),
        max_tokens: given.max_tokens.filter(|_| !completion_field),
        max_completion_tokens: given.max_tokens.filter(|_| completion_field),
        stop: &given.stop,
        presence_penalty: given.presence_penalty,
        frequency_penalty: given.frequency_penalty,
        seed: given.seed,
        reasoning_effort: &given.reasoning_effort,
        response_format: given.response_schema.as_deref().map(format),
    }
}

/// OpenAI's reasoning models (`o1`, `o3-mini`, `gpt-5`) refuse `max_tokens`.
fn is_reasoning(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let numbered = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    name.strip_prefix('o').is_some_and(numbered) || name.starts_with("gpt-5")
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
