//! The mesh: how services are served and called.
//!
//! Arrows: cortex-core, cortex-config, cortex-proto, cortex-telemetry. tonic stays behind this crate.
//!
//! | what | where |
//! |---|---|
//! | the seam between caller and service | [`Transport`], [`local`], [`remote`] |
//! | serve | [`Server`], [`ServerBuilder`], [`ServerConfig`], [`shutdown_on_signal`] |
//! | call | [`Client`], [`ClientConfig`], [`outgoing`] |
//! | forward undecoded, call with encoded messages | [`Router`], [`RawCodec`] |
//! | what travels with a call | [`CallContext`], [`context`], [`Identity`] |
//! | errors | [`to_status`], [`status()`], and back: [`fault`], [`reason`], [`retry_after`] |
//!
//! A service, its errors, a call to a peer, and the server:
//!
//! ```
//! use cortex_core::Fault;
//! use cortex_rpc::{Client, ClientConfig, Server, Transport, context, outgoing, to_status};
//! use tonic::{Request, Response, Status};
//! use tonic_health::pb::{
//!     HealthCheckRequest, HealthCheckResponse, health_client::HealthClient,
//! };
//!
//! #[derive(Debug, thiserror::Error)]
//! enum Error {
//!     #[error("session {0} does not exist")]
//!     NoSession(String),
//! }
//!
//! impl From<Error> for Fault {
//!     fn from(error: Error) -> Self {
//!         match &error {
//!             Error::NoSession(id) => Fault::not_found("SESSION_NOT_FOUND", error.to_string())
//!                 .with_resource("session", id),
//!         }
//!     }
//! }
//!
//! struct Service {
//!     peer: HealthClient<Transport>,
//! }
//!
//! impl Service {
//!     // As in a tonic trait's method.
//!     async fn get(
//!         &self,
//!         request: Request<HealthCheckRequest>,
//!     ) -> Result<Response<HealthCheckResponse>, Status> {
//!         let cx = context(&request); // identity, request id, deadline, trace, hops
//!         find(&cx.identity.tenant()).map_err(to_status)?;
//!         let call = outgoing(&cx, HealthCheckRequest::default());
//!         self.peer.clone().check(call).await
//!     }
//! }
//! # fn find(_: &str) -> Result<(), Error> { Ok(()) }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder("storage")
//!     // .add_service(JournalServiceServer::new(..))
//!     // .fallback(|transport| Transcoder::new(.., transport))
//!     // .routes(axum::Router::new().route(..))
//!     .ready_check("database", || async { Ok(()) })
//!     .build();
//!
//! // In this process:
//! let mut health = HealthClient::new(server.transport());
//! health.check(HealthCheckRequest::default()).await?;
//!
//! // Over a socket:
//! let listening = server.bind("127.0.0.1:0".parse()?).await?;
//! let url = format!("http://{}", listening.address());
//! let stop = tokio_util::sync::CancellationToken::new();
//! let serving = tokio::spawn(listening.serve(stop.clone().cancelled_owned()));
//! let transport = Client::connect_lazy([url], ClientConfig::default())?;
//! HealthClient::new(transport).check(HealthCheckRequest::default()).await?;
//! stop.cancel();
//! serving.await?;
//! # Ok(())
//! # }
//! ```

mod body;
mod client;
mod codec;
mod context;
mod descriptors;
mod http_error;
mod layer;
mod method;
mod not_offered;
mod router;
mod server;
mod status;
mod transport;

pub use client::{BreakerConfig, Client, ClientConfig, ClientError, RetryConfig};
pub use codec::RawCodec;
pub use context::{
    CallContext, DEFAULT_TENANT, HOPS, Identity, Peer, REQUEST_ID, TENANT, TRACEPARENT, USER,
    context, outgoing,
};
pub use http_error::http_error;
pub use layer::{Authenticator, OpenAccess};
pub use method::{DEFAULT_UNARY_DEADLINE, Drains, Method, MethodTable};
pub use not_offered::not_offered;
pub use router::Router;
pub use server::{
    BindError, Check, Drain, DrainConfig, Listening, Server, ServerBuilder, ServerConfig, Stopped,
    shutdown_on_signal,
};
pub use status::{
    ERROR_DOMAIN, chain, code, fault, kind, reason, reason_text, request_id, retry_after, status,
    to_status,
};
pub use transport::{Transport, TransportError, local, remote};
