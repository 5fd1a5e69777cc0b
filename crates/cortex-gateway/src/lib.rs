//! One origin for every service, and the web UI.
//!
//! gRPC calls are forwarded undecoded by the name of their service, JSON is transcoded before them
//! like on every port, and the OpenAI-compatible `/v1` of the llm service is passed on byte by byte.
//! Arrows: every service, by transport.
//!
//! ```
//! # async fn example(llm: cortex_rpc::Transport) {
//! let mesh = cortex_rpc::Router::new().route("cortex.llm.v1.CompletionService", llm);
//! let openai = cortex_gateway::forward_http("http://localhost:8081", "/v1").expect("a URL");
//! let gateway = cortex_gateway::builder(mesh, openai).build();
//! # }
//! ```

mod forward;
mod index;

pub use forward::{ForwardError, forward_http};

use cortex_rpc::{Router, Server, ServerBuilder};

/// Begins the gateway's server over the services of `mesh`, with `openai` for `/v1`.
pub fn builder(mesh: Router, openai: axum::Router) -> ServerBuilder {
    let index = index::routes(&mesh);
    Server::builder("gateway").forward(mesh).routes(openai).routes(index)
}
