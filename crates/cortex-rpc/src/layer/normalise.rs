//! Failures below gRPC as gRPC statuses, the same on every transport.

use std::{
    error::Error,
    sync::Arc,
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
    peer: Arc<str>,
}

impl<S> NormaliseErrors<S> {
    /// `peer` is what messages call the other end.
    pub(crate) fn new(inner: S, peer: impl Into<Arc<str>>) -> Self {
        Self { inner, peer: peer.into() }
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
        let peer = self.peer.clone();
        Box::pin(async move {
            Ok(match call.await {
                Ok(response) => response.map(|body| normalise_body(body, peer)),
                Err(error) => answer(error, &peer),
            })
        })
    }
}

fn answer(error: TransportError, peer: &str) -> Response<Body> {
    if find::<TimeoutExpired>(&error).is_some() {
        return body::respond(deadline_exceeded());
    }
    if let Some(ConnectError(cause)) = find::<ConnectError>(&error) {
        let message = format!("cannot connect to {peer}: {}", chain(&**cause));
        let fault = Fault::unavailable("CONNECT_FAILED", message).with("peer", peer);
        let mut response = body::respond(status(&fault));
        response.extensions_mut().insert(NotSent);
        return response;
    }
    let said_so = find::<Status>(&error).is_some();
    let lost = connection_lost(peer, &error);
    let found = Status::from_error(error.into_inner());
    body::respond(if is_breakage(found.code()) && !said_so { lost } else { found })
}

/// A body that breaks off says UNAVAILABLE, since nobody knows what the service did.
fn normalise_body(body: Body, peer: Arc<str>) -> Body {
    if http_body::Body::is_end_stream(&body) {
        return body;
    }
    Body::new(body.map_err(move |error| {
        if is_breakage(error.code()) { connection_lost(&peer, &error) } else { error }
    }))
}

/// The codes that tonic gives to broken connections and streams that were reset.
fn is_breakage(code: Code) -> bool {
    matches!(code, Code::Cancelled | Code::Unknown | Code::Internal | Code::Unavailable)
}

fn connection_lost(peer: &str, error: &(dyn Error + 'static)) -> Status {
    // The outer errors say no more than that there was a transport, and an error.
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let message = format!("the connection to {peer} was lost: {cause}");
    status(&Fault::unavailable("CONNECTION_LOST", message).with("peer", peer))
}

/// The first `E` in the chain of `error`.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
