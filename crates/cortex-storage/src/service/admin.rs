//! AdminService.

use std::{sync::Arc, time::Duration};

use cortex_rpc::to_status;
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Answers, attended::attended, scope_of};
use crate::{
    admin::{self, CheckEvent, MigrateEvent, Outlet, PruneEvent},
    artifact::Depot,
    convert::{
        self, check_to_proto, migrate_to_proto, piece_to_proto, proto, prune_to_proto,
        restored_to_proto, stats_to_proto,
    },
    error::{Result as StorageResult, StorageError},
    ports::AdminStore,
    tenant::Scope,
};

/// AdminService on a store. Long work belongs to the stream that tells of it: it goes on only while
/// somebody reads, and ends with the stream.
#[derive(Clone)]
pub struct AdminApi {
    store: Arc<dyn AdminStore>,
    depot: Depot,
    /// Where the bytes of artifacts are, for people.
    artifacts: String,
    /// How long a reader may take for an answer.
    patience: Duration,
}

impl AdminApi {
    /// The service on `store` and the bytes of artifacts in `depot`, which are at `artifacts`. A work of
    /// which nobody takes the next answer for `patience` is given up.
    pub fn new(
        store: Arc<dyn AdminStore>,
        depot: Depot,
        artifacts: String,
        patience: Duration,
    ) -> Self {
        Self { store, depot, artifacts, patience }
    }

    /// What `work` tells, converted, and its error if it ends with one.
    fn told<T, U, F>(&self, work: impl FnOnce(Outlet<T>) -> F, convert: fn(T) -> U) -> Answers<U>
    where
        T: Send + 'static,
        U: Send + 'static,
        F: Future<Output = StorageResult<()>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(1);
        let work = work(Outlet::new(sender));
        let events = ReceiverStream::new(receiver).map(move |event| Some(Ok(convert(event))));
        let end =
            stream::once(work).map(|outcome| outcome.err().map(|error| Err(to_status(error))));
        let answers = stream::select(events, end).filter_map(std::future::ready).boxed();
        attended(answers, self.patience)
    }
}

/// The message of a request by somebody who may look at the installation as a whole: while nobody is
/// authenticated anybody, and then who acts for the installation rather than for a tenant or a user.
fn of_administrator<T>(request: Request<T>) -> Result<T, Status> {
    match scope_of(&request) {
        Scope::Every => Ok(request.into_inner()),
        Scope::One(_) => Err(to_status(StorageError::NotAdministrator)),
    }
}

/// The bytes of an upload, from the first message on. Each must come in the time that uploads have.
fn bytes_of(
    depot: Depot,
    first: proto::RestoreStorageRequest,
    rest: Streaming<proto::RestoreStorageRequest>,
) -> impl Stream<Item = StorageResult<bytes::Bytes>> + Send {
    let data = |request: proto::RestoreStorageRequest| request.content.unwrap_or_default().data;
    let broken = |status: Status| StorageError::BackupInvalid {
        detail: format!("the upload broke off: {}", status.message()),
    };
    let rest = stream::try_unfold((depot, rest), move |(depot, mut rest)| async move {
        let next = depot.next(rest.message()).await?.map_err(broken)?;
        Ok(next.map(|request| (data(request), (depot, rest))))
    });
    stream::once(async move { Ok(data(first)) }).chain(rest)
}

#[tonic::async_trait]
impl proto::admin_service_server::AdminService for AdminApi {
    type BackupStorageStream = Answers<proto::BackupStorageResponse>;
    type CheckStorageStream = Answers<proto::CheckStorageResponse>;
    type MigrateStorageStream = Answers<proto::MigrateStorageResponse>;
    type PruneStorageStream = Answers<proto::PruneStorageResponse>;

