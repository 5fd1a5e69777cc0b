//! JSON over HTTP for the gRPC services of a server, and the description of both.

use std::sync::{Arc, LazyLock};

use axum::{Router, http::header, response::IntoResponse, routing::get};
use bytes::Bytes;
use cortex_proto::descriptor_pool;
use cortex_rpc::{ServerBuilder, Transport};
use cortex_transcode::{BuildError, OpenApiInfo, Transcoder, openapi};

use crate::exit::Failure;

/// Adds JSON for the services named, and `/openapi.json`.
///
/// # Errors
/// An annotation that does not fit its contract: a defect of the build.
pub fn with_json(
    builder: ServerBuilder,
    title: &str,
    services: &[String],
) -> Result<ServerBuilder, Failure> {
    // Checked here, so that the closure below has nothing left to refuse.
    transcoder(services, &cortex_rpc::not_offered("JSON")).map_err(|error| defect(&error))?;
    let described = describe(title, services.to_vec());
    let services = services.to_vec();
    Ok(builder.routes(described).fallback(move |transport| {
        transcoder(&services, &transport).expect("the same services were checked before")
    }))
}

/// The names of a package's services.
pub fn of_package(package: &str) -> Vec<String> {
    descriptor_pool()
        .services()
        .filter(|service| service.package_name() == package)
        .map(|service| service.full_name().to_owned())
        .collect()
}

fn transcoder(services: &[String], transport: &Transport) -> Result<Transcoder, BuildError> {
    let mut builder = Transcoder::builder(descriptor_pool().clone());
    for service in services {
        builder = builder.service(service, transport.clone());
    }
    builder.build()
}

/// `/openapi.json`, written when somebody asks for it: nobody who starts a mesh waits for it.
fn describe(title: &str, services: Vec<String>) -> Router {
    let info = OpenApiInfo {
        title: format!("Cortex-Prime {title}"),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    };
    let write = move || {
        let names: Vec<&str> = services.iter().map(String::as_str).collect();
        openapi(descriptor_pool(), &names, &info).map(|document| Bytes::from(document.to_string()))
    };
    let document = Arc::new(LazyLock::new(write));
    Router::new().route("/openapi.json", get(move || answer(document.clone())))
}

type Document<F> = LazyLock<Result<Bytes, BuildError>, F>;

async fn answer<F>(document: Arc<Document<F>>) -> impl IntoResponse
where
    F: FnOnce() -> Result<Bytes, BuildError> + Send + Sync + 'static,
{
    let written = tokio::task::spawn_blocking(move || match &**document {
        Ok(document) => document.clone(),
        // The same annotations were read when the server was built.
        Err(error) => Bytes::from(format!("{{\"error\":{:?}}}", error.to_string())),
    });
    let document = written.await.unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], document)
}

fn defect(error: &BuildError) -> Failure {
    Failure::other(format!("the contracts' HTTP annotations are wrong: {error}"))
}
