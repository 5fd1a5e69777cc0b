//! More calls than a service can hold are refused at once, instead of making all of them late.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use cortex_core::Fault;
use http::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tower::Service;

use crate::{
    body::{self, Held},
    context::context_mut,
    layer::CallFuture,
    status::status,
    transport::{GrpcService, TransportError},
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

/// Refuses calls beyond the limits with RESOURCE_EXHAUSTED, QuotaFailure and RetryInfo. A call
/// counts until its response has ended. Health and reflection always pass.
#[derive(Debug, Clone)]
pub(crate) struct LoadShed<S> {
    inner: S,
    limits: CallLimits,
}

impl<S> LoadShed<S> {
    pub(crate) fn new(inner: S, limits: CallLimits) -> Self {
        Self { inner, limits }
    }
}

impl<S: GrpcService> Service<Request<Body>> for LoadShed<S> {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = CallFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> CallFuture {
        let method = context_mut(&mut request).method.clone();
        if method.as_ref().is_some_and(|method| method.is_infrastructure()) {
            return Box::pin(self.inner.call(request));
        }
        let unary = method.is_none_or(|method| method.is_unary());
        let limit = if unary { &self.limits.unary } else { &self.limits.streams };
        let permit = match limit.acquire() {
            Ok(permit) => permit,
            Err(fault) => {
                return Box::pin(async move { Ok(body::respond(status(&fault))) });
            }
        };
        let call = self.inner.call(request);
        Box::pin(async move { Ok(call.await?.map(|body| body::observe(body, Held(permit)))) })
    }
}
