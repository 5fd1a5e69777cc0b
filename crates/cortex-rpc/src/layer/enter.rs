//! The first step of a call into a server: which method it is.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::body::Body;
use tower::Service;

use crate::{
    context::CallContext,
    layer::CallFuture,
    method::{Method, MethodTable},
    transport::{GrpcService, TransportError},
};

/// Begins the call's context, which the layers further in complete.
#[derive(Debug, Clone)]
pub(crate) struct Enter<S> {
    inner: S,
    methods: MethodTable,
}

impl<S> Enter<S> {
    pub(crate) fn new(inner: S, methods: MethodTable) -> Self {
        Self { inner, methods }
    }
}

impl<S: GrpcService> Service<Request<Body>> for Enter<S> {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = CallFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> CallFuture {
        let path = request.uri().path();
        let method = self.methods.get(path).cloned();
        let method = method.unwrap_or_else(|| Arc::new(Method::unknown(path)));
        request
            .extensions_mut()
            .insert(CallContext { method: Some(method), ..CallContext::default() });
        Box::pin(self.inner.call(request))
    }
}
