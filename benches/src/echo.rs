//! A service that answers at once: what a call costs is then the way to it and back.

use cortex_proto::cortex::agent::v1::{
    Agent, GetAgentRequest, GetAgentResponse, ListAgentsRequest, ListAgentsResponse,
    agent_service_server::AgentService,
};
use tonic::{Request, Response, Status};

/// Answers with an agent that has the name that was asked for, whatever it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Echo;

#[tonic::async_trait]
impl AgentService for Echo {
    async fn list_agents(
        &self,
        _request: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        Ok(Response::new(ListAgentsResponse::default()))
    }

    async fn get_agent(
        &self,
        request: Request<GetAgentRequest>,
    ) -> Result<Response<GetAgentResponse>, Status> {
        let agent = Agent { name: request.into_inner().name, ..Agent::default() };
        Ok(Response::new(GetAgentResponse { agent: Some(agent) }))
    }
}
