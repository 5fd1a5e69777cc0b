//! The Docker engine, by its HTTP API (<https://docs.docker.com/reference/api/engine/>).
//!
//! What the client library leaves to its callers is done here: deadlines on every call, ids and
//! references that are safe in paths, statuses that are no failures, and which failures leave it
//! open whether something happened.

mod build;
mod error;
mod spec;
mod stats;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    container::LogOutput,
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, KillContainerOptionsBuilder,
        ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    },
};
use futures::{StreamExt as _, TryStreamExt as _, future};

use self::error::{Failure, is_status};
use crate::{
    ports::{
        Attached, ContainerEngine, ContainerState, ContainerStats, ContainerSummary,
        EngineCapabilities, EngineError, EngineVersion, ImageBuild, Output, Signal, Stream,
    },
    sandbox::{ContainerId, ContainerSpec, Labels},
    tool::is_image_reference,
};

/// Where the engine listens when nobody says.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// The library's own time-out, in seconds. It covers only response headers: ours cover everything.
const LIBRARY_TIMEOUT: u64 = 86_400;

/// A Docker engine. Connects with every call, so that one that comes and goes needs no care.
pub(crate) struct DockerEngine {
    host: String,
    tls: bool,
    client: Mutex<Option<Docker>>,
    call_limit: Duration,
    image_limit: Duration,
}

impl DockerEngine {
    /// The engine at `host`, else at DOCKER_HOST, else at the usual socket. Does not connect.
    /// `call_limit` bounds every call, `image_limit` builds and pulls.
    pub(crate) fn new(host: Option<String>, call_limit: Duration, image_limit: Duration) -> Self {
        let host = host
            .or_else(|| std::env::var("DOCKER_HOST").ok())
            .filter(|host| !host.is_empty())
            .unwrap_or_else(|| DEFAULT_HOST.to_owned());
        let tls = std::env::var("DOCKER_TLS_VERIFY").is_ok_and(|value| !value.is_empty());
        Self { host, tls, client: Mutex::default(), call_limit, image_limit }
    }

    /// Where it is looked for.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    fn client(&self) -> Result<Docker, EngineError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = client.as_ref() {
            return Ok(client.clone());
        }
        let connected = match self.host.split_once("://") {
            Some(("unix", path)) => {
                Docker::connect_with_unix(path, LIBRARY_TIMEOUT, API_DEFAULT_VERSION)
            }
            Some(("tcp" | "http", _)) if self.tls => {
                return Err(self.unavailable("DOCKER_TLS_VERIFY is set, and TLS is not supported"));
            }
            Some(("tcp" | "http", _)) => {
                Docker::connect_with_http(&self.host, LIBRARY_TIMEOUT, API_DEFAULT_VERSION)
            }
            _ => return Err(self.unavailable("only unix:// and tcp:// without TLS are supported")),
        };
        let connected = connected.map_err(|error| self.unavailable(&error.to_string()))?;
        Ok(client.insert(connected).clone())
    }

    fn unavailable(&self, reason: &str) -> EngineError {
        EngineError::Unavailable { host: self.host.clone(), reason: reason.to_owned() }
    }

    /// One call, bounded.
    async fn call<T>(
        &self,
        name: &'static str,
        limit: Duration,
        call: impl AsyncFnOnce(Docker) -> Result<T, bollard::errors::Error>,
    ) -> Result<T, Failure> {
        let client = self.client().map_err(Failure::from)?;
        match tokio::time::timeout(limit, call(client)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Failure::new(&self.host, name, error)),
            Err(_) => {
                let reason = format!("no answer within {} s", limit.as_secs_f64());
                Err(EngineError::Lost { call: name, reason }.into())
            }
        }
    }
}

#[tonic::async_trait]
impl ContainerEngine for DockerEngine {
    async fn version(&self) -> Result<EngineVersion, EngineError> {
        let version = self.call("version", self.call_limit, async |docker| docker.version().await);
        let version = version.await?;
        Ok(EngineVersion {
            version: version.version.unwrap_or_default(),
            api_version: version.api_version.unwrap_or_default(),
            architecture: version.arch.unwrap_or_default(),
        })
    }

    async fn capabilities(&self) -> Result<EngineCapabilities, EngineError> {
        let info = self.call("info", self.call_limit, async |docker| docker.info().await).await?;
        let mut runtimes: Vec<String> = info.runtimes.unwrap_or_default().into_keys().collect();
        runtimes.sort();
        Ok(EngineCapabilities {
            memory_limits: info.memory_limit.unwrap_or_default(),
            cpu_limits: info.cpu_cfs_quota.unwrap_or_default(),
            process_limits: info.pids_limit.unwrap_or_default(),
            cgroup_version: info.cgroup_version.and_then(|version| version.as_ref().parse().ok()),
            runtimes,
            system: info.os_type.unwrap_or_default(),
        })
    }

