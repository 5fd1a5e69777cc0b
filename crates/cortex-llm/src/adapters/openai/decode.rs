//! Turns the chunks of an answer into events. Knows nothing of sockets and time.

use std::{collections::VecDeque, sync::Arc};

use super::{
    calls::Calls,
    classify, protocol,
    wire::{Choice, Chunk, Delta},
};
use crate::{
    completion::{Event, FinishReason, Request, Usage},
    failure::{Class, Failure},
};

/// Chunks that are not JSON and may be skipped in one answer.
const MALFORMED: u32 = 1;

/// Bytes of one piece of text at most. A message of the mesh has 4 MiB.
const LONGEST_DELTA: usize = 256 * 1024;

/// Reads one answer.
#[derive(Debug)]
pub(super) struct Decoder {
    request: Arc<Request>,
    opened: bool,
    has_content: bool,
    calls: Calls,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
    /// How many chunks more may be unreadable.
    spare: u32,
    chars: usize,
}

impl Decoder {
    pub(super) fn new(request: Arc<Request>) -> Self {
        Self {
            request,
            opened: false,
            has_content: false,
            calls: Calls::default(),
            finish: None,
            usage: None,
            spare: MALFORMED,
            chars: 0,
        }
    }

    /// The same, for a response that is not a stream: its one chunk has to be readable.
    pub(super) fn strict(mut self) -> Self {
        self.spare = 0;
        self
    }

    /// Whether the model has said anything.
    pub(super) fn has_content(&self) -> bool {
        self.has_content
    }

    /// Whether the model has said why it stopped.
    pub(super) fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Reads a chunk.
    ///
    /// # Errors
    /// [`Failure`] for an error that the chunk carries, and for a second chunk that is not JSON.
    pub(super) fn chunk(
        &mut self,
        data: &[u8],
        events: &mut VecDeque<Event>,
    ) -> Result<(), Failure> {
        let chunk = match serde_json::from_slice::<Chunk<'_>>(data) {
            Ok(chunk) => chunk,
            Err(error) => return self.malformed(data, &error),
        };
        if let Some(error) = chunk.error.filter(|error| error.get() != "null") {
            return Err(classify::in_band(error, chunk.status_code));
        }
        if let Some(error) = chunk.x_groq.as_ref().and_then(|groq| groq.error.as_ref()) {
            return Err(Failure::new(Class::ServerError, error.clone()));
        }
        let groq = chunk.x_groq.and_then(|groq| groq.usage);
        if let Some(usage) = chunk.usage.or(groq) {
            self.usage = Some(usage.into());
        }
        if !std::mem::replace(&mut self.opened, true) {
            events.push_back(Event::Opened { model: chunk.model.unwrap_or_default() });
        }
        let choices = chunk.choices.unwrap_or_default();
        let first = choices.into_iter().find(|choice| choice.index.unwrap_or(0) == 0);
        first.map_or(Ok(()), |choice| self.choice(choice, events))
    }

    fn malformed(&mut self, data: &[u8], error: &serde_json::Error) -> Result<(), Failure> {
        // Some gateways wrap an error in a list.
        if let Ok([chunk]) = serde_json::from_slice::<[Chunk<'_>; 1]>(data)
            && let Some(error) = chunk.error
        {
            return Err(classify::in_band(error, chunk.status_code));
        }
        let Some(spare) = self.spare.checked_sub(1) else {
            return Err(protocol(format!("what the provider sends is not readable: {error}")));
        };
        self.spare = spare;
        tracing::warn!(%error, bytes = data.len(), "unreadable chunk skipped");
        Ok(())
    }

    fn choice(&mut self, choice: Choice<'_>, events: &mut VecDeque<Event>) -> Result<(), Failure> {
        if let Some(delta) = choice.delta.or(choice.message) {
            self.delta(delta, events)?;
        }
        match choice.finish_reason.as_deref() {
            None | Some("") => Ok(()),
            Some(reason) => self.finish(reason, events),
        }
    }

    fn delta(&mut self, delta: Delta<'_>, events: &mut VecDeque<Event>) -> Result<(), Failure> {
        let before = events.len();
        let thinking = if delta.reasoning_content.0.is_empty() {
            delta.reasoning.0
        } else {
            delta.reasoning_content.0
        };
        for (text, event) in [
            (thinking, Event::Thinking as fn(String) -> Event),
            (delta.content.0, Event::Content),
            (delta.refusal.0, Event::Content),
        ] {
            self.chars += text.chars().count();
            events.extend(split(text).map(event));
        }
        for part in delta.tool_calls.unwrap_or_default() {
            let arguments = part.function.as_ref().and_then(|function| function.arguments);
            self.chars += arguments.map_or(0, |arguments| arguments.get().len());
            self.calls.take(&part, events)?;
        }
        self.has_content |= events.len() > before;
        Ok(())
    }

    fn finish(&mut self, reason: &str, events: &mut VecDeque<Event>) -> Result<(), Failure> {
        if self.finish.is_some() {
            return Ok(());
        }
        let reason = match reason.to_ascii_lowercase().as_str() {
            "length" | "max_tokens" => FinishReason::Length,
            "content_filter" | "safety" => FinishReason::ContentFilter,
            "malformed_function_call" => {
                let what = "the model called a tool in a way that its server could not read";
                return Err(Failure::new(Class::BadGeneration, what));
            }
            "error" => {
                let what = "the provider ended the answer with an error";
                return Err(Failure::new(Class::ServerError, what));
            }
            "insufficient_system_resource" => {
                let what = "the provider ran out of resources";
                return Err(Failure::new(Class::Overloaded, what));
            }
            // Some servers say `stop` after calls, and some `tool_calls` without any.
            _ if self.calls.is_empty() => FinishReason::Stop,
            _ => FinishReason::ToolCalls,
        };
        let cut_short = matches!(reason, FinishReason::Length | FinishReason::ContentFilter);
        self.calls.finish(cut_short, events)?;
        self.finish = Some(reason);
        Ok(())
    }

    /// The response has ended.
    ///
    /// # Errors
    /// [`Class::Cut`] when the answer has not: it is never passed off as whole.
    pub(super) fn end(&mut self, events: &mut VecDeque<Event>) -> Result<(), Failure> {
        let Some(reason) = self.finish else {
            let what = "the response ended before the answer did";
            return Err(Failure::new(Class::Cut, what));
        };
        let usage = self.usage.unwrap_or_else(|| Usage::estimate(&self.request, self.chars));
        events.push_back(Event::Usage(usage));
        events.push_back(Event::Finished(reason));
        Ok(())
    }
}

/// The text in pieces that fit a message of the mesh; nothing for an empty one.
fn split(mut text: String) -> impl Iterator<Item = String> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let rest = text.split_off(text.floor_char_boundary(LONGEST_DELTA));
        Some(std::mem::replace(&mut text, rest))
    })
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
