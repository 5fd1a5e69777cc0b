//! One port for gRPC and HTTP: the media type decides.

use std::fmt;

use ::http::{HeaderValue, Request, Response, Version, header};
use cortex_core::Fault;
use tonic::{Status, body::Body};
use tower::ServiceExt;

use crate::{context::Peer, http_error::http_error, status::status, transport::Transport};

/// Both sides of a port.
#[derive(Clone)]
pub(crate) struct Mux {
    grpc: Transport,
    http: Transport,
}

impl Mux {
    pub(crate) fn new(grpc: Transport, http: Transport) -> Self {
        Self { grpc, http }
    }

    /// Answers one request. Never fails: failures are answers.
    pub(crate) async fn answer(&self, mut request: Request<Body>, peer: Peer) -> Response<Body> {
        request.extensions_mut().insert(peer);
        if !is_grpc(&request) {
            let answer = self.http.clone().oneshot(request).await;
            return answer.unwrap_or_else(|e| http_error(&Status::from_error(e.into_inner())));
        }
        if request.version() < Version::HTTP_2 {
            return http_error(&status(&Fault::failed_precondition(
                "HTTP2_NEEDED",
                "gRPC needs HTTP/2; without it, use the JSON form of the call",
            )));
        }
        let answer = self.grpc.clone().oneshot(request).await;
        answer.unwrap_or_else(|e| Status::from_error(e.into_inner()).into_http())
    }
}

impl fmt::Debug for Mux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mux").finish_non_exhaustive()
    }
}

/// `application/grpc` with any suffix but that of gRPC-Web, which is another protocol.
fn is_grpc(request: &Request<Body>) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let after = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    after.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_decides() {
        let of = |kind: &str| {
            let request = Request::post("/").header("content-type", kind).body(Body::empty());
            is_grpc(&request.expect("a request"))
        };
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc;x=1"] {
            assert!(of(kind), "{kind}");
        }
        for kind in ["application/json", "application/grpc-web", "application/grpcx", "text/plain"]
        {
            assert!(!of(kind), "{kind}");
        }
    }
}
