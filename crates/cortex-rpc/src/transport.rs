//! The seam between a caller and a service: the same type whether the service is in this process
//! or behind a socket.

use std::{error::Error, fmt};

use http::{Request, Response};
use tonic::{body::Body, transport::Channel};
use tower::{BoxError, Service, ServiceExt, util::BoxCloneSyncService};

use crate::layer::{CatchPanic, EnforceTimeout, NormaliseErrors, StripExtensions};

/// Where generated clients send their calls: `XServiceClient<Transport>`. Cloning is cheap.
pub type Transport = BoxCloneSyncService<Request<Body>, Response<Body>, TransportError>;

/// A service that speaks gRPC over tonic's body type. What every layer of the mesh wraps and is.
pub trait GrpcService:
    Service<
        Request<Body>,
        Response = Response<Body>,
        Error = TransportError,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> GrpcService for S where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = TransportError,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// A failure below gRPC. The transports of this crate answer failures as gRPC statuses, so callers
/// meet it only from services of their own making. tonic finds a `Status` in its source chain.
#[derive(Debug)]
pub struct TransportError(BoxError);

impl TransportError {
    /// Wraps any error.
    pub fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }

    /// The wrapped error.
    pub fn into_inner(self) -> BoxError {
        self.0
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transport: {}", self.0)
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// A transport to a generated tonic server in this process: no socket, no HTTP/2.
///
/// It behaves as a socket would: `grpc-timeout` is enforced, for the bodies of streams too; a panic
/// of the service is INTERNAL; extensions of the request do not cross. Dropping the call drops the
/// handler. The handler runs on the caller's task.
///
/// This is the bare seam, without the mesh's layers: [`crate::Server::transport`] has them.
pub fn local<S>(server: S) -> Transport
where
    S: Service<Request<Body>, Response = Response<Body>, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Error: Into<BoxError>,
{
    let service = server.map_err(TransportError::new);
    let service = NormaliseErrors::new(CatchPanic::new(service), "a service of this process");
    BoxCloneSyncService::new(StripExtensions::new(EnforceTimeout::new(service)))
}

/// A transport over an HTTP/2 channel.
///
/// The `grpc-timeout` of a call is enforced here too, until the end of its body, and running out of
/// it is DEADLINE_EXCEEDED (tonic alone says CANCELLED, and stops looking at the headers). Errors of
/// the connection are UNAVAILABLE.
///
/// This is the bare seam, without the mesh's layers: [`crate::Client::connect_lazy`] has them.
pub fn remote(channel: Channel) -> Transport {
    let service = channel.map_err(TransportError::new);
    let service = NormaliseErrors::new(service, "the service");
    BoxCloneSyncService::new(StripExtensions::new(EnforceTimeout::new(service)))
}
