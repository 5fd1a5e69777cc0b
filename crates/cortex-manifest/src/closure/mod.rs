//! An agent with everything that it needs to run.

mod resolve;
mod spec;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

pub use resolve::{BundleDigest, resolve};
pub use spec::tool_spec;

/// An agent with everything that it needs to run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Closure {
    /// BLAKE3 over everything else.
    #[serde(skip)]
    pub digest: String,
    /// The agent.
    pub agent: AgentSpec,
    /// The tools that it may call, by name.
    pub tools: Vec<ToolSpec>,
    /// The relics that it may use, by name.
    pub relics: Vec<RelicSpec>,
    /// The agents that it may delegate to, by name.
    pub agents: Vec<SubAgentSpec>,
    /// The workflows that it may start, by name.
    pub workflows: Vec<WorkflowSpec>,
}

/// An agent, normalised.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentSpec {
    /// Its name.
    pub name: String,
    /// What it is, in a sentence.
    pub summary: String,
    /// What it is, at length.
    pub description: String,
    /// The system prompt.
    pub system_prompt: String,
    /// How to talk to users.
    pub user_prompt: String,
    /// The model to use first: provider and model.
    pub primary: Option<(String, String)>,
    /// The model to use when the first cannot answer.
    pub fallback: Option<(String, String)>,
    /// How the model generates.
    pub parameters: Parameters,
    /// Model calls per turn at most. 0: unlimited.
    pub iteration_cap: i32,
    /// Variables for its tools.
    pub environment: BTreeMap<String, String>,
    /// The whole manifest.
    pub document: Value,
}

/// How a model generates.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Parameters {
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// Tokens to sample from.
    pub top_k: Option<i32>,
    /// Tokens of the answer at most.
    pub max_tokens: Option<i32>,
    /// Texts that end the answer.
    pub stop_sequences: Vec<String>,
    /// -2 to 2.
    pub presence_penalty: Option<f64>,
    /// -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// Makes the answer repeatable.
    pub seed: Option<i64>,
    /// Fields for the provider's request.
    pub extra: Map<String, Value>,
}

/// A tool as it is run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON Schema of its arguments as text: the order of its keys counts.
    pub parameters: String,
    /// What runs it.
    pub runtime: String,
    /// The program.
    pub entrypoint: String,
    /// The image.
    pub image: String,
    /// The digest of its files. Empty: it has none.
    pub bundle_digest: String,
    /// Memory in MiB. 0: the default.
    pub memory_mb: i32,
    /// Processors. 0: the default.
    pub cpu_limit: f64,
    /// Seconds. 0: the default.
    pub timeout_seconds: i32,
    /// `fail`, `retry` or `ask`.
    pub on_lost: String,
    /// Variables for it.
    pub environment: BTreeMap<String, String>,
    /// `none` or `session`.
    pub network_mode: String,
}

/// A relic that an agent may use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RelicSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The whole manifest.
    pub document: Value,
    /// The digest of its files. Empty: it has none.
    pub bundle_digest: String,
}

/// An agent that an agent may delegate to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SubAgentSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The digest of its own closure.
    pub closure_digest: String,
}

/// A workflow that an agent may start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkflowSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON Schema of its trigger's parameters as text.
    pub parameters: String,
    /// The whole manifest.
    pub document: Value,
}
