//! Puts tool calls together from their fragments, whatever the server makes of `index` and `id`.

use std::collections::VecDeque;

use cortex_core::CallId;

use super::{protocol, wire::CallPart};
use crate::{
    completion::{Event, ToolCall, ToolCallDelta},
    failure::{Class, Failure},
};

/// Bytes of one call's arguments at most: a call must fit a message of 4 MiB.
const MAX_ARGUMENTS: usize = 3 * 1024 * 1024;
/// Calls of one answer at most.
const MAX_CALLS: usize = 256;

/// The calls of one answer, so far.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
    /// How many were completed. Calls are completed in their order.
    completed: usize,
}

#[derive(Debug, Default)]
struct Call {
    /// `index` as the server counts.
    wire_index: Option<u64>,
    /// `id` as the server names it. Empty: it does not.
    wire_id: String,
    /// The id that the caller knows.
    call_id: String,
    name: String,
    arguments: String,
    /// How much of the arguments was sent. None: nothing of the call was sent.
    sent: Option<usize>,
    provider_data: String,
}

impl Calls {
    /// Whether there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes a fragment, and completes earlier calls when a new one begins.
    ///
    /// # Errors
    /// [`Class::Protocol`] when there is too much, or more of a call that was complete.
    pub(super) fn take(
        &mut self,
        part: &CallPart<'_>,
        events: &mut VecDeque<Event>,
    ) -> Result<(), Failure> {
        let name = part.function.as_ref().and_then(|f| f.name.as_deref()).unwrap_or_default();
        let (at, is_new) = match self.find(part, !name.is_empty()) {
            Some(at) => (at, false),
            None => (self.begin(part)?, true),
        };
        if is_new {
            self.complete_ready(at, events);
        }
        let completed = at < self.completed;
        self.calls[at].extend(part, name, completed)?;
        self.calls[at].send(at, events);
        Ok(())
    }

    /// The call that a fragment continues. A new id is a new call, even where the index repeats; a
    /// name that repeats after whole arguments is a new call, where nothing else tells.
    fn find(&self, part: &CallPart<'_>, has_name: bool) -> Option<usize> {
        let id = part.id.as_deref().unwrap_or_default();
        let last = |fits: &dyn Fn(&Call) -> bool| self.calls.iter().rposition(fits);
        match (part.index, id) {
            (Some(index), "") => last(&|call| call.wire_index == Some(index))
                .filter(|at| !(has_name && self.calls[*at].is_whole())),
            (Some(index), id) => last(&|call| call.wire_index == Some(index))
                .filter(|at| self.calls[*at].wire_id.is_empty() || self.calls[*at].wire_id == id),
            (None, "") => self
                .calls
                .len()
                .checked_sub(1)
                .filter(|at| !(has_name && self.calls[*at].is_whole())),
            (None, id) => last(&|call| call.wire_id == id),
        }
    }

    fn begin(&mut self, part: &CallPart<'_>) -> Result<usize, Failure> {
        if self.calls.len() >= MAX_CALLS {
            return Err(protocol(format!("more than {MAX_CALLS} tool calls in one answer")));
        }
        let wire_id = part.id.clone().unwrap_or_default();
        // The caller tells calls apart by their ids.
        let known = wire_id.is_empty() || self.calls.iter().any(|call| call.call_id == wire_id);
        let call_id = if known { CallId::generate().into() } else { wire_id.clone() };
        self.calls.push(Call { wire_index: part.index, wire_id, call_id, ..Call::default() });
        Ok(self.calls.len() - 1)
    }

    /// Completes calls before `end` whose arguments are whole, up to the first that is not.
    fn complete_ready(&mut self, end: usize, events: &mut VecDeque<Event>) {
        while self.completed < end && self.calls[self.completed].is_whole() {
            self.complete_next(events);
        }
    }

    fn complete_next(&mut self, events: &mut VecDeque<Event>) {
        let at = self.completed;
        self.completed += 1;
        let call = &mut self.calls[at];
        let arguments = std::mem::take(&mut call.arguments);
        let none = matches!(arguments.trim(), "" | "null");
        events.push_back(Event::ToolCall(ToolCall {
            index: index(at),
            call_id: call.call_id.clone(),
            name: call.name.clone(),
            arguments: if none { "{}".to_owned() } else { arguments },
            provider_data: std::mem::take(&mut call.provider_data),
        }));
    }

    /// The answer has ended. Calls that are not whole are an error, unless the answer was cut short
    /// on purpose: then they are left out.
    ///
    /// # Errors
    /// [`Class::BadGeneration`] for arguments that are not a JSON object.
    pub(super) fn finish(
        &mut self,
        was_cut_short: bool,
        events: &mut VecDeque<Event>,
    ) -> Result<(), Failure> {
        while let Some(call) = self.calls.get(self.completed) {
            let none = matches!(call.arguments.trim(), "" | "null");
            if call.name.is_empty() {
                return Err(protocol("a tool call has no name"));
            }
            if call.is_whole() || (none && !was_cut_short) {
                self.complete_next(events);
                continue;
            }
            if was_cut_short {
                return Ok(());
            }
            let what = format!("the arguments of the call of {} are not a JSON object", call.name);
            return Err(Failure::new(Class::BadGeneration, what));
        }
        Ok(())
    }
}

impl Call {
    /// Whether the arguments are one JSON object.
    fn is_whole(&self) -> bool {
        let text = self.arguments.trim();
        let object = text.starts_with('{') && text.ends_with('}');
        object && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    }

    fn extend(&mut self, part: &CallPart<'_>, name: &str, completed: bool) -> Result<(), Failure> {
        if self.name.is_empty() {
            name.clone_into(&mut self.name);
        }
        if self.wire_id.is_empty() {
            self.wire_id = part.id.clone().unwrap_or_default();
        }
        if let Some(extra) = part.extra_content.filter(|extra| extra.get() != "null") {
            self.provider_data = format!("{{\"extra_content\":{}}}", extra.get());
        }
        let raw = part.function.as_ref().and_then(|f| f.arguments).map_or("null", |a| a.get());
        let piece = if raw.starts_with('"') {
            serde_json::from_str::<String>(raw).map_err(|error| protocol(error.to_string()))?
        } else if raw == "null" {
            String::new()
        } else {
            raw.to_owned()
        };
        if completed && !piece.trim().is_empty() {
            return Err(protocol(format!("a call of {} went on after its end", self.name)));
        }
        if completed {
            return Ok(());
        }
        if self.arguments.len() + piece.len() > MAX_ARGUMENTS {
            return Err(protocol(format!("a call's arguments exceed {MAX_ARGUMENTS} bytes")));
        }
        self.arguments.push_str(&piece);
        Ok(())
    }

    /// Sends what was not sent yet, once the name is known.
    fn send(&mut self, at: usize, events: &mut VecDeque<Event>) {
        let from = self.sent.unwrap_or(0);
        let is_first = self.sent.is_none();
        let Some(piece) = self.arguments.get(from..) else { return };
        if self.name.is_empty() || (piece.is_empty() && !is_first) {
            return;
        }
        let (call_id, name) =
            if is_first { (self.call_id.clone(), self.name.clone()) } else { Default::default() };
        let arguments = piece.to_owned();
        self.sent = Some(self.arguments.len());
        events.push_back(Event::ToolCallDelta(ToolCallDelta {
            index: index(at),
            call_id,
            name,
            arguments,
        }));
    }
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
