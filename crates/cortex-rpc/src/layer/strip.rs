//! Extensions do not cross a transport: what a socket cannot carry, nobody may rely on.

use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tower::Service;

use crate::{
    context::Peer,
    layer::CallFuture,
    transport::{GrpcService, TransportError},
};

/// Drops the extensions of requests and responses, and notes that the call comes from this process.
#[derive(Debug, Clone)]
pub(crate) struct StripExtensions<S> {
    inner: S,
}

impl<S> StripExtensions<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: GrpcService> Service<Request<Body>> for StripExtensions<S> {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = CallFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> CallFuture {
        request.extensions_mut().clear();
        request.extensions_mut().insert(Peer::InProcess);
        let call = self.inner.call(request);
        Box::pin(async move {
            let mut response = call.await?;
            response.extensions_mut().clear();
            Ok(response)
        })
    }
}
