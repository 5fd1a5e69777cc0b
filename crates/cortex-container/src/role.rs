//! The container service, built from its settings and the services that it calls.

use std::{sync::Arc, time::Duration};

use cortex_core::{ClaimantId, Fault};
use cortex_proto::cortex::container::v1::{
    engine_service_server::{EngineService, EngineServiceServer},
    tool_service_server::{ToolService, ToolServiceServer},
};
use cortex_rpc::{Router, Transport, not_offered};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    adapters::{DockerEngine, JournalLedger, ManifestRegistry, RecordIntents},
    config::ContainerConfig,
    error::ContainerError,
    executions::{Executions, Outside},
    ports::Incarnation,
    service::{Engines, Tools},
};

/// Bytes of a request at most: parameters of 4 MiB and what is around them.
const MAX_REQUEST: usize = 8 << 20;

/// The container service. Its gRPC services answer calls; [`Container::run`] keeps it tidy.
///
/// It starts without an engine: each call then says what is missing, and the first one after an
/// engine is there works.
#[derive(Clone)]
pub struct Container {
    executions: Arc<Executions>,
}

impl Container {
    /// The service over `storage` and `manifest`: a new incarnation of `config.instance`.
    pub fn new(config: ContainerConfig, storage: Transport, manifest: Transport) -> Self {
        let incarnation =
            Incarnation { instance: config.instance.clone(), claimant: ClaimantId::generate() };
        let engine = DockerEngine::new(
            config.docker_host.clone(),
            config.engine_timeout.get(),
            config.image_timeout.get(),
        );
        tracing::info!(
            instance = incarnation.instance,
            claimant = %incarnation.claimant,
            engine = engine.host(),
            "container service"
        );
        let outside = Outside {
            engine: Arc::new(engine),
            ledger: Arc::new(JournalLedger::new(storage.clone(), incarnation.clone())),
            intents: Arc::new(RecordIntents::new(storage, incarnation.clone())),
            registry: Arc::new(ManifestRegistry::new(manifest)),
        };
        Self { executions: Executions::new(config, outside, incarnation) }
    }

    /// `cortex.container.v1.ToolService`.
    pub fn tool_service(&self) -> ToolServiceServer<impl ToolService + Clone + use<>> {
        ToolServiceServer::new(Tools::new(Arc::clone(&self.executions)))
            .max_decoding_message_size(MAX_REQUEST)
            .max_encoding_message_size(MAX_REQUEST)
    }

    /// `cortex.container.v1.EngineService`.
    pub fn engine_service(&self) -> EngineServiceServer<impl EngineService + Clone + use<>> {
        EngineServiceServer::new(Engines::new(Arc::clone(&self.executions)))
    }

    /// The services whose contracts stand and whose work is not offered yet: each call says so.
    pub fn not_offered() -> Router {
        Router::new()
            .route("cortex.container.v1.RelicService", not_offered("relics"))
            .route("cortex.container.v1.ImageService", not_offered("the management of images"))
    }

    /// Sweeps up what former incarnations left, at once and from time to time, until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        Arc::clone(&self.executions).keep_sweeping(stop).await;
    }

    /// Takes no more runs; those that there are may go on for `grace`, then they are stopped.
    /// Returns when their outcomes are recorded, as far as the engine and storage answer.
    pub async fn drain(&self, grace: Duration) {
        self.executions.drain(Instant::now() + grace).await;
    }

    /// Whether an engine answers, and which: for `cortex up`, `cortex health` and readiness.
    ///
    /// # Errors
    /// ENGINE_UNAVAILABLE, with how to get one.
    pub async fn engine(&self) -> Result<String, Fault> {
        let version = self.executions.engine().version().await.map_err(ContainerError::from)?;
        Ok(format!("Docker Engine {} (API {})", version.version, version.api_version))
    }

    /// Runs that wait or run.
    pub fn active_runs(&self) -> usize {
        self.executions.admitted()
    }
}
