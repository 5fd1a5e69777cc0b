//! How long a call may take on this server.

use std::task::{Context, Poll};

use http::{Request, Response};
use tokio::time::Instant;
use tonic::body::Body;
use tower::Service;

use crate::{
    context::context_mut,
    layer::{CallFuture, timeout::Deadline, timeout::read_timeout},
    transport::{GrpcService, TransportError},
};

/// Ends a call at the smaller of what its caller and its contract allow, and tells the service when.
#[derive(Debug, Clone)]
pub(crate) struct ServerDeadline<S> {
    inner: S,
}

impl<S> ServerDeadline<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: GrpcService> Service<Request<Body>> for ServerDeadline<S> {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = CallFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> CallFuture {
        let asked = read_timeout(request.headers());
        let context = context_mut(&mut request);
        let allowed = context.method.as_ref().map_or(asked, |method| method.deadline(asked));
        let at = allowed.and_then(|allowed| Instant::now().checked_add(allowed));
        context.deadline = at;
        // The answer of a unary handler is complete with its head.
        let whole = context.method.as_ref().is_some_and(|method| method.is_unary());
        let call = self.inner.call(request);
        match at {
            Some(at) if whole => Box::pin(Deadline::at(at).enforce_head(call)),
            Some(at) => Box::pin(Deadline::at(at).enforce(call)),
            None => Box::pin(call),
        }
    }
}
