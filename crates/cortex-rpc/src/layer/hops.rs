//! Calls that go in circles end.

use cortex_core::Fault;
use futures::future::Either;
use http::Request;
use tonic::body::Body;

use crate::{
    context::{HOPS, context_mut},
    layer::refuse,
    transport::{Answer, GrpcService},
};

/// Refuses a call that has come through more services than the limit, with FAILED_PRECONDITION:
/// trying again cannot help.
#[derive(Debug)]
pub(crate) struct HopLimit<S> {
    inner: S,
    limit: u32,
}

impl<S> HopLimit<S> {
    pub(crate) fn new(inner: S, limit: u32) -> Self {
        Self { inner, limit }
    }
}

impl<S: GrpcService> GrpcService for HopLimit<S> {
    fn call(&self, mut request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let header = request.headers().get(HOPS);
        let hops = header.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
        if hops > self.limit {
            let message =
                format!("the call has come through {hops} services, the limit is {}", self.limit);
            let fault = Fault::failed_precondition("HOP_LIMIT", message).with("limit", self.limit);
            return Either::Left(refuse(&fault));
        }
        context_mut(&mut request).hops = hops;
        Either::Right(self.inner.call(request))
    }
}
