//! Failed calls, repeated where that can do no harm.

use std::time::Duration;

use bytes::Bytes;
use cortex_core::Fault;
use futures::future::Either;
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt, Full, Limited};
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};

use crate::{
    body,
    client::{
        balance::{From, Tried},
        budget::Budget,
        config::RetryConfig,
        deadline::CallDeadline,
    },
    layer::{NotSent, write_timeout},
    method::{Method, MethodTable},
    status::{retry_after, status},
    transport::{Answer, GrpcService},
};

/// Repeats unary calls that failed for a passing reason: those of idempotent methods, and any that
/// never left this process. Between attempts it waits as long as the service asks, or a random time
/// that doubles. It gives up where the deadline, the number of attempts or the budget ends.
#[derive(Debug)]
pub(crate) struct Retry<S> {
    inner: S,
    policy: Policy,
}

#[derive(Debug)]
struct Policy {
    methods: MethodTable,
    config: RetryConfig,
    attempt_timeout: Option<Duration>,
    /// Whether a call can fail before it was sent.
    over_network: bool,
    budget: Budget,
}

impl<S> Retry<S> {
    pub(crate) fn new(
        inner: S,
        methods: MethodTable,
        config: &RetryConfig,
        attempt_timeout: Duration,
        over_network: bool,
    ) -> Self {
        let policy = Policy {
            methods,
            config: config.clone(),
            attempt_timeout: Some(attempt_timeout).filter(|timeout| !timeout.is_zero()),
            over_network,
            budget: Budget::new(config.budget, config.budget_refill),
        };
        Self { inner, policy }
    }
}

impl<S: GrpcService> GrpcService for Retry<S> {
    fn call(&self, request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let policy = &self.policy;
        match policy.methods.get(request.uri().path()) {
            Some(method) if policy.may_repeat(method) => {
                Either::Left(policy.run(&self.inner, request, method.idempotent))
            }
            _ => Either::Right(self.inner.call(request)),
        }
    }
}

impl Policy {
    /// Whether any failure of `method` would be repeated: then its request is kept.
    fn may_repeat(&self, method: &Method) -> bool {
        let harmless = method.idempotent || self.over_network;
        method.is_unary() && harmless && self.config.max_attempts > 1
    }

    async fn run<S: GrpcService>(
        &self,
        service: &S,
        request: Request<Body>,
        idempotent: bool,
    ) -> Answer {
        let (mut parts, body) = request.into_parts();
        let end = parts.extensions.get::<CallDeadline>().map(|deadline| deadline.0);
        // What the layers further in read stands in the metadata by now.
        parts.extensions.clear();
        let message = match self.collect(body).await {
            Ok(message) => message,
            Err(refused) => return Ok(body::respond(refused)),
        };
        let mut attempt = 1;
        loop {
            let request = self.attempt(&parts, message.clone(), end, attempt);
            let response = service.call(request).await?;
            let failure = self.failure(&response, idempotent);
            let Some(pause) = failure.and_then(|failure| self.pause(&failure, attempt, end)) else {
                return Ok(response);
            };
            tracing::debug!(path = parts.uri.path(), attempt, ?pause, "repeating a failed call");
            if let Some(From(address)) = response.extensions().get() {
                parts.extensions.get_or_insert_default::<Tried>().0.push(*address);
            }
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    async fn collect(&self, body: Body) -> Result<Bytes, Status> {
        let limit = self.config.max_request;
        match Limited::new(body, limit.as_usize()).collect().await {
            Ok(message) => Ok(message.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                let message = format!("the request is larger than {limit}");
                Err(status(&Fault::resource_exhausted("MESSAGE_TOO_LARGE", message)))
            }
            Err(error) => Err(Status::from_error(error)),
        }
    }

    fn attempt(
        &self,
        parts: &Parts,
        message: Bytes,
        end: Option<Instant>,
        attempt: u32,
    ) -> Request<Body> {
        let mut parts = parts.clone();
        if attempt == 1 && self.attempt_timeout.is_none() {
            // The time left is in the metadata already.
            return Request::from_parts(parts, Body::new(Full::new(message)));
        }
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let timeout = match (left, self.attempt_timeout) {
            (Some(left), Some(attempt)) => Some(left.min(attempt)),
            (left, attempt) => left.or(attempt),
        };
        if let Some(timeout) = timeout {
            write_timeout(&mut parts.headers, timeout);
        }
        Request::from_parts(parts, Body::new(Full::new(message)))
    }

    /// What failed, when repeating it can do no harm and may help.
    fn failure(&self, response: &Response<Body>, idempotent: bool) -> Option<Status> {
        // A status in the headers: the call failed before the service answered anything.
        let code = match body::status_code(response.headers()) {
            None | Some(Code::Ok) => {
                self.budget.succeeded();
                return None;
            }
            Some(code) => code,
        };
        let not_sent = response.extensions().get::<NotSent>().is_some();
        if !(idempotent || not_sent) {
            return None;
        }
        let failure = Status::from_header_map(response.headers())?;
        let passing = match code {
            Code::Unavailable => true,
            Code::ResourceExhausted => retry_after(&failure).is_some(),
            Code::DeadlineExceeded => self.attempt_timeout.is_some(),
            _ => false,
        };
        passing.then_some(failure)
    }

    /// How long to wait before the next attempt; `None` to give up.
    fn pause(&self, failure: &Status, attempt: u32, end: Option<Instant>) -> Option<Duration> {
        if !self.budget.may_retry() || attempt >= self.config.max_attempts {
            return None;
        }
        let most = self.config.max_backoff.get();
        let doubled = self.config.backoff.get().saturating_mul(1 << (attempt - 1).min(16));
        let backoff = doubled.min(most).mul_f64(rand::random_range(0.5..1.0));
        let asked = retry_after(failure).unwrap_or_default();
        if asked > most {
            return None;
        }
        let pause = backoff.max(asked);
        let in_time = end.is_none_or(|end| Instant::now() + pause < end);
        in_time.then_some(pause)
    }
}