    async fn image_id(&self, reference: &str) -> Result<Option<String>, EngineError> {
        if !is_image_reference(reference) {
            return Ok(None);
        }
        let inspected = self
            .call("inspect image", self.call_limit, async |docker| {
                docker.inspect_image(reference).await
            })
            .await;
        match inspected {
            Ok(image) => Ok(Some(image.id.unwrap_or_default())),
            Err(failure) if is_status(&failure, 404) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn pull_image(&self, reference: &str) -> Result<(), EngineError> {
        self.pull(reference).await
    }

    async fn build_image(&self, build: ImageBuild) -> Result<(), EngineError> {
        self.build(build).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        let options = CreateContainerOptionsBuilder::default().name(&spec.name).build();
        let body = spec::body(spec);
        let created = self
            .call("create container", self.call_limit, async |docker| {
                docker.create_container(Some(options), body).await
            })
            .await?;
        ContainerId::parse(&created.id).ok_or_else(|| EngineError::Refused {
            call: "create container",
            message: "the engine answered with an id that is none".into(),
        })
    }

    async fn attach(&self, id: &ContainerId) -> Result<Attached, EngineError> {
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .build();
        let attached = self
            .call("attach", self.call_limit, async |docker| {
                docker.attach_container(id.as_str(), Some(options)).await
            })
            .await?;
        let host = self.host.clone();
        let output = attached.output.filter_map(move |piece| {
            future::ready(match piece {
                Ok(LogOutput::StdOut { message }) => {
                    Some(Ok(Output { stream: Stream::Stdout, data: message }))
                }
                Ok(LogOutput::StdErr { message }) => {
                    Some(Ok(Output { stream: Stream::Stderr, data: message }))
                }
                // Without a terminal there is neither.
                Ok(LogOutput::StdIn { .. } | LogOutput::Console { .. }) => None,
                Err(error) => Some(Err(Failure::new(&host, "attach", error).into())),
            })
        });
        Ok(Attached { output: output.boxed(), input: attached.input })
    }

    async fn start(&self, id: &ContainerId) -> Result<(), EngineError> {
        let started = self
            .call("start container", self.call_limit, async |docker| {
                docker.start_container(id.as_str(), None).await
            })
            .await;
        Ok(started?)
    }

    async fn wait(&self, id: &ContainerId) -> Result<(), EngineError> {
        // Without a condition it answers as soon as the container does not run: also when it has
        // ended before the question. The caller bounds it.
        let client = self.client()?;
        let mut answers = Box::pin(client.wait_container(id.as_str(), None));
        match answers.next().await {
            // An exit code above 0 comes as an error.
            Some(Ok(_) | Err(bollard::errors::Error::DockerContainerWaitError { .. })) => Ok(()),
            Some(Err(error)) => Err(Failure::new(&self.host, "wait", error).into()),
            None => Err(EngineError::Lost { call: "wait", reason: "no answer".into() }),
        }
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<ContainerState>, EngineError> {
        let inspected = self
            .call("inspect container", self.call_limit, async |docker| {
                docker.inspect_container(id.as_str(), None).await
            })
            .await;
        let state = match inspected {
            Ok(container) => container.state.unwrap_or_default(),
            Err(failure) if is_status(&failure, 404) => return Ok(None),
            Err(failure) => return Err(failure.into()),
        };
        // The engine's way to say never.
        let never = |at: &str| at.is_empty() || at.starts_with("0001-01-01");
        Ok(Some(ContainerState {
            running: state.running.unwrap_or_default(),
            started: !never(state.started_at.as_deref().unwrap_or_default()),
            exit_code: state.exit_code.unwrap_or_default(),
            out_of_memory: state.oom_killed.unwrap_or_default(),
            error: state.error.unwrap_or_default(),
        }))
    }

    async fn kill(&self, id: &ContainerId, signal: Signal) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::default().signal(signal.name()).build();
        let killed = self
            .call("kill container", self.call_limit, async |docker| {
                docker.kill_container(id.as_str(), Some(options)).await
            })
            .await;
        match killed {
            // Not there, or not running.
            Err(failure) if is_status(&failure, 404) || is_status(&failure, 409) => Ok(()),
            other => Ok(other?),
        }
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError> {
        /// While another removal of the same container is under way.
        const AGAIN: Duration = Duration::from_millis(100);
        const TRIES: u32 = 50;
        for _ in 0..TRIES {
            let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            let removed = self
                .call("remove container", self.call_limit, async |docker| {
                    docker.remove_container(id.as_str(), Some(options)).await
                })
                .await;
            match removed {
                Err(failure) if is_status(&failure, 404) => return Ok(()),
                Err(failure) if is_status(&failure, 409) => tokio::time::sleep(AGAIN).await,
                other => return Ok(other?),
            }
        }
        Err(EngineError::Refused {
            call: "remove container",
            message: "another removal does not come to its end".into(),
        })
    }

    async fn list(&self, labels: &Labels) -> Result<Vec<ContainerSummary>, EngineError> {
        let wanted: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let filters = HashMap::from([("label", wanted)]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let listed = self
            .call("list containers", self.call_limit, async |docker| {
                docker.list_containers(Some(options)).await
            })
            .await?;
        Ok(listed.into_iter().filter_map(summary).collect())
    }

    async fn stats(&self, id: &ContainerId) -> Result<Option<ContainerStats>, EngineError> {
        let sampled = self
            .call("stats", self.call_limit, async |docker| {
                // The first sample of a stream comes at once; a single one takes a second or two.
                let mut samples = Box::pin(docker.stats(id.as_str(), None));
                samples.try_next().await
            })
            .await;
        match sampled {
            Ok(sample) => Ok(sample.and_then(|sample| stats::read(&sample))),
            Err(failure) if is_status(&failure, 404) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }
}

fn summary(container: bollard::models::ContainerSummary) -> Option<ContainerSummary> {
    let names = container.names.unwrap_or_default();
    let created = u64::try_from(container.created.unwrap_or_default()).unwrap_or_default();
    Some(ContainerSummary {
        id: ContainerId::parse(&container.id?)?,
        name: names.first().map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default(),
        labels: container.labels.unwrap_or_default().into_iter().collect(),
        state: container.state.map(|state| state.to_string()).unwrap_or_default(),
        created_at: UNIX_EPOCH
            .checked_add(Duration::from_secs(created))
            .unwrap_or(SystemTime::UNIX_EPOCH),
    })
}
