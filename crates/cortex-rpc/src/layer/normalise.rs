//! Failures below gRPC as gRPC statuses, the same on every transport.

use std::{error::Error, sync::Arc};

use cortex_core::Fault;
use futures::FutureExt;
use http::{Request, Response};
use http_body_util::BodyExt;
use tonic::{Code, ConnectError, Status, TimeoutExpired, body::Body};

use crate::{
    body::{self, Reply},
    layer::timeout::deadline_exceeded,
    status::{chain, status},
    transport::{Answer, GrpcService, TransportError},
};

/// Answers what went wrong below gRPC with a status: UNAVAILABLE for a connection that could not be
/// made or broke, DEADLINE_EXCEEDED for tonic's own time-out.
#[derive(Debug)]
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

impl<S: GrpcService> GrpcService for NormaliseErrors<S> {
    fn call(&self, request: Request<Body>) -> impl Future<Output = Answer> + Send {
        self.inner.call(request).map(|answered| {
            Ok(match answered {
                Ok(response) => response.map(|body| normalise_body(body, self.peer.clone())),
                Err(error) => answer(error, &self.peer),
            })
        })
    }
}

fn answer(error: TransportError, peer: &str) -> Response<Reply> {
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
fn normalise_body(reply: Reply, peer: Arc<str>) -> Reply {
    match reply {
        Reply::Flow(body) if !http_body::Body::is_end_stream(&body) => {
            Reply::Flow(Body::new(body.map_err(move |error| {
                if is_breakage(error.code()) { connection_lost(&peer, &error) } else { error }
            })))
        }
        over => over,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{status::reason, transport::Transport};

    async fn answered<E: Into<tower::BoxError> + Clone + Send + Sync + 'static>(
        error: E,
    ) -> Status {
        let failing = tower::service_fn(move |_: Request<Body>| {
            let error = TransportError::new(error.clone());
            async move { Err::<Response<Body>, _>(error) }
        });
        let service = NormaliseErrors::new(Transport::new(failing), "storage:8084");
        let request = Request::new(Body::empty());
        let response = service.call(request).await.expect("errors are answers");
        Status::from_header_map(response.headers()).expect("a status")
    }

    #[derive(Debug, Clone, thiserror::Error)]
    #[error("{0}")]
    struct Broken(&'static str);

    #[tokio::test]
    async fn tonics_own_time_out_is_deadline_exceeded() {
        let failing = tower::service_fn(|_: Request<Body>| async {
            Err::<Response<Body>, _>(TransportError::new(TimeoutExpired(())))
        });
        let service = NormaliseErrors::new(Transport::new(failing), "storage:8084");
        let response = service.call(Request::new(Body::empty())).await.expect("an answer");
        assert_eq!(body::status_code(response.headers()), Some(Code::DeadlineExceeded));
    }

    #[tokio::test]
    async fn what_nobody_knows_is_unavailable_and_names_the_peer() {
        let status = answered(Broken("reset")).await;
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), "the connection to storage:8084 was lost: reset");
        assert_eq!(reason(&status).as_deref(), Some("CONNECTION_LOST"));
    }

    #[tokio::test]
    async fn a_status_in_an_error_is_kept() {
        let status = answered(Status::internal("own words")).await;
        assert_eq!((status.code(), status.message()), (Code::Internal, "own words"));
    }
}
