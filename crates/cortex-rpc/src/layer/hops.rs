//! Calls that go in circles end.

use std::task::{Context, Poll};

use cortex_core::Fault;
use http::{Request, Response};
use tonic::body::Body;
use tower::Service;

use crate::{
    body,
    context::{HOPS, context_mut},
    layer::CallFuture,
    status::status,
    transport::{GrpcService, TransportError},
};

/// Refuses a call that has come through more services than the limit, with FAILED_PRECONDITION:
/// trying again cannot help.
#[derive(Debug, Clone)]
pub(crate) struct HopLimit<S> {
    inner: S,
    limit: u32,
}

impl<S> HopLimit<S> {
    pub(crate) fn new(inner: S, limit: u32) -> Self {
        Self { inner, limit }
    }
}

impl<S: GrpcService> Service<Request<Body>> for HopLimit<S> {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = CallFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> CallFuture {
        let header = request.headers().get(HOPS);
        let hops = header.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
        if hops > self.limit {
            let message =
                format!("the call has come through {hops} services, the limit is {}", self.limit);
            let fault = Fault::failed_precondition("HOP_LIMIT", message).with("limit", self.limit);
            return Box::pin(async move { Ok(body::respond(status(&fault))) });
        }
        context_mut(&mut request).hops = hops;
        Box::pin(self.inner.call(request))
    }
}
