//! Sets up logging, span export and the panic hook of the process.

use std::{
    env,
    io::{self, IsTerminal},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{self, ParseError},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
};

use crate::{config::TelemetryConfig, panic::log_panics, span_fields::SpanFields};

/// The environment's name for where spans go, as every OpenTelemetry SDK reads it.
const ENDPOINT_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// How long the last spans get to leave.
const FLUSH_DEADLINE: Duration = Duration::from_secs(3);
/// How long one export may take.
const EXPORT_DEADLINE: Duration = Duration::from_secs(5);

/// Why telemetry cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("the log filter '{filter}' is not valid: {source}")]
    Filter {
        /// What was given, by RUST_LOG or the configuration.
        filter: String,
        /// What is wrong.
        #[source]
        source: ParseError,
    },
    /// The endpoint for spans is not one.
    #[error("spans cannot be sent to '{endpoint}': {source}")]
    Endpoint {
        /// What was given.
        endpoint: String,
        /// What is wrong.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// Spans are to be sent, and there is no tokio runtime to send them.
    #[error("spans are sent by a tokio runtime, and none is running here")]
    NoRuntime,
    /// It was set up before.
    #[error("telemetry is set up once per process")]
    Twice,
}

/// Keeps telemetry going. Spans that are still held are sent when it is shut down or dropped.
#[derive(Debug)]
#[must_use = "spans are no longer sent once this is dropped"]
pub struct Guard(Option<SdkTracerProvider>);

impl Guard {
    /// Sends what is held, for at most 3 s.
    pub async fn shutdown(mut self) {
        let Some(provider) = self.0.take() else { return };
        // Blocks until the runtime has sent the spans, so it may not occupy the runtime itself.
        let flush = move || provider.shutdown_with_timeout(FLUSH_DEADLINE);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(flush).await {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take() {
            // The outcome has nobody left to be told.
            let _ = provider.shutdown_with_timeout(FLUSH_DEADLINE);
        }
    }
}

/// Sets up logging to standard error, the panic hook, and, with an endpoint, the export of spans.
///
/// With an endpoint it must be called within a multi-threaded tokio runtime, which must outlive the
/// guard.
///
/// # Errors
/// [`TelemetryError`]; nothing is changed then.
pub fn init(config: &TelemetryConfig) -> Result<Guard, TelemetryError> {
    let provider = match endpoint(config) {
        Some(endpoint) => Some(provider(&endpoint, &config.service_name)?),
        None => None,
    };
    EXPORTS.store(provider.is_some(), Ordering::Relaxed);
    let json = config.format.is_json(io::stderr().is_terminal());
    let subscriber = subscriber(&filter(config), json, provider.as_ref(), io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::Twice)?;
    log_panics();
    Ok(Guard(provider))
}

/// Whether spans may be exported. Unknown before [`init`].
static EXPORTS: AtomicBool = AtomicBool::new(true);

/// Whether what is done for exported spans may have an effect.
pub(crate) fn exports() -> bool {
    EXPORTS.load(Ordering::Relaxed)
}

/// The filter's text: RUST_LOG, else the configuration's.
fn filter(config: &TelemetryConfig) -> String {
    let given = env::var(EnvFilter::DEFAULT_ENV).ok().filter(|filter| !filter.trim().is_empty());
    given.unwrap_or_else(|| config.filter.clone())
}

fn endpoint(config: &TelemetryConfig) -> Option<String> {
    let given = config.otlp_endpoint.clone().or_else(|| env::var(ENDPOINT_VARIABLE).ok());
    given.filter(|endpoint| !endpoint.trim().is_empty())
}

fn provider(endpoint: &str, service: &str) -> Result<SdkTracerProvider, TelemetryError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(TelemetryError::NoRuntime);
    }
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_DEADLINE)
        .build()
        .map_err(|source| TelemetryError::Endpoint { endpoint: endpoint.to_owned(), source })?;
    let resource = Resource::builder();
    let resource = match env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => resource,
        None => resource.with_service_name(service.to_owned()),
    };
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build())
}

