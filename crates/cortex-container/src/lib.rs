//! The Docker wrangler: runs tools in locked-down containers that are thrown away afterwards.
//!
//! Arrows: storage (the ledger of executions, intents), manifest (tools and their files), and a
//! Docker engine. It never calls who calls it.
//!
//! An execution of the journal is claimed in storage before anything starts, starts at most once,
//! and its outcome is recorded before anybody is told; what a crash leaves behind is removed and
//! recorded as lost. `docs/` has the protocol; [`ContainerConfig`] has every limit.
//!
//! ```no_run
//! # async fn example(storage: cortex_rpc::Transport, manifest: cortex_rpc::Transport) {
//! use cortex_container::{Container, ContainerConfig};
//!
//! let container = Container::new(ContainerConfig::default(), storage, manifest);
//! let server = cortex_rpc::Server::builder("container")
//!     .add_service(container.tool_service())
//!     .add_service(container.engine_service())
//!     .forward(Container::not_offered());
//! let stop = tokio_util::sync::CancellationToken::new();
//! tokio::spawn({
//!     let (container, stop) = (container.clone(), stop.clone());
//!     async move { container.run(stop).await }
//! });
//! # let _ = server;
//! # }
//! ```

mod adapters;
mod admission;
mod config;
mod convert;
mod error;
mod executions;
mod images;
mod observe;
mod ports;
mod role;
mod runner;
mod runs;
mod sandbox;
mod service;
#[cfg(test)]
mod testing;
mod tool;

pub use config::{ContainerConfig, LimitsConfig};
pub use error::ContainerError;
pub use role::Container;
