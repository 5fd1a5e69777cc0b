//! The container service.

use cortex_container::{Container, ContainerConfig};
use cortex_rpc::Server;

use super::{Built, Parts, http, peers::is_ready};
use crate::{cli::Service, exit::Failure};

/// Builds it over storage and manifest.
pub fn build(parts: &Parts<'_>) -> Result<Built, Failure> {
    let mut config = parts.settings.container.clone();
    let default = ContainerConfig::default().instance;
    config.instance = parts.instance(Service::Container, &config.instance, &default);
    let grace = parts.settings.server.drain.deadline.get();
    let storage = parts.peers.get(Service::Storage);
    let container = Container::new(config, storage.clone(), parts.peers.get(Service::Manifest));
    let builder = Server::builder("container")
        .config(parts.settings.server.clone())
        .forward(Container::not_offered())
        .add_service(container.tool_service())
        .add_service(container.engine_service())
        .ready_check("storage", move || is_ready("storage", storage.clone()));
    let builder = http::with_json(builder, "container", &http::of_package("cortex.container.v1"))?;
    let mut built = Built::new(Service::Container, builder.build());
    built.container = Some(container.clone());
    built.work = Some(Box::new(move |stop| {
        Box::pin(async move {
            container.run(stop).await;
            container.drain(grace).await;
        })
    }));
    Ok(built)
}
