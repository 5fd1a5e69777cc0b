//! Puts a server together.

use std::{collections::BTreeMap, fmt, sync::Arc};

use ::http::{Request, Response};
use cortex_telemetry::Metrics;
use prost_reflect::DescriptorPool;
use tonic::{body::Body, server::NamedService};
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::pb::{
    v1::server_reflection_server::ServerReflectionServer,
    v1alpha::server_reflection_server::ServerReflectionServer as ServerReflectionServerV1Alpha,
};
use tower::{BoxError, Service, ServiceExt};

use crate::{
    client::Client,
    descriptors,
    layer::{
        Authenticate, Authenticator, CallLimits, CallMetrics, CatchPanic, DrainCalls, Enter,
        Gather, HopLimit, LoadShed, Measure, OpenAccess, RequestId, ServerDeadline, Side,
        StripExtensions, Trace,
    },
    method::MethodTable,
    router::Router,
    server::{
        Check, Drain, Parts, Server, ServerConfig,
        guard::Guard,
        health::{HealthService, Readiness},
        http::{HttpParts, http_service},
        mux::Mux,
        reflection::Reflection,
        uploads::Uploads,
    },
    transport::{Transport, TransportError},
};

/// Makes the service behind plain HTTP calls, given the way to the gRPC services.
type MakeFallback = Box<dyn FnOnce(Transport) -> Transport + Send>;

/// What a [`Server`] is made from.
pub struct ServerBuilder {
    name: Box<str>,
    version: Box<str>,
    config: ServerConfig,
    router: Router,
    services: Vec<String>,
    pools: Vec<DescriptorPool>,
    routes: axum::Router,
    fallback: Option<MakeFallback>,
    openapi: Option<Arc<str>>,
    checks: BTreeMap<String, Check>,
    authenticator: Arc<dyn Authenticator>,
    metrics: Option<Metrics>,
}

