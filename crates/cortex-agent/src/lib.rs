//! The conductor: sessions, turns, and the loop of model and tools.
//!
//! A message is a command in the session's journal. Whoever holds the session consumes it, opens a
//! turn, calls the model, runs the tools that the model calls, and appends what happens; every
//! stream that a client sees is a projection of that journal. The rules of holding, appending and
//! executing are those of the session protocol; `turn` has the decisions as pure transitions,
//! `session` carries them out.
//!
//! Arrows: storage (journal, sessions, history, state, records), manifest, llm, container.
//!
//! ```no_run
//! # async fn example(storage: cortex_rpc::Transport, manifest: cortex_rpc::Transport,
//! #     llm: cortex_rpc::Transport, container: cortex_rpc::Transport) {
//! use cortex_agent::{AgentConfig, Clients, Conductor};
//! use tokio_util::sync::CancellationToken;
//!
//! let clients = Clients::new(storage, manifest, llm, container);
//! let conductor = Conductor::new(AgentConfig::default(), clients);
//! conductor.run(CancellationToken::new()).await;
//! # }
//! ```

mod chunks;
mod clients;
mod closures;
mod config;
mod convert;
mod error;
mod failure;
mod holder;
mod role;
mod service;
mod session;
mod turn;

pub use clients::Clients;
pub use config::AgentConfig;
pub use error::AgentError;
pub use role::Conductor;
