//! A container as the service makes it: its identity in labels, and what it may not do.
//!
//! The hardening is the same for every tool and cannot be turned off: no capabilities, no new
//! privileges, a system call filter of our own ([`SECCOMP`]), a read-only root with a sized writable
//! `/tmp`, an unprivileged user, no network, no shared memory with others, and bounds on memory,
//! processors, processes and open files. All of it costs about 3 % of a cold start.

use std::sync::LazyLock;

use cortex_core::ExecutionId;

use crate::{
    ports::{Incarnation, LabelMap},
    tool::Limits,
};

/// The user and group that every tool runs as: `nobody` and `nogroup` of Debian, and nobody's
/// elsewhere.
pub(crate) const USER: &str = "65534:65534";

/// Files and sockets that a tool may have open.
pub(crate) const MAX_OPEN_FILES: i64 = 1024;

/// Paths below `/proc` and `/sys` that a tool sees as empty: Docker's own, and those that tell of
/// the machine's power and firmware.
pub(crate) const MASKED_PATHS: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/system/cpu/cpu0/thermal_throttle",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/kernel/security",
];

/// Paths that a tool may read and not write.
pub(crate) const READ_ONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The system call filter as the engine wants it, inline and without blanks.
pub(crate) static SECCOMP: LazyLock<String> = LazyLock::new(|| {
    let profile: serde_json::Value = serde_json::from_str(include_str!("../assets/seccomp.json"))
        .expect("a test parses the profile");
    profile.to_string()
});

/// Names of labels. The prefix is reserved: nothing that a user says becomes such a label.
pub(crate) mod label {
    /// `true` on everything that this system made.
    pub(crate) const MANAGED: &str = "cortex.managed";
    /// The installation that made it.
    pub(crate) const INSTANCE: &str = "cortex.instance";
    /// The incarnation of the installation that made it.
    pub(crate) const CLAIMANT: &str = "cortex.claimant_id";
    /// The session that it belongs to.
    pub(crate) const SESSION: &str = "cortex.session_id";
    /// `tool` or `relic`.
    pub(crate) const KIND: &str = "cortex.kind";
    /// The manifest's name.
    pub(crate) const NAME: &str = "cortex.name";
    /// The execution that it is.
    pub(crate) const EXECUTION: &str = "cortex.execution_id";
    /// The tenant whose it is.
    pub(crate) const TENANT: &str = "cortex.tenant";
}

/// Labels by name.
pub(crate) type Labels = LabelMap;

/// The labels that every tool container of this installation has.
pub(crate) fn tools_of(instance: &str) -> Labels {
    Labels::from([
        (label::MANAGED.to_owned(), "true".to_owned()),
        (label::KIND.to_owned(), "tool".to_owned()),
        (label::INSTANCE.to_owned(), instance.to_owned()),
    ])
}

/// The labels that find the container of one execution, whoever made it.
pub(crate) fn execution_of(instance: &str, execution_id: &ExecutionId) -> Labels {
    let mut labels = tools_of(instance);
    labels.insert(label::EXECUTION.to_owned(), execution_id.as_str().to_owned());
    labels
}

/// An engine's id of a container: 64 lower-case hex digits. Engines take names in its place, and the
/// client library puts them into paths as they are: nothing else may get there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ContainerId(String);

impl ContainerId {
    /// Reads an id. `None`: it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (hex && text.len() == 64).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A container to make, hardened as this module says.
#[derive(Debug, Clone)]
pub(crate) struct ContainerSpec {
    /// A readable name, unique on the engine: a second create of one execution is refused by it.
    pub name: String,
    /// The image.
    pub image: String,
    /// What is started, if not what the image says.
    pub entrypoint: Option<Vec<String>>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its variables.
    pub environment: LabelMap,
    /// Its identity.
    pub labels: Labels,
    /// What it may use.
    pub limits: Limits,
}

/// Whose a container is.
#[derive(Debug, Clone)]
pub(crate) struct Owner<'a> {
    /// The incarnation that makes it.
    pub incarnation: &'a Incarnation,
    /// The tenant.
    pub tenant: &'a str,
    /// The session.
    pub session_id: &'a str,
    /// The tool.
    pub tool: &'a str,
    /// The execution.
    pub execution_id: &'a ExecutionId,
}

impl Owner<'_> {
    /// The container's name, for example `cortex-calculator-exec_0192f0c1…`.
    pub(crate) fn container_name(&self) -> String {
        let tool: String = self.tool.chars().take(48).collect();
        format!("cortex-{tool}-{}", self.execution_id)
    }

    /// The container's labels.
    pub(crate) fn labels(&self) -> Labels {
        let mut labels = execution_of(&self.incarnation.instance, self.execution_id);
        for (name, value) in [
            (label::CLAIMANT, self.incarnation.claimant.as_str()),
            (label::SESSION, self.session_id),
            (label::NAME, self.tool),
            (label::TENANT, self.tenant),
        ] {
            labels.insert(name.to_owned(), value.to_owned());
        }
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hex_ids_reach_the_engine() {
        assert!(ContainerId::parse(&"a1".repeat(32)).is_some());
        for bad in ["", "../../../version", "x?force=1", &"A1".repeat(32), &"a".repeat(63)] {
            assert!(ContainerId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_profile_denies_by_default_and_never_allows_what_must_not_be() {
        let profile: serde_json::Value = serde_json::from_str(&SECCOMP).unwrap();
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        let rules = profile["syscalls"].as_array().unwrap();
        let allowed = |name: &str| {
            rules.iter().any(|rule| {
                rule["action"] == "SCMP_ACT_ALLOW"
                    && rule["args"].is_null()
                    && rule["names"].as_array().unwrap().iter().any(|known| known == name)
            })
        };
        for name in ["read", "execve", "futex", "rseq", "statx"] {
            assert!(allowed(name), "{name}");
        }
        for name in [
            "io_uring_setup",
            "io_uring_enter",
            "io_uring_register",
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "keyctl",
            "add_key",
            "request_key",
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "mount",
            "umount2",
            "unshare",
            "setns",
            "clone",
            "clone3",
            "socket",
            "socketcall",
            "kexec_load",
            "init_module",
            "open_by_handle_at",
            "name_to_handle_at",
            "pivot_root",
            "chroot",
            "reboot",
            "swapon",
            "syslog",
            "personality",
            "modify_ldt",
        ] {
            assert!(!allowed(name), "{name}");
        }
        let sockets: Vec<_> = rules
            .iter()
            .filter(|rule| rule["names"][0] == "socket")
            .map(|rule| rule["args"][0]["value"].as_u64().unwrap())
            .collect();
        assert_eq!(sockets, [1, 2, 10], "AF_UNIX, AF_INET and AF_INET6 only");
    }

    #[test]
    fn a_container_says_whose_it_is() {
        let incarnation =
            Incarnation { instance: "here".into(), claimant: cortex_core::ClaimantId::generate() };
        let execution_id = ExecutionId::generate();
        let owner = Owner {
            incarnation: &incarnation,
            tenant: "default",
            session_id: "session_0123456789abcdef",
            tool: "calculator",
            execution_id: &execution_id,
        };
        let labels = owner.labels();
        assert_eq!(labels[label::INSTANCE], "here");
        assert_eq!(labels[label::CLAIMANT], incarnation.claimant.as_str());
        assert!(owner.container_name().ends_with(execution_id.as_str()));
        assert!(
            execution_of("here", &execution_id)
                .iter()
                .all(|entry| labels.get_key_value(entry.0) == Some(entry))
        );
    }
}
