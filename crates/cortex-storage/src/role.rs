//! Storage as a role of the binary: open the database, and put the services into a server.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use cortex_core::Clock;
use cortex_proto::cortex::storage::v1::{
    admin_service_server::AdminServiceServer, artifact_service_server::ArtifactServiceServer,
    cache_service_server::CacheServiceServer, history_service_server::HistoryServiceServer,
    journal_service_server::JournalServiceServer, metric_service_server::MetricServiceServer,
    record_service_server::RecordServiceServer, session_service_server::SessionServiceServer,
    state_service_server::StateServiceServer,
};
use cortex_rpc::{ServerBuilder, Transport};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    adapters::{
        blobs, postgres,
        sql::{SqlAdmin, SqlStore},
        sqlite,
    },
    artifact::{Depot, Keeper},
    config::{Location, StorageConfig},
    error::Result,
    ports::ArtifactStore,
    service::{
        AdminApi, ArtifactApi, CacheApi, HistoryApi, JournalApi, MetricApi, RecordApi, SessionApi,
        StateApi,
    },
};

/// The database's file in the data directory.
pub const DATABASE_FILE: &str = "cortex.db";

/// Storage, open. Cloning is cheap; all clones are one.
#[derive(Clone)]
pub struct Storage {
    store: Arc<SqlStore>,
    depot: Depot,
    keeper: Arc<KeeperTask>,
    config: StorageConfig,
    /// One for all servers, since one work of administration runs at a time.
    admin: AdminApi,
}

/// The task that clears away bytes. It ends with its last owner.
struct KeeperTask {
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl KeeperTask {
    fn start(keeper: Keeper) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(keeper.run(stop.clone()));
        Self { stop, task: Mutex::new(Some(task)) }
    }

    async fn end(&self) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "clearing away bytes failed");
        }
    }
}

impl Drop for KeeperTask {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Storage {
    /// Opens the database that `config` names, else `cortex.db` in `data_dir`, which must exist. Needs a
    /// tokio runtime with time. Leases end by `clock`, on PostgreSQL by the database's clock.
    ///
    /// # Errors
    /// `Locked` when another process has the file open, `Io` when it cannot be reached, `Unreachable`
    /// when a server cannot, `Corrupt`, `ReadOnly`, or `Internal` when the database was written by a
    /// program that is too new.
    pub async fn open(
        config: StorageConfig,
        data_dir: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        config.artifacts.place()?;
        let store = match config.postgres.url() {
            Some(url) => postgres::open(url, &config, None).await?,
            None => {
                let path = config.path.clone().unwrap_or_else(|| data_dir.join(DATABASE_FILE));
                sqlite::open(path, &config, clock.clone()).await?
            }
        };
        Self::on(store, config, data_dir, clock).await
    }

    /// As [`Storage::open`], but leases end by `clock` on PostgreSQL too. Every replica must be given the
    /// same one, so this is for tests that move the time.
    ///
    /// # Errors
    /// Those of [`Storage::open`].
    pub async fn open_at(
        config: StorageConfig,
        data_dir: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let Some(url) = config.postgres.url() else {
            return Self::open(config, data_dir, clock).await;
        };
        config.artifacts.place()?;
        let store = postgres::open(url, &config, Some(clock.clone())).await?;
        Self::on(store, config, data_dir, clock).await
    }

    async fn on(
        store: Arc<SqlStore>,
        config: StorageConfig,
        data_dir: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let blobs = blobs::open(&config.artifacts, data_dir, &store.store_id().await?).await?;
        let depot = Depot::new(store.clone(), store.clone(), blobs, &config.artifacts);
        let keeper = Keeper::new(depot.clone(), clock, &config);
        let artifacts = match config.artifacts.place()? {
            None => data_dir.join(blobs::DIRECTORY).display().to_string(),
            Some(Location::Directory(path)) => path.display().to_string(),
            Some(Location::S3 { bucket, prefix }) => format!("s3://{bucket}/{prefix}"),
        };
        let admin = SqlAdmin::new(store.clone(), config.clone());
        let admin =
            AdminApi::new(Arc::new(admin), depot.clone(), artifacts, config.reader_patience.get());
        let keeper = Arc::new(KeeperTask::start(keeper));
        Ok(Self { store, depot, keeper, config, admin })
    }

