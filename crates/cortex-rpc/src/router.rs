//! Calls forwarded by the full name of their service, undecoded.

use std::{collections::BTreeMap, fmt, sync::Arc};

use cortex_core::Fault;
use futures::future::Either;
use http::Request;
use tonic::body::Body;

use crate::{
    layer::refuse,
    method::split,
    transport::{Answer, GrpcService, Transport},
};

/// Transports by the full name of the service they lead to. Cloning is cheap.
///
/// ```
/// # fn example(storage: cortex_rpc::Transport, llm: cortex_rpc::Transport) {
/// let mesh = cortex_rpc::Router::new()
///     .route("cortex.storage.v1.JournalService", storage.clone())
///     .route("cortex.storage.v1.SessionService", storage)
///     .route("cortex.llm.v1.CompletionService", llm);
/// let gateway = cortex_rpc::Server::builder("gateway").forward(mesh);
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Router(Arc<BTreeMap<Box<str>, Transport>>);

impl Router {
    /// A router that knows no service.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends calls of the service with the full name `service` to `transport`. The last route of a
    /// name counts.
    #[must_use]
    pub fn route(mut self, service: &str, transport: Transport) -> Self {
        Arc::make_mut(&mut self.0).insert(service.into(), transport);
        self
    }

    /// Adds the routes of `other`.
    #[must_use]
    pub fn merge(mut self, other: &Self) -> Self {
        let routes = Arc::make_mut(&mut self.0);
        routes.extend(other.0.iter().map(|(name, transport)| (name.clone(), transport.clone())));
        self
    }

    /// The full names of the services, sorted.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }

    /// Where calls of `service` go.
    pub fn get(&self, service: &str) -> Option<&Transport> {
        self.0.get(service)
    }

    /// The router as one transport: calls of unknown services are UNIMPLEMENTED.
    pub fn into_transport(self) -> Transport {
        Transport::of(self)
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl GrpcService for Router {
    fn call(&self, request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let service = split(request.uri().path()).map(|(service, _)| service);
        match service.and_then(|service| self.0.get(service)) {
            Some(transport) => Either::Left(GrpcService::call(transport, request)),
            None => Either::Right(refuse(&unknown(request.uri().path()))),
        }
    }
}

fn unknown(path: &str) -> Fault {
    let message = format!("no service for '{path}' on this server; reflection lists what there is");
    Fault::unimplemented("SERVICE_UNKNOWN", message)
}
