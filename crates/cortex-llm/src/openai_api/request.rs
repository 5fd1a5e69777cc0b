//! Reads a request for a chat completion. Fields that are not known here go on to the provider as
//! they came.

use cortex_proto::cortex::llm::v1 as pb;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::error::ApiError;
use crate::{
    completion::{Commit, Request},
    convert,
    json::RawObject,
};

/// What a client asks for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) stream: bool,
    /// Whether a stream ends with its usage.
    pub(super) include_usage: bool,
}

#[derive(Deserialize)]
struct ChatMessage {
    role: String,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    tool_calls: Option<Vec<ChatCall>>,
    #[serde(default)]
    tool_call_id: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    r#type: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct ChatCall {
    id: String,
    function: ChatFunction,
    #[serde(default)]
    extra_content: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct ChatFunction {
    name: String,
    #[serde(default)]
    arguments: String,
}

#[derive(Deserialize)]
struct ChatTool {
    r#type: String,
    #[serde(default)]
    function: Option<ToolFunction>,
}

#[derive(Deserialize)]
struct ToolFunction {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Choice {
    Mode(String),
    Tool { function: Named },
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// The fields of a body, taken one by one: what is left at the end is not known here.
struct Fields(RawObject);

impl Fields {
    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(raw) = self.0.take(name).filter(|raw| raw.get() != "null") else {
            return Ok(None);
        };
        serde_json::from_str(raw.get())
            .map(Some)
            .map_err(|error| ApiError::invalid(name, format!("{name}: {error}")))
    }
}

/// Reads the body of a request.
///
/// # Errors
/// What is wrong, with the field where it is known.
pub(super) fn parse(body: &[u8]) -> Result<Asked, ApiError> {
    let object = serde_json::from_slice::<RawObject>(body).map_err(|error| {
        ApiError::invalid("", format!("the body is not a JSON object: {error}"))
    })?;
    let mut fields = Fields(object);
    if fields.take::<u64>("n")?.is_some_and(|n| n != 1) {
        return Err(ApiError::invalid("n", "only one choice is offered"));
    }
    if fields.take::<Box<RawValue>>("functions")?.is_some() {
        return Err(ApiError::invalid("functions", "functions were replaced by tools"));
    }
    let stream = fields.take("stream")?.unwrap_or(false);
    let options: StreamOptions = fields.take("stream_options")?.unwrap_or_default();
    let messages = fields.take::<Vec<ChatMessage>>("messages")?.unwrap_or_default();
    let messages = messages.into_iter().enumerate().map(|(at, m)| message(at, m));
    let tools = fields.take::<Vec<ChatTool>>("tools")?.unwrap_or_default();
    let tools = tools.into_iter().enumerate().map(|(at, t)| tool(at, t));
    let request = pb::CompleteRequest {
        model: fields.take("model")?.unwrap_or_default(),
        messages: messages.collect::<Result<_, _>>()?,
        tools: tools.collect::<Result<_, _>>()?,
        tool_choice: fields.take("tool_choice")?.map(choice).transpose()?,
        parameters: Some(parameters(&mut fields)?),
        ..pb::CompleteRequest::default()
    };
    let mut request = convert::request(request)?;
    request.commit = Commit::AtContent;
    request.parameters.extra = fields.0.into_raw();
    Ok(Asked { request, stream, include_usage: options.include_usage.unwrap_or(false) })
}

fn parameters(fields: &mut Fields) -> Result<pb::GenerationParameters, ApiError> {
    let newer: Option<i32> = fields.take("max_completion_tokens")?;
    let older: Option<i32> = fields.take("max_tokens")?;
    let stop = match fields.take("stop")? {
        None => Vec::new(),
        Some(Stop::One(text)) => vec![text],
        Some(Stop::Many(texts)) => texts,
    };
    Ok(pb::GenerationParameters {
        temperature: fields.take("temperature")?,
        top_p: fields.take("top_p")?,
        top_k: fields.take("top_k")?,
        max_tokens: newer.or(older),
        stop,
        presence_penalty: fields.take("presence_penalty")?,
        frequency_penalty: fields.take("frequency_penalty")?,
        seed: fields.take("seed")?,
        reasoning_effort: fields.take("reasoning_effort")?.unwrap_or_default(),
        ..pb::GenerationParameters::default()
    })
}

fn message(at: usize, message: ChatMessage) -> Result<pb::Message, ApiError> {
    let role = match message.role.as_str() {
        "user" => pb::Role::User,
        "assistant" => pb::Role::Assistant,
        "system" | "developer" => pb::Role::System,
        "tool" => pb::Role::Tool,
        other => {
            let param = format!("messages[{at}].role");
            let allowed = "user, assistant, system, developer and tool";
            return Err(ApiError::invalid(&param, format!("'{other}' is none of {allowed}")));
        }
    };
    Ok(pb::Message {
        role: role.into(),
        content: message.content.map_or(Ok(String::new()), |content| text(at, content))?,
        tool_calls: message.tool_calls.unwrap_or_default().into_iter().map(call).collect(),
        call_id: message.tool_call_id.unwrap_or_default(),
        // For users and assistants it is the name of a participant, which no provider needs.
        name: message.name.filter(|_| role == pb::Role::Tool).unwrap_or_default(),
    })
}

fn text(at: usize, content: Content) -> Result<String, ApiError> {
    let parts = match content {
        Content::Text(text) => return Ok(text),
        Content::Parts(parts) => parts,
    };
    let mut text = String::new();
    for part in parts {
        let Some(piece) = part.text.or(part.refusal) else {
            let param = format!("messages[{at}].content");
            let what = format!("parts of type '{}' are not offered; only text is", part.r#type);
            return Err(ApiError::invalid(&param, what));
        };
        text.push_str(&piece);
    }
    Ok(text)
}

fn call(call: ChatCall) -> pb::ToolCall {
    let extra = call.extra_content.filter(|extra| extra.get() != "null");
    pb::ToolCall {
        index: 0,
        call_id: call.id,
        name: call.function.name,
        arguments: call.function.arguments,
        provider_data: extra
            .map(|extra| format!("{{\"extra_content\":{}}}", extra.get()))
            .unwrap_or_default(),
    }
}

fn tool(at: usize, tool: ChatTool) -> Result<pb::Tool, ApiError> {
    let Some(function) = tool.function.filter(|_| tool.r#type == "function") else {
        let what = format!("tools of type '{}' are not offered; only function is", tool.r#type);
        return Err(ApiError::invalid(&format!("tools[{at}].type"), what));
    };
    let parameters = function.parameters.filter(|schema| schema.get() != "null");
    Ok(pb::Tool {
        name: function.name,
        description: function.description.unwrap_or_default(),
        parameters: parameters.map(|schema| schema.get().to_owned()).unwrap_or_default(),
    })
}

fn choice(choice: Choice) -> Result<pb::ToolChoice, ApiError> {
    let (mode, name) = match choice {
        Choice::Tool { function } => (pb::ToolChoiceMode::Tool, function.name),
        Choice::Mode(mode) => match mode.as_str() {
            "auto" => (pb::ToolChoiceMode::Auto, String::new()),
            "none" => (pb::ToolChoiceMode::None, String::new()),
            "required" => (pb::ToolChoiceMode::Required, String::new()),
            other => {
                let what = format!("'{other}' is none of auto, none, required and a function");
                return Err(ApiError::invalid("tool_choice", what));
            }
        },
    };
    Ok(pb::ToolChoice { mode: mode.into(), name })
}
