//! The runtime service.

use cortex_rpc::Server;

use super::{Built, Parts, http};
use crate::{cli::Service, exit::Failure};

/// Builds it.
pub fn build(parts: &Parts<'_>) -> Result<Built, Failure> {
    let builder = Server::builder("runtime")
        .config(parts.settings.server.clone())
        .forward(cortex_runtime::router());
    let builder = http::with_json(builder, "runtime", &http::of_package("cortex.runtime.v1"))?;
    Ok(Built::new(Service::Runtime, builder.build()))
}