/// The subscriber: a log with its filter and, with a provider, our own spans for export.
fn subscriber<W>(
    filter: &str,
    json: bool,
    provider: Option<&SdkTracerProvider>,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let directives = EnvFilter::builder()
        .with_default_directive(LevelFilter::OFF.into())
        .parse(filter)
        .map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
    let log = fmt::layer().with_writer(writer);
    let log = if json {
        let lines = log.json().flatten_event(true).with_current_span(false).with_span_list(true);
        lines.fmt_fields(SpanFields).boxed()
    } else {
        log.with_ansi(io::stderr().is_terminal()).boxed()
    };
    // Spans of the exporter's own connection would be exported, and so on.
    let ours = filter::filter_fn(|metadata| {
        metadata.target().starts_with("cortex") && *metadata.level() <= tracing::Level::INFO
    });
    let export = provider.map(|provider| {
        let tracer = provider.tracer("cortex");
        tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours)
    });
    Ok(Box::new(Registry::default().with(log.with_filter(directives)).with(export)))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, json: bool, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(filter, json, None, move || writer.clone()).expect("valid");
        tracing::subscriber::with_default(subscriber, log);
        let bytes = lines.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn json_lines_carry_fields_and_the_trace_of_their_spans() {
        let text = logged("info", true, || {
            let span = tracing::info_span!("call", trace_id = "abc", request_id = "req_1");
            let _entered = span.entered();
            tracing::info!(session = "session_1", "turn started");
        });
        let line: Value = serde_json::from_str(&text).expect("one JSON object");
        assert_eq!(line["message"], "turn started");
        assert_eq!(line["session"], "session_1");
        assert_eq!(line["spans"][0]["trace_id"], "abc");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn fields_of_every_type_and_fields_that_come_later_are_in_the_line() {
        let text = logged("info", true, || {
            let span = tracing::info_span!(
                "call",
                whole = -3,
                large = u64::MAX,
                part = 0.5,
                none = f64::NAN,
                is = true,
                path = ?"a\"b",
                later = tracing::field::Empty,
                twice = "first",
            );
            span.record("later", "line\nbreak");
            span.record("twice", "second");
            let _entered = span.entered();
            let _inner = tracing::info_span!("inner").entered();
            tracing::info!("done");
        });
        let line: Value = serde_json::from_str(&text).expect("one JSON object");
        let span = &line["spans"][0];
        assert_eq!(span["whole"], -3);
        assert_eq!(span["large"], u64::MAX);
        assert_eq!(span["part"], 0.5);
        assert_eq!(span["none"], Value::Null);
        assert_eq!(span["is"], true);
        assert_eq!(span["path"], "\"a\\\"b\"");
        assert_eq!(span["later"], "line\nbreak");
        assert_eq!(span["twice"], "second");
        assert_eq!(line["spans"][1]["name"], "inner");
    }

    #[test]
    fn the_filter_counts() {
        let text = logged("warn,cortex_telemetry=debug", false, || {
            tracing::debug!("own detail");
            tracing::info!(target: "hyper", "foreign chatter");
        });
        assert!(text.contains("own detail") && !text.contains("chatter"), "{text}");
        assert!(logged("off", false, || tracing::error!("nothing")).is_empty());
    }

    #[test]
    fn a_bad_filter_is_told_with_its_text() {
        let error = subscriber("cortex=loud", false, None, io::sink).err().expect("not a level");
        assert!(error.to_string().contains("cortex=loud"), "{error}");
    }

    #[test]
    fn a_terminal_gets_text_and_everything_else_json() {
        use crate::config::LogFormat::{Auto, Json, Text};
        assert!(Auto.is_json(false) && !Auto.is_json(true));
        assert!(Json.is_json(true) && !Text.is_json(false));
    }
}
