//! Extensions do not cross a transport: what a socket cannot carry, nobody may rely on.

use futures::TryFutureExt;
use http::Request;
use tonic::body::Body;

use crate::{
    context::Peer,
    transport::{Answer, GrpcService},
};

/// Drops the extensions of requests and responses, and notes that the call comes from this process.
#[derive(Debug)]
pub(crate) struct StripExtensions<S> {
    inner: S,
}

impl<S> StripExtensions<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: GrpcService> GrpcService for StripExtensions<S> {
    fn call(&self, mut request: Request<Body>) -> impl Future<Output = Answer> + Send {
        request.extensions_mut().clear();
        request.extensions_mut().insert(Peer::InProcess);
        self.inner.call(request).map_ok(|mut response| {
            response.extensions_mut().clear();
            response
        })
    }
}
