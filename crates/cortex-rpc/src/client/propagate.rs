//! The context of a call, written into its metadata.

use cortex_telemetry::TraceContext;
use http::{HeaderMap, HeaderValue, Request};
use tonic::body::Body;

use crate::{
    context::{CallContext, HOPS, REQUEST_ID, TRACEPARENT, new_request_id},
    transport::{Answer, GrpcService},
};

/// Sends identity, request id, trace and hop count of the [`CallContext`] in the request's extensions.
/// A call without one gets a request id and a trace, unless its metadata has them.
#[derive(Debug)]
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

impl<S: GrpcService> GrpcService for Propagate<S> {
    fn call(&self, request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let (mut parts, body) = request.into_parts();
        match parts.extensions.get::<CallContext>() {
            Some(context) => context.inject(&mut parts.headers, self.hop),
            None => complete(&mut parts.headers, self.hop),
        }
        self.inner.call(Request::from_parts(parts, body))
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
