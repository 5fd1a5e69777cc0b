//! Providers as they are configured, and what the OpenAI adapter makes of all of them.

use std::time::Duration;

use cortex_config::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{LlmConfig, ollama_base_url};
use crate::ports::Dialect;

/// A provider that is known by name and needs a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyedConfig {
    /// Whether it may be used. Default: when it is configured.
    pub enabled: Option<bool>,
    /// Its key.
    pub api_key: Option<SecretString>,
    /// Where its API is. Default: the provider's own address.
    pub base_url: Option<String>,
    /// Models that are known to be there. Others can be named too.
    pub models: Vec<String>,
    /// The model when only the provider is named. Default: a small one of the provider's.
    pub default_model: Option<String>,
}

impl KeyedConfig {
    /// Whether there is enough to use it: a key, or an address that may need none.
    pub fn is_configured(&self) -> bool {
        present(self.api_key.as_ref()).is_some() || self.address().is_some()
    }

    /// Where its API is, if that is said.
    pub(crate) fn address(&self) -> Option<&str> {
        filled(self.base_url.as_ref())
    }

    /// Whether it is used.
    pub fn is_on(&self) -> bool {
        self.enabled.unwrap_or(true) && self.is_configured()
    }
}

/// Ollama.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OllamaConfig {
    /// Whether it may be used. Default: yes, when it answers.
    pub enabled: bool,
    /// Where it is, as OLLAMA_HOST: host, host:port or URL. Default: 127.0.0.1:11434.
    pub host: String,
    /// The model when only the provider is named. Default: the first that it lists.
    pub default_model: Option<String>,
}

impl Default for OllamaConfig {
    fn default() -> Self {
        Self { enabled: true, host: "127.0.0.1:11434".to_owned(), default_model: None }
    }
}

/// An OpenAI-compatible endpoint with a name of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointConfig {
    /// Its name, as the provider of a model: letters, digits, `_` and `-`.
    pub name: String,
    /// Where its API is, up to and with `/v1` or what stands for it.
    pub base_url: String,
    /// Its key. Default: none.
    pub api_key: Option<SecretString>,
    /// Models that are known to be there. Others can be named too.
    pub models: Vec<String>,
    /// The model when only the provider is named. Default: the first of `models`, else the first
    /// that it lists.
    pub default_model: Option<String>,
    /// How the limit of tokens is named in requests. Default: by the model's name.
    pub max_tokens_field: MaxTokensField,
}

/// How the limit of an answer's tokens is named in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    /// `max_completion_tokens` for OpenAI's reasoning models, else `max_tokens`.
    #[default]
    ByModel,
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

const OPENAI_URL: &str = "https://api.openai.com/v1";
const GROQ_URL: &str = "https://api.groq.com/openai/v1";
const OPENAI_MODEL: &str = "gpt-4o-mini";
const GROQ_MODEL: &str = "llama-3.1-8b-instant";

/// An OpenAI-compatible endpoint, whichever part of the configuration it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    pub(crate) base_url: Url,
    pub(crate) api_key: Option<SecretString>,
    pub(crate) models: Vec<String>,
    pub(crate) default_model: Option<String>,
    pub(crate) max_tokens_field: MaxTokensField,
    /// Whether `top_k`, which OpenAI's API does not have, is sent.
    pub(crate) sends_top_k: bool,
    pub(crate) first_token: Duration,
}

impl Endpoint {
    pub(crate) fn openai(config: &LlmConfig) -> Result<Self, String> {
        let base_url = parse(config.openai.address().unwrap_or(OPENAI_URL))?;
        Ok(Self::keyed("openai", base_url, &config.openai, OPENAI_MODEL, config))
    }

    pub(crate) fn groq(config: &LlmConfig) -> Result<Self, String> {
        let base_url = parse(config.groq.address().unwrap_or(GROQ_URL))?;
        Ok(Self::keyed("groq", base_url, &config.groq, GROQ_MODEL, config))
    }

    fn keyed(
        name: &str,
        base_url: Url,
        keyed: &KeyedConfig,
        default_model: &str,
        config: &LlmConfig,
    ) -> Self {
        Self {
            name: name.to_owned(),
            dialect: Dialect::OpenAi,
            base_url,
            api_key: present(keyed.api_key.as_ref()).cloned(),
            models: keyed.models.clone(),
            default_model: Some(
                filled(keyed.default_model.as_ref()).unwrap_or(default_model).to_owned(),
            ),
            max_tokens_field: MaxTokensField::ByModel,
            sends_top_k: false,
            first_token: config.timeouts.first_token.get(),
        }
    }

    pub(crate) fn ollama(config: &LlmConfig) -> Result<Self, String> {
        Ok(Self {
            name: "ollama".to_owned(),
            dialect: Dialect::Ollama,
            base_url: ollama_base_url(&config.ollama.host)?,
            api_key: None,
            models: Vec::new(),
            default_model: filled(config.ollama.default_model.as_ref()).map(str::to_owned),
            max_tokens_field: MaxTokensField::MaxTokens,
            sends_top_k: true,
            first_token: config.timeouts.first_token_ollama.get(),
        })
    }

    pub(crate) fn custom(custom: &EndpointConfig, config: &LlmConfig) -> Result<Self, String> {
        Ok(Self {
            name: custom.name.clone(),
            dialect: Dialect::OpenAi,
            base_url: parse(&custom.base_url)?,
            api_key: present(custom.api_key.as_ref()).cloned(),
            models: custom.models.clone(),
            default_model: custom.default_model.clone().or_else(|| custom.models.first().cloned()),
            max_tokens_field: custom.max_tokens_field,
            sends_top_k: true,
            first_token: config.timeouts.first_token.get(),
        })
    }
}

fn parse(url: &str) -> Result<Url, String> {
    Url::parse(url).map_err(|error| format!("'{url}' is not a URL: {error}"))
}

/// A text, or none for an empty one: an empty environment variable is an absent one.
fn filled(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// A key, or none for an empty one.
fn present(key: Option<&SecretString>) -> Option<&SecretString> {
    key.filter(|key| !key.expose().trim().is_empty())
}
