//! The gateway: every service on one port.

use cortex_proto::descriptor_pool;
use cortex_rpc::Router;

use super::{Built, Parts, http, peers::is_ready};
use crate::{cli::Service, exit::Failure};

/// Builds it over every other service.
pub fn build(parts: &Parts<'_>) -> Result<Built, Failure> {
    let mesh = mesh(parts);
    let openai = match parts.peers.openai() {
        Some(routes) => routes,
        None => cortex_gateway::forward_http(&parts.settings.url(Service::Llm), "/v1")
            .map_err(|error| Failure::usage(format!("peers.llm: {error}")))?,
    };
    let names: Vec<String> = mesh.services().map(str::to_owned).collect();
    let agent = parts.peers.get(Service::Agent);
    let builder = cortex_gateway::builder(mesh, openai)
        .config(parts.settings.server.clone())
        .ready_check("agent", move || is_ready("agent", agent.clone()));
    Ok(Built::new(Service::Gateway, http::with_json(builder, "API", &names)?.build()))
}

/// Each service of the contracts by the service of the mesh that serves its package.
fn mesh(parts: &Parts<'_>) -> Router {
    let by_package = [
        ("cortex.storage.v1", Service::Storage),
        ("cortex.manifest.v1", Service::Manifest),
        ("cortex.llm.v1", Service::Llm),
        ("cortex.container.v1", Service::Container),
        ("cortex.runtime.v1", Service::Runtime),
        ("cortex.agent.v1", Service::Agent),
    ]
    .map(|(package, service)| (package, parts.peers.get(service)));
    descriptor_pool().services().fold(Router::new(), |router, described| {
        let transport = by_package.iter().find(|(package, _)| *package == described.package_name());
        match transport {
            Some((_, transport)) => router.route(described.full_name(), transport.clone()),
            None => router,
        }
    })
}
