//! The outside world as the container service needs it: an engine, a ledger, a registry, and intents.

use std::{collections::BTreeMap, pin::Pin, time::SystemTime};

use bytes::Bytes;
use cortex_core::{ClaimantId, ExecutionId, SessionId};
use cortex_rpc::CallContext;
use futures::stream::BoxStream;
use tokio::io::AsyncWrite;

use crate::{
    error::ContainerError,
    runs::ToolRun,
    sandbox::{ContainerId, ContainerSpec, Labels},
    tool::ToolDeclaration,
};

/// Runs containers. Docker, or a fake in tests.
///
/// Every call ends within a deadline of the adapter's own, except [`wait`](Self::wait), which the
/// caller bounds, and the streams of [`attach`](Self::attach).
#[tonic::async_trait]
pub(crate) trait ContainerEngine: Send + Sync + 'static {
    /// What engine answers. Also the way to ask whether one does.
    async fn version(&self) -> Result<EngineVersion, EngineError>;

    /// What it can do.
    async fn capabilities(&self) -> Result<EngineCapabilities, EngineError>;

    /// The id of an image. `None`: it is not there.
    async fn image_id(&self, reference: &str) -> Result<Option<String>, EngineError>;

    /// Gets an image from its registry.
    async fn pull_image(&self, reference: &str) -> Result<(), EngineError>;

    /// Makes an image, without network.
    async fn build_image(&self, build: ImageBuild) -> Result<(), EngineError>;

    /// Makes a container that does not run yet.
    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError>;

    /// Connects to a container's standard streams. Before it is started, or output is lost.
    async fn attach(&self, id: &ContainerId) -> Result<Attached, EngineError>;

    /// Starts a container.
    async fn start(&self, id: &ContainerId) -> Result<(), EngineError>;

    /// Waits until a started container no longer runs. At once if it does not run.
    async fn wait(&self, id: &ContainerId) -> Result<(), EngineError>;

    /// How a container stands. `None`: it is not there.
    async fn inspect(&self, id: &ContainerId) -> Result<Option<ContainerState>, EngineError>;

    /// Sends a signal to a container's first process. One that does not run is no error.
    async fn kill(&self, id: &ContainerId, signal: Signal) -> Result<(), EngineError>;

    /// Kills and removes a container with its volumes. One that is not there is no error.
    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError>;

    /// The containers that carry all of these labels, those included that do not run.
    async fn list(&self, labels: &Labels) -> Result<Vec<ContainerSummary>, EngineError>;

    /// What a container uses at the moment. `None`: it does not run.
    async fn stats(&self, id: &ContainerId) -> Result<Option<ContainerStats>, EngineError>;
}

/// Why an engine did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EngineError {
    /// It was not reached: nothing has happened.
    #[error("the container engine at {host} does not answer: {reason}")]
    Unavailable {
        /// Where it was looked for.
        host: String,
        /// What happened.
        reason: String,
    },
    /// It was reached, and whether it did what was asked is not known.
    #[error("the container engine broke off '{call}': {reason}")]
    Lost {
        /// What was asked.
        call: &'static str,
        /// What happened.
        reason: String,
    },
    /// What was named is not there.
    #[error("{message}")]
    Missing {
        /// What the engine said.
        message: String,
    },
    /// It said no.
    #[error("{message}")]
    Refused {
        /// What was asked.
        call: &'static str,
        /// What the engine said.
        message: String,
    },
}

impl EngineError {
    /// Whether the engine answered, so that nothing is in doubt.
    pub(crate) fn is_definite(&self) -> bool {
        !matches!(self, Self::Lost { .. })
    }
}

/// What engine answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct EngineVersion {
    /// For example `20.10.24`.
    pub version: String,
    /// For example `1.41`.
    pub api_version: String,
    /// For example `amd64`.
    pub architecture: String,
}

/// What an engine can do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct EngineCapabilities {
    /// Limits of memory hold.
    pub memory_limits: bool,
    /// Limits of processor time hold.
    pub cpu_limits: bool,
    /// Limits of processes hold.
    pub process_limits: bool,
    /// The version of control groups: 1 or 2. `None`: not known.
    pub cgroup_version: Option<u8>,
    /// Runtimes that are installed, sorted.
    pub runtimes: Vec<String>,
    /// The operating system that it runs containers for.
    pub system: String,
}

/// An image to make.
#[derive(Debug, Clone)]
pub(crate) struct ImageBuild {
    /// Its name, with tag.
    pub tag: String,
    /// A tar archive with a Dockerfile in it.
    pub context: Bytes,
    /// Labels of the image.
    pub labels: Labels,
}

/// A container's standard streams.
pub(crate) struct Attached {
    /// What it writes, until it closes both streams.
    pub output: BoxStream<'static, Result<Output, EngineError>>,
    /// What it reads. Must be shut down, not only dropped, to end its standard input.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

/// A piece of what a container wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    /// Where to.
    pub stream: Stream,
    /// What.
    pub data: Bytes,
}

