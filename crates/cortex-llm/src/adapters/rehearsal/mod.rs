//! The built-in model `rehearsal`: deterministic, needs no network and no key.
//!
//! It exists so that a mesh without a language model can be seen and tested end to end. It understands
//! just enough to call tools:
//!
//! - a declared tool that the last user message names is called ("use the calculator to multiply 6
//!   by 7"), several in the order in which they are named; its arguments are filled from the words
//!   by the tool's JSON Schema, or are the JSON object that stands in the message;
//! - when a tool's result follows the last user message, the answer says what the tool said;
//! - `rehearse N tokens` answers with N tokens of four characters, for benchmarks;
//! - anything else is answered by saying that this is a rehearsal and how to get a real model.
//!
//! Text is streamed in pieces of four characters. Usage is an estimate.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use tokio::time::Instant;

use crate::{
    catalog::REHEARSAL,
    completion::{
        CHARS_PER_TOKEN, Event, FinishReason, Message, Request, ToolCall, ToolCallDelta, Usage,
    },
    failure::Failure,
    ports::{Call, EventStream, ModelInfo, Provider},
};

mod arguments;
mod intent;
mod speech;
mod vocabulary;
mod words;

/// The built-in model.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rehearsal {
    /// Time between two tokens. Like a real model it does not wait for its reader: what is due comes.
    pub(crate) token_delay: Duration,
}

/// What the model will say.
enum Plan {
    Say(String),
    Tokens(usize),
    Call(Vec<intent::Wanted>),
}

/// Tokens of one answer at most.
const MAX_TOKENS: usize = 1_000_000;
/// Every so many tokens the stream lets other tasks run.
const TOKENS_PER_TURN: u32 = 8;

impl Provider for Rehearsal {
    fn attempt(&self, call: Call) -> EventStream {
        let (delay, begun) = (self.token_delay, Instant::now());
        let events = events(&call.request).zip(1..);
        stream::iter(events)
            .then(move |(event, nth)| async move {
                if !delay.is_zero() {
                    tokio::time::sleep_until(begun + delay * nth).await;
                } else if nth % TOKENS_PER_TURN == 0 {
                    tokio::task::yield_now().await;
                }
                Ok(event)
            })
            .boxed()
    }

    fn list_models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, Failure>> {
        let model = ModelInfo { id: REHEARSAL.to_owned(), context_tokens: 0 };
        async move { Ok(vec![model]) }.boxed()
    }
}

/// The whole answer, made as it is read.
fn events(request: &Arc<Request>) -> Box<dyn Iterator<Item = Event> + Send> {
    let most = request.parameters.max_tokens.map_or(MAX_TOKENS, |n| n as usize).min(MAX_TOKENS);
    match plan(request) {
        Plan::Say(text) => {
            let pieces = pieces(&text);
            let reason = reason(pieces.len(), most);
            let usage = usage(request, pieces.len().min(most));
            let said = pieces.into_iter().take(most).map(Event::Content);
            Box::new(said.chain(ending(usage, reason)))
        }
        Plan::Tokens(count) => {
            let usage = usage(request, count.min(most));
            let said = speech::tokens().take(count.min(most)).map(Event::Content);
            Box::new(said.chain(ending(usage, reason(count, most))))
        }
        Plan::Call(wanted) => {
            let calls = calls(request, wanted);
            let tokens = calls.iter().map(|call| pieces(&call.arguments).len()).sum();
            let called = calls.into_iter().flat_map(call_events);
            Box::new(called.chain(ending(usage(request, tokens), FinishReason::ToolCalls)))
        }
    }
}

fn plan(request: &Request) -> Plan {
    let last_user = request.messages.iter().rposition(|m| matches!(m, Message::User(_)));
    let after = last_user.map_or(0, |at| at + 1);
    let results = speech::results(&request.messages, after);
    if !results.is_empty() {
        return Plan::Say(speech::report(&results));
    }
    let asked = last_user.map_or("", |at| request.messages[at].text());
    if let Some(count) = words::rehearsed_tokens(asked) {
        return Plan::Tokens(count.min(MAX_TOKENS));
    }
    match intent::wanted(asked, &request.tools, &request.tool_choice) {
        intent::Intent::Call(wanted) => Plan::Call(wanted),
        intent::Intent::Unclear { tool, missing } => Plan::Say(speech::unclear(&tool, &missing)),
        intent::Intent::Talk => Plan::Say(speech::help(asked, &request.tools)),
    }
}

fn reason(tokens: usize, most: usize) -> FinishReason {
    if tokens > most { FinishReason::Length } else { FinishReason::Stop }
}

fn usage(request: &Request, tokens: usize) -> Usage {
    Usage::estimate(request, tokens * CHARS_PER_TOKEN)
}

fn ending(usage: Usage, reason: FinishReason) -> [Event; 2] {
    [Event::Usage(usage), Event::Finished(reason)]
}

/// The text in pieces of four characters.
fn pieces(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(CHARS_PER_TOKEN).map(|piece| piece.iter().collect()).collect()
}

fn calls(request: &Request, wanted: Vec<intent::Wanted>) -> Vec<ToolCall> {
    let mut taken: BTreeSet<String> = request
        .messages
        .iter()
        .filter_map(|message| match message {
            Message::Assistant { tool_calls, .. } => Some(tool_calls),
            _ => None,
        })
        .flat_map(|calls| calls.iter().map(|call| call.call_id.clone()))
        .collect();
    let mut calls = Vec::with_capacity(wanted.len());
    for (index, intent::Wanted { tool, arguments }) in (0..).zip(wanted) {
        let seed = format!("{}\0{index}\0{tool}\0{arguments}", request.messages.len());
        let call_id = call_id(&seed, &taken);
        taken.insert(call_id.clone());
        let provider_data = String::new();
        calls.push(ToolCall { index, call_id, name: tool, arguments, provider_data });
    }
    calls
}

/// An id that the same conversation always gives, and that no earlier call in it has.
fn call_id(seed: &str, taken: &BTreeSet<String>) -> String {
    let mut salt = 0_u64;
    loop {
        let id = format!("call_{:016x}", fnv1a(seed.as_bytes(), salt));
        if !taken.contains(&id) {
            return id;
        }
        salt += 1;
    }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): a hash that is the same in every version and on every machine.
fn fnv1a(bytes: &[u8], salt: u64) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let salted = salt.to_le_bytes();
    bytes.iter().chain(&salted).fold(0xcbf2_9ce4_8422_2325, step)
}

fn call_events(call: ToolCall) -> Vec<Event> {
    let delta = |at: usize, arguments: String| {
        let (call_id, name) =
            if at == 0 { (call.call_id.clone(), call.name.clone()) } else { Default::default() };
        Event::ToolCallDelta(ToolCallDelta { index: call.index, call_id, name, arguments })
    };
    let deltas = pieces(&call.arguments).into_iter().enumerate();
    let mut events: Vec<Event> = deltas.map(|(at, piece)| delta(at, piece)).collect();
    events.push(Event::ToolCall(call));
    events
}

#[cfg(test)]
mod tests;
