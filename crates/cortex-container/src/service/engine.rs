//! `cortex.container.v1.EngineService`.

use std::{sync::Arc, time::SystemTime};

use cortex_proto::cortex::container::v1::{
    CleanupNetworksRequest, CleanupNetworksResponse, CleanupOrphansRequest, CleanupOrphansResponse,
    CleanupSessionRequest, CleanupSessionResponse, GetContainerStatsRequest,
    GetContainerStatsResponse, GetEngineRequest, GetEngineResponse, ListContainerStatsRequest,
    ListContainerStatsResponse, engine_service_server::EngineService,
};
use cortex_rpc::{CallContext, context, to_status};
use tonic::{Request, Response, Status};

use crate::{
    convert::{StatsPage, container_id, container_stats, engine, orphan, session_id, stats_page},
    error::ContainerError,
    executions::Executions,
    observe::Observer,
    ports::ContainerSummary,
    sandbox::label,
};

/// Tells of the engine, and tidies it up.
#[derive(Clone)]
pub(crate) struct Engines {
    executions: Arc<Executions>,
    observer: Arc<Observer>,
}

impl Engines {
    /// The service over `executions`.
    pub(crate) fn new(executions: Arc<Executions>) -> Self {
        Self { executions, observer: Arc::default() }
    }

    /// The caller's containers, by name.
    async fn containers(&self, cx: &CallContext) -> Result<Vec<ContainerSummary>, ContainerError> {
        let mut containers = self.executions.containers().await?;
        let tenant = cx.identity.tenant();
        containers.retain(|container| {
            container.labels.get(label::TENANT).is_some_and(|owner| owner == tenant)
        });
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    async fn describe(&self) -> cortex_proto::cortex::container::v1::Engine {
        let executions = &self.executions;
        let found = async {
            let engine = executions.engine();
            let (version, capabilities) =
                tokio::try_join!(engine.version(), engine.capabilities())?;
            Ok::<_, ContainerError>((version, capabilities, executions.containers().await?.len()))
        };
        engine(found.await, executions.occupancy(), executions.may_pull(), SystemTime::now())
    }

    async fn list(
        &self,
        cx: &CallContext,
        page: StatsPage,
    ) -> Result<ListContainerStatsResponse, ContainerError> {
        let mut containers = self.containers(cx).await?;
        containers.retain(|container| page.wants(container));
        let (containers, next_page_token) = page.cut(containers);
        let usage = self.observer.look(self.executions.engine(), containers).await?;
        let stats = usage.iter().map(container_stats).collect();
        Ok(ListContainerStatsResponse { stats, next_page_token })
    }

    async fn clean(
        &self,
        cx: &CallContext,
        session_id: String,
        force: bool,
    ) -> Result<CleanupSessionResponse, ContainerError> {
        let mut containers_removed = 0;
        let mut errors = Vec::new();
        let mut left = 0;
        for run in self.executions.active_in(cx, &session_id) {
            if !force {
                left += 1;
                continue;
            }
            let ended = self.executions.cancel(cx, run.execution_id()).await;
            match ended {
                Ok(_) => containers_removed += 1,
                Err(error) => errors.push(format!("{}: {error}", run.execution_id())),
            }
        }
        if left > 0 {
            errors.push(format!(
                "{left} tools still run; they are removed when they end, or with force"
            ));
        }
        Ok(CleanupSessionResponse { session_id, containers_removed, errors, ..Default::default() })
    }
}

#[tonic::async_trait]
impl EngineService for Engines {
    async fn get_engine(
        &self,
        _: Request<GetEngineRequest>,
    ) -> Result<Response<GetEngineResponse>, Status> {
        Ok(Response::new(GetEngineResponse { engine: Some(self.describe().await) }))
    }

    async fn list_container_stats(
        &self,
        request: Request<ListContainerStatsRequest>,
    ) -> Result<Response<ListContainerStatsResponse>, Status> {
        let cx = context(&request);
        let page = stats_page(request.into_inner()).map_err(to_status)?;
        self.list(&cx, page).await.map(Response::new).map_err(to_status)
    }

    async fn get_container_stats(
        &self,
        request: Request<GetContainerStatsRequest>,
    ) -> Result<Response<GetContainerStatsResponse>, Status> {
        let cx = context(&request);
        let id = container_id(&request.get_ref().container_id).map_err(to_status)?;
        let mut containers = self.containers(&cx).await.map_err(to_status)?;
        containers.retain(|container| container.id == id);
        let engine = self.executions.engine();
        let usage = self.observer.look(engine, containers).await.map_err(to_status)?;
        let missing = || ContainerError::ContainerNotFound { container_id: id.as_str().into() };
        let usage = usage.first().ok_or_else(missing).map_err(to_status)?;
        Ok(Response::new(GetContainerStatsResponse { stats: Some(container_stats(usage)) }))
    }

    async fn cleanup_session(
        &self,
        request: Request<CleanupSessionRequest>,
    ) -> Result<Response<CleanupSessionResponse>, Status> {
        let cx = context(&request);
        let request = request.into_inner();
        let session = session_id(&request.session_id).map_err(to_status)?;
        let cleaned = self.clean(&cx, session.into(), request.force).await;
        cleaned.map(Response::new).map_err(to_status)
    }

    async fn cleanup_networks(
        &self,
        _: Request<CleanupNetworksRequest>,
    ) -> Result<Response<CleanupNetworksResponse>, Status> {
        // Sessions have no networks yet: there is nothing to remove.
        Ok(Response::new(CleanupNetworksResponse {
            status: "completed".into(),
            networks_removed: 0,
        }))
    }

    async fn cleanup_orphans(
        &self,
        request: Request<CleanupOrphansRequest>,
    ) -> Result<Response<CleanupOrphansResponse>, Status> {
        let cx = context(&request);
        let orphans = self.executions.orphans().await.map_err(to_status)?;
        let mut errors = Vec::new();
        if !request.get_ref().validate_only
            && let Err(error) = self.executions.sweep(&cx).await
        {
            errors.push(error.to_string());
        }
        let removed = orphans.iter().map(orphan).collect();
        Ok(Response::new(CleanupOrphansResponse { removed, errors }))
    }
}
