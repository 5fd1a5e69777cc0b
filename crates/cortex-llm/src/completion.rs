//! What a completion is: the request, the answer's events, and what it cost. Parsed once, by
//! `convert` or by the OpenAI-compatible API; nothing in here can be nonsense.

use std::time::Duration;

use serde_json::value::RawValue;

/// A request for a completion. Immutable: every attempt translates from the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    /// Which model: `provider/model`, `model` or `auto`.
    pub(crate) model: String,
    /// Only this provider, in its canonical name. Empty: as the model says.
    pub(crate) provider: String,
    /// The conversation, oldest first. Never empty.
    pub(crate) messages: Vec<Message>,
    /// Tools that the model may call, with unique names.
    pub(crate) tools: Vec<Tool>,
    /// Whether and which tools it calls.
    pub(crate) tool_choice: ToolChoice,
    /// How it generates.
    pub(crate) parameters: Parameters,
    /// Models to try, in order, when this one cannot answer.
    pub(crate) fallback_models: Vec<String>,
    /// The session that it is for. Empty: none.
    pub(crate) session_id: String,
    /// From when on an attempt can no longer be voided.
    pub(crate) commit: Commit,
}

/// From when on an attempt can no longer be voided and replaced by another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Commit {
    /// From the first complete tool call on: the client understands `attempt_reset`.
    #[default]
    AtToolCall,
    /// From the first content on: the client cannot take anything back.
    AtContent,
}

/// A message of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// From the one who runs the agent.
    System(String),
    /// From the user.
    User(String),
    /// From the model.
    Assistant {
        /// The text. May be empty.
        content: String,
        /// Calls that it makes, in order.
        tool_calls: Vec<ToolCall>,
    },
    /// The result of a tool call.
    Tool {
        /// The call that it is the result of.
        call_id: String,
        /// The tool's name. Empty: not said.
        name: String,
        /// The result.
        content: String,
    },
}

impl Message {
    /// The text of the message.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::System(text) | Self::User(text) => text,
            Self::Assistant { content, .. } | Self::Tool { content, .. } => content,
        }
    }
}

/// A tool that the model may call.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    /// Its name: 1 to 64 of `a-z A-Z 0-9 _ -`.
    pub(crate) name: String,
    /// What it does, for the model.
    pub(crate) description: String,
    /// The JSON Schema of its arguments: a JSON object, verbatim.
    pub(crate) parameters: Option<Box<RawValue>>,
}

/// Whether and which tools the model calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// No tools.
    None,
    /// At least one tool.
    Required,
    /// The named tool.
    Tool(String),
}

/// How a model generates. What is absent is left to the provider.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters {
    /// Randomness, 0 to 2.
    pub(crate) temperature: Option<f64>,
    /// Probability mass to sample from, 0 to 1.
    pub(crate) top_p: Option<f64>,
    /// Tokens to sample from.
    pub(crate) top_k: Option<u32>,
    /// Tokens of the answer at most.
    pub(crate) max_tokens: Option<u32>,
    /// Texts that end the answer.
    pub(crate) stop: Vec<String>,
    /// -2 to 2.
    pub(crate) presence_penalty: Option<f64>,
    /// -2 to 2.
    pub(crate) frequency_penalty: Option<f64>,
    /// Makes the answer repeatable where the provider can.
    pub(crate) seed: Option<i64>,
    /// How much to reason. Empty: not said.
    pub(crate) reasoning_effort: String,
    /// The JSON Schema that the answer must fit: a JSON object, verbatim.
    pub(crate) response_schema: Option<Box<RawValue>>,
    /// Fields to add to the provider's request as they are: a JSON object, verbatim.
    pub(crate) extra: Option<Box<RawValue>>,
    /// How long to wait for the first token. Absent: the provider's setting.
    pub(crate) first_token_timeout: Option<Duration>,
}

/// A tool call whose arguments are complete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ToolCall {
    /// Which call of the answer: 0 for the first.
    pub(crate) index: u32,
    /// The call's id.
    pub(crate) call_id: String,
    /// The tool's name.
    pub(crate) name: String,
    /// The arguments: one JSON object, verbatim from the model.
    pub(crate) arguments: String,
    /// What the provider wants to see again with this call: JSON, or empty.
    pub(crate) provider_data: String,
}

