//! One Prometheus registry per service.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    encoding::text,
    metrics::info::Info,
    registry::{Metric, Registry, Unit},
};

use crate::process::ProcessCollector;

/// The media type of [`Metrics::encode`]'s text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The registry of one service, shared by everything in it. Cloning is cheap.
///
/// Every registry carries `cortex_build_info` and the metrics of the process (resident memory, CPU
/// seconds, open files, threads, start time); services of one process show the same process.
#[derive(Clone)]
pub struct Metrics {
    service: Arc<str>,
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// The media type of what [`Metrics::encode`] gives.
    pub const CONTENT_TYPE: &'static str = CONTENT_TYPE;

    /// A new registry for `service`. Every sample carries the label `service`.
    pub fn for_service(service: &str) -> Self {
        let labels = [("service".into(), service.to_owned().into())];
        let mut registry = Registry::with_labels(labels.into_iter());
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("cortex_build", "The running build", build);
        registry.register_collector(Box::new(ProcessCollector));
        Self { service: service.into(), registry: Arc::new(Mutex::new(registry)) }
    }

    /// The service that the registry belongs to.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Registers a metric. A counter's name is given without `_total`. Registering a name twice shows
    /// it twice: do it once per service.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.lock().register(name, help, metric);
    }

    /// Registers a metric whose name ends in its unit, for example `Unit::Seconds`.
    pub fn register_with_unit(&self, name: &str, help: &str, unit: Unit, metric: impl Metric) {
        self.lock().register_with_unit(name, help, unit, metric);
    }

    /// Every metric in the OpenMetrics text format, which Prometheus reads.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail; a collector that fails leaves what it wrote so far.
        if text::encode(&mut out, &self.lock()).is_err() {
            tracing::warn!(service = %self.service, "some metrics could not be encoded");
        }
        out
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("service", &self.service).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn what_is_registered_is_shown_with_its_service() {
        let metrics = Metrics::for_service("llm");
        let tokens = Counter::<u64>::default();
        metrics.register("tokens", "Tokens", tokens.clone());
        tokens.inc_by(3);
        let text = metrics.encode();
        assert!(text.contains("tokens_total{service=\"llm\"} 3"), "{text}");
        assert!(text.contains("cortex_build_info{"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn the_process_is_shown() {
        let text = Metrics::for_service("llm").encode();
        let rss = text
            .lines()
            .find_map(|line| line.strip_prefix("process_resident_memory_bytes{service=\"llm\"} "))
            .expect("resident memory is shown");
        assert!(rss.parse::<u64>().expect("a number") > 100_000, "{rss}");
    }

    #[test]
    fn two_services_do_not_share_a_registry() {
        let (a, b) = (Metrics::for_service("a"), Metrics::for_service("b"));
        a.register("only_a", "Only in a", Counter::<u64>::default());
        assert!(!b.encode().contains("only_a"));
    }
}
