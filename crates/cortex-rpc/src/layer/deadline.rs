//! How long a call may take on this server.

use futures::future::Either;
use http::Request;
use tokio::time::Instant;
use tonic::body::Body;

use crate::{
    context::context_mut,
    layer::timeout::{Deadline, read_timeout},
    transport::{Answer, GrpcService},
};

/// Ends a call at the smaller of what its caller and its contract allow, and tells the service when.
#[derive(Debug)]
pub(crate) struct ServerDeadline<S> {
    inner: S,
}

impl<S> ServerDeadline<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: GrpcService> GrpcService for ServerDeadline<S> {
    fn call(&self, mut request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let asked = read_timeout(request.headers());
        let context = context_mut(&mut request);
        let allowed = context.method.as_ref().map_or(asked, |method| method.deadline(asked));
        let at = allowed.and_then(|allowed| Instant::now().checked_add(allowed));
        context.deadline = at;
        // The answer of a unary handler is complete with its head.
        let whole = context.method.as_ref().is_some_and(|method| method.is_unary());
        let call = self.inner.call(request);
        match at {
            Some(at) if whole => Either::Left(Either::Left(Deadline::at(at).enforce_head(call))),
            Some(at) => Either::Left(Either::Right(Deadline::at(at).enforce(call))),
            None => Either::Right(call),
        }
    }
}