    /// Adds the services, and the question whether the database answers, to a server.
    #[must_use]
    pub fn add_to(&self, builder: ServerBuilder) -> ServerBuilder {
        let store = Arc::clone(&self.store);
        builder
            .add_service(self.journal())
            .add_service(self.sessions())
            .add_service(self.history())
            .add_service(self.state())
            .add_service(self.records())
            .add_service(self.metrics())
            .add_service(self.cache())
            .add_service(self.artifacts())
            .add_service(self.admin())
            .ready_check("database", move || {
                let store = Arc::clone(&store);
                async move { store.check().await.map_err(|error| error.to_string()) }
            })
    }

    /// A transport to the services without the layers of a server: for tests of other crates.
    pub fn transport(&self) -> Transport {
        self.add_to(cortex_rpc::Server::builder("storage")).build().transport()
    }

    /// JournalService.
    pub fn journal(&self) -> JournalServiceServer<JournalApi> {
        let limits = self.config.limits.clone();
        let api = JournalApi::new(self.store.clone(), limits, self.config.buffers.clone());
        let size = self.message_size();
        JournalServiceServer::new(api)
            .max_decoding_message_size(size)
            .max_encoding_message_size(size)
    }

    /// SessionService.
    pub fn sessions(&self) -> SessionServiceServer<SessionApi> {
        let limits = self.config.limits.clone();
        let api = SessionApi::new(self.store.clone(), self.store.clone(), limits);
        let size = self.message_size();
        SessionServiceServer::new(api)
            .max_decoding_message_size(size)
            .max_encoding_message_size(size)
    }

    /// HistoryService.
    pub fn history(&self) -> HistoryServiceServer<HistoryApi> {
        let limits = self.config.limits.clone();
        let api = HistoryApi::new(self.store.clone(), self.store.clone(), limits);
        let size = self.message_size();
        HistoryServiceServer::new(api)
            .max_decoding_message_size(size)
            .max_encoding_message_size(size)
    }

    /// StateService.
    pub fn state(&self) -> StateServiceServer<StateApi> {
        let limits = self.config.limits.clone();
        let api = StateApi::new(self.store.clone(), self.store.clone(), limits);
        let size = self.message_size();
        StateServiceServer::new(api).max_decoding_message_size(size).max_encoding_message_size(size)
    }

    /// RecordService.
    pub fn records(&self) -> RecordServiceServer<RecordApi> {
        let api = RecordApi::new(self.store.clone(), self.config.limits.clone());
        let size = self.message_size();
        RecordServiceServer::new(api)
            .max_decoding_message_size(size)
            .max_encoding_message_size(size)
    }

    /// ArtifactService.
    pub fn artifacts(&self) -> ArtifactServiceServer<ArtifactApi> {
        let api = ArtifactApi::new(self.depot.clone(), self.config.limits.clone());
        let size = self.message_size();
        ArtifactServiceServer::new(api)
            .max_decoding_message_size(size)
            .max_encoding_message_size(size)
    }

    /// MetricService.
    pub fn metrics(&self) -> MetricServiceServer<MetricApi> {
        let api = MetricApi::new(self.store.clone(), self.config.limits.clone());
        let size = self.message_size();
        MetricServiceServer::new(api)
            .max_decoding_message_size(size)
            .max_encoding_message_size(size)
    }

    /// CacheService.
    pub fn cache(&self) -> CacheServiceServer<CacheApi> {
        let api = CacheApi::new(self.store.clone(), self.config.limits.clone());
        let size = self.message_size();
        CacheServiceServer::new(api).max_decoding_message_size(size).max_encoding_message_size(size)
    }

    /// AdminService.
    pub fn admin(&self) -> AdminServiceServer<AdminApi> {
        let size = self.message_size();
        AdminServiceServer::new(self.admin.clone())
            .max_decoding_message_size(size)
            .max_encoding_message_size(size)
    }

    /// Refuses new writes, finishes those that wait, and closes the database. Watches end with
    /// UNAVAILABLE.
    pub async fn close(&self) {
        self.keeper.end().await;
        self.store.close().await;
    }

    fn message_size(&self) -> usize {
        self.config.limits.request.as_usize()
    }
}
