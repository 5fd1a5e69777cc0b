//! AgentService: which agents there are, and what they can do.

use cortex_proto::cortex::{
    agent::v1::{
        Agent, AgentCapability, GetAgentRequest, GetAgentResponse, ListAgentsRequest,
        ListAgentsResponse, agent_service_server::AgentService,
    },
    manifest::v1::{AgentClosure, ListManifestsRequest, ResolveAgentRequest},
};
use cortex_rpc::{context, outgoing, to_status};
use tonic::{Request, Response, Status};

use super::sessions::agent_not_found;
use crate::clients::Clients;

/// The service.
#[derive(Clone)]
pub(crate) struct Agents {
    pub(crate) clients: Clients,
}

#[tonic::async_trait]
impl AgentService for Agents {
    async fn list_agents(
        &self,
        request: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        let cx = context(&request);
        let request = request.into_inner();
        let query = ListManifestsRequest {
            kind: "Agent".to_owned(),
            page_size: request.page_size,
            page_token: request.page_token,
            ..Default::default()
        };
        let page =
            self.clients.manifests.clone().list_manifests(outgoing(&cx, query)).await?.into_inner();
        let agents = page
            .manifests
            .into_iter()
            .map(|manifest| Agent {
                name: manifest.name,
                summary: manifest.summary,
                ..Default::default()
            })
            .collect();
        Ok(Response::new(ListAgentsResponse { agents, next_page_token: page.next_page_token }))
    }

    async fn get_agent(
        &self,
        request: Request<GetAgentRequest>,
    ) -> Result<Response<GetAgentResponse>, Status> {
        let cx = context(&request);
        let name = request.into_inner().name;
        let query = ResolveAgentRequest { name: name.clone(), ..Default::default() };
        let answer = self
            .clients
            .manifests
            .clone()
            .resolve_agent(outgoing(&cx, query))
            .await
            .map_err(|status| to_status(agent_not_found(name, status)))?;
        let agent = answer.into_inner().closure.map(agent);
        Ok(Response::new(GetAgentResponse { agent }))
    }
}

fn agent(closure: AgentClosure) -> Agent {
    let capability = |kind: &str, name: String, description: String, parameters: String| {
        AgentCapability { kind: kind.to_owned(), name, description, parameters }
    };
    let tools =
        closure.tools.into_iter().map(|t| capability("tool", t.name, t.description, t.parameters));
    let relics = closure
        .relics
        .into_iter()
        .map(|r| capability("relic", r.name, r.description, String::new()));
    let agents = closure
        .agents
        .into_iter()
        .map(|a| capability("agent", a.name, a.description, String::new()));
    let workflows = closure
        .workflows
        .into_iter()
        .map(|w| capability("workflow", w.name, w.description, w.parameters));
    let capabilities = tools.chain(relics).chain(agents).chain(workflows).collect();
    let spec = closure.agent.unwrap_or_default();
    let model = spec.primary.map(|engine| match engine.provider.as_str() {
        "" => engine.model,
        provider => format!("{provider}/{}", engine.model),
    });
    Agent {
        name: spec.name,
        summary: spec.summary,
        description: spec.description,
        model: model.unwrap_or_default(),
        capabilities,
        manifest_digest: closure.digest,
    }
}