    async fn get_storage_stats(
        &self,
        request: Request<proto::GetStorageStatsRequest>,
    ) -> Result<Response<proto::GetStorageStatsResponse>, Status> {
        of_administrator(request)?;
        let stats = self.store.stats().await.map_err(to_status)?;
        let stats = Some(stats_to_proto(stats, &self.artifacts));
        Ok(Response::new(proto::GetStorageStatsResponse { stats }))
    }

    async fn backup_storage(
        &self,
        request: Request<proto::BackupStorageRequest>,
    ) -> Result<Response<Self::BackupStorageStream>, Status> {
        let without_artifacts = of_administrator(request)?.without_artifacts;
        let admitted = self.store.admit("backup").await.map_err(to_status)?;
        let (store, depot) = (Arc::clone(&self.store), self.depot.clone());
        let work = move |out| async move {
            let _admitted = admitted;
            let depot = Some(&depot).filter(|_| !without_artifacts);
            admin::backup(&*store, depot, &out).await
        };
        Ok(Response::new(self.told(work, piece_to_proto)))
    }

    async fn restore_storage(
        &self,
        request: Request<Streaming<proto::RestoreStorageRequest>>,
    ) -> Result<Response<proto::RestoreStorageResponse>, Status> {
        let mut requests = of_administrator(request)?;
        let first = requests.message().await?.unwrap_or_default();
        let options = convert::restore_options(&first).map_err(to_status)?;
        let _admitted = self.store.admit("restore").await.map_err(to_status)?;
        let valid = options.validate_only;
        let bytes = bytes_of(self.depot.clone(), first, requests);
        let restored = admin::restore(&*self.store, &self.depot, options, bytes).await;
        let restored = restored.map_err(to_status)?;
        if !valid {
            tracing::info!(rows = ?restored.rows, "the installation was restored from a backup");
        }
        Ok(Response::new(restored_to_proto(restored, valid)))
    }

    async fn check_storage(
        &self,
        request: Request<proto::CheckStorageRequest>,
    ) -> Result<Response<Self::CheckStorageStream>, Status> {
        let full = of_administrator(request)?.full;
        let admitted = self.store.admit("check").await.map_err(to_status)?;
        let (store, depot) = (Arc::clone(&self.store), self.depot.clone());
        let work = move |out: Outlet<CheckEvent>| async move {
            let _admitted = admitted;
            let mut checked = store.check(full, &out).await?;
            admin::check_bytes(&*store, &depot, full, &mut checked, &out).await?;
            out.tell(CheckEvent::Completed(checked)).await
        };
        Ok(Response::new(self.told(work, check_to_proto)))
    }

    async fn migrate_storage(
        &self,
        request: Request<proto::MigrateStorageRequest>,
    ) -> Result<Response<Self::MigrateStorageStream>, Status> {
        let request = of_administrator(request)?;
        let url = convert::target_url(&request.target_url).map_err(to_status)?.to_owned();
        let admitted = self.store.admit("migration").await.map_err(to_status)?;
        let store = Arc::clone(&self.store);
        let work = move |out: Outlet<MigrateEvent>| async move {
            let _admitted = admitted;
            let migrated = admin::migrate(&store, &url, request.validate_only, &out).await?;
            out.tell(MigrateEvent::Completed(migrated)).await
        };
        Ok(Response::new(self.told(work, migrate_to_proto)))
    }

    async fn prune_storage(
        &self,
        request: Request<proto::PruneStorageRequest>,
    ) -> Result<Response<Self::PruneStorageStream>, Status> {
        let plan = convert::prune_plan(&of_administrator(request)?).map_err(to_status)?;
        let admitted = self.store.admit("pruning").await.map_err(to_status)?;
        let store = Arc::clone(&self.store);
        let work = move |out: Outlet<PruneEvent>| async move {
            let _admitted = admitted;
            let pruned = store.prune(&plan, &out).await?;
            out.tell(PruneEvent::Completed(pruned)).await
        };
        Ok(Response::new(self.told(work, prune_to_proto)))
    }
}
