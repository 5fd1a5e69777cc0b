//! Where the other services are: in this process, or at their URLs.

use std::collections::BTreeMap;

use cortex_container::Container;
use cortex_rpc::{Client, Server, Transport};

use super::Built;
use crate::{cli::Service, exit::Failure, settings::Settings};

/// The ways to the other services.
pub struct Peers {
    client: Client,
    local: BTreeMap<Service, Server>,
    remote: BTreeMap<Service, Transport>,
    openai: Option<axum::Router>,
    container: Option<Container>,
}

impl Peers {
    /// Services in this process, none of them built yet.
    pub fn in_process(settings: &Settings) -> Self {
        Self {
            client: Client::new(settings.client.clone()),
            local: BTreeMap::new(),
            remote: BTreeMap::new(),
            openai: None,
            container: None,
        }
    }

    /// Services at their URLs.
    ///
    /// # Errors
    /// A URL that is none.
    pub fn at_urls(settings: &Settings) -> Result<Self, Failure> {
        let mut peers = Self::in_process(settings);
        for service in Service::ALL.into_iter().filter(|&service| service != Service::Gateway) {
            let url = settings.url(service);
            let transport = peers.client.connect([&url]).map_err(|error| {
                Failure::usage(format!("peers.{}: {url}: {error}", service.name()))
            })?;
            peers.remote.insert(service, transport);
        }
        Ok(peers)
    }

    /// Makes a service of this process known to those that are built after it.
    pub fn add(&mut self, built: &Built) {
        self.local.insert(built.service, built.server.clone());
        self.openai = self.openai.take().or_else(|| built.openai.clone());
        self.container = self.container.take().or_else(|| built.container.clone());
    }

    /// The way to a service.
    pub fn get(&self, service: Service) -> Transport {
        match (self.local.get(&service), self.remote.get(&service)) {
            (Some(server), _) => server.transport_for(&self.client),
            (None, Some(transport)) => transport.clone(),
            (None, None) => {
                cortex_rpc::not_offered(&format!("the {} service here", service.name()))
            }
        }
    }

    /// What the container engine lacks, if the container service is in this process.
    ///
    /// # Errors
    /// What is missing and how to get it.
    pub async fn engine(&self) -> Result<(), String> {
        match &self.container {
            Some(container) => container.engine().await.map(drop).map_err(|fault| fault.message),
            None => Ok(()),
        }
    }

    /// The OpenAI-compatible `/v1`, if the llm service is in this process.
    pub fn openai(&self) -> Option<axum::Router> {
        self.openai.clone()
    }
}

/// Asks whether a peer is ready, as a question of readiness.
pub async fn is_ready(name: &'static str, transport: Transport) -> Result<(), String> {
    use tonic_health::pb::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
    };

    let answer = HealthClient::new(transport).check(HealthCheckRequest::default()).await;
    match answer {
        Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => Ok(()),
        Ok(_) => Err(format!("the {name} service is not ready")),
        Err(status) => Err(format!("the {name} service does not answer: {}", status.message())),
    }
}
