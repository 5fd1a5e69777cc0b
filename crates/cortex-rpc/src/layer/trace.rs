//! The W3C trace of an incoming call, and the span of its handling.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use cortex_telemetry::TraceContext;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};
use tower::Service;
use tracing::{Instrument, Span, field::Empty};

use crate::{
    context::{TRACEPARENT, context_mut},
    layer::CallFuture,
    method,
    transport::{GrpcService, TransportError},
};

/// Takes over the caller's trace, or begins one, and handles the call and the body of its response
/// in a span of that trace.
#[derive(Debug, Clone)]
pub(crate) struct Trace<S> {
    inner: S,
    span: fn(&Request<Body>, TraceContext) -> Span,
}

impl<S> Trace<S> {
    /// For gRPC calls.
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, span: call_span }
    }

    /// For plain HTTP calls.
    pub(crate) fn for_http(inner: S) -> Self {
        Self { inner, span: http_span }
    }
}

impl<S: GrpcService> Service<Request<Body>> for Trace<S> {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = CallFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> CallFuture {
        let parent = parent(&request);
        let trace = parent.map_or_else(TraceContext::generate, TraceContext::child);
        let span = (self.span)(&request, trace);
        if span.is_disabled() {
            context_mut(&mut request).trace = Some(trace);
            return Box::pin(self.inner.call(request));
        }
        if let Some(parent) = parent {
            parent.adopt(&span);
        }
        context_mut(&mut request).trace = Some(TraceContext::of(&span).unwrap_or(trace));
        let call = span.in_scope(|| self.inner.call(request));
        let bodies = span.clone();
        let call = async move { Ok(call.await?.map(|body| in_span(body, bodies))) };
        Box::pin(call.instrument(span))
    }
}

fn parent(request: &Request<Body>) -> Option<TraceContext> {
    TraceContext::parse(request.headers().get(TRACEPARENT)?.to_str().ok()?)
}

fn http_span(request: &Request<Body>, trace: TraceContext) -> Span {
    let path = request.uri().path();
    tracing::info_span!(
        "http",
        otel.name = request.method().as_str(),
        otel.kind = "server",
        http.request.method = request.method().as_str(),
        url.path = path,
        trace_id = %trace.id(),
        request_id = Empty,
    )
}

fn call_span(request: &Request<Body>, trace: TraceContext) -> Span {
    let path = request.uri().path();
    let (service, name) = method::split(path).unwrap_or(("", path));
    tracing::info_span!(
        "call",
        otel.name = path.trim_start_matches('/'),
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = name,
        trace_id = %trace.id(),
        request_id = Empty,
    )
}

fn in_span(body: Body, span: Span) -> Body {
    if body.is_end_stream() {
        return body;
    }
    Body::new(SpannedBody { body, span })
}

/// A body that is polled in a span.
struct SpannedBody {
    body: Body,
    span: Span,
}

impl HttpBody for SpannedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let _entered = this.span.enter();
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
