//! Load that costs little: on a thread of its own, where waking a task wakes no other thread.

use std::time::{Duration, Instant};

use crate::{Outcome, process::cpu_time};

/// Runs what `load` makes to its end, on a thread and a runtime of its own.
pub(crate) async fn on_own_thread<F, T>(load: impl FnOnce() -> F + Send + 'static) -> Outcome<T>
where
    F: Future<Output = Outcome<T>>,
    T: Send + 'static,
{
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(load())
    };
    tokio::task::spawn_blocking(run).await?
}

/// What a process did in a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spell {
    begun: Instant,
    process: u32,
    before: Duration,
}

/// What of it fell to each of many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    /// How many in a second.
    pub(crate) rate: f64,
    /// Processor time of the process for each, in microseconds.
    pub(crate) cost: f64,
}

impl Spell {
    /// Begins to look at a process.
    pub(crate) fn begin(process: u32) -> Outcome<Self> {
        Ok(Self { begun: Instant::now(), process, before: cpu_time(process)? })
    }

    /// What fell to each of `count`, which were all that it did.
    pub(crate) fn end(self, count: usize) -> Outcome<Share> {
        let (took, after) = (self.begun.elapsed(), cpu_time(self.process)?);
        let spent = after.saturating_sub(self.before);
        let count = count as f64;
        Ok(Share { rate: count / took.as_secs_f64(), cost: spent.as_secs_f64() * 1e6 / count })
    }
}
