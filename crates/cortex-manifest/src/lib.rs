//! The registry: manifests parsed, resolved, bundled and watched.
//!
//! A directory of YAML and Markdown is read whole. What is valid becomes a [`Snapshot`]; what is not
//! is reported with file, line and column, and never stops the rest. An agent is given out as a
//! closure: with its prompts, its tools and everything else that it needs, named by digest.
//!
//! Arrows: cortex-core, cortex-config, cortex-proto, cortex-rpc; calls the storage service.
//!
//! ```
//! use std::sync::Arc;
//!
//! use cortex_core::SystemClock;
//! use cortex_manifest::{ManifestConfig, ManifestRole};
//! use cortex_proto::cortex::manifest::v1::{
//!     GetManifestRequest, manifest_service_client::ManifestServiceClient,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tool = "kind: Tool\nversion: '1.0'\nname: clock\nsummary: Tells the time\n\
//!             implementation: {type: toolbox}\n";
//! let embedded = vec![("tools/clock/tool.yml".to_owned(), tool.as_bytes().to_vec())];
//! let role = ManifestRole::open(
//!     ManifestConfig::default(),
//!     embedded,
//!     None,
//!     Vec::new(),
//!     Arc::new(SystemClock),
//! )
//! .await?;
//!
//! let mut client = ManifestServiceClient::new(cortex_rpc::local(role.manifest_service()));
//! let request = GetManifestRequest { kind: "tool".into(), name: "clock".into() };
//! let manifest = client.get_manifest(request).await?.into_inner().manifest.expect("it is there");
//! assert_eq!(manifest.summary, "Tells the time");
//! # Ok(())
//! # }
//! ```

pub mod adapters;
mod applied;
mod bundle;
mod canonical;
mod changes;
mod closure;
mod config;
mod convert;
mod dependencies;
mod diagnostic;
mod document;
mod error;
mod kind;
mod load;
mod manifest;
mod path;
mod ports;
mod recent;
mod registry;
mod role;
mod service;
mod snapshot;
mod text;
mod tree;
mod variables;
mod watch;
mod watcher;

pub use config::ManifestConfig;
pub use error::RegistryError;
pub use role::ManifestRole;
pub use service::Manifests;
pub use snapshot::Snapshot;
