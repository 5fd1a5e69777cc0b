//! Who is calling: decided once, at the server, and from then on only read from the context.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use cortex_core::Fault;
use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tower::Service;

use crate::{
    body,
    context::{Identity, Peer, TENANT, USER, context_mut},
    layer::CallFuture,
    status::status,
    transport::{GrpcService, TransportError},
};

/// Says who is calling.
///
/// Decides on what it holds in memory: it is asked for every call and may not wait. What it needs
/// from elsewhere (keys, revocations) it keeps fresh on its own.
pub trait Authenticator: Send + Sync + fmt::Debug + 'static {
    /// The identity of the caller.
    ///
    /// # Errors
    /// A fault of kind Unauthenticated or PermissionDenied, which the caller sees.
    fn authenticate(&self, headers: &HeaderMap, peer: Peer) -> Result<Identity, Fault>;
}

/// Authentication off: everybody is of the tenant `default`. Only a service in the same process is
/// believed when it names another tenant.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenAccess;

impl Authenticator for OpenAccess {
    fn authenticate(&self, headers: &HeaderMap, peer: Peer) -> Result<Identity, Fault> {
        match peer {
            Peer::InProcess => Ok(named(headers).unwrap_or_default()),
            Peer::Socket { .. } | Peer::Unknown => Ok(Identity::default()),
        }
    }
}

/// The identity that the metadata names.
fn named(headers: &HeaderMap) -> Option<Identity> {
    let text = |name| headers.get(name)?.to_str().ok().filter(|text| !text.is_empty());
    let identity = Identity::of_tenant(text(TENANT)?);
    Some(match text(USER) {
        Some(user) => identity.with_user(user),
        None => identity,
    })
}

/// Puts the identity into the call's context, and takes the metadata that names one off the request.
#[derive(Debug, Clone)]
pub(crate) struct Authenticate<S> {
    inner: S,
    authenticator: Arc<dyn Authenticator>,
}

impl<S> Authenticate<S> {
    pub(crate) fn new(inner: S, authenticator: Arc<dyn Authenticator>) -> Self {
        Self { inner, authenticator }
    }
}

/// The part of the layer that plain HTTP calls share.
pub(crate) fn identify<B>(
    authenticator: &dyn Authenticator,
    request: &mut Request<B>,
) -> Result<(), Fault> {
    let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
    let identity = authenticator.authenticate(request.headers(), peer)?;
    request.headers_mut().remove(TENANT);
    request.headers_mut().remove(USER);
    context_mut(request).identity = identity;
    Ok(())
}

impl<S: GrpcService> Service<Request<Body>> for Authenticate<S> {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = CallFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> CallFuture {
        match identify(&*self.authenticator, &mut request) {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(fault) => Box::pin(async move { Ok(body::respond(status(&fault))) }),
        }
    }
}
