//! Constructors of the events that a turn appends, so that each is spelled in one place.

use std::time::{Duration, SystemTime};

use cortex_proto::cortex::agent::v1::{
    AttemptRestarted, AttemptSealed, CallOutcome, CompletionReason, ContentDelta,
    ExecutionReplaced, MessageAdded, MessageQueued, MessageSteered, MessageWithdrawn, SessionEvent,
    SessionStatusChanged, ThinkingDelta, ToolCallArguments, ToolCallCompleted, ToolCallEvent,
    ToolCallStarted, ToolResult, TurnCancelled, TurnCompleted, TurnFailed, TurnStarted, UsageEvent,
    session_event::Event, tool_call_event::Part,
};

use super::view::Call;

/// An event of a turn, not yet committed.
pub(crate) fn in_turn(turn_id: &str, event: Event) -> SessionEvent {
    SessionEvent { turn_id: turn_id.to_owned(), event: Some(event), ..Default::default() }
}

/// An event outside any turn, not yet committed.
pub(crate) fn outside(event: Event) -> SessionEvent {
    in_turn("", event)
}

/// The name of the event's arm, as the journal and SSE spell it.
pub(crate) fn type_name(event: &Event) -> &'static str {
    match event {
        Event::MessageAdded(_) => "message_added",
        Event::MessageQueued(_) => "message_queued",
        Event::MessageSteered(_) => "message_steered",
        Event::MessageWithdrawn(_) => "message_withdrawn",
        Event::TurnStarted(_) => "turn_started",
        Event::ThinkingDelta(_) => "thinking_delta",
        Event::ContentDelta(_) => "content_delta",
        Event::ToolCall(_) => "tool_call",
        Event::ToolResult(_) => "tool_result",
        Event::RelicResult(_) => "relic_result",
        Event::SubAgent(_) => "sub_agent",
        Event::ApprovalRequested(_) => "approval_requested",
        Event::ApprovalResolved(_) => "approval_resolved",
        Event::StateUpdated(_) => "state_updated",
        Event::Usage(_) => "usage",
        Event::Warning(_) => "warning",
        Event::AttemptRestarted(_) => "attempt_restarted",
        Event::AttemptSealed(_) => "attempt_sealed",
        Event::ExecutionReplaced(_) => "execution_replaced",
        Event::Compacted(_) => "compacted",
        Event::TurnCompleted(_) => "turn_completed",
        Event::TurnFailed(_) => "turn_failed",
        Event::TurnCancelled(_) => "turn_cancelled",
        Event::SessionStatusChanged(_) => "session_status_changed",
        Event::HistoryTruncated(_) => "history_truncated",
    }
}

/// Whether the event ends its turn.
pub(crate) fn ends_turn(event: &Event) -> bool {
    matches!(event, Event::TurnCompleted(_) | Event::TurnFailed(_) | Event::TurnCancelled(_))
}

/// A message of a user, as its command carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserMessage {
    pub(crate) message_id: String,
    pub(crate) content: String,
    pub(crate) metadata: String,
    /// The sequence of the command that it came with.
    pub(crate) command_sequence: i64,
    /// How long its turn may take. `None`: the default.
    pub(crate) turn_timeout: Option<Duration>,
}

fn number(attempt: u32) -> i32 {
    i32::try_from(attempt).unwrap_or(i32::MAX)
}

pub(crate) fn user_message(message: &UserMessage) -> Event {
    Event::MessageAdded(MessageAdded {
        message_id: message.message_id.clone(),
        role: "user".to_owned(),
        content: message.content.clone(),
        metadata: message.metadata.clone(),
        command_sequence: message.command_sequence,
        ..Default::default()
    })
}

pub(crate) fn answer_added(message_id: &str, attempt: i32, call_ids: Vec<String>) -> Event {
    Event::MessageAdded(MessageAdded {
        message_id: message_id.to_owned(),
        role: "assistant".to_owned(),
        streamed: true,
        attempt,
        call_ids,
        ..Default::default()
    })
}

pub(crate) fn message_queued(message: &UserMessage, queue_length: usize) -> Event {
    Event::MessageQueued(MessageQueued {
        message_id: message.message_id.clone(),
        command_sequence: message.command_sequence,
        queue_length: i32::try_from(queue_length).unwrap_or(i32::MAX),
    })
}

pub(crate) fn message_steered(message: &UserMessage) -> Event {
    Event::MessageSteered(MessageSteered {
        message_id: message.message_id.clone(),
        command_sequence: message.command_sequence,
        content: message.content.clone(),
    })
}

pub(crate) fn message_withdrawn(message: &UserMessage, reason: &str) -> Event {
    Event::MessageWithdrawn(MessageWithdrawn {
        message_id: message.message_id.clone(),
        command_sequence: message.command_sequence,
        reason: reason.to_owned(),
    })
}

pub(crate) fn turn_started(
    message: &UserMessage,
    deadline: SystemTime,
    iteration_cap: i32,
) -> Event {
    Event::TurnStarted(TurnStarted {
        message_id: message.message_id.clone(),
        command_sequence: message.command_sequence,
        deadline: Some(deadline.into()),
        iteration_cap,
    })
}

