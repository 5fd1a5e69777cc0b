//! The answer of a unary call is taken as a whole.

use futures::{TryFutureExt, future::Either};
use http::Request;
use tonic::body::Body;

use crate::{
    body::Reply,
    context::context_mut,
    method::Method,
    transport::{Answer, GrpcService},
};

/// Takes message and status of a unary method's answer out of its body, if they are there with the
/// head: the layers further out then change the status itself, and wrap no body.
#[derive(Debug)]
pub(crate) struct Gather<S> {
    inner: S,
}

impl<S> Gather<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: GrpcService> GrpcService for Gather<S> {
    fn call(&self, mut request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let unary = context_mut(&mut request).method.as_deref().is_some_and(Method::is_unary);
        let call = self.inner.call(request);
        if unary {
            Either::Left(call.map_ok(|response| response.map(Reply::gather)))
        } else {
            Either::Right(call)
        }
    }
}
