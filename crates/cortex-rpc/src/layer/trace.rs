//! The W3C trace of an incoming call, and the span of its handling.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use cortex_telemetry::TraceContext;
use futures::{TryFutureExt, future::Either};
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};
use tracing::{Instrument, Span, field::Empty};

use crate::{
    body::Reply,
    context::{TRACEPARENT, context_mut},
    layer::request_id::take_over,
    method,
    transport::{Answer, GrpcService},
};

/// Takes over the caller's trace, or begins one, and handles the call and the body of its response
/// in a span of that trace.
#[derive(Debug)]
pub(crate) struct Trace<S> {
    inner: S,
    span: fn(&Request<Body>, TraceContext, &str) -> Span,
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

impl<S: GrpcService> GrpcService for Trace<S> {
    fn call(&self, mut request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let parent = parent(&request);
        let trace = parent.map_or_else(TraceContext::generate, TraceContext::child);
        let request_id = take_over(&mut request);
        let span = (self.span)(&request, trace, &request_id);
        if span.is_disabled() {
            context_mut(&mut request).trace = Some(trace);
            return Either::Left(self.inner.call(request));
        }
        if let Some(parent) = parent {
            parent.adopt(&span);
        }
        let exported = TraceContext::of(&span);
        if exported.is_some() {
            describe(&span, &request);
        }
        context_mut(&mut request).trace = Some(exported.unwrap_or(trace));
        let call = span.in_scope(|| self.inner.call(request));
        let call = call.map_ok(|response| response.map(in_this_span));
        Either::Right(call.instrument(span))
    }
}

fn parent(request: &Request<Body>) -> Option<TraceContext> {
    TraceContext::parse(request.headers().get(TRACEPARENT)?.to_str().ok()?)
}

fn http_span(request: &Request<Body>, trace: TraceContext, request_id: &str) -> Span {
    tracing::info_span!(
        "http",
        otel.name = request.method().as_str(),
        otel.kind = "server",
        http.request.method = request.method().as_str(),
        url.path = request.uri().path(),
        trace_id = %trace.id(),
        request_id,
    )
}

fn call_span(request: &Request<Body>, trace: TraceContext, request_id: &str) -> Span {
    tracing::info_span!(
        "call",
        otel.name = request.uri().path().trim_start_matches('/'),
        otel.kind = "server",
        rpc.system = Empty,
        rpc.service = Empty,
        rpc.method = Empty,
        trace_id = %trace.id(),
        request_id,
    )
}

/// What OpenTelemetry's conventions say of a call beside its name. Only for spans that are exported:
/// to a log line it would add nothing but the time to write it.
fn describe(span: &Span, request: &Request<Body>) {
    let Some((service, name)) = method::split(request.uri().path()) else { return };
    span.record("rpc.system", "grpc");
    span.record("rpc.service", service);
    span.record("rpc.method", name);
}

/// Polls what is still to come in the span that is entered now.
fn in_this_span(reply: Reply) -> Reply {
    match reply {
        Reply::Flow(body) if !body.is_end_stream() => {
            Reply::Flow(Body::new(SpannedBody { body, span: Span::current() }))
        }
        over => over,
    }
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
