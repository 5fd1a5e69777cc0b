//! `GET /`: what is here.

use axum::{Json, routing::get};
use cortex_rpc::Router;
use serde_json::{Value, json};

/// The route of the index.
pub(crate) fn routes(mesh: &Router) -> axum::Router {
    let services: Vec<String> = mesh.services().map(str::to_owned).collect();
    let index = index(&services);
    axum::Router::new().route("/", get(move || std::future::ready(Json(index))))
}

fn index(services: &[String]) -> Value {
    json!({
        "service": "cortex-prime",
        "version": env!("CARGO_PKG_VERSION"),
        "openapi": "/openapi.json",
        "health": "/health",
        "openai": "/v1/models",
        "grpc_services": services,
    })
}
