//! A container spec as the engine's request, with the hardening of [`crate::sandbox`].

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    ResourcesUlimits,
};

use crate::sandbox::{ContainerSpec, MASKED_PATHS, MAX_OPEN_FILES, READ_ONLY_PATHS, SECCOMP, USER};

/// The request that creates a container.
pub(super) fn body(spec: &ContainerSpec) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: spec.entrypoint.clone(),
        cmd: Some(spec.arguments.clone()),
        env: Some(spec.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(spec.labels.clone().into_iter().collect()),
        user: Some(USER.to_owned()),
        hostname: Some("tool".to_owned()),
        // Its input ends when ours does, and nothing of it is taken for a terminal's.
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(false),
        network_disabled: Some(true),
        host_config: Some(host_config(spec)),
        ..Default::default()
    }
}

fn host_config(spec: &ContainerSpec) -> HostConfig {
    let limits = &spec.limits;
    let memory = i64::from(limits.memory_mb) << 20;
    let owned = |paths: &[&str]| Some(paths.iter().map(|&path| path.to_owned()).collect());
    HostConfig {
        memory: Some(memory),
        // The same as memory: no swap.
        memory_swap: Some(memory),
        nano_cpus: Some((limits.cpu * 1e9).round() as i64),
        pids_limit: Some(i64::from(limits.processes)),
        ulimits: Some(vec![
            ulimit("nofile", MAX_OPEN_FILES),
            // A dump of its memory would be the only thing that a tool can leave behind.
            ulimit("core", 0),
        ]),
        network_mode: Some("none".to_owned()),
        ipc_mode: Some("none".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        cap_drop: owned(&["ALL"]),
        security_opt: Some(vec![
            "no-new-privileges:true".to_owned(),
            format!("seccomp={}", *SECCOMP),
        ]),
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), tmpfs(limits.disk_mb))])),
        masked_paths: owned(&MASKED_PATHS),
        readonly_paths: owned(&READ_ONLY_PATHS),
        // What it writes is read over the attached streams, and stored nowhere by the engine.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        // Removing is ours: the engine's own removal races with asking how it ended.
        auto_remove: Some(false),
        privileged: Some(false),
        publish_all_ports: Some(false),
        ..Default::default()
    }
}

fn tmpfs(size_mb: u32) -> String {
    format!("rw,noexec,nosuid,nodev,mode=1777,size={size_mb}m")
}

fn ulimit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) }
}
