//! The router: has a request answered, by one attempt or by several.
//!
//! A completion is pulled by its consumer: nothing runs ahead of it, there is no task and no queue,
//! and dropping it ends the provider's connection. Nothing is sent to the consumer before there is
//! real content, so an attempt that fails before that is replaced without a trace; one that fails
//! later is voided by `Reset`, as long as the request's [`Commit`] allows it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::time::{Instant, sleep};
use tracing::{Instrument, Span, field::Empty};

use crate::{
    catalog::{Catalog, Target},
    completion::{Commit, Event, Output, Request, Usage},
    config::{RetryConfig, TimeoutConfig},
    error::LlmError,
    failure::{Class, Failure, SameTarget},
    lane::ActiveCall,
    ports::{Call, EventStream},
};

/// Has requests answered.
pub(crate) struct Router {
    pub(crate) catalog: Catalog,
    pub(crate) retry: RetryConfig,
    pub(crate) timeouts: TimeoutConfig,
}

/// The outputs of one completion. It ends with [`Output::Finished`] or with an error.
pub(crate) type Outputs = BoxStream<'static, Result<Output, LlmError>>;

impl Router {
    /// Has `request` answered. Dropping the stream cancels everything at once.
    pub(crate) fn complete(self: &Arc<Self>, request: Request) -> Outputs {
        // The names are OpenTelemetry's semantic conventions for generative AI.
        let span = tracing::info_span!(
            "chat",
            gen_ai.operation.name = "chat",
            gen_ai.request.model = request.model,
            gen_ai.conversation.id = request.session_id,
            gen_ai.provider.name = Empty,
            gen_ai.response.model = Empty,
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
        );
        let completion = Box::new(Completion::new(self.clone(), request, span.clone()));
        stream::unfold((completion, span), |(mut completion, span)| async move {
            let output = completion.next().instrument(span.clone()).await?;
            Some((output, (completion, span)))
        })
        .boxed()
    }

    /// Has `request` answered, and waits until the answer has begun: what fails before it says
    /// anything fails as a call, with a status in place of a stream.
    ///
    /// # Errors
    /// [`LlmError`] when no attempt began to answer.
    pub(crate) async fn begin(self: &Arc<Self>, request: Request) -> Result<Outputs, LlmError> {
        let mut outputs = self.complete(request);
        match outputs.next().await {
            Some(Err(error)) => Err(error),
            Some(Ok(first)) => Ok(stream::iter([Ok(first)]).chain(outputs).boxed()),
            None => Ok(outputs),
        }
    }
}

/// How much of an attempt the consumer has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sent {
    Nothing,
    Content,
    ToolCall,
}

/// One attempt that runs.
struct Attempt {
    target: Target,
    events: EventStream,
    active: ActiveCall,
    /// The model, as the provider names it.
    model: String,
    /// Whether it is the second one at the same target.
    is_retry: bool,
    sent: Sent,
    started: bool,
}

struct Completion {
    router: Arc<Router>,
    request: Arc<Request>,
    /// Models that were not tried yet. The first is the one that was asked for.
    names: VecDeque<String>,
    /// Names that were taken from `names`.
    taken: usize,
    attempts: u32,
    current: Option<Attempt>,
    outputs: VecDeque<Output>,
    first_error: Option<LlmError>,
    usage: Usage,
    begun: Instant,
    deadline: Instant,
    done: bool,
    span: Span,
}

impl Completion {
    fn new(router: Arc<Router>, request: Request, span: Span) -> Self {
        let names = [request.model.clone()].into_iter().chain(request.fallback_models.clone());
        let begun = Instant::now();
        Self {
            names: names.collect(),
            taken: 0,
            attempts: 0,
            current: None,
            outputs: VecDeque::new(),
            first_error: None,
            usage: Usage::default(),
            begun,
            deadline: begun + router.timeouts.total.get(),
            done: false,
            span,
            request: Arc::new(request),
            router,
        }
    }

