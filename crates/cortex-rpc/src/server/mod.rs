//! The server side of the mesh: services, their layers, their listeners.

mod accept;
mod builder;
mod config;
mod drain;
mod guard;
mod health;
mod http;
mod io;
mod mux;
mod reflection;
mod signals;
mod uploads;

use std::{net::SocketAddr, sync::Arc};

use cortex_telemetry::Metrics;

pub use accept::{BindError, Listening, Stopped};
pub use builder::ServerBuilder;
pub(crate) use config::window;
pub use config::{DrainConfig, ServerConfig};
pub use drain::Drain;
pub use health::Check;
pub use signals::shutdown_on_signal;

use crate::{
    client::Client, layer::StripExtensions, router::Router, server::mux::Mux, transport::Transport,
};

/// A service's gRPC and HTTP sides with all their layers, before and independent of any socket.
/// Cloning is cheap, and clones are the same server.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use cortex_rpc::{Server, ServerConfig};
///
/// let server = Server::builder("storage").config(ServerConfig::default()).build();
/// let in_process = server.transport();
/// let listening = server.bind("127.0.0.1:8084".parse()?).await?;
/// listening.serve(cortex_rpc::shutdown_on_signal()).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Server(Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    name: Box<str>,
    config: ServerConfig,
    services: Vec<String>,
    transport: Transport,
    /// The server's layers without a client's.
    grpc: Transport,
    mux: Mux,
    drain: Drain,
    metrics: Metrics,
}

impl Server {
    /// Begins a server for the service `name`, for example `storage`.
    pub fn builder(name: &str) -> ServerBuilder {
        ServerBuilder::new(name)
    }

    /// The way to the services from within the process: the same layers as a call over a socket
    /// meets, on both sides.
    pub fn transport(&self) -> Transport {
        self.0.transport.clone()
    }

    /// As [`Server::transport`], with the limits and metrics of `client` in place of default ones.
    pub fn transport_for(&self, client: &Client) -> Transport {
        client.layers_to(StripExtensions::new(self.0.grpc.clone()))
    }

    /// A router that leads to each of the product's services here (not health and reflection, which
    /// every server has) through [`Server::transport`].
    pub fn router(&self) -> Router {
        let names = self.0.services.iter().filter(|name| !name.starts_with("grpc."));
        names.fold(Router::new(), |router, name| router.route(name, self.transport()))
    }

    /// The service's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The full names of the gRPC services here, health and reflection included.
    pub fn services(&self) -> &[String] {
        &self.0.services
    }

    /// The service's metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The phases of the server's stop.
    pub fn drain(&self) -> &Drain {
        &self.0.drain
    }

    /// Takes an address. Nothing is accepted before [`Listening::serve`]. A server may listen on
    /// several addresses; they stop together.
    ///
    /// # Errors
    /// [`BindError`] when the address cannot be had.
    pub async fn bind(&self, address: SocketAddr) -> Result<Listening, BindError> {
        Listening::bind(self.0.clone(), address).await
    }

    /// Answers one HTTP request as a listener would, gRPC included. `peer` is where it came from.
    pub async fn answer(
        &self,
        request: ::http::Request<tonic::body::Body>,
        peer: crate::Peer,
    ) -> ::http::Response<tonic::body::Body> {
        self.0.mux.answer(request, peer).await
    }
}
