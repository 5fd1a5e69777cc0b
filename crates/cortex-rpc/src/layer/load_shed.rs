//! More calls than a service can hold are refused at once, instead of making all of them late.

use std::{sync::Arc, time::Duration};

use cortex_core::Fault;
use futures::{TryFutureExt, future::Either};
use http::Request;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;

use crate::{
    body::{self, Held},
    context::context_mut,
    layer::refuse,
    method::Method,
    transport::{Answer, GrpcService},
};

/// When a refused caller should try again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// The calls that may be open at the same time, counted apart so that idle watches cannot lock out
/// unary calls, nor the other way round.
#[derive(Debug, Clone)]
pub(crate) struct CallLimits {
    unary: Limit,
    streams: Limit,
}

#[derive(Debug, Clone)]
struct Limit {
    name: &'static str,
    size: usize,
    permits: Arc<Semaphore>,
}

impl CallLimits {
    pub(crate) fn new(unary: usize, streams: usize) -> Self {
        let limit = |name, size: usize| {
            let permits = Arc::new(Semaphore::new(size.min(Semaphore::MAX_PERMITS)));
            Limit { name, size, permits }
        };
        Self { unary: limit("unary_calls", unary), streams: limit("streams", streams) }
    }

    /// The limit that calls of `method` count towards; none for the plumbing.
    fn of(&self, method: Option<&Method>) -> Option<&Limit> {
        match method {
            Some(method) if method.is_infrastructure() => None,
            Some(method) if !method.is_unary() => Some(&self.streams),
            _ => Some(&self.unary),
        }
    }
}

impl Limit {
    fn acquire(&self) -> Result<OwnedSemaphorePermit, Fault> {
        self.permits.clone().try_acquire_owned().map_err(|_| {
            let what = format!("the service has {} {} open, its limit", self.size, self.name);
            Fault::resource_exhausted("OVERLOADED", what)
                .with_retry_after(RETRY_AFTER)
                .with_quota(format!("limit:{}", self.name), format!("at most {} open", self.size))
        })
    }
}

/// Refuses calls beyond the limits with RESOURCE_EXHAUSTED, QuotaFailure and RetryInfo. A unary
/// call counts until it is answered, a stream until it has ended. Health and reflection always pass.
#[derive(Debug)]
pub(crate) struct LoadShed<S> {
    inner: S,
    limits: CallLimits,
}

impl<S> LoadShed<S> {
    pub(crate) fn new(inner: S, limits: CallLimits) -> Self {
        Self { inner, limits }
    }
}

impl<S: GrpcService> GrpcService for LoadShed<S> {
    fn call(&self, mut request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let method = context_mut(&mut request).method.as_deref();
        let permit = match self.limits.of(method).map(Limit::acquire).transpose() {
            Ok(permit) => permit,
            Err(fault) => return Either::Left(refuse(&fault)),
        };
        Either::Right(self.inner.call(request).map_ok(|response| match permit {
            Some(permit) => response.map(|body| body::observe(body, Held(permit))),
            None => response,
        }))
    }
}