/// A stream that a container writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A signal for a container's first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// A request to end.
    Term,
    /// The end.
    Kill,
}

impl Signal {
    /// The signal's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Term => "SIGTERM",
            Self::Kill => "SIGKILL",
        }
    }
}

/// How a container stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ContainerState {
    /// Whether it runs.
    pub running: bool,
    /// Whether it ever ran.
    pub started: bool,
    /// The exit code of its first process. 128 and the signal's number for one that a signal ended.
    pub exit_code: i64,
    /// Whether a process in it was killed for its memory limit.
    pub out_of_memory: bool,
    /// Why it could not be started. Empty: it could.
    pub error: String,
}

/// A container in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerSummary {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// For example `running`, `created`, `exited`.
    pub state: String,
    /// When it was made.
    pub created_at: SystemTime,
}

/// What a container uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ContainerStats {
    /// Processor time since it started, in nanoseconds.
    pub cpu_nanoseconds: u64,
    /// Memory in use, caches left out, in bytes.
    pub memory_bytes: u64,
    /// The most memory that was in use, in bytes. 0: not known.
    pub memory_peak_bytes: u64,
    /// Its memory limit in bytes.
    pub memory_limit_bytes: u64,
    /// Bytes received over its networks.
    pub network_received_bytes: u64,
    /// Bytes sent over its networks.
    pub network_sent_bytes: u64,
    /// Bytes read from disks.
    pub disk_read_bytes: u64,
    /// Bytes written to disks.
    pub disk_written_bytes: u64,
    /// Its processes and threads.
    pub processes: u64,
}

/// The ledger of executions in storage: who may start what, and how it ended.
#[tonic::async_trait]
pub(crate) trait Ledger: Send + Sync + 'static {
    /// Claims an execution for this incarnation. Granted again to who holds the claim.
    async fn claim(
        &self,
        cx: &CallContext,
        execution_id: &ExecutionId,
        epoch: i64,
    ) -> Result<(), ContainerError>;

    /// Records how a claimed execution ended, and answers with the outcome that won: the first.
    async fn finish(&self, cx: &CallContext, run: &ToolRun) -> Result<ToolRun, ContainerError>;

    /// One row. `None`: nobody knows it.
    async fn get(
        &self,
        cx: &CallContext,
        execution_id: &ExecutionId,
    ) -> Result<Option<LedgerRow>, ContainerError>;

    /// The rows that incarnations of this instance have claimed and not finished.
    async fn claimed(&self, cx: &CallContext) -> Result<Vec<LedgerRow>, ContainerError>;
}

/// The ledger row of one execution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LedgerRow {
    /// The execution.
    pub execution_id: ExecutionId,
    /// Its session.
    pub session_id: SessionId,
    /// The tool.
    pub tool_name: String,
    /// Where it stands.
    pub state: LedgerState,
}

/// Where an execution stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum LedgerState {
    /// Its intent is journaled.
    Intended,
    /// An incarnation may start it.
    Claimed {
        /// The incarnation.
        claimant: String,
        /// What it is an incarnation of.
        instance: String,
    },
    /// It ended.
    Finished(Box<ToolRun>),
    /// It never starts.
    Closed,
}

/// Intents of runs outside the ledger: written before anything is created, deleted when nothing is
/// left.
#[tonic::async_trait]
pub(crate) trait Intents: Send + Sync + 'static {
    /// Writes an intent of this incarnation.
    async fn put(
        &self,
        cx: &CallContext,
        execution_id: &ExecutionId,
        tool: &str,
    ) -> Result<(), ContainerError>;

    /// Deletes an intent. One that is not there is no error.
    async fn delete(
        &self,
        cx: &CallContext,
        execution_id: &ExecutionId,
    ) -> Result<(), ContainerError>;

    /// The intents of this instance.
    async fn list(&self, cx: &CallContext) -> Result<Vec<Intent>, ContainerError>;
}

/// An intent to run a tool outside the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Intent {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The incarnation that wrote it.
    pub claimant: String,
}

/// What tools there are.
#[tonic::async_trait]
pub(crate) trait Registry: Send + Sync + 'static {
    /// A tool as the closure with this digest has it; an empty digest is the current one.
    async fn tool(
        &self,
        cx: &CallContext,
        name: &str,
        closure_digest: &str,
    ) -> Result<ToolDeclaration, ContainerError>;

    /// The files of a tool as a tar archive of at most `limit` bytes.
    async fn bundle(
        &self,
        cx: &CallContext,
        digest: &str,
        limit: usize,
    ) -> Result<Bytes, ContainerError>;
}

/// Which incarnation of which installation this process is.
#[derive(Debug, Clone)]
pub(crate) struct Incarnation {
    /// What it is an incarnation of: a data directory's id, a pod's name.
    pub instance: String,
    /// The incarnation: new for every start.
    pub claimant: ClaimantId,
}

/// Labels by name.
pub(crate) type LabelMap = BTreeMap<String, String>;
