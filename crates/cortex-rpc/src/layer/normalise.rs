//! Failures below gRPC as gRPC statuses, the same on every transport.

use std::{
    error::Error,
    task::{Context, Poll},
};

use cortex_core::Fault;
use http::{Request, Response};
use http_body_util::BodyExt;
use tonic::{Code, ConnectError, Status, TimeoutExpired, body::Body};
use tower::Service;

use crate::{
    body,
    layer::{CallFuture, timeout::deadline_exceeded},
    status::{chain, status},
    transport::{GrpcService, TransportError},
};

/// Answers what went wrong below gRPC with a status: UNAVAILABLE for a connection that could not be
/// made or broke, DEADLINE_EXCEEDED for tonic's own time-out.
#[derive(Debug, Clone)]
pub(crate) struct NormaliseErrors<S> {
    inner: S,
}

impl<S> NormaliseErrors<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

/// In a response's extensions: the call never left this process, so it may be repeated whatever it
/// does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotSent;

impl<S: GrpcService> Service<Request<Body>> for NormaliseErrors<S> {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = CallFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> CallFuture {
        let call = self.inner.call(request);
        Box::pin(async move {
            Ok(match call.await {
                Ok(response) => response.map(normalise_body),
                Err(error) => answer(error),
            })
        })
    }
}

fn answer(error: TransportError) -> Response<Body> {
    if find::<TimeoutExpired>(&error) {
        return body::respond(deadline_exceeded());
    }
    let not_sent = find::<ConnectError>(&error);
    let said_so = find::<Status>(&error);
    let text = chain(&error);
    let found = Status::from_error(error.into_inner());
    if said_so || !(is_breakage(found.code()) || not_sent) {
        return body::respond(found);
    }
    let mut response = if not_sent {
        body::respond(status(&Fault::unavailable("CONNECT_FAILED", text)))
    } else {
        body::respond(connection_lost(&text))
    };
    if not_sent {
        response.extensions_mut().insert(NotSent);
    }
    response
}

/// A body that breaks off says UNAVAILABLE, since nobody knows what the service did.
fn normalise_body(body: Body) -> Body {
    if http_body::Body::is_end_stream(&body) {
        return body;
    }
    Body::new(body.map_err(|error| {
        if is_breakage(error.code()) { connection_lost(&chain(&error)) } else { error }
    }))
}

/// The codes that tonic gives to broken connections and streams that were reset.
fn is_breakage(code: Code) -> bool {
    matches!(code, Code::Cancelled | Code::Unknown | Code::Internal | Code::Unavailable)
}

fn connection_lost(cause: &str) -> Status {
    let message = format!("the connection to the service was lost: {cause}");
    status(&Fault::unavailable("CONNECTION_LOST", message))
}

/// Whether the chain of `error` contains an `E`.
fn find<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<E>() {
            return true;
        }
        next = error.source();
    }
    false
}
