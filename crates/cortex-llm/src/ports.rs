//! The outside world: a provider of language models.

use std::{sync::Arc, time::Duration};

use futures::{future::BoxFuture, stream::BoxStream};

use crate::{
    completion::{Event, Request},
    failure::Failure,
};

/// The events of one attempt. Pulled: nothing is read ahead of the consumer, and dropping it closes
/// the provider's connection (or resets its HTTP/2 stream) at once.
pub(crate) type EventStream = BoxStream<'static, Result<Event, Failure>>;

/// The wire format that a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// OpenAI's chat completions.
    OpenAi,
    /// Ollama, by its OpenAI-compatible API.
    Ollama,
    /// Anthropic's messages.
    Anthropic,
    /// Google's Gemini.
    Gemini,
    /// The built-in model.
    Rehearsal,
}

impl Dialect {
    /// The name in contracts and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Ollama => "ollama",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Rehearsal => "rehearsal",
        }
    }
}

/// One attempt to have a request answered.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// What is asked.
    pub(crate) request: Arc<Request>,
    /// The model, as the provider names it.
    pub(crate) model: String,
    /// Time that is left of the whole completion.
    pub(crate) remaining: Duration,
}

/// A model that a provider offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelInfo {
    /// Its name at the provider.
    pub(crate) id: String,
    /// Tokens that fit its context. 0: not known.
    pub(crate) context_tokens: u64,
}

/// A provider of language models.
pub(crate) trait Provider: Send + Sync + 'static {
    /// Starts one attempt. The first thing that it yields may be the failure to connect.
    ///
    /// It bounds itself: by its time to connect, to the first token, between tokens and by
    /// [`Call::remaining`].
    fn attempt(&self, call: Call) -> EventStream;

    /// Asks the provider which models it has. Bounded by the provider's own time-out.
    ///
    /// # Errors
    /// [`Failure`] when it does not answer, or not with a list.
    fn list_models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, Failure>>;
}