/// A part of a tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToolCallDelta {
    /// Which call of the answer: 0 for the first.
    pub(crate) index: u32,
    /// The call's id, in the first part only.
    pub(crate) call_id: String,
    /// The tool's name, in the first part only.
    pub(crate) name: String,
    /// The next piece of the arguments' JSON text.
    pub(crate) arguments: String,
}

/// What a completion cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub(crate) prompt_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub(crate) completion_tokens: u64,
    /// Tokens of the prompt that the provider had cached.
    pub(crate) cached_tokens: u64,
    /// Tokens of the answer that were reasoning.
    pub(crate) reasoning_tokens: u64,
    /// Whether the numbers are estimates because the provider gave none.
    pub(crate) estimated: bool,
}

impl Usage {
    /// Both kinds of tokens together.
    pub(crate) fn total(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }

    /// An estimate from the request's text and the number of characters of the answer: four
    /// characters to a token, as OpenAI's documentation gives for English text.
    pub(crate) fn estimate(request: &Request, answer_chars: usize) -> Self {
        Self {
            prompt_tokens: tokens(request.chars()),
            completion_tokens: tokens(answer_chars),
            estimated: true,
            ..Self::default()
        }
    }
}

/// Characters per token of English text, about.
pub(crate) const CHARS_PER_TOKEN: usize = 4;

fn tokens(chars: usize) -> u64 {
    u64::try_from(chars.div_ceil(CHARS_PER_TOKEN)).unwrap_or(u64::MAX)
}

impl Request {
    /// Characters that a model would read, about.
    fn chars(&self) -> usize {
        let messages: usize = self.messages.iter().map(message_chars).sum();
        let tools: usize = self
            .tools
            .iter()
            .map(|tool| {
                let schema = tool.parameters.as_ref().map_or(0, |schema| schema.get().len());
                tool.name.len() + tool.description.len() + schema
            })
            .sum();
        messages + tools
    }
}

fn message_chars(message: &Message) -> usize {
    let calls = match message {
        Message::Assistant { tool_calls, .. } => {
            tool_calls.iter().map(|call| call.name.len() + call.arguments.len()).sum()
        }
        _ => 0,
    };
    message.text().chars().count() + calls
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FinishReason {
    /// It was done.
    Stop,
    /// It reached its limit of tokens.
    Length,
    /// It called tools and waits for their results.
    ToolCalls,
    /// A content filter stopped it.
    ContentFilter,
}

/// What a provider says while it answers: one attempt. Ends with [`Event::Finished`] or a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The provider accepted the request; the model, as it names it.
    Opened {
        /// The model. Empty: as asked for.
        model: String,
    },
    /// Text of the answer, never empty.
    Content(String),
    /// Text of the model's reasoning, never empty.
    Thinking(String),
    /// A part of a tool call.
    ToolCallDelta(ToolCallDelta),
    /// A tool call whose arguments are complete.
    ToolCall(ToolCall),
    /// What it cost so far. The last one counts.
    Usage(Usage),
    /// The answer is complete.
    Finished(FinishReason),
}

/// What a caller of the router sees: the attempts of one completion, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// A provider began to answer.
    Started {
        /// 1 for the first attempt of the call.
        attempt: u32,
        /// The provider.
        provider: String,
        /// The model, as the provider names it.
        model: String,
    },
    /// Text of the answer.
    Content(String),
    /// Text of the model's reasoning.
    Thinking(String),
    /// A part of a tool call.
    ToolCallDelta(ToolCallDelta),
    /// A tool call whose arguments are complete.
    ToolCall(ToolCall),
    /// What it cost so far.
    Usage(Usage),
    /// The attempt is void; another follows.
    Reset {
        /// Why, as a reason of an error.
        reason: &'static str,
        /// Why, for a person.
        message: String,
    },
    /// The answer is complete.
    Finished {
        /// Why the model stopped.
        reason: FinishReason,
        /// Whether a fallback model answered.
        fallback: bool,
    },
}
