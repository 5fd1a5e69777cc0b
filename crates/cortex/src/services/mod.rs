//! The services, built and wired: each on its own, whoever its peers are.

mod agent;
mod container;
mod gateway;
mod http;
mod llm;
mod manifest;
mod peers;
mod run;
mod runtime;
mod storage;

use cortex_container::Container;
use cortex_rpc::Server;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

pub use peers::Peers;
pub use run::{Bound, bind, run};

use crate::{cli::Service, data_dir::DataDir, exit::Failure, settings::Settings};

/// What a service does beside answering calls, until the token is cancelled and the work is drained.
pub type Work = Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>;

/// A service that is built and not yet reachable.
pub struct Built {
    /// Which one.
    pub service: Service,
    /// Its calls.
    pub server: Server,
    /// What it does beside them.
    pub work: Option<Work>,
    /// The OpenAI-compatible `/v1`, of the service that serves it.
    pub openai: Option<axum::Router>,
    /// The container service itself, to be asked about its engine.
    pub container: Option<Container>,
    /// What is to be done after its last call.
    pub close: Option<BoxFuture<'static, ()>>,
}

impl Built {
    fn new(service: Service, server: Server) -> Self {
        Self { service, server, work: None, openai: None, container: None, close: None }
    }
}

/// What services are built from.
pub struct Parts<'a> {
    /// Every setting.
    pub settings: &'a Settings,
    /// The data directory. Only storage needs it; others are named after it.
    pub data_dir: Option<&'a DataDir>,
    /// Where the other services are.
    pub peers: &'a Peers,
}

impl Parts<'_> {
    /// What this process is an incarnation of: as configured, else the data directory, else the host
    /// with the service's port, which no other process can have at the same time.
    pub fn instance(&self, service: Service, configured: &str, default: &str) -> String {
        if !configured.is_empty() && configured != default {
            return configured.to_owned();
        }
        let port = service.ports()[0].saturating_add(self.settings.port_offset);
        let of_host = || format!("{}-{port}", host_name());
        self.data_dir.map_or_else(of_host, |data_dir| data_dir.instance().to_owned())
    }
}

/// The host's name: stable for a pod or container, and no other has it.
fn host_name() -> String {
    let named = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    let read = || std::fs::read_to_string("/etc/hostname").ok().map(|name| name.trim().to_owned());
    named.or_else(read).unwrap_or_else(|| "local".to_owned())
}

/// Builds one service.
///
/// # Errors
/// What keeps it from being built, for the user.
pub async fn build(service: Service, parts: &Parts<'_>) -> Result<Built, Failure> {
    match service {
        Service::Storage => storage::build(parts).await,
        Service::Manifest => manifest::build(parts).await,
        Service::Llm => llm::build(parts),
        Service::Container => container::build(parts),
        Service::Runtime => runtime::build(parts),
        Service::Agent => agent::build(parts),
        Service::Gateway => gateway::build(parts),
    }
}
