//! The llm service.

use cortex_llm::Llm;
use cortex_rpc::Server;

use super::{Built, Parts, http};
use crate::{cli::Service, exit::Failure};

/// Builds it from the providers that are configured.
pub fn build(parts: &Parts<'_>) -> Result<Built, Failure> {
    let llm = Llm::new(&parts.settings.llm).map_err(|problems| Failure::config(&problems))?;
    let builder = llm.install(Server::builder("llm").config(parts.settings.server.clone()));
    let builder = http::with_json(builder, "llm", &http::of_package("cortex.llm.v1"))?;
    let mut built = Built::new(Service::Llm, builder.build());
    built.openai = Some(llm.openai_router());
    Ok(built)
}
