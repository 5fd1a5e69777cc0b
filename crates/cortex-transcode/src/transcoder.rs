//! The transcoder and how it is built.

use std::{fmt, sync::Arc};

use http::{HeaderName, Method};
use prost_reflect::DescriptorPool;
use tonic::body::Body;
use tower::{BoxError, Service, ServiceExt as _};

use crate::{
    binding::{self, Binding},
    call::Upstream,
    error::{BuildError, UpstreamError},
    limits::Limits,
    metadata,
    router::{Match, Router, Segments},
    schema::Schema,
};

/// HTTP and JSON in front of gRPC services: a `tower::Service` of HTTP requests that never fails.
///
/// Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Transcoder {
    pub(crate) shared: Arc<Shared>,
}

/// What all clones of a transcoder share.
pub(crate) struct Shared {
    pub(crate) schema: Arc<Schema>,
    pub(crate) limits: Limits,
    pub(crate) forwarded: Vec<HeaderName>,
    pub(crate) router: Router,
    pub(crate) endpoints: Vec<Endpoint>,
}

/// A binding with the service that answers it.
pub(crate) struct Endpoint {
    pub(crate) binding: Arc<Binding>,
    pub(crate) route: Arc<Route>,
    pub(crate) upstream: Upstream,
}

/// One HTTP method and path of a gRPC method. Stands in the extensions of every response that a
/// binding has answered, as `Arc<Route>`, for metrics and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The HTTP method.
    pub method: Method,
    /// The path template, as annotated: `/agent/session/{session_id}`.
    pub path: String,
    /// Full name of the gRPC service.
    pub service: String,
    /// Name of the gRPC method within it.
    pub rpc: String,
    /// Whether the answer is a stream, or may be one by the request's choice.
    pub streaming: bool,
}

/// Stands in the extensions of a 404 that means: no route has this path. A front that has other
/// services to ask may go on asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unmatched;

impl fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transcoder")
            .field("routes", &self.shared.endpoints.len())
            .finish_non_exhaustive()
    }
}

impl Transcoder {
    /// Begins a transcoder of services of `pool`.
    ///
    /// The pool must have `google/api/annotations.proto`, or no method is offered, and should have
    /// `google/rpc/error_details.proto`, so that details of errors can be told as JSON.
    pub fn builder(pool: DescriptorPool) -> Builder {
        Builder {
            pool,
            services: Vec::new(),
            limits: Limits::default(),
            forwarded: metadata::forwarded(),
        }
    }

    /// Every route, in the order of services, methods and bindings.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.shared.endpoints.iter().map(|endpoint| endpoint.route.as_ref())
    }

    /// The route that would answer, by the method and the path of a request's URI.
    pub fn route(&self, method: &Method, path: &str) -> Option<&Route> {
        let segments = Segments::parse(path, self.shared.limits.segments).ok()?;
        match self.shared.router.find(method, &segments) {
            Match::Found { binding, .. } => Some(&self.shared.endpoints[binding].route),
            Match::OtherMethods(_) | Match::None => None,
        }
    }

    /// Whether any method has this path. If not, a call is answered 404 with [`Unmatched`].
    pub fn knows(&self, path: &str) -> bool {
        let segments = Segments::parse(path, self.shared.limits.segments);
        segments
            .is_ok_and(|segments| self.shared.router.find(&Method::GET, &segments) != Match::None)
    }
}

/// Builds a [`Transcoder`].
#[derive(Clone)]
pub struct Builder {
    pool: DescriptorPool,
    services: Vec<(String, Upstream)>,
    limits: Limits,
    forwarded: Vec<HeaderName>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<_> = self.services.iter().map(|(name, _)| name).collect();
        f.debug_struct("Builder").field("services", &services).finish_non_exhaustive()
    }
}

impl Builder {
    /// Offers the methods of the service of that full name, answered by `upstream`: a channel, a
    /// generated server, or anything else that speaks gRPC as a tower service.
    #[must_use]
    pub fn service<S>(mut self, full_name: impl Into<String>, upstream: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        let upstream = upstream.map_err(|error: S::Error| UpstreamError(error.into()));
        self.services.push((full_name.into(), Upstream::new(upstream)));
        self
    }

    /// Replaces the default limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Forwards one more request header as metadata, beside `authorization`, `x-request-id`,
    /// `traceparent` and `tracestate`.
    #[must_use]
    pub fn forward(mut self, header: HeaderName) -> Self {
        if !self.forwarded.contains(&header) {
            self.forwarded.push(header);
        }
        self
    }

    /// Reads the annotations.
    ///
    /// # Errors
    ///
    /// A service that the pool lacks, an annotation that does not fit its contract, or two methods
    /// with the same paths.
    pub fn build(self) -> Result<Transcoder, BuildError> {
        let schema = Arc::new(Schema::new(&self.pool));
        let mut router = Router::new();
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for (name, upstream) in &self.services {
            for binding in service_bindings(&schema, name)? {
                let number = endpoints.len();
                router
                    .insert(&binding.method, &binding.template, number)
                    .map_err(|other| conflict(&binding, &endpoints[other].binding))?;
                endpoints.push(Endpoint {
                    route: Arc::new(route(&binding)),
                    binding: Arc::new(binding),
                    upstream: upstream.clone(),
                });
            }
        }
        let Self { limits, forwarded, .. } = self;
        let shared = Shared { schema, limits, forwarded, router, endpoints };
        Ok(Transcoder { shared: Arc::new(shared) })
    }
}

/// Every binding of a service, in the order of its methods.
pub(crate) fn service_bindings(schema: &Schema, service: &str) -> Result<Vec<Binding>, BuildError> {
    let descriptor = schema
        .pool()
        .get_service_by_name(service)
        .ok_or_else(|| BuildError::UnknownService { service: service.to_owned() })?;
    let mut bindings = Vec::new();
    for method in descriptor.methods() {
        let found = binding::bindings(schema, &method).map_err(|reason| {
            BuildError::Annotation { rpc: method.full_name().to_owned(), reason }
        })?;
        bindings.extend(found);
    }
    Ok(bindings)
}

fn route(binding: &Binding) -> Route {
    Route {
        method: binding.method.clone(),
        path: binding.path.clone(),
        service: binding.service.clone(),
        rpc: binding.rpc.clone(),
        streaming: binding.stream.is_some(),
    }
}

fn conflict(binding: &Binding, other: &Binding) -> BuildError {
    let name = |binding: &Binding| format!("{}.{}", binding.service, binding.rpc);
    BuildError::Conflict {
        rpc: name(binding),
        other: name(other),
        method: binding.method.to_string(),
        path: binding.path.clone(),
    }
}
