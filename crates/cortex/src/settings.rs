//! Every setting of the binary: one section for each crate, and what only the binary knows.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use cortex_agent::AgentConfig;
use cortex_config::{Alias, FileChoice, KeyPath, Loaded, Loader, Problems, Validate};
use cortex_container::ContainerConfig;
use cortex_llm::LlmConfig;
use cortex_manifest::ManifestConfig;
use cortex_rpc::{ClientConfig, ServerConfig};
use cortex_storage::StorageConfig;
use cortex_telemetry::TelemetryConfig;
use serde::{Deserialize, Serialize};

use crate::{
    cli::{Global, Service, Serving},
    exit::Failure,
};

/// Every setting.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The address to listen on. Default `127.0.0.1`.
    pub host: IpAddr,
    /// Added to every port. Default 0.
    pub port_offset: u16,
    /// Listen on an address that others can reach, although nobody is authenticated. Default no.
    pub insecure_bind: bool,
    /// Where data is kept. Default `cortex` in `$XDG_DATA_HOME`, else in `~/.local/share`.
    pub data_dir: Option<PathBuf>,
    /// Where the other services are, for `cortex serve`.
    pub peers: Peers,
    /// Limits of every listener.
    pub server: ServerConfig,
    /// Limits of calls to other services.
    pub client: ClientConfig,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// The storage service.
    pub storage: StorageConfig,
    /// The manifest service.
    pub manifest: ManifestConfig,
    /// The llm service.
    pub llm: LlmConfig,
    /// The container service.
    pub container: ContainerConfig,
    /// The agent service.
    pub agent: AgentConfig,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: IpAddr::from([127, 0, 0, 1]),
            port_offset: 0,
            insecure_bind: false,
            data_dir: None,
            peers: Peers::default(),
            server: ServerConfig::default(),
            client: ClientConfig::default(),
            telemetry: TelemetryConfig::default(),
            storage: StorageConfig::default(),
            manifest: ManifestConfig::default(),
            llm: LlmConfig::default(),
            container: ContainerConfig::default(),
            agent: AgentConfig::default(),
        }
    }
}

/// URLs of the services, `http://host:port`. Default: this machine, with the port offset.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Peers {
    /// Models and providers.
    pub llm: Option<String>,
    /// The registry of manifests.
    pub manifest: Option<String>,
    /// Scripts and workflows.
    pub runtime: Option<String>,
    /// The journal and everything stored.
    pub storage: Option<String>,
    /// Sessions and turns.
    pub agent: Option<String>,
    /// Tools and relics in containers.
    pub container: Option<String>,
}

impl Settings {
    /// Where a service is, for the others.
    pub fn url(&self, service: Service) -> String {
        let named = match service {
            Service::Llm => &self.peers.llm,
            Service::Manifest => &self.peers.manifest,
            Service::Runtime => &self.peers.runtime,
            Service::Storage => &self.peers.storage,
            Service::Agent => &self.peers.agent,
            Service::Container => &self.peers.container,
            Service::Gateway => &None,
        };
        let port = service.ports()[0].saturating_add(self.port_offset);
        named.clone().unwrap_or_else(|| format!("http://localhost:{port}"))
    }

    /// Where data is kept.
    pub fn data_dir(&self) -> Result<PathBuf, Failure> {
        let set = |name: &str| {
            std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
        };
        self.data_dir
            .clone()
            .or_else(|| set("XDG_DATA_HOME").map(|home| home.join("cortex")))
            .or_else(|| set("HOME").map(|home| home.join(".local/share/cortex")))
            .ok_or_else(|| Failure::usage("there is no home directory; name one with --data-dir"))
    }
}

impl Validate for Settings {
    fn validate(&self, problems: &mut Problems, path: &KeyPath) {
        if !self.host.is_loopback() && !self.insecure_bind {
            problems.add(
                path.key("host"),
                format!(
                    "{} can be reached by others and nobody is authenticated; listen on 127.0.0.1, \
                     or say --insecure-bind",
                    self.host
                ),
            );
        }
        if self.port_offset > u16::MAX - 8086 {
            problems.add(path.key("port_offset"), format!("must be at most {}", u16::MAX - 8086));
        }
        self.server.validate(problems, &path.key("server"));
        self.client.validate(problems, &path.key("client"));
        self.storage.validate(problems, &path.key("storage"));
        self.manifest.validate(problems, &path.key("manifest"));
        self.llm.validate(problems, &path.key("llm"));
        self.container.validate(problems, &path.key("container"));
        self.agent.validate(problems, &path.key("agent"));
    }
}

