//! The agent service, built from its settings and the services that it calls.

use std::sync::Arc;

use cortex_proto::cortex::agent::v1::{
    agent_service_server::AgentServiceServer, session_service_server::SessionServiceServer,
    turn_service_server::TurnServiceServer,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clients::Clients,
    closures::Closures,
    config::AgentConfig,
    holder::Holder,
    service::{Agents, Sessions, Turns},
};

/// The agent service. Its gRPC services answer calls; [`Conductor::run`] works on sessions.
#[derive(Clone)]
pub struct Conductor {
    clients: Clients,
    closures: Closures,
    config: Arc<AgentConfig>,
    holder: Holder,
}

/// Bytes of a request at most: a message of 4 MiB and what is around it.
const MAX_REQUEST: usize = 8 << 20;

impl Conductor {
    /// The service over clients of the others.
    pub fn new(config: AgentConfig, clients: Clients) -> Self {
        let config = Arc::new(config);
        let closures = Closures::new(clients.clone());
        let holder = Holder::new(clients.clone(), closures.clone(), config.clone());
        Self { clients, closures, config, holder }
    }

    /// Takes runnable sessions and works on them until `stop`, then drains and gives them back.
    pub async fn run(&self, stop: CancellationToken) {
        self.holder.clone().run(stop).await;
    }

    /// Sessions that this process works on now.
    pub fn active_sessions(&self) -> usize {
        self.holder.active()
    }

    /// `cortex.agent.v1.SessionService`.
    pub fn session_service(
        &self,
    ) -> SessionServiceServer<
        impl cortex_proto::cortex::agent::v1::session_service_server::SessionService + Clone,
    > {
        SessionServiceServer::new(Sessions {
            clients: self.clients.clone(),
            closures: self.closures.clone(),
            config: self.config.clone(),
        })
        .max_decoding_message_size(MAX_REQUEST)
    }

    /// `cortex.agent.v1.TurnService`.
    pub fn turn_service(
        &self,
    ) -> TurnServiceServer<
        impl cortex_proto::cortex::agent::v1::turn_service_server::TurnService + Clone,
    > {
        TurnServiceServer::new(Turns { clients: self.clients.clone(), config: self.config.clone() })
            .max_decoding_message_size(MAX_REQUEST)
    }

    /// `cortex.agent.v1.AgentService`.
    pub fn agent_service(
        &self,
    ) -> AgentServiceServer<
        impl cortex_proto::cortex::agent::v1::agent_service_server::AgentService + Clone,
    > {
        AgentServiceServer::new(Agents { clients: self.clients.clone() })
    }
}
