//! Builds the service from its configuration.

use std::sync::Arc;

use cortex_config::{KeyPath, Problems, Validate};
use cortex_core::{Clock, SystemClock};
use cortex_proto::cortex::llm::v1::{
    completion_service_server::CompletionServiceServer,
    provider_service_server::ProviderServiceServer,
};
use cortex_rpc::ServerBuilder;

use crate::{
    adapters::{
        openai::{Bounds, HttpClient, OpenAi},
        rehearsal::Rehearsal,
    },
    catalog::{Absent, Catalog, REHEARSAL, Why},
    config::{Endpoint, KeyedConfig, LlmConfig},
    lane::Lane,
    openai_api,
    ports::Dialect,
    router::Router,
    service::{Completions, Providers},
};

/// The llm service. Cloning is cheap; clones share connections and what is known of providers.
#[derive(Clone)]
pub struct Llm {
    router: Arc<Router>,
    request_bytes: usize,
}

impl Llm {
    /// Builds the service. It opens no connection.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    pub fn new(config: &LlmConfig) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        config.validate(&mut problems, &KeyPath::dotted("llm"));
        if !problems.is_empty() {
            return Err(problems);
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let lanes = lanes(config, &clock, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let catalog = Catalog {
            default_model: config.default_model.clone(),
            lanes,
            absent: absent(config),
            rehearsal: Arc::new(rehearsal(config, clock)),
        };
        let (retry, timeouts) = (config.retry.clone(), config.timeouts.clone());
        let router = Arc::new(Router { catalog, retry, timeouts });
        Ok(Self { router, request_bytes: config.limits.request_bytes.as_usize() })
    }

    /// Adds everything that the service serves to a server of the mesh.
    pub fn install(&self, builder: ServerBuilder) -> ServerBuilder {
        builder
            .add_service(self.completion_service())
            .add_service(self.provider_service())
            .routes(self.openai_router())
    }

    /// The server of `cortex.llm.v1.CompletionService`.
    pub fn completion_service(&self) -> CompletionServiceServer<Completions> {
        CompletionServiceServer::new(Completions::new(self.router.clone()))
    }

    /// The server of `cortex.llm.v1.ProviderService`.
    pub fn provider_service(&self) -> ProviderServiceServer<Providers> {
        ProviderServiceServer::new(Providers::new(self.router.clone()))
    }

    /// OpenAI's `/v1`: models and chat completions.
    pub fn openai_router(&self) -> axum::Router {
        openai_api::routes(self.router.clone(), self.request_bytes)
    }
}

/// Providers that can be used, the preferred ones first.
fn lanes(config: &LlmConfig, clock: &Arc<dyn Clock>, problems: &mut Problems) -> Vec<Arc<Lane>> {
    let mut endpoints = Vec::new();
    if config.openai.is_on() {
        endpoints.push(("openai".to_owned(), Endpoint::openai(config)));
    }
    if config.groq.is_on() {
        endpoints.push(("groq".to_owned(), Endpoint::groq(config)));
    }
    for (at, custom) in config.endpoints.iter().enumerate() {
        endpoints.push((format!("endpoints[{at}]"), Endpoint::custom(custom, config)));
    }
    if config.ollama.enabled {
        endpoints.push(("ollama".to_owned(), Endpoint::ollama(config)));
    }
    let client =
        HttpClient::new(config.timeouts.connect.get(), config.limits.idle_connections as usize);
    let mut lanes = Vec::with_capacity(endpoints.len());
    for (name, endpoint) in endpoints {
        let lane = endpoint.and_then(|endpoint| lane(endpoint, config, client.clone(), clock));
        match lane {
            Ok(lane) => lanes.push(Arc::new(lane)),
            Err(problem) => problems.add(KeyPath::dotted("llm").key(name), problem),
        }
    }
    lanes
}

fn lane(
    endpoint: Endpoint,
    config: &LlmConfig,
    client: HttpClient,
    clock: &Arc<dyn Clock>,
) -> Result<Lane, String> {
    let limits = &config.limits;
    let (frame, body) = (limits.frame_bytes.as_usize(), limits.body_bytes.as_usize());
    let mut bounds = Bounds::new(&config.timeouts, frame, body).first_token(endpoint.first_token);
    if endpoint.dialect == Dialect::Ollama {
        // Whether it is there has to be known soon: `auto` waits for it.
        bounds.list = config.timeouts.probe.get();
    }
    let (name, dialect) = (endpoint.name.clone(), endpoint.dialect);
    let (models, default_model) = (endpoint.models.clone(), endpoint.default_model.clone());
    let provider = OpenAi::new(endpoint, client, bounds)?;
    let mut lane = Lane::new(&name, dialect, Arc::new(provider), clock.clone());
    (lane.models, lane.default_model) = (models, default_model);
    Ok(lane)
}

fn rehearsal(config: &LlmConfig, clock: Arc<dyn Clock>) -> Lane {
    let provider = Rehearsal { token_delay: config.rehearsal.token_delay.get() };
    let mut lane = Lane::new(REHEARSAL, Dialect::Rehearsal, Arc::new(provider), clock);
    lane.default_model = Some(REHEARSAL.to_owned());
    lane
}

/// Known providers that cannot be used, and why.
fn absent(config: &LlmConfig) -> Vec<Absent> {
    let mut absent = Vec::new();
    for (name, keyed) in [("openai", &config.openai), ("groq", &config.groq)] {
        if !keyed.is_on() {
            let why = Why::NotConfigured(missing(name, keyed));
            absent.push(Absent { name, dialect: Dialect::OpenAi, why });
        }
    }
    if !config.ollama.enabled {
        let why = Why::NotConfigured("it is switched off by ollama.enabled".to_owned());
        absent.push(Absent { name: "ollama", dialect: Dialect::Ollama, why });
    }
    for (name, dialect, keyed) in [
        ("gemini", Dialect::Gemini, &config.gemini),
        ("anthropic", Dialect::Anthropic, &config.anthropic),
    ] {
        let why = if keyed.is_on() {
            Why::AdapterMissing(format!(
                "it has a key, but this version does not speak its API yet; until then configure \
                 its OpenAI-compatible address under llm.endpoints, or use another provider than \
                 {name}"
            ))
        } else {
            Why::NotConfigured(missing(name, keyed))
        };
        absent.push(Absent { name, dialect, why });
    }
    absent
}

fn missing(name: &str, keyed: &KeyedConfig) -> String {
    if keyed.is_configured() {
        format!("it is switched off by {name}.enabled")
    } else {
        format!("set {}_API_KEY", name.to_uppercase())
    }
}
