//! The manifest service.

use std::sync::Arc;

use cortex_core::SystemClock;
use cortex_manifest::ManifestRole;
use cortex_rpc::Server;

use super::{Built, Parts, http};
use crate::{cli::Service, exit::Failure};

/// The bundled manifests: paths below `manifests/`, and contents.
const BUNDLED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/manifests.rs"));

/// Builds it on the configured directory, else on the bundled manifests.
pub async fn build(parts: &Parts<'_>) -> Result<Built, Failure> {
    let config = parts.settings.manifest.clone();
    let bundled = if config.root.is_some() { Vec::new() } else { bundled() };
    let storage = Some(parts.peers.get(Service::Storage));
    let environment = std::env::vars().collect();
    let role = ManifestRole::open(config, bundled, storage, environment, Arc::new(SystemClock))
        .await
        .map_err(|error| Failure::other(format!("manifests: {}", cortex_rpc::chain(&error))))?;
    let builder = Server::builder("manifest")
        .config(parts.settings.server.clone())
        .add_service(role.manifest_service());
    let builder = http::with_json(builder, "manifest", &http::of_package("cortex.manifest.v1"))?;
    let mut built = Built::new(Service::Manifest, builder.build());
    built.work = Some(Box::new(move |stop| Box::pin(async move { role.run(stop).await })));
    Ok(built)
}

fn bundled() -> Vec<(String, Vec<u8>)> {
    BUNDLED.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect()
}
