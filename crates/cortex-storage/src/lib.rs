//! The vault: the journal, its projections, metrics, cache and records, on SQL.
//!
//! Each session has one append-only log. Commands come from anyone; events come only from the holder of
//! the session, under the epoch of its grant; executions are claimed here before anything starts.
//! History, state and the client's event stream are projections of the log, committed in the same
//! transaction. Nothing is answered or told to a watcher before it is durable.
//!
//! Arrows: cortex-core, cortex-proto, cortex-config, cortex-transcode, cortex-rpc; no service.
//!
//! | what | where |
//! |---|---|
//! | the protocol's decisions, pure | [`journal`] |
//! | what a database must do | [`ports`] |
//! | what databases share | [`adapters::sql`] |
//! | SQLite | [`adapters::sqlite`] |
//! | PostgreSQL | [`adapters::postgres`] |
//! | forks, exports, imports | [`transfer`] |
//! | where the bytes of artifacts are | [`adapters::blobs`] |
//! | gRPC | [`service`] |
//! | open and serve | [`Storage`] |
//!
//! ```
//! use cortex_core::SystemClock;
//! use cortex_proto::cortex::storage::v1::{
//!     CreateSessionRequest, session_service_client::SessionServiceClient,
//! };
//! use cortex_storage::{Storage, StorageConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let data_dir = tempfile::tempdir()?;
//! let clock = std::sync::Arc::new(SystemClock);
//! let storage = Storage::open(StorageConfig::default(), data_dir.path(), clock).await?;
//! let mut sessions = SessionServiceClient::new(storage.transport());
//! let request = CreateSessionRequest { agent_name: "assistant".into(), ..Default::default() };
//! let session = sessions.create_session(request).await?.into_inner().session;
//! assert!(session.is_some_and(|session| session.id.starts_with("session_")));
//! storage.close().await;
//! # Ok(())
//! # }
//! ```

pub mod adapters;
pub mod admin;
pub mod artifact;
pub mod cache;
mod config;
mod content;
mod convert;
mod entry_text;
mod error;
pub mod history;
pub mod journal;
pub mod json;
mod key;
pub mod metric;
pub mod ports;
pub mod record;
mod role;
pub mod service;
pub mod session;
pub mod state;
mod tenant;
mod time;
pub mod transfer;
pub mod watch;
mod wire;

pub use config::{
    ArtifactConfig, Buffers, CacheBounds, Limits, Location, PostgresConfig, S3Config, StorageConfig,
};
pub use entry_text::{EntryText, Text};
pub use error::{Result, StorageError};
pub use role::{DATABASE_FILE, Storage};
pub use tenant::{Scope, Tenant};
pub use time::Stamp;
