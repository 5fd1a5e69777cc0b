//! How long a caller waits.

use std::time::Duration;

use futures::future::Either;
use http::Request;
use tokio::time::Instant;
use tonic::body::Body;

use crate::{
    context::CallContext,
    layer::{Deadline, read_timeout, write_timeout},
    method::MethodTable,
    transport::{Answer, GrpcService},
};

/// When the call must be over. In the extensions of a request, for the layers further in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallDeadline(pub(crate) Instant);

/// Ends a call at the earliest of its own time-out, its context's deadline and its contract's limit,
/// and tells the service how much time is left.
#[derive(Debug)]
pub(crate) struct ClientDeadline<S> {
    inner: S,
    methods: MethodTable,
}

impl<S> ClientDeadline<S> {
    pub(crate) fn new(inner: S, methods: MethodTable) -> Self {
        Self { inner, methods }
    }

    fn allowed(&self, request: &Request<Body>) -> Option<Duration> {
        let asked = read_timeout(request.headers());
        let left = request.extensions().get::<CallContext>().and_then(CallContext::time_left);
        let wanted = match (asked, left) {
            (Some(asked), Some(left)) => Some(asked.min(left)),
            (asked, left) => asked.or(left),
        };
        let method = self.methods.get(request.uri().path());
        method.map_or(wanted, |method| method.deadline(wanted))
    }
}

impl<S: GrpcService> GrpcService for ClientDeadline<S> {
    fn call(&self, mut request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let allowed = self.allowed(&request);
        let end = allowed.and_then(|allowed| Some((allowed, Instant::now().checked_add(allowed)?)));
        let Some((allowed, at)) = end else {
            return Either::Right(self.inner.call(request));
        };
        write_timeout(request.headers_mut(), allowed);
        request.extensions_mut().insert(CallDeadline(at));
        Either::Left(Deadline::at(at).enforce(self.inner.call(request)))
    }
}
