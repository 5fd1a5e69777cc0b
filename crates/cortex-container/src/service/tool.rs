//! `cortex.container.v1.ToolService`.

use std::sync::Arc;

use cortex_proto::cortex::container::v1::{
    CancelToolRunRequest, CancelToolRunResponse, ExecuteToolRequest, ExecuteToolResponse,
    GetToolLogsRequest, GetToolLogsResponse, GetToolRunRequest, GetToolRunResponse,
    ReconcileExecutionRequest, ReconcileExecutionResponse, RunToolRequest, RunToolResponse,
    tool_service_server::ToolService,
};
use cortex_rpc::{context, to_status};
use futures::stream::{self, BoxStream, StreamExt as _};
use tonic::{Request, Response, Status};

use crate::{
    convert::{event, execute_command, execution_id, request_id, run_command, tool_run},
    executions::Executions,
};

/// Runs tools for callers.
#[derive(Clone)]
pub(crate) struct Tools {
    executions: Arc<Executions>,
}

impl Tools {
    /// The service over `executions`.
    pub(crate) fn new(executions: Arc<Executions>) -> Self {
        Self { executions }
    }
}

#[tonic::async_trait]
impl ToolService for Tools {
    type ExecuteToolStream = BoxStream<'static, Result<ExecuteToolResponse, Status>>;

    async fn execute_tool(
        &self,
        request: Request<ExecuteToolRequest>,
    ) -> Result<Response<Self::ExecuteToolStream>, Status> {
        let cx = context(&request);
        let command = execute_command(request.into_inner()).map_err(to_status)?;
        let run = self.executions.submit(&cx, command).await.map_err(to_status)?;
        let id = run.execution_id().clone();
        let events = stream::unfold(run.follow(), |mut follower| async move {
            let progress = follower.next().await?;
            Some((progress, follower))
        });
        let events = events.map(move |progress| Ok(event(&id, progress)));
        Ok(Response::new(events.boxed()))
    }

    async fn run_tool(
        &self,
        request: Request<RunToolRequest>,
    ) -> Result<Response<RunToolResponse>, Status> {
        let cx = context(&request);
        let request = request.into_inner();
        let request_id = request_id(&request.request_id).map_err(to_status)?;
        let command = run_command(request).map_err(to_status)?;
        let run = match request_id {
            Some(id) => self.executions.submit_once(&cx, command, id).await,
            None => self.executions.submit(&cx, command).await,
        };
        let ended = run.map_err(to_status)?.end().await;
        Ok(Response::new(RunToolResponse { run: Some(tool_run(&ended)) }))
    }

    async fn get_tool_run(
        &self,
        request: Request<GetToolRunRequest>,
    ) -> Result<Response<GetToolRunResponse>, Status> {
        let cx = context(&request);
        let id = execution_id(&request.get_ref().execution_id).map_err(to_status)?;
        let run = self.executions.get(&cx, &id).await.map_err(to_status)?;
        Ok(Response::new(GetToolRunResponse { run: Some(tool_run(&run)) }))
    }

    async fn get_tool_logs(
        &self,
        request: Request<GetToolLogsRequest>,
    ) -> Result<Response<GetToolLogsResponse>, Status> {
        let cx = context(&request);
        let id = execution_id(&request.get_ref().execution_id).map_err(to_status)?;
        let run = self.executions.get(&cx, &id).await.map_err(to_status)?;
        Ok(Response::new(GetToolLogsResponse { stdout: run.stdout, stderr: run.stderr }))
    }

    async fn cancel_tool_run(
        &self,
        request: Request<CancelToolRunRequest>,
    ) -> Result<Response<CancelToolRunResponse>, Status> {
        let cx = context(&request);
        let id = execution_id(&request.get_ref().execution_id).map_err(to_status)?;
        let run = self.executions.cancel(&cx, &id).await.map_err(to_status)?;
        Ok(Response::new(CancelToolRunResponse {
            status: "cancelled".into(),
            execution_id: id.into(),
            run: Some(tool_run(&run)),
        }))
    }

    async fn reconcile_execution(
        &self,
        request: Request<ReconcileExecutionRequest>,
    ) -> Result<Response<ReconcileExecutionResponse>, Status> {
        let cx = context(&request);
        let id = execution_id(&request.get_ref().execution_id).map_err(to_status)?;
        let run = self.executions.reconcile(&cx, &id).await.map_err(to_status)?;
        Ok(Response::new(ReconcileExecutionResponse { run: Some(tool_run(&run)) }))
    }
}
