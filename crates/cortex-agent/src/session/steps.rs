//! The steps of a turn that are not the model's: start, settle, repeat, complete.

use std::time::SystemTime;

use cortex_core::{ExecutionId, MessageId, TurnId};
use cortex_proto::cortex::{
    agent::v1::{CompletionReason, SessionEvent, session_event::Event},
    llm::v1::{CompleteRequest, GenerationParameters},
    manifest::v1::{AgentClosure, EngineParameters, EngineSpec},
    storage::v1::{
        Execution, ExecutionIntent, ExecutionSettlement, ExecutionState, HistoryMessage,
        JournalEffects, MessageRole, NewHistoryMessage, OutcomeKind, SettlementKind,
    },
};

use super::{
    abort::Abort,
    attempt::Attempt,
    calls,
    grant::GrantError,
    messages::{answer_message, tool_message, users_message},
    runner::{Runner, Step},
};
use crate::turn::{
    self, Call, Context, ContextLimits, Cut, Next, Outcome, TurnView, UserMessage, prompt_messages,
    tool_definitions,
};

impl Runner {
    /// Does the next thing that does not need waiting.
    pub(super) async fn step(&mut self) -> Result<Step, GrantError> {
        let Some(turn) = &self.view.turn else {
            return self.next_queued().await;
        };
        match turn::next(turn, self.attempt.is_some()) {
            Next::Stream => Ok(Step::Wait),
            Next::Cut(cut) => self.close_cut(cut, "the process that streamed it stopped").await,
            Next::Settle => self.settle().await,
            Next::Attempt if self.retry_at.is_some() => Ok(Step::Wait),
            Next::Attempt => self.begin_attempt().await,
            Next::Complete(reason) => self.complete(reason).await,
        }
    }

    async fn next_queued(&mut self) -> Result<Step, GrantError> {
        let Some(message) = self.view.queue.pop_front() else {
            return Ok(Step::Idle);
        };
        let effects = JournalEffects {
            dequeued_sequences: vec![message.command_sequence],
            ..Default::default()
        };
        self.start_turn(message, effects).await?;
        Ok(Step::Again)
    }

    /// Opens a turn for a message, together with `effects`.
    pub(super) async fn start_turn(
        &mut self,
        message: UserMessage,
        effects: JournalEffects,
    ) -> Result<(), GrantError> {
        self.load_history().await?;
        self.failures = 0;
        self.retry_at = None;
        let turn_id = String::from(TurnId::generate());
        let timeout = message.turn_timeout.unwrap_or(self.config.turn_timeout.get());
        let cap = iteration_cap(&self.closure);
        let started = turn::turn_started(&message, SystemTime::now() + timeout, cap);
        let events = [turn::user_message(&message), started]
            .map(|event| turn::in_turn(&turn_id, event))
            .to_vec();
        let effects = JournalEffects {
            opened_turn_id: turn_id.clone(),
            messages: vec![users_message(&turn_id, &message)],
            ..effects
        };
        self.append(events, effects).await
    }

    async fn begin_attempt(&mut self) -> Result<Step, GrantError> {
        if let Some(failure) = self.closure_failure.clone() {
            self.abort_turn(Abort::Fail(failure), JournalEffects::default()).await?;
            return Ok(Step::Again);
        }
        self.add_steers().await?;
        let Some(turn) = &self.view.turn else { return Ok(Step::Again) };
        let context =
            Context { closure: &self.closure, history: &self.history, state: &self.state };
        let limits = ContextLimits { max_messages: self.config.context_messages };
        let request = CompleteRequest {
            messages: prompt_messages(&context, limits),
            session_id: self.grant.session_id.clone(),
            ..model_request(&self.closure)
        };
        let until = turn.deadline.duration_since(SystemTime::now()).unwrap_or_default();
        let cx = self.cx.clone().until(tokio::time::Instant::now() + until);
        self.attempt = Some(Attempt::begin(&self.clients, &cx, turn.next_attempt(), request));
        Ok(Step::Wait)
    }

    /// Guidance joins the history between two model calls.
    async fn add_steers(&mut self) -> Result<(), GrantError> {
        let Some(turn) = &self.view.turn else { return Ok(()) };
        if turn.steers.is_empty() {
            return Ok(());
        }
        let turn_id = turn.turn_id.clone();
        let steers = turn.steers.clone();
        let events = steers
            .iter()
            .map(|message| turn::in_turn(&turn_id, turn::user_message(message)))
            .collect();
        let messages = steers.iter().map(|message| users_message(&turn_id, message)).collect();
        self.append(events, JournalEffects { messages, ..Default::default() }).await
    }