pub(crate) fn thinking_delta(attempt: u32, text: String) -> Event {
    Event::ThinkingDelta(ThinkingDelta { text, attempt: number(attempt) })
}

pub(crate) fn content_delta(attempt: u32, text: String) -> Event {
    content_delta_of(number(attempt), text)
}

pub(crate) fn content_delta_of(attempt: i32, text: String) -> Event {
    Event::ContentDelta(ContentDelta { text, attempt })
}

pub(crate) fn call_started(attempt: u32, call_id: &str, name: &str) -> Event {
    call_part(attempt, call_id, Part::Started(ToolCallStarted { name: name.to_owned() }))
}

pub(crate) fn call_arguments(attempt: u32, call_id: &str, delta: String) -> Event {
    call_part(attempt, call_id, Part::Arguments(ToolCallArguments { delta }))
}

fn call_part(attempt: u32, call_id: &str, part: Part) -> Event {
    Event::ToolCall(ToolCallEvent {
        call_id: call_id.to_owned(),
        attempt: number(attempt),
        part: Some(part),
    })
}

/// Appends the arguments of `next` to `last` when both are pieces of the same call.
pub(crate) fn grow_arguments(last: &mut ToolCallEvent, next: &ToolCallEvent) -> bool {
    match (&mut last.part, &next.part) {
        (Some(Part::Arguments(grown)), Some(Part::Arguments(piece)))
            if last.call_id == next.call_id =>
        {
            grown.delta.push_str(&piece.delta);
            true
        }
        _ => false,
    }
}

pub(crate) fn call_completed(
    attempt: i32,
    call_id: &str,
    name: &str,
    kind: &str,
    arguments: &str,
    provider_data: &str,
    execution_id: &str,
) -> Event {
    Event::ToolCall(ToolCallEvent {
        call_id: call_id.to_owned(),
        attempt,
        part: Some(Part::Completed(ToolCallCompleted {
            name: name.to_owned(),
            arguments: arguments.to_owned(),
            kind: kind.to_owned(),
            execution_id: execution_id.to_owned(),
            provider_data: provider_data.to_owned(),
        })),
    })
}

/// How a call ended, before it becomes an event and a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) outcome: CallOutcome,
    /// One JSON value, verbatim from the tool. Empty: none.
    pub(crate) result: String,
    /// What went wrong. Empty: nothing did.
    pub(crate) error: String,
    pub(crate) duration_seconds: f64,
}

impl Outcome {
    /// A call that never ran.
    pub(crate) fn not_run(error: impl Into<String>) -> Self {
        Self::failed_as(CallOutcome::NotRun, error)
    }

    /// A call that ended badly, in the way that `outcome` says.
    pub(crate) fn failed_as(outcome: CallOutcome, error: impl Into<String>) -> Self {
        Self { outcome, result: String::new(), error: error.into(), duration_seconds: 0.0 }
    }

    /// What the model sees: the result verbatim, else the error as a JSON object.
    pub(crate) fn content(&self) -> String {
        match (self.result.is_empty(), self.error.is_empty()) {
            (false, _) => self.result.clone(),
            (true, true) => "{}".to_owned(),
            (true, false) => serde_json::json!({ "error": self.error }).to_string(),
        }
    }
}

pub(crate) fn tool_result(call: &Call, outcome: Outcome, message_id: &str) -> Event {
    Event::ToolResult(ToolResult {
        call_id: call.call_id.clone(),
        name: call.name.clone(),
        execution_id: call.execution_id.clone(),
        outcome: outcome.outcome.into(),
        result: outcome.result,
        error: outcome.error,
        duration_seconds: outcome.duration_seconds,
        message_id: message_id.to_owned(),
    })
}

pub(crate) fn execution_replaced(call_id: &str, lost: &str, new: &str) -> Event {
    Event::ExecutionReplaced(ExecutionReplaced {
        call_id: call_id.to_owned(),
        lost_execution_id: lost.to_owned(),
        execution_id: new.to_owned(),
    })
}

pub(crate) fn attempt_restarted(attempt: i32, reason: &str) -> Event {
    Event::AttemptRestarted(AttemptRestarted { attempt, reason: reason.to_owned() })
}

pub(crate) fn attempt_sealed(attempt: i32, last_intent_sequence: i64, reason: &str) -> Event {
    Event::AttemptSealed(AttemptSealed { attempt, last_intent_sequence, reason: reason.to_owned() })
}

pub(crate) fn usage(event: UsageEvent) -> Event {
    Event::Usage(event)
}

pub(crate) fn turn_completed(message_id: &str, reason: CompletionReason, iterations: u32) -> Event {
    Event::TurnCompleted(TurnCompleted {
        message_id: message_id.to_owned(),
        reason: reason.into(),
        iterations: number(iterations),
    })
}

pub(crate) fn turn_failed(failed: TurnFailed) -> Event {
    Event::TurnFailed(failed)
}

pub(crate) fn turn_cancelled(reason: &str, unknown_execution_ids: Vec<String>) -> Event {
    Event::TurnCancelled(TurnCancelled { reason: reason.to_owned(), unknown_execution_ids })
}

pub(crate) fn status_changed(status: &str, reason: &str) -> Event {
    Event::SessionStatusChanged(SessionStatusChanged {
        status: status.to_owned(),
        reason: reason.to_owned(),
    })
}
