//! The agent service.

use cortex_agent::{Clients, Conductor};
use cortex_rpc::Server;

use super::{Built, Parts, http, peers::is_ready};
use crate::{cli::Service, exit::Failure};

/// Builds it over storage, manifest, llm and container.
pub fn build(parts: &Parts<'_>) -> Result<Built, Failure> {
    let mut config = parts.settings.agent.clone();
    config.instance = parts.instance(Service::Agent, &config.instance, "");
    let peer = |service| parts.peers.get(service);
    let storage = peer(Service::Storage);
    let manifest = peer(Service::Manifest);
    let clients = Clients::new(
        storage.clone(),
        manifest.clone(),
        peer(Service::Llm),
        peer(Service::Container),
    );
    let conductor = Conductor::new(config, clients);
    let builder = Server::builder("agent")
        .config(parts.settings.server.clone())
        .add_service(conductor.session_service())
        .add_service(conductor.turn_service())
        .add_service(conductor.agent_service())
        .ready_check("storage", move || is_ready("storage", storage.clone()))
        .ready_check("manifest", move || is_ready("manifest", manifest.clone()));
    let builder = http::with_json(builder, "agent", &http::of_package("cortex.agent.v1"))?;
    let mut built = Built::new(Service::Agent, builder.build());
    built.work = Some(Box::new(move |stop| Box::pin(async move { conductor.run(stop).await })));
    Ok(built)
}