impl ServerBuilder {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            config: ServerConfig::default(),
            router: Router::new(),
            services: Vec::new(),
            pools: vec![cortex_proto::descriptor_pool().clone()],
            routes: axum::Router::new(),
            fallback: None,
            openapi: None,
            checks: BTreeMap::new(),
            authenticator: Arc::new(OpenAccess),
            metrics: None,
        }
    }

    /// Sets the limits.
    #[must_use]
    pub fn config(mut self, config: ServerConfig) -> Self {
        self.config = config;
        self
    }

    /// Adds a generated tonic server, such as `JournalServiceServer::new(..)`.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error: Into<BoxError>, Future: Send>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.services.push(S::NAME.to_owned());
        let service = Transport::new(service.map_err(TransportError::new));
        self.router = self.router.route(S::NAME, service);
        self
    }

    /// Offers the services of `router` here too, by forwarding calls undecoded.
    #[must_use]
    pub fn forward(mut self, router: Router) -> Self {
        self.services.extend(router.services().map(str::to_owned));
        self.router = self.router.merge(&router);
        self
    }

    /// Adds contracts beside the project's own: reflection shows them, and the layers know their
    /// methods' options.
    #[must_use]
    pub fn descriptors(mut self, pool: DescriptorPool) -> Self {
        self.pools.push(pool);
        self
    }

    /// Adds plain HTTP routes. They win over the fallback.
    #[must_use]
    pub fn routes(mut self, routes: axum::Router) -> Self {
        self.routes = self.routes.merge(routes);
        self
    }

    /// Sets what answers plain HTTP calls that no route takes, usually a transcoder. `make` gets the
    /// way to the gRPC services of this server.
    #[must_use]
    pub fn fallback<F, S, B>(mut self, make: F) -> Self
    where
        F: FnOnce(Transport) -> S + Send + 'static,
        S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        B: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.fallback = Some(Box::new(move |transport| {
            let service = make(transport);
            let service = service.map_response(|response: Response<B>| response.map(Body::new));
            Transport::new(service.map_err(TransportError::new))
        }));
        self
    }

    /// Serves `document` at `/openapi.json`.
    #[must_use]
    pub fn openapi(mut self, document: impl Into<Arc<str>>) -> Self {
        self.openapi = Some(document.into());
        self
    }

    /// Adds a question to readiness. `check` answers `Err` with what is missing, in a sentence; it has
    /// 2 s. Liveness asks nothing.
    #[must_use]
    pub fn ready_check<F, Fut>(mut self, name: &str, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let check: Check = Arc::new(move || Box::pin(check()));
        self.checks.insert(name.to_owned(), check);
        self
    }

    /// Sets who says who is calling. Default [`OpenAccess`].
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Arc::new(authenticator);
        self
    }

    /// Uses a registry that exists. Default a new one under the service's name.
    #[must_use]
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// The server.
    pub fn build(mut self) -> Server {
        self.pools.push(descriptors::infrastructure().clone());
        let methods = self.pools.iter().fold(MethodTable::default(), MethodTable::with_pool);
        let metrics = self.metrics.take().unwrap_or_else(|| Metrics::for_service(&self.name));
        let drain = Drain::default();
        let readiness = Readiness::new(std::mem::take(&mut self.checks), drain.clone());
        let mut this = self.with_infrastructure(readiness.clone());
        let grpc = this.grpc(&methods, &metrics, &drain);
        let client = Client::default().with_methods(methods);
        let transport = client.layers_to(StripExtensions::new(grpc.clone()));
        let within = client.layers_within(StripExtensions::new(grpc.clone()));
        let fallback = this.fallback.take().map(|make| make(within));
        let http = http_service(HttpParts {
            name: this.name.clone(),
            version: this.version,
            routes: this.routes,
            fallback,
            openapi: this.openapi,
            readiness,
            metrics: metrics.clone(),
            guard: Guard::new(&this.config, Uploads::of(&this.pools)),
            authenticator: this.authenticator,
            max_body: this.config.max_http_body,
        });
        Server(Arc::new(Parts {
            name: this.name,
            config: this.config,
            services: this.services,
            transport,
            grpc: grpc.clone(),
            mux: Mux::new(grpc, http),
            drain,
            metrics,
        }))
    }

    /// Adds health and reflection.
    fn with_infrastructure(mut self, readiness: Readiness) -> Self {
        let own = [
            <HealthServer<HealthService> as NamedService>::NAME,
            <ServerReflectionServer<Reflection> as NamedService>::NAME,
            <ServerReflectionServerV1Alpha<Reflection> as NamedService>::NAME,
        ];
        let mut services = self.services.clone();
        services.extend(own.map(str::to_owned));
        let health = HealthService::new(services.clone(), readiness);
        let reflection = Reflection::new(services, self.pools.clone());
        self = self.add_service(HealthServer::new(health));
        self = self.add_service(ServerReflectionServer::new(reflection.clone()));
        self.add_service(ServerReflectionServerV1Alpha::new(reflection))
    }

    /// The layers of every call, read from the inside out.
    fn grpc(&self, methods: &MethodTable, metrics: &Metrics, drain: &Drain) -> Transport {
        let config = &self.config;
        let limits = CallLimits::new(config.max_unary_calls, config.max_streams);
        let service = Gather::new(self.router.clone());
        let service = CatchPanic::new(service);
        let service = DrainCalls::new(service, drain.clone());
        let service = HopLimit::new(service, config.max_hops);
        let service = Authenticate::new(service, self.authenticator.clone());
        let service = ServerDeadline::new(service);
        let service = LoadShed::new(service, limits);
        let service = RequestId::new(service);
        let service = Trace::new(service);
        let service = Enter::new(service, methods.clone());
        let counted = CallMetrics::register(metrics, Side::Server, methods.clone());
        Transport::of(Measure::new(service, counted))
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("name", &self.name)
            .field("services", &self.services)
            .finish_non_exhaustive()
    }
}
