//! What the tests share: a service of its own instance on the real engine, and calls of it.

use std::{
    path::PathBuf,
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cortex_container::{Container, ContainerConfig};
use cortex_core::{ExecutionId, SessionId};
use cortex_proto::cortex::{
    container::v1::{
        ExecuteToolRequest, ExecuteToolResponse, ResourceLimits, RunToolRequest, ToolRun,
        execute_tool_response::Event, tool_service_client::ToolServiceClient,
    },
    manifest::v1::ToolSpec,
};
use cortex_rpc::{Transport, local};
use tonic::{Status, Streaming};

use crate::fakes::{Manifests, Storage};

/// The base image of tools in Python.
const PYTHON: &str = "cortex-base-python:bookworm";

/// A service of an instance of its own. What it leaves on the engine is found by its label.
pub(crate) struct Bench {
    pub(crate) container: Container,
    pub(crate) storage: Storage,
    pub(crate) tools: ToolServiceClient<Transport>,
    pub(crate) session: SessionId,
    pub(crate) instance: String,
    config: ContainerConfig,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ContainerConfig)) -> Self {
        let instance = format!("test-{}", &ExecutionId::generate().as_str()[5..]);
        let mut config = ContainerConfig {
            instance,
            toolbox_path: Some(toolbox()),
            ..ContainerConfig::default()
        };
        change(&mut config);
        Self::of(config, Storage::default(), SessionId::generate())
    }

    fn of(config: ContainerConfig, storage: Storage, session: SessionId) -> Self {
        let container =
            Container::new(config.clone(), storage.transport(), manifests().transport());
        Self {
            tools: ToolServiceClient::new(local(container.tool_service())),
            container,
            storage,
            session,
            instance: config.instance.clone(),
            config,
        }
    }

    /// Another incarnation of the same instance on the same storage.
    pub(crate) fn successor(&self) -> Self {
        Self::of(self.config.clone(), self.storage.clone(), self.session.clone())
    }

    pub(crate) async fn run(&self, tool: &str, parameters: &str) -> ToolRun {
        self.run_with(tool, parameters, ResourceLimits::default()).await
    }

    pub(crate) async fn run_with(
        &self,
        tool: &str,
        parameters: &str,
        limits: ResourceLimits,
    ) -> ToolRun {
        let request =
            RunToolRequest { resource_limits: Some(limits), ..self.request(tool, parameters) };
        let run = self.tools.clone().run_tool(request).await.expect("the run is answered");
        run.into_inner().run.expect("a run")
    }

    pub(crate) fn request(&self, tool: &str, parameters: &str) -> RunToolRequest {
        RunToolRequest {
            tool_name: tool.into(),
            session_id: self.session.to_string(),
            parameters: parameters.into(),
            ..Default::default()
        }
    }

    /// Sends an execution of the journal at epoch 1.
    pub(crate) async fn execute(
        &self,
        id: &ExecutionId,
        tool: &str,
        parameters: &str,
    ) -> Result<Streaming<ExecuteToolResponse>, Status> {
        let request = ExecuteToolRequest {
            tool_name: tool.into(),
            session_id: self.session.to_string(),
            parameters: parameters.into(),
            execution_id: id.to_string(),
            epoch: 1,
            ..Default::default()
        };
        Ok(self.tools.clone().execute_tool(request).await?.into_inner())
    }

    /// The ids of this instance's containers, those included that do not run.
    pub(crate) fn containers(&self) -> Vec<String> {
        let label = format!("label=cortex.instance={}", self.instance);
        let listed = docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &label]);
        listed.lines().map(str::to_owned).collect()
    }

    /// Waits until nothing of this instance is left, neither containers nor intents, for 10 s at most.
    pub(crate) async fn nothing_left(&self) {
        let began = Instant::now();
        loop {
            let (containers, intents) = (self.containers(), self.storage.records());
            if containers.is_empty() && intents.is_empty() {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "left: {containers:?} {intents:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The runtime of a test ends at once, also when the service is about to remove a container. Whether
/// the service does is asked with [`Bench::nothing_left`].
impl Drop for Bench {
    fn drop(&mut self) {
        for id in self.containers() {
            docker(&["rm", "--force", &id]);
        }
    }
}

/// The last event of a stream.
pub(crate) async fn completed(mut events: Streaming<ExecuteToolResponse>) -> ToolRun {
    let mut last = None;
    while let Some(event) = events.message().await.expect("an event") {
        last = event.event;
    }
    match last {
        Some(Event::Completed(run)) => run,
        other => panic!("the stream ended with {other:?}"),
    }
}

/// The output of a docker command. Fails loudly when there is no engine.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output();
    let output = output.expect("no docker: run scripts/parts/docker.sh");
    let errors = String::from_utf8_lossy(&output.stderr);
    let gone = errors.contains("No such container") || errors.contains("already in progress");
    assert!(
        output.status.success() || gone,
        "docker {arguments:?}: {errors}(no engine? run scripts/parts/docker.sh; no base image? \
         run scripts/parts/base-images.sh)"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The toolbox, built from this workspace.
fn toolbox() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let built = Command::new(env!("CARGO"))
            // With the features that the tests' build has: else its dependencies would be built a second time.
            .args(["build", "--quiet", "--workspace", "--bin", "cortex-toolbox"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .status();
        assert!(built.expect("cargo runs").success(), "the toolbox does not build");
        // target/<triple>/debug/deps/<this test>
        let own = std::env::current_exe().expect("a test has a path");
        let profile = own.ancestors().nth(2).expect("a directory");
        profile.join("cortex-toolbox")
    })
    .clone()
}

/// The bundled tools as their manifests declare them, and a probe in Python.
fn manifests() -> Manifests {
    let mut manifests = Manifests::default();
    for name in ["calculator", "clock", "text_analyzer", "web_search"] {
        let tool = ToolSpec {
            name: name.into(),
            runtime: "toolbox".into(),
            entrypoint: name.into(),
            memory_mb: 64,
            timeout_seconds: 10,
            ..Default::default()
        };
        manifests.tools.insert(name.into(), tool);
    }
    let word_frequency = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../manifests/tools/word_frequency/main.py"
    ));
    add_python(&mut manifests, "word_frequency", word_frequency);
    add_python(&mut manifests, "probe", include_bytes!("probe.py"));
    manifests
}

fn add_python(manifests: &mut Manifests, name: &str, script: &[u8]) {
    docker(&["image", "inspect", "--format", "{{.Id}}", PYTHON]);
    let digest = format!("b3_{name}_{}", script.len());
    let tool = ToolSpec {
        name: name.into(),
        runtime: "python3".into(),
        entrypoint: "./main.py".into(),
        bundle_digest: digest.clone(),
        ..Default::default()
    };
    let mut header = tar::Header::new_gnu();
    header.set_size(script.len() as u64);
    header.set_mode(0o600);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "main.py", script).expect("memory takes it");
    let bundle = archive.into_inner().expect("memory takes it");
    manifests.tools.insert(name.into(), tool);
    manifests.bundles.insert(digest, Bytes::from(bundle));
}