    /// Deals with an attempt that was cut (session protocol, 6).
    pub(super) async fn close_cut(&mut self, cut: Cut, reason: &str) -> Result<Step, GrantError> {
        let Some(turn) = self.view.turn.clone() else { return Ok(Step::Again) };
        let number = i32::try_from(turn.attempt).unwrap_or(i32::MAX);
        match cut {
            Cut::Restart => {
                let restarted =
                    turn::in_turn(&turn.turn_id, turn::attempt_restarted(number, reason));
                self.append(vec![restarted], JournalEffects::default()).await?;
            }
            Cut::Seal => {
                let stands: Vec<&Call> =
                    turn.calls.iter().filter(|call| !call.execution_id.is_empty()).collect();
                let text = &turn.text_at_intent;
                let message_id = String::from(MessageId::generate());
                let call_ids = stands.iter().map(|call| call.call_id.clone()).collect();
                let events = [
                    turn::attempt_sealed(number, turn.last_intent_sequence, reason),
                    turn::answer_added(&message_id, number, call_ids),
                ];
                let messages = vec![answer_message(&turn, &message_id, text, &stands)];
                self.append(
                    in_turn(&turn, events),
                    JournalEffects { messages, ..Default::default() },
                )
                .await?;
            }
        }
        Ok(Step::Again)
    }

    /// Sends what is intended, settles what is answered.
    async fn settle(&mut self) -> Result<Step, GrantError> {
        self.dispatch_open();
        let Some(turn) = self.view.turn.clone() else { return Ok(Step::Again) };
        let mut append = Settlements::default();
        for call in turn.open_calls() {
            if self.calls.is_in_flight(&call.execution_id) {
                continue;
            }
            if call.execution_id.is_empty() {
                append.result(&turn, call, no_such_tool(&self.closure, call), None);
                continue;
            }
            let row = self.row(&call.execution_id).await?;
            self.settle_call(&turn, call, &row, &mut append);
        }
        if append.events.is_empty() {
            return Ok(if self.waits_for_calls() { Step::Wait } else { Step::Again });
        }
        let effects = JournalEffects {
            settlements: append.settlements,
            messages: append.messages,
            intents: append.intents,
            ..Default::default()
        };
        match self.append(in_turn(&turn, append.events), effects).await {
            Ok(()) | Err(GrantError::Ledger(_)) => Ok(Step::Again),
            Err(error) => Err(error),
        }
    }

    fn settle_call(
        &mut self,
        turn: &TurnView,
        call: &Call,
        row: &Execution,
        append: &mut Settlements,
    ) {
        match row.state() {
            ExecutionState::Finished => {
                let recorded = row.outcome.clone().unwrap_or_default();
                let retry = recorded.kind() == OutcomeKind::Lost && self.retries_lost(call);
                if retry {
                    append.replace(turn, call);
                } else {
                    let outcome = calls::outcome(&recorded);
                    append.result(turn, call, outcome, Some(SettlementKind::Outcome));
                }
            }
            ExecutionState::Claimed => {
                self.calls.reconcile(&self.clients, &self.cx, &call.execution_id);
            }
            _ => match self.calls.refusal(&call.execution_id) {
                Some(refusal) if refusal.code() != tonic::Code::Aborted => {
                    let outcome = Outcome::not_run(refusal.message());
                    append.result(turn, call, outcome, Some(SettlementKind::NotRun));
                }
                // Refused under an older epoch, or answered without a claim: it is sent again.
                _ => self.send_again(&call.execution_id),
            },
        }
    }

    fn send_again(&mut self, execution_id: &str) {
        if self.calls.forget(execution_id) {
            self.retry_at = Some(std::time::Instant::now() + RESEND_PAUSE);
        }
    }

    fn waits_for_calls(&self) -> bool {
        self.calls.in_flight() > 0 || self.retry_at.is_some()
    }

    fn retries_lost(&self, call: &Call) -> bool {
        self.closure.tools.iter().any(|tool| tool.name == call.name && tool.on_lost == "retry")
    }

    /// Sends intended executions that are not under way, up to the limit of parallel calls.
    pub(super) fn dispatch_open(&mut self) {
        let Some(turn) = &self.view.turn else { return };
        let waiting: Vec<Call> = turn
            .open_calls()
            .filter(|call| {
                !call.execution_id.is_empty() && !self.calls.was_sent(&call.execution_id)
            })
            .cloned()
            .collect();
        for call in waiting {
            if self.calls.in_flight() >= self.config.max_parallel_calls.max(1) {
                return;
            }
            let session_id = &self.grant.session_id;
            let Some(request) =
                calls::tool_request(&self.closure, session_id, self.grant.epoch, &call)
            else {
                self.calls.refuse(&call.execution_id, tonic::Status::not_found("the tool is gone"));
                continue;
            };
            self.calls.dispatch(&self.clients, &self.cx, request);
        }
    }

