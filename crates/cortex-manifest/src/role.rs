//! Builds the service from its configuration and the storage service.

use std::{collections::BTreeMap, sync::Arc};

use cortex_core::Clock;
use cortex_proto::cortex::manifest::v1::manifest_service_server::ManifestServiceServer;
use cortex_rpc::Transport;
use tokio_util::sync::CancellationToken;

use crate::{
    adapters::{Directory, Embedded, Records},
    applied::{self, Applied},
    config::ManifestConfig,
    error::RegistryError,
    kind::ManifestRef,
    ports::{AppliedStore, Files},
    registry::{Registry, blocking},
    service::Manifests,
    watcher,
};

/// Bytes of a request at most: a whole registry to import.
const MAX_REQUEST: usize = 64 << 20;

/// The manifest service. Cloning is cheap; clones share one registry.
#[derive(Clone)]
pub struct ManifestRole {
    service: Manifests,
    config: Arc<ManifestConfig>,
    /// Whether what storage keeps has been read.
    stored: bool,
}

impl ManifestRole {
    /// Loads the registry: `manifest.root`, over `embedded` (what comes with the binary, by path),
    /// under what was applied before and is kept in `storage`.
    ///
    /// A directory that is not there and storage that does not answer are no errors here when there
    /// is something else to serve: [`ManifestRole::run`] looks for them again. `environment` is the
    /// process's, of which manifests see what `manifest.environment` lists.
    ///
    /// # Errors
    /// [`RegistryError::Directory`] when `manifest.root` cannot be read;
    /// [`RegistryError::Outside`] for an embedded path that leads out of its root.
    pub async fn open(
        config: ManifestConfig,
        embedded: Vec<(String, Vec<u8>)>,
        storage: Option<Transport>,
        environment: Vec<(String, String)>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RegistryError> {
        let store: Option<Arc<dyn AppliedStore>> =
            storage.map(|storage| Arc::new(Records::new(storage)) as Arc<dyn AppliedStore>);
        let (kept, stored) = kept(store.as_deref()).await;
        let config = Arc::new(config);
        let (opened, settings) = (clock.clone(), config.clone());
        let registry = blocking(move || {
            let layers = layers(&settings, embedded)?;
            Registry::open(&settings, layers, environment, kept, opened)
        });
        let registry = Arc::new(registry.await?);
        let service = Manifests { registry, applied: Applied::new(store), clock };
        Ok(Self { service, config, stored })
    }

    /// Keeps the registry in step with the directory and storage until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let Manifests { registry, applied, .. } = self.service.clone();
        watcher::run(&self.config, registry, applied, self.stored, stop).await;
    }

    /// `cortex.manifest.v1.ManifestService`.
    pub fn manifest_service(&self) -> ManifestServiceServer<Manifests> {
        ManifestServiceServer::new(self.service.clone()).max_decoding_message_size(MAX_REQUEST)
    }
}

/// The layers of the tree, the strongest first.
fn layers(
    config: &ManifestConfig,
    embedded: Vec<(String, Vec<u8>)>,
) -> Result<Vec<Arc<dyn Files>>, RegistryError> {
    let mut layers: Vec<Arc<dyn Files>> = Vec::new();
    if let Some(root) = &config.root {
        let import_roots = config.import_roots.iter().map(Into::into).collect();
        layers.push(Arc::new(Directory::new(root, import_roots)));
    }
    if !embedded.is_empty() || layers.is_empty() {
        layers.push(Arc::new(Embedded::new(embedded)?));
    }
    Ok(layers)
}

/// What storage keeps, and whether it could be read.
async fn kept(store: Option<&dyn AppliedStore>) -> (BTreeMap<ManifestRef, String>, bool) {
    let Some(store) = store else { return (BTreeMap::new(), true) };
    match applied::read(store).await {
        Ok(kept) => (kept, true),
        Err(error) => {
            tracing::warn!(%error, "applied manifests are not there yet");
            (BTreeMap::new(), false)
        }
    }
}
