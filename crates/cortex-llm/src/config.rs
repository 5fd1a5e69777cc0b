//! What the router is told: providers, keys, time-outs, limits. Plain values with documented
//! defaults; files and the environment are read by whoever builds them.

use std::collections::BTreeSet;

use cortex_config::{ByteSize, Duration, KeyPath, Problems, Validate};
use serde::{Deserialize, Serialize};
use url::Url;

mod endpoint;
mod ollama;

pub use endpoint::{EndpointConfig, KeyedConfig, MaxTokensField, OllamaConfig};
pub use ollama::ollama_base_url;

pub(crate) use endpoint::Endpoint;

/// Configuration of the llm service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LlmConfig {
    /// What `auto` stands for, as `provider/model`. Default: the first provider of `openai`,
    /// `groq`, `endpoints` that is configured, else Ollama if it answers, else `rehearsal`.
    pub default_model: Option<String>,
    /// OpenAI, or whatever answers at its base URL. On when it has a key or a base URL.
    pub openai: KeyedConfig,
    /// Groq. On when it has a key.
    pub groq: KeyedConfig,
    /// Ollama. On; used when it answers.
    pub ollama: OllamaConfig,
    /// Google's Gemini, also named `google`. Its adapter comes later.
    pub gemini: KeyedConfig,
    /// Anthropic. Its adapter comes later.
    pub anthropic: KeyedConfig,
    /// More OpenAI-compatible endpoints: vLLM, llama.cpp, GitHub Models, OpenRouter…
    pub endpoints: Vec<EndpointConfig>,
    /// The built-in model.
    pub rehearsal: RehearsalConfig,
    /// How long things may take.
    pub timeouts: TimeoutConfig,
    /// What is tried again.
    pub retry: RetryConfig,
    /// How large things may be.
    pub limits: LimitConfig,
}

/// The built-in model `rehearsal`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RehearsalConfig {
    /// Time between two tokens, which do not wait for their reader. Default: 0, at most 10 s.
    pub token_delay: Duration,
}

/// How long the parts of a completion may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeoutConfig {
    /// To resolve, connect and shake hands. Default: 5 s.
    pub connect: Duration,
    /// From the request to the first token. Default: 120 s, because a reasoning model may think for
    /// that long before it says anything.
    pub first_token: Duration,
    /// From the request to the first token of Ollama, which may have to load the model. Default: 300 s.
    pub first_token_ollama: Duration,
    /// Between two reads of a response that has begun. Default: 60 s.
    pub idle: Duration,
    /// For a completion with all its attempts. Default: 600 s.
    pub total: Duration,
    /// For the list of a provider's models. Default: 3 s.
    pub list: Duration,
    /// To find out whether Ollama is there. Default: 500 ms.
    pub probe: Duration,
}

impl Default for TimeoutConfig {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_token: Duration::from_secs(120),
            first_token_ollama: Duration::from_secs(300),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(600),
            list: Duration::from_secs(3),
            probe: Duration::from_millis(500),
        }
    }
}

/// What is tried again at the same target, once, before anything of the answer was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryConfig {
    /// Wait before the second try, plus or minus a quarter. Default: 300 ms.
    pub backoff: Duration,
    /// The longest `Retry-After` that is waited for when no fallback model is left. Default: 5 s.
    pub longest_wait: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { backoff: Duration::from_millis(300), longest_wait: Duration::from_secs(5) }
    }
}

/// How large things may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitConfig {
    /// Bytes of one event of a provider's stream. Default: 1 MiB, at most 16 MiB.
    pub frame_bytes: ByteSize,
    /// Bytes of a response that is not streamed. Default: 4 MiB, at most 64 MiB.
    pub body_bytes: ByteSize,
    /// Bytes of a request to the OpenAI-compatible API. Default: 8 MiB, at most 64 MiB.
    pub request_bytes: ByteSize,
    /// Idle connections that are kept per provider. Default: 32.
    pub idle_connections: u32,
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            frame_bytes: ByteSize::mib(1),
            body_bytes: ByteSize::mib(4),
            request_bytes: ByteSize::mib(8),
            idle_connections: 32,
        }
    }
}

/// Names that a custom endpoint cannot have.
pub(crate) const RESERVED: [&str; 8] =
    ["openai", "groq", "ollama", "gemini", "google", "anthropic", "rehearsal", "auto"];

impl Validate for LlmConfig {
    fn validate(&self, problems: &mut Problems, path: &KeyPath) {
        self.openai.validate(problems, &path.key("openai"));
        self.groq.validate(problems, &path.key("groq"));
        if let Err(problem) = ollama_base_url(&self.ollama.host) {
            problems.add(path.key("ollama").key("host"), problem);
        }
        self.check_endpoints(problems, &path.key("endpoints"));
        self.timeouts.validate(problems, &path.key("timeouts"));
        self.limits.validate(problems, &path.key("limits"));
        if self.rehearsal.token_delay > Duration::from_secs(10) {
            problems.add(path.key("rehearsal").key("token_delay"), "must not be more than 10s");
        }
    }
}

impl LlmConfig {
    fn check_endpoints(&self, problems: &mut Problems, path: &KeyPath) {
        let mut seen = BTreeSet::new();
        for (at, EndpointConfig { name, base_url, .. }) in self.endpoints.iter().enumerate() {
            let path = path.index(at);
            check_url(problems, path.key("base_url"), base_url);
            let path = path.key("name");
            let fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            if name.is_empty() || !fits {
                problems.add(path, format!("'{name}' needs letters, digits, _ and -"));
            } else if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
                problems.add(path, format!("'{name}' has a meaning of its own"));
            } else if !seen.insert(name.to_ascii_lowercase()) {
                problems.add(path, format!("'{name}' is there twice"));
            }
        }
    }
}

impl Validate for KeyedConfig {
    fn validate(&self, problems: &mut Problems, path: &KeyPath) {
        if let Some(url) = self.address() {
            check_url(problems, path.key("base_url"), url);
        }
    }
}

impl Validate for TimeoutConfig {
    fn validate(&self, problems: &mut Problems, path: &KeyPath) {
        let longest = Duration::from_secs(3600);
        for (name, value) in [
            ("connect", self.connect),
            ("first_token", self.first_token),
            ("first_token_ollama", self.first_token_ollama),
            ("idle", self.idle),
            ("total", self.total),
            ("list", self.list),
            ("probe", self.probe),
        ] {
            if value == Duration::default() || value > longest {
                problems
                    .add(path.key(name), format!("{value} is not above 0s and up to {longest}"));
            }
        }
    }
}

impl Validate for LimitConfig {
    fn validate(&self, problems: &mut Problems, path: &KeyPath) {
        let least = ByteSize::kib(1);
        for (name, value, most) in [
            ("frame_bytes", self.frame_bytes, ByteSize::mib(16)),
            ("body_bytes", self.body_bytes, ByteSize::mib(64)),
            ("request_bytes", self.request_bytes, ByteSize::mib(64)),
        ] {
            if value < least || value > most {
                problems.add(path.key(name), format!("{value} is not in {least} to {most}"));
            }
        }
    }
}

fn check_url(problems: &mut Problems, path: KeyPath, url: &str) {
    match Url::parse(url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {}
        Ok(_) => problems.add(path, format!("'{url}' is not an http or https URL")),
        Err(error) => problems.add(path, format!("'{url}' is not a URL: {error}")),
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
