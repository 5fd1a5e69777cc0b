//! How long a caller waits.

use std::time::Duration;

use futures::future::Either;
use http::Request;
use tokio::time::Instant;
use tonic::body::Body;

use crate::{
    client::retry::Retry,
    context::CallContext,
    layer::{Deadline, read_timeout},
    method::{Method, MethodTable},
    transport::{Answer, GrpcService},
};

/// Ends a call, with all its attempts, at the earliest of its own time-out, its context's deadline and
/// its contract's limit.
#[derive(Debug)]
pub(crate) struct ClientDeadline<S> {
    attempts: Retry<S>,
    methods: MethodTable,
}

impl<S> ClientDeadline<S> {
    pub(crate) fn new(attempts: Retry<S>, methods: MethodTable) -> Self {
        Self { attempts, methods }
    }
}

impl<S: GrpcService> GrpcService for ClientDeadline<S> {
    fn call(&self, request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let method = self.methods.get(request.uri().path()).map(|method| &**method);
        let allowed = allowed(&request, method);
        let end = allowed.and_then(|allowed| Instant::now().checked_add(allowed));
        let call = self.attempts.call(request, method, end);
        match end {
            Some(end) => Either::Left(Deadline::at(end).enforce(call)),
            None => Either::Right(call),
        }
    }
}

fn allowed(request: &Request<Body>, method: Option<&Method>) -> Option<Duration> {
    let asked = read_timeout(request.headers());
    let left = request.extensions().get::<CallContext>().and_then(CallContext::time_left);
    let wanted = match (asked, left) {
        (Some(asked), Some(left)) => Some(asked.min(left)),
        (asked, left) => asked.or(left),
    };
    method.map_or(wanted, |method| method.deadline(wanted))
}
