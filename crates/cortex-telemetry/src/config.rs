//! What is logged, how, and where traces go.

use serde::{Deserialize, Serialize};

/// What is logged, how, and where traces go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryConfig {
    /// What is logged: a level, or directives such as `info,cortex_agent=debug`. The environment's
    /// RUST_LOG wins. Default `info`.
    pub filter: String,
    /// The form of the log, which goes to standard error. Default `auto`.
    pub format: LogFormat,
    /// Where spans are sent by OTLP over gRPC, such as `http://collector:4317`. The environment's
    /// OTEL_EXPORTER_OTLP_ENDPOINT counts when this is not set. Default none: no spans are sent.
    pub otlp_endpoint: Option<String>,
    /// The name under which spans are sent. The environment's OTEL_SERVICE_NAME wins. Default `cortex`.
    pub service_name: String,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::default(),
            otlp_endpoint: None,
            service_name: "cortex".to_owned(),
        }
    }
}

/// The form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object per line, for programs.
    Json,
}

impl LogFormat {
    /// Whether the log is JSON when standard error is, or is not, a terminal.
    pub(crate) fn is_json(self, terminal: bool) -> bool {
        match self {
            Self::Auto => !terminal,
            Self::Text => false,
            Self::Json => true,
        }
    }
}