    async fn next(&mut self) -> Option<Result<Output, LlmError>> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(Ok(output));
            }
            if self.done {
                return None;
            }
            if let Err(error) = self.advance().await {
                self.done = true;
                return Some(Err(error));
            }
        }
    }

    /// Does the next thing. An error is the end of the completion.
    async fn advance(&mut self) -> Result<(), LlmError> {
        let Some(attempt) = &mut self.current else {
            return self.begin().await;
        };
        match attempt.events.next().await {
            Some(Ok(event)) => {
                self.accept(event);
                Ok(())
            }
            Some(Err(failure)) => self.recover(failure).await,
            None => self.recover(Failure::new(Class::Cut, "the answer has no end")).await,
        }
    }

    async fn begin(&mut self) -> Result<(), LlmError> {
        if let Some(target) = self.next_target().await {
            self.start(target, false);
            return Ok(());
        }
        Err(self.first_error.take().unwrap_or_else(|| LlmError::ModelNotFound {
            model: self.request.model.clone(),
            hint: "no model is left to try".to_owned(),
        }))
    }

    /// The next model that can be tried. What is wrong with one that cannot is kept.
    async fn next_target(&mut self) -> Option<Target> {
        while let Some(name) = self.names.pop_front() {
            // The rehearsal never stands in for a provider that was named.
            let is_first = self.taken == 0;
            self.taken += 1;
            let provider = if is_first { self.request.provider.as_str() } else { "" };
            match self.router.catalog.resolve(provider, &name, is_first).await {
                Ok(target) => return Some(target),
                Err(error) => {
                    tracing::warn!(model = name, %error, "model cannot be used");
                    let goes_on = error.allows_fallback();
                    self.first_error.get_or_insert(error);
                    if !goes_on {
                        return None;
                    }
                }
            }
        }
        None
    }

    fn start(&mut self, target: Target, is_retry: bool) {
        self.attempts += 1;
        let call = Call {
            request: self.request.clone(),
            model: target.model.clone(),
            remaining: self.deadline.saturating_duration_since(Instant::now()),
        };
        tracing::debug!(
            provider = target.lane.name,
            model = target.model,
            attempt = self.attempts,
            "attempt begins"
        );
        self.current = Some(Attempt {
            events: target.lane.provider.attempt(call),
            active: target.lane.health.begin(),
            model: target.model.clone(),
            target,
            is_retry,
            sent: Sent::Nothing,
            started: false,
        });
    }

    fn accept(&mut self, event: Event) {
        let Some(attempt) = &mut self.current else { return };
        let (output, sent) = match event {
            Event::Opened { model } => {
                if !model.is_empty() {
                    attempt.model = model;
                }
                return;
            }
            Event::Content(text) => (Output::Content(text), Sent::Content),
            Event::Thinking(text) => (Output::Thinking(text), Sent::Content),
            Event::ToolCallDelta(delta) => (Output::ToolCallDelta(delta), Sent::Content),
            Event::ToolCall(call) => (Output::ToolCall(call), Sent::ToolCall),
            Event::Usage(usage) => {
                self.usage = usage;
                (Output::Usage(usage), Sent::Nothing)
            }
            Event::Finished(reason) => {
                (Output::Finished { reason, fallback: self.taken > 1 }, Sent::Nothing)
            }
        };
        attempt.sent = attempt.sent.max(sent);
        if !std::mem::replace(&mut attempt.started, true) {
            self.outputs.push_back(Output::Started {
                attempt: self.attempts,
                provider: attempt.target.lane.name.clone(),
                model: attempt.model.clone(),
            });
        }
        let finished = matches!(output, Output::Finished { .. });
        self.outputs.push_back(output);
        if finished {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.done = true;
        let Some(attempt) = self.current.take() else { return };
        self.span.record("gen_ai.provider.name", &attempt.target.lane.name);
        self.span.record("gen_ai.response.model", &attempt.model);
        self.span.record("gen_ai.usage.input_tokens", self.usage.prompt_tokens);
        self.span.record("gen_ai.usage.output_tokens", self.usage.completion_tokens);
        tracing::info!(
            attempts = self.attempts,
            elapsed_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "completion finished"
        );
        attempt.active.succeeded();
    }

    /// Decides what follows a failed attempt, and does it.
    async fn recover(&mut self, failure: Failure) -> Result<(), LlmError> {
        let Some(attempt) = self.current.take() else { return Ok(()) };
        let Attempt { target, active, events, sent, is_retry, .. } = attempt;
        drop(events);
        active.failed(&failure);
        tracing::warn!(
            provider = target.lane.name,
            model = target.model,
            attempt = self.attempts,
            reason = failure.reason(),
            error = failure.message,
            "attempt failed"
        );
        let error = LlmError::Failed {
            provider: target.lane.name.clone(),
            model: target.model.clone(),
            failure: failure.clone(),
        };
        if self.is_committed(sent) {
            return Err(error);
        }
        if sent == Sent::Nothing {
            if let Some(pause) = self.pause(&failure).filter(|_| !is_retry) {
                sleep(pause).await;
                self.start(target, true);
                return Ok(());
            }
            self.first_error.get_or_insert_with(|| error.clone());
        }
        match self.fallback(&failure).await {
            Some(target) => self.replace(target, &failure, sent),
            None if sent == Sent::Nothing => return Err(self.first_error.take().unwrap_or(error)),
            None => return Err(error),
        }
        Ok(())
    }

    fn is_committed(&self, sent: Sent) -> bool {
        match self.request.commit {
            Commit::AtToolCall => sent >= Sent::ToolCall,
            Commit::AtContent => sent >= Sent::Content,
        }
    }

    /// How long to wait before the same target is tried again. None: it is not.
    fn pause(&self, failure: &Failure) -> Option<Duration> {
        let retry = &self.router.retry;
        let pause = match failure.same_target(retry.longest_wait.get()) {
            SameTarget::No => return None,
            SameTarget::Now => Duration::ZERO,
            SameTarget::Backoff => retry.backoff.get().mul_f64(rand::random_range(0.75..=1.25)),
            // Another model answers sooner than this one will.
            SameTarget::After(_) if !self.names.is_empty() => return None,
            SameTarget::After(pause) => pause,
        };
        (Instant::now() + pause < self.deadline).then_some(pause)
    }

    async fn fallback(&mut self, failure: &Failure) -> Option<Target> {
        if !failure.allows_fallback() || Instant::now() >= self.deadline {
            return None;
        }
        self.next_target().await
    }

    fn replace(&mut self, target: Target, failure: &Failure, sent: Sent) {
        if sent != Sent::Nothing {
            self.outputs.push_back(Output::Reset {
                reason: failure.reason(),
                message: failure.message.clone(),
            });
        }
        self.start(target, false);
    }
}
