//! Failed calls, repeated where that can do no harm.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cortex_core::Fault;
use futures::future::Either;
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};

use crate::{
    body::{self, Reply},
    client::{
        balance::{From, Tried},
        budget::Budget,
        config::RetryConfig,
        propagate::Outgoing,
    },
    layer::{NotSent, write_timeout},
    method::Method,
    status::{retry_after, status},
    transport::{Answer, GrpcService},
};

/// Repeats unary calls that failed for a passing reason: those of idempotent methods, and any that
/// never left this process. Between attempts it waits as long as the service asks, or a random time
/// that doubles. It gives up where the deadline, the number of attempts or the budget ends.
///
/// Each attempt tells the service the call's context and the time that is left.
#[derive(Debug)]
pub(crate) struct Retry<S> {
    inner: S,
    policy: Policy,
}

#[derive(Debug)]
struct Policy {
    config: RetryConfig,
    /// How much further a call is when it arrives: 1, or 0 within one service.
    hop: u32,
    attempt_timeout: Option<Duration>,
    /// Whether a call can fail before it was sent.
    over_network: bool,
    budget: Budget,
}

impl<S> Retry<S> {
    pub(crate) fn new(
        inner: S,
        config: &RetryConfig,
        attempt_timeout: Duration,
        (hop, over_network): (u32, bool),
    ) -> Self {
        let policy = Policy {
            config: config.clone(),
            hop,
            attempt_timeout: Some(attempt_timeout).filter(|timeout| !timeout.is_zero()),
            over_network,
            budget: Budget::new(config.budget, config.budget_refill),
        };
        Self { inner, policy }
    }
}

impl<S: GrpcService> Retry<S> {
    /// Answers a call of `method` that must be over at `end`.
    pub(crate) fn call(
        &self,
        request: Request<Body>,
        method: Option<&Method>,
        end: Option<Instant>,
    ) -> impl Future<Output = Answer> + Send {
        let (mut parts, body) = request.into_parts();
        let call = Call { context: Outgoing::take(&mut parts), end };
        let policy = &self.policy;
        match method {
            Some(method) if policy.may_repeat(method) => {
                Either::Left(policy.run(&self.inner, (parts, body), call, method.idempotent))
            }
            _ => {
                policy.tell(&mut parts, &call, None);
                Either::Right(self.inner.call(Request::from_parts(parts, body)))
            }
        }
    }
}

/// What the attempts of a call have in common.
struct Call {
    context: Outgoing,
    end: Option<Instant>,
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
        (mut parts, body): (Parts, Body),
        call: Call,
        idempotent: bool,
    ) -> Answer {
        let message = match self.collect(body).await {
            Ok(message) => message,
            Err(refused) => return Ok(body::respond(refused)),
        };
        let mut attempt = 1;
        loop {
            // What is kept is the copy, since it has no room for more metadata.
            let kept = parts.clone();
            let mut told = std::mem::replace(&mut parts, kept);
            self.tell(&mut told, &call, self.attempt_timeout);
            let request = Request::from_parts(told, Body::new(Full::new(message.clone())));
            let response = service.call(request).await?;
            let failure = self.failure(&response, idempotent);
            let pause = failure.and_then(|failure| self.pause(&failure, attempt, call.end));
            let Some(pause) = pause else { return Ok(response) };
            tracing::debug!(path = parts.uri.path(), attempt, ?pause, "repeating a failed call");
            if let Some(From(address)) = response.extensions().get() {
                parts.extensions.get_or_insert_default::<Tried>().0.push(*address);
            }
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    async fn collect(&self, mut body: Body) -> Result<Bytes, Status> {
        let limit = self.config.max_request;
        // A request is one piece nearly always, which is kept as it is.
        let (mut message, mut more) = (Bytes::new(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame?.into_data() else { continue };
            if message.len() + more.len() + piece.len() > limit.as_usize() {
                let message = format!("the request is larger than {limit}");
                return Err(status(&Fault::resource_exhausted("MESSAGE_TOO_LARGE", message)));
            }
            if message.is_empty() && more.is_empty() {
                message = piece;
            } else {
                more.extend_from_slice(&std::mem::take(&mut message));
                more.extend_from_slice(&piece);
            }
        }
        Ok(if more.is_empty() { message } else { more.freeze() })
    }

    /// Writes what the service must know of an attempt, which may take as long as `most`.
    fn tell(&self, parts: &mut Parts, call: &Call, most: Option<Duration>) {
        call.context.write(&mut parts.headers, self.hop);
        let left = call.end.map(|end| end.saturating_duration_since(Instant::now()));
        let timeout = match (left, most) {
            (Some(left), Some(most)) => Some(left.min(most)),
            (left, most) => left.or(most),
        };
        if let Some(timeout) = timeout {
            write_timeout(&mut parts.headers, timeout);
        }
    }

    /// What failed, when repeating it can do no harm and may help.
    fn failure(&self, response: &Response<Reply>, idempotent: bool) -> Option<Status> {
        // A status in the headers: the call failed before the service answered anything.
        let code = match body::head_code(response) {
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
