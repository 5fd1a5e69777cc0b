//! The engine's statistics, of cgroup version 1 and 2, as ours.

use bollard::models::{ContainerBlkioStats, ContainerStatsResponse};

use crate::ports::ContainerStats;

/// What a sample says. `None`: the container does not run.
pub(super) fn read(sample: &ContainerStatsResponse) -> Option<ContainerStats> {
    let memory = sample.memory_stats.as_ref()?;
    let usage = memory.usage?;
    let of = |name: &str| memory.stats.as_ref().and_then(|stats| stats.get(name)).copied();
    // As `docker stats` counts: pages that only cache files can be had back at any time.
    let cache = of("total_inactive_file").or_else(|| of("inactive_file")).unwrap_or_default();
    let networks = || sample.networks.iter().flat_map(|networks| networks.values());
    let blocks = sample.blkio_stats.as_ref();
    Some(ContainerStats {
        cpu_nanoseconds: sample
            .cpu_stats
            .as_ref()
            .and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage)
            .unwrap_or_default(),
        memory_bytes: usage.saturating_sub(cache),
        memory_peak_bytes: memory.max_usage.unwrap_or_default(),
        memory_limit_bytes: memory.limit.unwrap_or_default(),
        network_received_bytes: networks().filter_map(|network| network.rx_bytes).sum(),
        network_sent_bytes: networks().filter_map(|network| network.tx_bytes).sum(),
        disk_read_bytes: bytes(blocks, "read"),
        disk_written_bytes: bytes(blocks, "write"),
        processes: sample
            .pids_stats
            .as_ref()
            .and_then(|processes| processes.current)
            .unwrap_or_default(),
    })
}

fn bytes(blocks: Option<&ContainerBlkioStats>, operation: &str) -> u64 {
    let entries = blocks.and_then(|blocks| blocks.io_service_bytes_recursive.as_ref());
    let of_kind = entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.op.as_deref().is_some_and(|op| op.eq_ignore_ascii_case(operation)));
    of_kind.filter_map(|entry| entry.value).sum()
}
