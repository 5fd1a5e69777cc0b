//! The router: completions from any provider, streamed.
//!
//! It serves `cortex.llm.v1` and OpenAI's `/v1`. A model is named `provider/model`, `model` or `auto`;
//! a request is answered by the model it names or by one of its fallbacks, and an answer is either
//! whole or an error. Arrows: cortex-rpc and below, and the providers.
//!
//! ```
//! use cortex_llm::{Llm, LlmConfig};
//!
//! let llm = Llm::new(&LlmConfig::default()).expect("the defaults are valid");
//! let (completions, providers) = (llm.completion_service(), llm.provider_service());
//! # let _ = (completions, providers);
//! ```

mod adapters;
mod answer;
mod catalog;
mod completion;
mod config;
mod convert;
mod directory;
mod error;
mod failure;
mod json;
mod lane;
mod openai_api;
mod ports;
mod role;
mod router;
mod service;
mod sse;

pub use config::{
    EndpointConfig, KeyedConfig, LimitConfig, LlmConfig, MaxTokensField, OllamaConfig,
    RehearsalConfig, RetryConfig, TimeoutConfig, ollama_base_url,
};
pub use role::Llm;
pub use service::{Completions, Providers};
