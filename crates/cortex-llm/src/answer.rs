//! A whole answer, collected from its outputs.

use futures::StreamExt;

use crate::{
    completion::{FinishReason, Output, ToolCall, Usage},
    error::LlmError,
    router::Outputs,
};

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) content: String,
    pub(crate) thinking: String,
    pub(crate) tool_calls: Vec<ToolCall>,
    pub(crate) usage: Usage,
    pub(crate) finish_reason: FinishReason,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            provider: String::new(),
            model: String::new(),
            content: String::new(),
            thinking: String::new(),
            tool_calls: Vec::new(),
            usage: Usage::default(),
            finish_reason: FinishReason::Stop,
        }
    }
}

impl Answer {
    /// Collects the answer. Dropping the future cancels the completion.
    ///
    /// # Errors
    /// The error that the outputs end with: there is no half answer.
    pub(crate) async fn collect(mut outputs: Outputs) -> Result<Self, LlmError> {
        let mut answer = Self::default();
        while let Some(output) = outputs.next().await {
            answer.take(output?);
        }
        answer.tool_calls.sort_by_key(|call| call.index);
        Ok(answer)
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Started { provider, model, .. } => {
                *self = Self { provider, model, ..Self::default() };
            }
            Output::Content(text) => self.content.push_str(&text),
            Output::Thinking(text) => self.thinking.push_str(&text),
            Output::ToolCallDelta(_) => {}
            Output::ToolCall(call) => self.tool_calls.push(call),
            Output::Usage(usage) => self.usage = usage,
            Output::Reset { .. } => *self = Self::default(),
            Output::Finished { reason, .. } => self.finish_reason = reason,
        }
    }
}
