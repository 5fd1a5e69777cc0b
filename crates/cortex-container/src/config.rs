//! Configuration of the container service, with its defaults and bounds.

use std::{collections::BTreeMap, path::PathBuf};

use cortex_config::{ByteSize, Duration, KeyPath, Problems, Validate};
use serde::{Deserialize, Serialize};

/// Configuration of the container service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerConfig {
    /// What this process is an incarnation of: its successor after a restart has the same, and no
    /// other process has. Default: `local`; `cortex` sets the data directory's id, a pod its name.
    pub instance: String,
    /// Where the engine listens: `unix:///path` or `tcp://host:port`. Default: DOCKER_HOST, else
    /// `unix:///var/run/docker.sock`.
    pub docker_host: Option<String>,
    /// The toolbox, a static binary. Default: `cortex-toolbox` beside the running executable.
    pub toolbox_path: Option<PathBuf>,
    /// Whether images that are missing may be pulled from their registries. Default: no.
    pub pull_images: bool,
    /// For each runtime the images that can run it, the best first. The first one that the engine
    /// has is used; the last one is pulled if that is allowed and none is there.
    pub runtime_images: BTreeMap<String, Vec<String>>,
    /// Containers that may be starting at a time. More only makes each slower. Default: the number
    /// of processors. 1 to 256.
    pub max_starts: usize,
    /// Tools that may run at a time. Default: 32. 1 to 4,096.
    pub max_running: usize,
    /// Runs that may wait for a place. Default: 256. 0 to 65,536.
    pub max_queued: usize,
    /// What a tool may use when neither request nor manifest says.
    pub limits: LimitsConfig,
    /// Bytes of standard output that are kept. Default: 1 MiB, which is also the maximum: it is what
    /// a ledger row holds.
    pub stdout_limit: ByteSize,
    /// Bytes of standard error that are kept. Default: 64 KiB. At most 1 MiB.
    pub stderr_limit: ByteSize,
    /// Bytes on both streams at which a tool is killed. Default: 8 MiB. At most 1 GiB.
    pub output_limit: ByteSize,
    /// Between SIGTERM and SIGKILL when time is out. Default: 500 ms. At most 10 s.
    pub stop_grace: Duration,
    /// For one call to the engine. Default: 30 s. 1 s to 10 min.
    pub engine_timeout: Duration,
    /// How long an engine that breaks off is waited for before a run is given up as lost.
    /// Default: 30 s. At most 10 min.
    pub engine_patience: Duration,
    /// For building or pulling one image. Default: 10 min. 1 s to 1 h.
    pub image_timeout: Duration,
    /// Largest bundle of a tool. Default: 64 MiB. At most 1 GiB.
    pub max_bundle: ByteSize,
    /// Between two searches for what was left over. Default: 30 s. 1 s to 1 h.
    pub sweep_interval: Duration,
    /// How long a run that has ended can be asked about. Default: 1 h. At most 24 h.
    pub keep_runs: Duration,
    /// Ended runs that are kept at most, whatever their age. Default: 256. At most 65,536.
    pub max_kept_runs: usize,
    /// Bytes that are kept of what ended runs wrote, all together. Default: 64 MiB. At most 4 GiB.
    pub max_kept_output: ByteSize,
}

/// What a tool may use when neither request nor manifest says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitsConfig {
    /// Memory in MiB. Default: 512. 64 to 8,192.
    pub memory_mb: u32,
    /// Processors. Default: 1. 0.1 to 8.
    pub cpu: f64,
    /// Time. Default: 5 min. 1 s to 1 h.
    pub timeout: Duration,
    /// Writable space, in memory, in MiB. Default: 100. 100 to 10,240.
    pub disk_mb: u32,
    /// Processes and threads. Default: 128. 1 to 4,096.
    pub processes: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            memory_mb: 512,
            cpu: 1.0,
            timeout: Duration::from_secs(300),
            disk_mb: 100,
            processes: 128,
        }
    }
}

impl Default for ContainerConfig {
    fn default() -> Self {
        Self {
            instance: "local".into(),
            docker_host: None,
            toolbox_path: None,
            pull_images: false,
            runtime_images: default_images(),
            max_starts: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            max_running: 32,
            max_queued: 256,
            limits: LimitsConfig::default(),
            stdout_limit: ByteSize::mib(1),
            stderr_limit: ByteSize::kib(64),
            output_limit: ByteSize::mib(8),
            stop_grace: Duration::from_millis(500),
            engine_timeout: Duration::from_secs(30),
            engine_patience: Duration::from_secs(30),
            image_timeout: Duration::from_secs(600),
            max_bundle: ByteSize::mib(64),
            sweep_interval: Duration::from_secs(30),
            keep_runs: Duration::from_secs(3600),
            max_kept_runs: 256,
            max_kept_output: ByteSize::mib(64),
        }
    }
}

