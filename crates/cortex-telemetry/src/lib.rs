//! Tracing, W3C trace context, Prometheus metrics, OTLP export and the panic hook.
//!
//! Arrows: none within the project.
//!
//! ```
//! use cortex_telemetry::Metrics;
//! use prometheus_client::metrics::counter::Counter;
//!
//! let metrics = Metrics::for_service("storage");
//! let appends = Counter::<u64>::default();
//! metrics.register("journal_appends", "Appends that were committed", appends.clone());
//! appends.inc();
//! assert!(metrics.encode().contains("journal_appends_total{service=\"storage\"} 1"));
//! ```

mod metrics;
mod process;
mod trace_context;

pub use metrics::Metrics;
pub use trace_context::{TraceContext, TraceId128};
