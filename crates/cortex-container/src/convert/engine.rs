//! The engine and what is in it.

use std::time::SystemTime;

use cortex_core::{PageSize, PageToken};
use cortex_proto::cortex::container::v1 as proto;

use super::timestamp;
use crate::{
    error::ContainerError,
    observe::Usage,
    ports::{ContainerSummary, EngineCapabilities, EngineVersion},
    sandbox::{ContainerId, label},
};

/// An engine's id of a container that is named in a request.
pub(crate) fn container_id(text: &str) -> Result<ContainerId, ContainerError> {
    ContainerId::parse(text)
        .ok_or_else(|| ContainerError::invalid("container_id", "must be 64 lower-case hex digits"))
}

/// A page of statistics that is asked for.
pub(crate) struct StatsPage {
    session_id: String,
    kind: String,
    size: PageSize,
    after: Option<String>,
}

/// The page that a request asks for.
pub(crate) fn stats_page(
    request: proto::ListContainerStatsRequest,
) -> Result<StatsPage, ContainerError> {
    if !matches!(request.kind.as_str(), "" | "tool" | "relic") {
        return Err(ContainerError::invalid("kind", "must be 'tool' or 'relic', or empty"));
    }
    let size = PageSize::parse(request.page_size)
        .map_err(|error| ContainerError::invalid("page_size", error.to_string()))?;
    let mut page =
        StatsPage { session_id: request.session_id, kind: request.kind, size, after: None };
    page.after = PageToken::decode(&request.page_token, &page.query())
        .map_err(|error| ContainerError::invalid("page_token", error.to_string()))?
        .map(|token| token.position().to_owned());
    Ok(page)
}

impl StatsPage {
    /// Whether a container belongs on it.
    pub(crate) fn wants(&self, container: &ContainerSummary) -> bool {
        let is = |name: &str, wanted: &str| {
            wanted.is_empty() || container.labels.get(name).is_some_and(|value| value == wanted)
        };
        is(label::SESSION, &self.session_id)
            && is(label::KIND, &self.kind)
            && self.after.as_ref().is_none_or(|after| container.name > *after)
    }

    /// The page of `containers`, which are sorted by name, and the token of the next one.
    pub(crate) fn cut(
        &self,
        mut containers: Vec<ContainerSummary>,
    ) -> (Vec<ContainerSummary>, String) {
        let size = self.size.get() as usize;
        if containers.len() <= size {
            return (containers, String::new());
        }
        containers.truncate(size);
        let last = containers.last().map(|container| container.name.clone()).unwrap_or_default();
        (containers, PageToken::after(last).encode(&self.query()))
    }

    fn query(&self) -> String {
        format!("container stats {:?} {:?}", self.session_id, self.kind)
    }
}

/// What a container uses, as the contract has it.
pub(crate) fn container_stats(usage: &Usage) -> proto::ContainerStats {
    const MIB: f64 = 1_048_576.0;
    let container = &usage.container;
    let label = |name: &str| container.labels.get(name).cloned().unwrap_or_default();
    let stats = usage.stats.clone().unwrap_or_default();
    let (used, limit) = (stats.memory_bytes as f64, stats.memory_limit_bytes as f64);
    proto::ContainerStats {
        container_id: container.id.as_str().to_owned(),
        name: container.name.clone(),
        status: container.state.clone(),
        running: usage.stats.is_some(),
        cpu_percent: usage.cpu_percent,
        memory_used_mb: used / MIB,
        memory_limit_mb: limit / MIB,
        memory_percent: if limit > 0.0 { used / limit * 100.0 } else { 0.0 },
        network_rx_mb: stats.network_received_bytes as f64 / MIB,
        network_tx_mb: stats.network_sent_bytes as f64 / MIB,
        disk_read_mb: stats.disk_read_bytes as f64 / MIB,
        disk_write_mb: stats.disk_written_bytes as f64 / MIB,
        created_at: timestamp(container.created_at),
        started_at: None,
        kind: label(label::KIND),
        entity_name: label(label::NAME),
        session_id: label(label::SESSION),
        owner_id: label(label::EXECUTION),
        processes: i32::try_from(stats.processes).unwrap_or(i32::MAX),
    }
}

/// A container that belongs to nothing.
pub(crate) fn orphan(container: &ContainerSummary) -> proto::EngineResource {
    proto::EngineResource {
        r#type: "container".into(),
        id: container.id.as_str().to_owned(),
        name: container.name.clone(),
        session_id: container.labels.get(label::SESSION).cloned().unwrap_or_default(),
        reason: "no run of this service has it".into(),
    }
}

/// The engine as it is now: what it answered, or why it does not.
pub(crate) fn engine(
    found: Result<(EngineVersion, EngineCapabilities, usize), ContainerError>,
    (running, queued): (usize, usize),
    pull: bool,
    at: SystemTime,
) -> proto::Engine {
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let usage = |containers: usize| proto::EngineUsage {
        running_tools: number(running),
        queued_runs: number(queued),
        containers: number(containers),
        ..Default::default()
    };
    let base = proto::Engine {
        r#type: "docker".into(),
        checked_at: timestamp(at),
        usage: Some(usage(0)),
        lanes: lanes(&found.as_ref().err().map(ToString::to_string).unwrap_or_default()),
        ..Default::default()
    };
    match found {
        Err(error) => proto::Engine { problem: error.to_string(), ..base },
        Ok((version, can, containers)) => proto::Engine {
            available: true,
            version: version.version,
            api_version: version.api_version,
            platform: format!("{}/{}", can.system, version.architecture),
            usage: Some(usage(containers)),
            capabilities: Some(proto::EngineCapabilities {
                memory_limits: can.memory_limits,
                cpu_limits: can.cpu_limits,
                process_limits: can.process_limits,
                // Of tmpfs, which is all that a tool can write to.
                disk_limits: true,
                pull,
                build: true,
                cgroup_version: can.cgroup_version.unwrap_or_default().into(),
                runtimes: can.runtimes,
                isolation: "container".into(),
                ..Default::default()
            }),
            ..base
        },
    }
}

/// Every tool takes the one way that there is.
fn lanes(problem: &str) -> Vec<proto::ToolLane> {
    vec![proto::ToolLane {
        name: "cold".into(),
        enabled: problem.is_empty(),
        problem: problem.to_owned(),
        ..Default::default()
    }]
}
