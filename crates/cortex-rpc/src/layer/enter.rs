//! The first step of a call into a server: which method it is.

use std::sync::Arc;

use http::Request;
use tonic::body::Body;

use crate::{
    context::CallContext,
    method::{Method, MethodTable},
    transport::{Answer, GrpcService},
};

/// Begins the call's context, which the layers further in complete.
#[derive(Debug)]
pub(crate) struct Enter<S> {
    inner: S,
    methods: MethodTable,
}

impl<S> Enter<S> {
    pub(crate) fn new(inner: S, methods: MethodTable) -> Self {
        Self { inner, methods }
    }
}

impl<S: GrpcService> GrpcService for Enter<S> {
    fn call(&self, mut request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let path = request.uri().path();
        let method = self.methods.get(path).cloned();
        let method = method.unwrap_or_else(|| Arc::new(Method::unknown(path)));
        request
            .extensions_mut()
            .insert(CallContext { method: Some(method), ..CallContext::default() });
        self.inner.call(request)
    }
}
