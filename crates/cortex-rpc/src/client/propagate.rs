//! The context of a call, written into its metadata.

use std::task::{Context, Poll};

use cortex_telemetry::TraceContext;
use http::{HeaderMap, HeaderValue, Request, Response};
use tonic::body::Body;
use tower::Service;

use crate::{
    context::{CallContext, HOPS, REQUEST_ID, TRACEPARENT, new_request_id},
    layer::CallFuture,
    transport::{GrpcService, TransportError},
};

/// Sends identity, request id, trace and hop count of the [`CallContext`] in the request's extensions.
/// A call without one gets a request id and a trace, unless its metadata has them.
#[derive(Debug, Clone)]
pub(crate) struct Propagate<S> {
    inner: S,
    hop: u32,
}

impl<S> Propagate<S> {
    /// `hop` is how much further the call is when it arrives: 1, or 0 within one service.
    pub(crate) fn new(inner: S, hop: u32) -> Self {
        Self { inner, hop }
    }
}

impl<S: GrpcService> Service<Request<Body>> for Propagate<S> {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = CallFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> CallFuture {
        match request.extensions().get::<CallContext>().cloned() {
            Some(context) => context.inject(request.headers_mut(), self.hop),
            None => complete(request.headers_mut(), self.hop),
        }
        Box::pin(self.inner.call(request))
    }
}

fn complete(headers: &mut HeaderMap, hop: u32) {
    if !headers.contains_key(REQUEST_ID)
        && let Ok(id) = HeaderValue::from_str(&new_request_id())
    {
        headers.insert(REQUEST_ID, id);
    }
    if !headers.contains_key(TRACEPARENT) {
        let trace = TraceContext::current().unwrap_or_else(TraceContext::generate);
        if let Ok(trace) = HeaderValue::from_str(&trace.to_string()) {
            headers.insert(TRACEPARENT, trace);
        }
    }
    let hops = headers.get(HOPS).and_then(|hops| hops.to_str().ok()?.parse::<u32>().ok());
    headers.insert(HOPS, HeaderValue::from(hops.unwrap_or(0).saturating_add(hop)));
}
