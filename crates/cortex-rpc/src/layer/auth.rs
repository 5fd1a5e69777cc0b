//! Who is calling: decided once, at the server, and from then on only read from the context.

use std::{fmt, sync::Arc};

use cortex_core::Fault;
use futures::future::Either;
use http::{HeaderMap, Request};
use tonic::body::Body;

use crate::{
    context::{DEFAULT_TENANT, Identity, Peer, TENANT, USER, context_mut},
    layer::refuse,
    transport::{Answer, GrpcService},
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
    let identity = match text(TENANT)? {
        DEFAULT_TENANT => Identity::default(),
        tenant => Identity::of_tenant(tenant),
    };
    Some(match text(USER) {
        Some(user) => identity.with_user(user),
        None => identity,
    })
}

/// Puts the identity into the call's context, and takes the metadata that names one off the request.
#[derive(Debug)]
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

impl<S: GrpcService> GrpcService for Authenticate<S> {
    fn call(&self, mut request: Request<Body>) -> impl Future<Output = Answer> + Send {
        match identify(&*self.authenticator, &mut request) {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(fault) => Either::Left(refuse(&fault)),
        }
    }
}
