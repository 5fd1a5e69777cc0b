//! What a model call says becomes journal entries: text gathered, intents at once, the answer at the end.

use std::time::Instant;

use cortex_core::{ExecutionId, Fault, MessageId};
use cortex_proto::cortex::{
    agent::v1::{CompletionReason, UsageEvent},
    llm::v1::{AttemptReset, CompletionFinished, FinishReason, ToolCall, ToolCallDelta, Usage},
    storage::v1::JournalEffects,
};
use tonic::Status;

use super::{
    abort::Abort,
    attempt::{Attempt, ModelEvent},
    grant::GrantError,
    messages::{answer_message, tool_message},
    runner::Runner,
    steps::{in_turn, intent, no_such_tool},
};
use crate::{
    failure::Failure,
    turn::{self, AttemptPhase, Call, Cut, Next, TurnView},
};

impl Runner {
    /// Takes in one event of the model's stream, and what is there already behind it. A model that never
    /// pauses is journaled all the same, each time that what is gathered is due.
    pub(super) async fn model_event(
        &mut self,
        event: Result<Option<ModelEvent>, Status>,
    ) -> Result<(), GrantError> {
        let mut event = event;
        loop {
            match event {
                Ok(Some(said)) => self.said(said).await?,
                Ok(None) => return self.attempt_failed(cut_short()).await,
                Err(status) => return self.attempt_failed(Failure::of(&status)).await,
            }
            if self.is_flush_due() {
                self.flush().await?;
            }
            match self.attempt.as_mut().and_then(Attempt::ready) {
                Some(next) => event = next,
                None => return Ok(()),
            }
        }
    }

    async fn said(&mut self, event: ModelEvent) -> Result<(), GrantError> {
        let Some(attempt) = &mut self.attempt else { return Ok(()) };
        let number = attempt.number;
        match event {
            ModelEvent::Started(started) => {
                attempt.provider = started.provider;
                attempt.model = started.model;
            }
            ModelEvent::ContentDelta(delta) => {
                attempt.gather(turn::content_delta(number, delta.text));
            }
            ModelEvent::ThinkingDelta(delta) => {
                attempt.gather(turn::thinking_delta(number, delta.text));
            }
            ModelEvent::ToolCallDelta(delta) => gather_call(attempt, delta),
            ModelEvent::ToolCall(call) => return self.call_completed(call).await,
            ModelEvent::Usage(usage) => attempt.usage = Some(usage),
            ModelEvent::AttemptReset(reset) => return self.attempt_reset(reset).await,
            ModelEvent::Finished(finished) => return self.finished(finished).await,
        }
        Ok(())
    }

    fn is_flush_due(&self) -> bool {
        self.flush_at().is_some_and(|at| at <= Instant::now())
    }

    /// Journals what is gathered.
    pub(super) async fn flush(&mut self) -> Result<(), GrantError> {
        let (Some(attempt), Some(turn)) = (&mut self.attempt, &self.view.turn) else {
            return Ok(());
        };
        let events = in_turn(turn, attempt.take());
        self.append(events, JournalEffects::default()).await
    }

    /// A complete call is an intent: it is journaled, then sent, while the model goes on.
    async fn call_completed(&mut self, call: ToolCall) -> Result<(), GrantError> {
        let (Some(attempt), Some(turn)) = (&mut self.attempt, &self.view.turn) else {
            return Ok(());
        };
        let (call_id, new) = attempt.call_id(call.index);
        if new {
            attempt.gather(turn::call_started(attempt.number, &call_id, &call.name));
        }
        let known = self.closure.tools.iter().any(|tool| tool.name == call.name);
        let execution_id =
            if known { String::from(ExecutionId::generate()) } else { String::new() };
        let number = i32::try_from(attempt.number).unwrap_or(i32::MAX);
        let mut events = attempt.take();
        events.push(turn::call_completed(
            number,
            &call_id,
            &call.name,
            "tool",
            &call.arguments,
            &call.provider_data,
            &execution_id,
        ));
        let events = in_turn(turn, events);
        let mut effects = JournalEffects::default();
        if known {
            effects.intents.push(intent(&turn.turn_id, &call_id, &call.name, &execution_id, ""));
        }
        self.append(events, effects).await?;
        self.dispatch_open();
        Ok(())
    }