    pub(super) async fn complete(&mut self, reason: CompletionReason) -> Result<Step, GrantError> {
        let Some(turn) = self.view.turn.clone() else { return Ok(Step::Again) };
        let is_answer = |message: &&HistoryMessage| {
            message.turn_id == turn.turn_id && message.role() == MessageRole::Assistant
        };
        let answer = self.history.iter().rev().find(is_answer);
        let message_id = answer.map(|message| message.id.clone()).unwrap_or_default();
        let completed = turn::turn_completed(&message_id, reason, turn.iterations);
        let effects = JournalEffects { closed_turn_id: turn.turn_id.clone(), ..Default::default() };
        self.append(in_turn(&turn, [completed]), effects).await?;
        Ok(Step::Again)
    }
}

/// Pause before an execution that is still only intended is sent again.
const RESEND_PAUSE: std::time::Duration = std::time::Duration::from_millis(250);

/// Results that one append settles.
#[derive(Default)]
struct Settlements {
    events: Vec<Event>,
    settlements: Vec<ExecutionSettlement>,
    messages: Vec<NewHistoryMessage>,
    intents: Vec<ExecutionIntent>,
}

impl Settlements {
    fn result(
        &mut self,
        turn: &TurnView,
        call: &Call,
        outcome: Outcome,
        kind: Option<SettlementKind>,
    ) {
        if let Some(kind) = kind {
            let execution_id = call.execution_id.clone();
            self.settlements.push(ExecutionSettlement { execution_id, kind: kind.into() });
        }
        let message = tool_message(turn, call, &outcome);
        self.events.push(turn::tool_result(call, outcome, &message.message_id));
        self.messages.push(message);
    }

    /// A lost execution whose tool may run twice gets a new one.
    fn replace(&mut self, turn: &TurnView, call: &Call) {
        let lost = &call.execution_id;
        let new = String::from(ExecutionId::generate());
        self.events.push(turn::execution_replaced(&call.call_id, lost, &new));
        self.settlements.push(ExecutionSettlement {
            execution_id: lost.clone(),
            kind: SettlementKind::Replaced.into(),
        });
        self.intents.push(intent(&turn.turn_id, &call.call_id, &call.name, &new, lost));
    }
}

/// The ledger row that an intent asks for.
pub(super) fn intent(
    turn_id: &str,
    call_id: &str,
    name: &str,
    execution_id: &str,
    replaces: &str,
) -> ExecutionIntent {
    ExecutionIntent {
        execution_id: execution_id.to_owned(),
        call_id: call_id.to_owned(),
        turn_id: turn_id.to_owned(),
        kind: "tool".to_owned(),
        name: name.to_owned(),
        replaces_execution_id: replaces.to_owned(),
    }
}

pub(super) fn in_turn(
    turn: &TurnView,
    events: impl IntoIterator<Item = Event>,
) -> Vec<SessionEvent> {
    events.into_iter().map(|event| turn::in_turn(&turn.turn_id, event)).collect()
}

/// The result of a call of something that the agent does not have.
pub(super) fn no_such_tool(closure: &AgentClosure, call: &Call) -> Outcome {
    let mut names: Vec<&str> = closure.tools.iter().map(|tool| tool.name.as_str()).collect();
    names.sort_unstable();
    let offered = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Outcome::not_run(format!("there is no tool '{}'; there are: {offered}", call.name))
}

fn iteration_cap(closure: &AgentClosure) -> i32 {
    closure.agent.as_ref().map_or(0, |agent| agent.iteration_cap)
}

fn model_request(closure: &AgentClosure) -> CompleteRequest {
    let agent = closure.agent.clone().unwrap_or_default();
    CompleteRequest {
        model: agent.primary.as_ref().map_or_else(|| "auto".to_owned(), model_name),
        fallback_models: agent.fallback.iter().map(model_name).collect(),
        tools: tool_definitions(closure),
        parameters: agent.parameters.map(generation_parameters),
        stream: true,
        ..Default::default()
    }
}

fn model_name(engine: &EngineSpec) -> String {
    match (engine.provider.as_str(), engine.model.as_str()) {
        ("", "") => "auto".to_owned(),
        ("", model) => model.to_owned(),
        (provider, "") => format!("{provider}/auto"),
        (provider, model) => format!("{provider}/{model}"),
    }
}

fn generation_parameters(parameters: EngineParameters) -> GenerationParameters {
    GenerationParameters {
        temperature: parameters.temperature,
        top_p: parameters.top_p,
        top_k: parameters.top_k,
        max_tokens: parameters.max_tokens,
        stop: parameters.stop_sequences,
        presence_penalty: parameters.presence_penalty,
        frequency_penalty: parameters.frequency_penalty,
        seed: parameters.seed,
        extra: parameters.extra,
        ..Default::default()
    }
}
