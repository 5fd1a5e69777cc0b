//! JSON over HTTP for the gRPC services of a server, and the description of both.

use cortex_proto::descriptor_pool;
use cortex_rpc::{ServerBuilder, Transport};
use cortex_transcode::{BuildError, Transcoder};

use crate::exit::Failure;

/// Adds JSON for the services named, and `/openapi.json`.
///
/// # Errors
/// An annotation that does not fit its contract: a defect of the build.
pub fn with_json(
    builder: ServerBuilder,
    _title: &str,
    services: &[String],
) -> Result<ServerBuilder, Failure> {
    // Checked here, so that the closure below has nothing left to refuse.
    transcoder(services, &cortex_rpc::not_offered("JSON"))?;
    let services = services.to_vec();
    Ok(builder
        .fallback(move |transport| transcoder(&services, &transport).unwrap_or_else(|_| empty())))
}

/// The names of a package's services.
pub fn of_package(package: &str) -> Vec<String> {
    descriptor_pool()
        .services()
        .filter(|service| service.package_name() == package)
        .map(|service| service.full_name().to_owned())
        .collect()
}

fn transcoder(services: &[String], transport: &Transport) -> Result<Transcoder, Failure> {
    let mut builder = Transcoder::builder(descriptor_pool().clone());
    for service in services {
        builder = builder.service(service, transport.clone());
    }
    builder.build().map_err(|error| defect(&error))
}

fn empty() -> Transcoder {
    Transcoder::builder(descriptor_pool().clone())
        .build()
        .expect("nothing can be wrong with no service")
}

fn defect(error: &BuildError) -> Failure {
    Failure::other(format!("the contracts' HTTP annotations are wrong: {error}"))
}
