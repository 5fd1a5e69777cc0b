//! Channels to services: the client's layers over a balanced connection or a local service.

mod balance;
mod breaker;
mod budget;
mod channel;
mod config;
mod deadline;
mod propagate;
mod retry;
mod target;

use std::sync::Arc;

use cortex_telemetry::Metrics;

pub use config::{BreakerConfig, ClientConfig, RetryConfig};
pub use target::ClientError;

use crate::{
    client::{
        balance::{Balance, Endpoints},
        deadline::ClientDeadline,
        retry::Retry,
        target::Target,
    },
    layer::{CallMetrics, Measure, Side},
    method::MethodTable,
    transport::{GrpcService, Transport},
};

/// Makes transports that have the client's layers, outside in: metrics, deadline, retry with
/// the context of each attempt, balance, circuit breaker.
#[derive(Debug, Clone)]
pub struct Client {
    config: ClientConfig,
    methods: MethodTable,
    metrics: Option<Arc<CallMetrics>>,
}

impl Client {
    /// Clients with these limits, for the methods of the project's contracts.
    pub fn new(config: ClientConfig) -> Self {
        Self { config, methods: MethodTable::contracts(), metrics: None }
    }

    /// Knows other methods than those of the contracts.
    #[must_use]
    pub fn with_methods(mut self, methods: MethodTable) -> Self {
        self.methods = methods;
        self
    }

    /// Counts the calls in the registry of the calling service. Once per registry: clone the client
    /// for further peers.
    #[must_use]
    pub fn with_metrics(mut self, metrics: &Metrics) -> Self {
        self.metrics = Some(CallMetrics::register(metrics, Side::Client, self.methods.clone()));
        self
    }

    /// A transport to the service at `urls` (`http://host:port`), with default metrics: none.
    ///
    /// Connects with the first call. Names are looked up again from time to time, and all their
    /// addresses are used. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ClientError`] when there is no URL or one is wrong.
    pub fn connect_lazy<I>(urls: I, config: ClientConfig) -> Result<Transport, ClientError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        Self::new(config).connect(urls)
    }

    /// As [`Client::connect_lazy`], with this client's methods and metrics.
    ///
    /// # Errors
    /// [`ClientError`] when there is no URL or one is wrong.
    pub fn connect<I>(&self, urls: I) -> Result<Transport, ClientError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let targets: Vec<_> =
            urls.into_iter().map(|url| Target::parse(url.as_ref())).collect::<Result<_, _>>()?;
        if targets.is_empty() {
            return Err(ClientError::NoUrl);
        }
        let endpoints = Endpoints::new(targets, self.config.clone());
        Ok(self.layered(Balance::new(endpoints), (1, true)))
    }

    /// The client's layers over any transport, such as [`crate::local`].
    pub fn layers(&self, service: Transport) -> Transport {
        self.layers_to(service)
    }

    /// The same over any service, without a future on the heap between both.
    pub(crate) fn layers_to<S: GrpcService>(&self, service: S) -> Transport {
        self.layered(service, (1, false))
    }

    /// The client's layers for a service's calls to itself, which are no hop.
    pub(crate) fn layers_within<S: GrpcService>(&self, service: S) -> Transport {
        self.layered(service, (0, false))
    }

    /// The layers for calls that are `hop` further when they arrive.
    fn layered<S: GrpcService>(&self, service: S, (hop, over_network): (u32, bool)) -> Transport {
        let attempt_timeout = self.config.attempt_timeout.get();
        let way = (hop, over_network);
        let attempts = Retry::new(service, &self.config.retry, attempt_timeout, way);
        let call = ClientDeadline::new(attempts, self.methods.clone());
        match &self.metrics {
            Some(metrics) => Transport::of(Measure::new(call, metrics.clone())),
            None => Transport::of(call),
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new(ClientConfig::default())
    }
}
