//! The storage service.

use std::{path::Path, sync::Arc};

use cortex_core::SystemClock;
use cortex_rpc::Server;
use cortex_storage::Storage;

use super::{Built, Parts, http};
use crate::{cli::Service, data_dir::DataDir, exit::Failure};

/// Builds it on the data directory.
pub async fn build(parts: &Parts<'_>) -> Result<Built, Failure> {
    let directory = parts.data_dir.map_or(Path::new("."), DataDir::path);
    let storage = Storage::open(parts.settings.storage.clone(), directory, Arc::new(SystemClock))
        .await
        .map_err(|error| Failure::other(format!("storage: {}", cortex_rpc::chain(&error))))?;
    let builder = storage.add_to(Server::builder("storage").config(parts.settings.server.clone()));
    let builder = http::with_json(builder, "storage", &http::of_package("cortex.storage.v1"))?;
    let mut built = Built::new(Service::Storage, builder.build());
    built.close = Some(Box::pin(async move { storage.close().await }));
    Ok(built)
}
