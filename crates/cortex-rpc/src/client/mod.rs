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
        propagate::Propagate,
        retry::Retry,
        target::Target,
    },
    layer::{CallMetrics, Measure, Side},
    method::MethodTable,
    transport::{GrpcService, Transport},
};

/// Makes transports that have the client's layers, outside in: context, metrics, deadline, retry,
/// balance, circuit breaker.
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
        let inner = self.deadline_and_retry(Balance::new(endpoints), true);
        Ok(self.context_and_metrics(inner, 1))
    }

    /// The client's layers over any transport, such as [`crate::local`].
    pub fn layers(&self, service: Transport) -> Transport {
        let inner = self.deadline_and_retry(service, false);
        self.context_and_metrics(inner, 1)
    }

    /// The client's layers for a service's calls to itself, which are no hop.
    pub(crate) fn layers_within<S: GrpcService>(&self, service: S) -> Transport {
        let inner = self.deadline_and_retry(service, false);
        self.context_and_metrics(inner, 0)
    }

    fn context_and_metrics<S: GrpcService>(&self, inner: S, hop: u32) -> Transport {
        match &self.metrics {
            Some(metrics) => {
                Transport::of(Propagate::new(Measure::new(inner, metrics.clone()), hop))
            }
            None => Transport::of(Propagate::new(inner, hop)),
        }
    }

    fn deadline_and_retry<S: GrpcService>(
        &self,
        service: S,
        over_network: bool,
    ) -> ClientDeadline<Retry<S>> {
        let attempt_timeout = self.config.attempt_timeout.get();
        let methods = self.methods.clone();
        let retry = Retry::new(service, methods, &self.config.retry, attempt_timeout, over_network);
        ClientDeadline::new(retry, self.methods.clone())
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new(ClientConfig::default())
    }
}