/// Variables with names of their own; of two with one target the first wins.
const ALIASES: &[Alias] = &[
    Alias::new("DB_PATH", "storage.path"),
    Alias::new("STORAGE_URL", "peers.storage"),
    Alias::new("LLM_URL", "peers.llm"),
    Alias::new("MANIFEST_URL", "peers.manifest"),
    Alias::new("CONTAINER_URL", "peers.container"),
    Alias::new("RUNTIME_URL", "peers.runtime"),
    Alias::new("AGENT_URL", "peers.agent"),
    Alias::new("OPENAI_API_KEY", "llm.openai.api_key"),
    Alias::new("OPENAI_BASE_URL", "llm.openai.base_url"),
    Alias::new("GROQ_API_KEY", "llm.groq.api_key"),
    Alias::new("ENABLE_GROQ", "llm.groq.enabled"),
    Alias::new("GEMINI_API_KEY", "llm.gemini.api_key"),
    Alias::new("ENABLE_GEMINI", "llm.gemini.enabled"),
    Alias::new("ANTHROPIC_API_KEY", "llm.anthropic.api_key"),
    Alias::new("OLLAMA_HOST", "llm.ollama.host"),
    Alias::new("DOCKER_HOST", "container.docker_host"),
    Alias::new("AWS_ENDPOINT_URL", "storage.artifacts.s3.endpoint"),
    Alias::new("AWS_REGION", "storage.artifacts.s3.region"),
    Alias::new("AWS_ACCESS_KEY_ID", "storage.artifacts.s3.access_key_id"),
    Alias::new("AWS_SECRET_ACCESS_KEY", "storage.artifacts.s3.secret_access_key"),
    Alias::new("AWS_SESSION_TOKEN", "storage.artifacts.s3.session_token"),
    Alias::new("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.otlp_endpoint"),
];

/// Variables that start like settings and are not: they are options of the command line.
const NOT_SETTINGS: &[&str] = &["CORTEX_URL", "CORTEX_CONFIG", "CORTEX_PORT_OFFSET"];

/// Reads the settings: defaults, file, environment, flags.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load(global: &Global, serving: Option<&Serving>) -> Result<Loaded<Settings>, Failure> {
    let directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let environment = |name: &str| std::env::var(name).ok();
    let file = FileChoice::usual(global.config.clone(), &directory, environment);
    let variables = std::env::vars().filter(|(name, _)| !NOT_SETTINGS.contains(&name.as_str()));
    let mut loader = Loader::new().file(file).env(variables).aliases(ALIASES);
    if let Some(url) = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()) {
        loader = database_url(loader, &url)?;
    }
    if let Some(serving) = serving {
        loader = flags(loader, serving, &directory);
    }
    loader.load().map_err(|problems| Failure::config(&problems))
}

/// DATABASE_URL wins over DB_PATH: a server of PostgreSQL, or a file.
fn database_url(loader: Loader, url: &str) -> Result<Loader, Failure> {
    const VARIABLE: &str = "DATABASE_URL";
    const SERVER: &str = "storage.postgres.url";
    match url.split_once(':') {
        Some(("postgres" | "postgresql", _)) => Ok(loader.flag(VARIABLE, SERVER, url)),
        Some(("sqlite", path)) => {
            let path = path.trim_start_matches("//");
            Ok(loader.flag(VARIABLE, "storage.path", path).flag(VARIABLE, SERVER, ""))
        }
        scheme => Err(Failure::configuration(format!(
            "DATABASE_URL '{}': storage takes postgres://USER:PASSWORD@HOST/DATABASE or sqlite:PATH",
            scheme.map_or("", |(scheme, _)| scheme)
        ))),
    }
}

fn flags(mut loader: Loader, serving: &Serving, directory: &Path) -> Loader {
    if let Some(host) = &serving.host {
        let host = if host == "localhost" { "127.0.0.1" } else { host };
        loader = loader.flag("--host", "host", host);
    }
    if let Some(offset) = serving.port_offset {
        loader = loader.flag("--port-offset", "port_offset", offset.to_string());
    }
    if serving.insecure_bind {
        loader = loader.flag("--insecure-bind", "insecure_bind", "true");
    }
    if let Some(path) = &serving.data_dir {
        loader = loader.flag("--data-dir", "data_dir", path.to_string_lossy());
    }
    if let Some(path) = &serving.manifests {
        let path = directory.join(path);
        loader = loader.flag("--manifests", "manifest.root", path.to_string_lossy());
    }
    loader
}
