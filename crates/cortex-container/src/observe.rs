//! What containers use: processor time between two looks, and the rest as the engine says it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use futures::{StreamExt as _, stream};
use tokio::time::Instant;

use crate::{
    error::ContainerError,
    ports::{ContainerEngine, ContainerStats, ContainerSummary},
    sandbox::ContainerId,
};

/// Containers that are asked about at a time.
const AT_A_TIME: usize = 8;
/// A look that is older says nothing of now.
const OLD: Duration = Duration::from_secs(60);

/// What one container uses.
#[derive(Debug, Clone)]
pub(crate) struct Usage {
    /// The container.
    pub container: ContainerSummary,
    /// What it uses. `None`: it does not run.
    pub stats: Option<ContainerStats>,
    /// Processor time in percent of one processor: since the last look, else since it was made.
    pub cpu_percent: f64,
}

/// Looks at containers and remembers what it saw.
#[derive(Default)]
pub(crate) struct Observer {
    seen: Mutex<HashMap<ContainerId, (Instant, u64)>>,
}

impl Observer {
    /// What each of `containers` uses, in their order.
    ///
    /// # Errors
    /// Those of the engine.
    pub(crate) async fn look(
        &self,
        engine: &Arc<dyn ContainerEngine>,
        containers: Vec<ContainerSummary>,
    ) -> Result<Vec<Usage>, ContainerError> {
        let looks = stream::iter(containers).map(|container| async move {
            let stats = match container.state.as_str() {
                "running" => engine.stats(&container.id).await?,
                _ => None,
            };
            Ok((container, stats))
        });
        let looks: Vec<Result<_, ContainerError>> = looks.buffered(AT_A_TIME).collect().await;
        let looks: Result<Vec<_>, _> = looks.into_iter().collect();
        let usage = looks?.into_iter().map(|(container, stats)| {
            let cpu_percent = stats.as_ref().map_or(0.0, |stats| self.share(&container, stats));
            Usage { container, stats, cpu_percent }
        });
        Ok(usage.collect())
    }

    fn share(&self, container: &ContainerSummary, stats: &ContainerStats) -> f64 {
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, (at, _)| now.duration_since(*at) < OLD);
        let before = seen.insert(container.id.clone(), (now, stats.cpu_nanoseconds));
        let (elapsed, used) = match before {
            Some((at, used)) => (now - at, stats.cpu_nanoseconds.saturating_sub(used)),
            None => {
                let age = SystemTime::now().duration_since(container.created_at);
                (age.unwrap_or_default(), stats.cpu_nanoseconds)
            }
        };
        if elapsed.is_zero() { 0.0 } else { used as f64 / elapsed.as_nanos() as f64 * 100.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container() -> ContainerSummary {
        ContainerSummary {
            id: ContainerId::parse(&"a".repeat(64)).unwrap(),
            name: "c".into(),
            labels: Default::default(),
            state: "running".into(),
            created_at: SystemTime::now() - Duration::from_secs(10),
        }
    }

    fn used(seconds: u64) -> ContainerStats {
        ContainerStats { cpu_nanoseconds: seconds * 1_000_000_000, ..Default::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn processor_time_is_told_between_looks() {
        let observer = Observer::default();
        let first = observer.share(&container(), &used(5));
        assert!((40.0..=51.0).contains(&first), "5 s of the 10 s since it was made: {first}");
        tokio::time::advance(Duration::from_secs(2)).await;
        let second = observer.share(&container(), &used(6));
        assert!((second - 50.0).abs() < 0.1, "1 s of the 2 s since the last look: {second}");
    }
}
