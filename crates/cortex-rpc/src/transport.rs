//! The seam between a caller and a service: the same type whether the service is in this process
//! or behind a socket.

use std::{
    error::Error,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{TryFutureExt, future::BoxFuture};
use http::{Request, Response};
use tonic::{body::Body, transport::Channel};
use tower::{BoxError, Service, ServiceExt};

use crate::{
    body::Reply,
    layer::{CatchPanic, EnforceTimeout, NormaliseErrors, StripExtensions},
};

/// What a call ends with.
pub(crate) type Answer = Result<Response<Reply>, TransportError>;
/// The same, outside the layers.
type Sent = Result<Response<Body>, TransportError>;

/// A service that speaks gRPC: what every layer of the mesh wraps and is. It is always ready; what has
/// to wait, waits in its call.
///
/// A layer answers with a future that holds the future of what it wraps, so that all layers together
/// are one future, which is put on the heap once, by the [`Transport`] around them. For that, a layer
/// must hold the inner future in one place: an async block that is handed a future holds it twice.
pub(crate) trait GrpcService: Send + Sync + 'static {
    /// Answers one call.
    fn call(&self, request: Request<Body>) -> impl Future<Output = Answer> + Send;
}

/// Where generated clients send their calls: `XServiceClient<Transport>`. Cloning is cheap.
#[derive(Clone)]
pub struct Transport(Arc<dyn Boxed>);

/// A [`GrpcService`] of whatever type.
trait Boxed: Send + Sync {
    /// Answers a layer.
    fn call(self: Arc<Self>, request: Request<Body>) -> BoxFuture<'static, Answer>;

    /// Answers whoever is outside the layers.
    fn send(self: Arc<Self>, request: Request<Body>) -> BoxFuture<'static, Sent>;
}

impl<S: GrpcService> Boxed for S {
    fn call(self: Arc<Self>, request: Request<Body>) -> BoxFuture<'static, Answer> {
        Box::pin(async move { GrpcService::call(&*self, request).await })
    }

    fn send(self: Arc<Self>, request: Request<Body>) -> BoxFuture<'static, Sent> {
        Box::pin(async move { Ok(GrpcService::call(&*self, request).await?.map(Reply::into_body)) })
    }
}

impl Transport {
    /// A transport to any tower service of the same types.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<
                Request<Body>,
                Response = Response<Body>,
                Error = TransportError,
                Future: Send + 'static,
            > + Clone
            + Send
            + Sync
            + 'static,
    {
        Self::of(Tower(service))
    }

    /// A transport to a service with its layers.
    pub(crate) fn of(service: impl GrpcService) -> Self {
        Self(Arc::new(service))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = BoxFuture<'static, Sent>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.clone().send(request)
    }
}

impl GrpcService for Transport {
    fn call(&self, request: Request<Body>) -> impl Future<Output = Answer> + Send {
        self.0.clone().call(request)
    }
}

/// A tower service as one of the mesh: each call waits until it is ready.
struct Tower<S>(S);

impl<S> GrpcService for Tower<S>
where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = TransportError,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    fn call(&self, request: Request<Body>) -> impl Future<Output = Answer> + Send {
        self.0.clone().oneshot(request).map_ok(|response| response.map(Reply::Flow))
    }
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
    let service = CatchPanic::new(Tower(server.map_err(TransportError::new)));
    let service = NormaliseErrors::new(service, "a service of this process");
    Transport::of(StripExtensions::new(EnforceTimeout::new(service)))
}

/// A transport over an HTTP/2 channel.
///
/// The `grpc-timeout` of a call is enforced here too, until the end of its body, and running out of
/// it is DEADLINE_EXCEEDED (tonic alone says CANCELLED, and stops looking at the headers). Errors of
/// the connection are UNAVAILABLE.
///
/// This is the bare seam, without the mesh's layers: [`crate::Client::connect_lazy`] has them.
pub fn remote(channel: Channel) -> Transport {
    Transport::of(StripExtensions::new(over(channel, "the service")))
}

/// A channel with what every call over the network needs. `peer` is what messages call the other end.
pub(crate) fn over(channel: Channel, peer: impl Into<Arc<str>>) -> impl GrpcService {
    let service = Tower(channel.map_err(TransportError::new));
    EnforceTimeout::new(NormaliseErrors::new(service, peer))
}