    /// The llm service begins again; it does so only before a complete call.
    async fn attempt_reset(&mut self, reset: AttemptReset) -> Result<(), GrantError> {
        if self.entries_of_attempt() {
            self.close_cut(Cut::Restart, &reset.message).await?;
        }
        if let (Some(attempt), Some(turn)) = (&mut self.attempt, &self.view.turn) {
            attempt.reset(turn.next_attempt());
        }
        Ok(())
    }

    /// Whether the attempt under way has entries in the journal.
    fn entries_of_attempt(&self) -> bool {
        let turn = self.view.turn.as_ref();
        turn.is_some_and(|turn| turn.phase == AttemptPhase::Running)
    }

    /// The answer is complete: its message joins the history, and without calls the turn is done.
    async fn finished(&mut self, finished: CompletionFinished) -> Result<(), GrantError> {
        let (Some(mut attempt), Some(before)) = (self.attempt.take(), self.view.turn.clone())
        else {
            return Ok(());
        };
        self.failures = 0;
        let mut turn = before.clone();
        let mut events = in_turn(&before, attempt.take());
        for event in &events {
            turn.apply(event);
        }
        let mut effects = JournalEffects::default();
        let message_id = String::from(MessageId::generate());
        let calls: Vec<&Call> = turn.calls.iter().collect();
        let call_ids = calls.iter().map(|call| call.call_id.clone()).collect();
        let number = i32::try_from(attempt.number).unwrap_or(i32::MAX);
        effects.messages.push(answer_message(&turn, &message_id, &turn.text, &calls));
        let mut last = vec![
            turn::usage(total_usage(&turn, &attempt)),
            turn::answer_added(&message_id, number, call_ids),
        ];
        for call in calls.into_iter().filter(|call| call.execution_id.is_empty()) {
            let outcome = no_such_tool(&self.closure, call);
            let message = tool_message(&turn, call, &outcome);
            last.push(turn::tool_result(call, outcome, &message.message_id));
            effects.messages.push(message);
        }
        for event in in_turn(&before, last) {
            turn.apply(&event);
            events.push(event);
        }
        if let Next::Complete(CompletionReason::Stop) = turn::next(&turn, false) {
            let reason = completion_reason(finished.finish_reason());
            events.extend(in_turn(
                &turn,
                [turn::turn_completed(&message_id, reason, turn.iterations)],
            ));
            effects.closed_turn_id.clone_from(&turn.turn_id);
        }
        self.append(events, effects).await
    }

    /// The model call failed: what it said is void or sealed; it is repeated, or the turn fails.
    async fn attempt_failed(&mut self, failure: Failure) -> Result<(), GrantError> {
        self.attempt = None;
        let Some(turn) = &self.view.turn else { return Ok(()) };
        if turn.phase == AttemptPhase::Running {
            let cut = if turn.has_intent() { Cut::Seal } else { Cut::Restart };
            self.close_cut(cut, &failure.fault.message).await?;
        }
        if self.plan_retry(&failure) {
            return Ok(());
        }
        self.abort_turn(Abort::Fail(failure), JournalEffects::default()).await
    }
}

fn cut_short() -> Failure {
    let fault =
        Fault::unavailable("STREAM_CUT", "the model's stream ended before its answer was complete");
    Failure { fault }
}

fn gather_call(attempt: &mut Attempt, delta: ToolCallDelta) {
    let (call_id, new) = attempt.call_id(delta.index);
    let number = attempt.number;
    if new {
        attempt.gather(turn::call_started(number, &call_id, &delta.name));
    }
    if !delta.arguments_delta.is_empty() {
        attempt.gather(turn::call_arguments(number, &call_id, delta.arguments_delta));
    }
}

/// What the turn's model calls cost with this one.
fn total_usage(turn: &TurnView, attempt: &Attempt) -> UsageEvent {
    let before = &turn.usage;
    let last =
        attempt.usage.clone().unwrap_or_else(|| Usage { estimated: true, ..Default::default() });
    UsageEvent {
        provider: attempt.provider.clone(),
        model: attempt.model.clone(),
        prompt_tokens: before.prompt_tokens + last.prompt_tokens,
        completion_tokens: before.completion_tokens + last.completion_tokens,
        cached_tokens: before.cached_tokens + last.cached_tokens,
        cost_usd: last.cost_usd,
        estimated: before.estimated || last.estimated,
    }
}

fn completion_reason(finish: FinishReason) -> CompletionReason {
    match finish {
        FinishReason::Length => CompletionReason::Length,
        FinishReason::ContentFilter => CompletionReason::ContentFilter,
        _ => CompletionReason::Stop,
    }
}