/// The image of our own name first: it is there only if somebody made it.
fn default_images() -> BTreeMap<String, Vec<String>> {
    let python = "cortex-base-python:bookworm";
    let images = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    BTreeMap::from([
        ("python3".to_owned(), images(&[python, "python:3.12-slim"])),
        ("bash".to_owned(), images(&[python, "bash:5.2"])),
        ("node".to_owned(), images(&["cortex-base-node:bookworm", "node:22-slim"])),
        ("binary".to_owned(), images(&[python, "debian:bookworm-slim"])),
    ])
}

impl Validate for ContainerConfig {
    fn validate(&self, problems: &mut Problems, path: &KeyPath) {
        if self.instance.is_empty() || self.instance.len() > 128 {
            problems.add(path.key("instance"), "must have 1 to 128 characters");
        }
        for (runtime, images) in &self.runtime_images {
            if images.is_empty() {
                let path = path.key("runtime_images").key(runtime);
                problems.add(path, "must name at least one image");
            }
        }
        let seconds = |duration: Duration| duration.get().as_secs_f64();
        let mut between = |key: &str, value: f64, least: f64, most: f64, unit: &str| {
            if !(least..=most).contains(&value) {
                problems.add(path.key(key), format!("must be {least} to {most} {unit}"));
            }
        };
        between("max_starts", self.max_starts as f64, 1.0, 256.0, "containers");
        between("max_running", self.max_running as f64, 1.0, 4096.0, "tools");
        between("max_queued", self.max_queued as f64, 0.0, 65_536.0, "runs");
        between("max_kept_runs", self.max_kept_runs as f64, 0.0, 65_536.0, "runs");
        let bytes = |size: ByteSize| size.get() as f64;
        let mib = f64::from(1 << 20);
        between("stdout_limit", bytes(self.stdout_limit), 1.0, mib, "bytes");
        between("stderr_limit", bytes(self.stderr_limit), 1.0, mib, "bytes");
        between("output_limit", bytes(self.output_limit), 1.0, 1024.0 * mib, "bytes");
        between("max_bundle", bytes(self.max_bundle), 1.0, 1024.0 * mib, "bytes");
        between("max_kept_output", bytes(self.max_kept_output), 0.0, 4096.0 * mib, "bytes");
        between("stop_grace", seconds(self.stop_grace), 0.0, 10.0, "seconds");
        between("engine_timeout", seconds(self.engine_timeout), 1.0, 600.0, "seconds");
        between("engine_patience", seconds(self.engine_patience), 0.0, 600.0, "seconds");
        between("image_timeout", seconds(self.image_timeout), 1.0, 3600.0, "seconds");
        between("sweep_interval", seconds(self.sweep_interval), 1.0, 3600.0, "seconds");
        between("keep_runs", seconds(self.keep_runs), 0.0, 86_400.0, "seconds");
        self.limits.validate(problems, &path.key("limits"));
    }
}

impl Validate for LimitsConfig {
    fn validate(&self, problems: &mut Problems, path: &KeyPath) {
        let mut between = |key: &str, value: f64, least: f64, most: f64, unit: &str| {
            if !(least..=most).contains(&value) {
                problems.add(path.key(key), format!("must be {least} to {most} {unit}"));
            }
        };
        between("memory_mb", f64::from(self.memory_mb), 64.0, 8192.0, "MiB");
        between("cpu", self.cpu, 0.1, 8.0, "processors");
        between("timeout", self.timeout.get().as_secs_f64(), 1.0, 3600.0, "seconds");
        between("disk_mb", f64::from(self.disk_mb), 100.0, 10_240.0, "MiB");
        between("processes", f64::from(self.processes), 1.0, 4096.0, "processes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(config: &ContainerConfig) -> Vec<String> {
        let mut problems = Problems::default();
        config.validate(&mut problems, &KeyPath::root());
        problems.iter().map(|problem| format!("{problem}")).collect()
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(problems(&ContainerConfig::default()), Vec::<String>::new());
    }

    #[test]
    fn every_wrong_bound_is_told_at_once() {
        let mut config = ContainerConfig { instance: String::new(), ..Default::default() };
        config.stdout_limit = ByteSize::mib(2);
        config.limits.memory_mb = 8;
        config.limits.cpu = f64::NAN;
        config.runtime_images.insert("ruby".into(), Vec::new());
        let problems = problems(&config).join("\n");
        for part in ["instance", "stdout_limit", "memory_mb", "limits.cpu", "runtime_images.ruby"] {
            assert!(problems.contains(part), "{part} is missing in:\n{problems}");
        }
    }
}
