//! What is known of the open turn, folded from its journal entries.

use std::time::{Duration, SystemTime};

use cortex_proto::cortex::agent::v1::{
    SessionEvent, ToolCallCompleted, ToolCallEvent, TurnStarted, UsageEvent, session_event::Event,
    tool_call_event::Part,
};

use super::{events::UserMessage, text::StreamedText};

/// Where the turn's last attempt of the model stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptPhase {
    /// No attempt was made yet.
    None,
    /// It has entries, and neither an end nor a seal nor a restart.
    Running,
    /// Its message is in the history, with or without calls.
    Ended,
    /// It was cut before any intent: everything it said is void.
    Restarted,
    /// It was cut after an intent, and `attempt_sealed` says where.
    Sealed,
}

/// A call of the turn's last attempt that the model completed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) call_id: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) arguments: String,
    pub(crate) provider_data: String,
    /// The execution that its intent, or the last replacement, names. Empty: there is none.
    pub(crate) execution_id: String,
    /// Whether it has its one result.
    pub(crate) settled: bool,
}

/// The open turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TurnView {
    pub(crate) turn_id: String,
    pub(crate) message_id: String,
    pub(crate) command_sequence: i64,
    pub(crate) deadline: SystemTime,
    /// Model calls that it may make. 0: unlimited.
    pub(crate) iteration_cap: u32,
    /// Model calls whose answer stands: ended or sealed.
    pub(crate) iterations: u32,
    /// The number of the last attempt that has entries. 0: none has.
    pub(crate) attempt: u32,
    pub(crate) phase: AttemptPhase,
    /// Text of the last attempt so far.
    pub(crate) text: StreamedText,
    /// The text as it stood when the last intent was journaled.
    pub(crate) text_at_intent: StreamedText,
    pub(crate) last_intent_sequence: i64,
    /// Calls of the last attempt, in order.
    pub(crate) calls: Vec<Call>,
    /// Attempts that were restarted one after the other, without an answer in between.
    pub(crate) restarts: u32,
    /// Guidance that has not joined the history yet, in order.
    pub(crate) steers: Vec<UserMessage>,
    /// What the turn's model calls cost so far.
    pub(crate) usage: UsageEvent,
}

impl TurnView {
    /// The turn as `turn_started` opens it.
    pub(crate) fn open(turn_id: &str, started: &TurnStarted) -> Self {
        Self {
            turn_id: turn_id.to_owned(),
            message_id: started.message_id.clone(),
            command_sequence: started.command_sequence,
            deadline: started.deadline.as_ref().map_or_else(far_future, instant),
            iteration_cap: u32::try_from(started.iteration_cap).unwrap_or(0),
            iterations: 0,
            attempt: 0,
            phase: AttemptPhase::None,
            text: StreamedText::default(),
            text_at_intent: StreamedText::default(),
            last_intent_sequence: 0,
            calls: Vec::new(),
            restarts: 0,
            steers: Vec::new(),
            usage: UsageEvent::default(),
        }
    }

