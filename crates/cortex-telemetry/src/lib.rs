//! Tracing, W3C trace context, Prometheus metrics, OTLP export and the panic hook.
//!
//! Arrows: none within the project. The process calls [`init`] once and keeps its [`Guard`]; each
//! service has its own [`Metrics`]; the mesh carries a [`TraceContext`] over every hop.
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

mod config;
mod init;
mod metrics;
mod panic;
mod process;
mod span_fields;
mod trace_context;

pub use config::{LogFormat, TelemetryConfig};
pub use init::{Guard, TelemetryError, init};
pub use metrics::Metrics;
pub use trace_context::{TraceContext, TraceId128};