    /// Takes in one event of this turn. Events of other turns change nothing.
    pub(crate) fn apply(&mut self, event: &SessionEvent) {
        if event.turn_id != self.turn_id {
            return;
        }
        let Some(kind) = &event.event else { return };
        match kind {
            Event::ThinkingDelta(delta) => self.enter(delta.attempt),
            Event::ContentDelta(delta) => {
                self.enter(delta.attempt);
                self.text.push(event.sequence, &delta.text);
            }
            Event::ToolCall(call) => self.tool_call(event.sequence, call),
            Event::MessageAdded(message) if message.attempt > 0 => {
                self.end_attempt(message.attempt);
            }
            Event::MessageAdded(message) => {
                self.steers.retain(|steer| steer.message_id != message.message_id);
            }
            Event::MessageSteered(steered) => self.steers.push(UserMessage {
                message_id: steered.message_id.clone(),
                content: steered.content.clone(),
                metadata: String::new(),
                command_sequence: steered.command_sequence,
                turn_timeout: None,
            }),
            Event::Usage(usage) => self.usage = usage.clone(),
            Event::AttemptSealed(sealed) => {
                self.enter(sealed.attempt);
                self.text = self.text_at_intent.clone();
                self.phase = AttemptPhase::Sealed;
                self.iterations += 1;
                self.restarts = 0;
            }
            Event::AttemptRestarted(restarted) => {
                self.enter(restarted.attempt);
                self.void();
                self.phase = AttemptPhase::Restarted;
                self.restarts += 1;
            }
            Event::ToolResult(result) => self.settle(&result.call_id),
            Event::RelicResult(result) => self.settle(&result.call_id),
            Event::SubAgent(result) if result.outcome != 0 => self.settle(&result.call_id),
            Event::ExecutionReplaced(replaced) => {
                if let Some(call) = self.call_mut(&replaced.call_id) {
                    call.execution_id.clone_from(&replaced.execution_id);
                }
            }
            _ => {}
        }
    }

    /// The calls that have no result yet, in order.
    pub(crate) fn open_calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| !call.settled)
    }

    /// Whether any call of the last attempt is an intent: it may be running.
    pub(crate) fn has_intent(&self) -> bool {
        self.calls.iter().any(|call| !call.execution_id.is_empty())
    }

    /// The number of the attempt that a model call would be now.
    pub(crate) fn next_attempt(&self) -> u32 {
        self.attempt + 1
    }

    /// A new attempt begins with its first entry.
    fn enter(&mut self, attempt: i32) {
        let attempt = u32::try_from(attempt).unwrap_or(0);
        if attempt > self.attempt {
            self.attempt = attempt;
            self.void();
            self.phase = AttemptPhase::Running;
        }
    }

    fn void(&mut self) {
        self.text = StreamedText::default();
        self.text_at_intent = StreamedText::default();
        self.last_intent_sequence = 0;
        self.calls.clear();
    }

    /// The message of a sealed attempt follows its seal; it counts once.
    fn end_attempt(&mut self, attempt: i32) {
        self.enter(attempt);
        if self.phase == AttemptPhase::Running {
            self.phase = AttemptPhase::Ended;
            self.iterations += 1;
            self.restarts = 0;
        }
    }

    fn tool_call(&mut self, sequence: i64, event: &ToolCallEvent) {
        self.enter(event.attempt);
        if let Some(Part::Completed(completed)) = &event.part {
            self.complete_call(sequence, &event.call_id, completed);
        }
    }

    fn complete_call(&mut self, sequence: i64, call_id: &str, completed: &ToolCallCompleted) {
        if !completed.execution_id.is_empty() {
            self.text_at_intent = self.text.clone();
            self.last_intent_sequence = sequence;
        }
        self.calls.push(Call {
            call_id: call_id.to_owned(),
            name: completed.name.clone(),
            kind: completed.kind.clone(),
            arguments: completed.arguments.clone(),
            provider_data: completed.provider_data.clone(),
            execution_id: completed.execution_id.clone(),
            settled: false,
        });
    }

    fn settle(&mut self, call_id: &str) {
        if let Some(call) = self.call_mut(call_id) {
            call.settled = true;
        }
    }

    fn call_mut(&mut self, call_id: &str) -> Option<&mut Call> {
        self.calls.iter_mut().find(|call| call.call_id == call_id)
    }
}

/// A protobuf timestamp as the instant that it names; before 1970 is 1970.
fn instant(timestamp: &prost_types::Timestamp) -> SystemTime {
    let seconds = u64::try_from(timestamp.seconds).unwrap_or(0);
    let nanos = u32::try_from(timestamp.nanos).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)
}

/// A deadline that never comes: a century from the epoch's start of the century.
fn far_future() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(200 * 365 * 24 * 3600)
}
