//! An orderly stop, in phases that everything in a server can see.

use std::sync::Arc;

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// The phases of a stop. Each is entered once and never left. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Drain(Arc<Phases>);

#[derive(Debug, Default)]
struct Phases {
    leaving: CancellationToken,
    stopping: CancellationToken,
    forcing: CancellationToken,
    open: TaskTracker,
}

impl Drain {
    /// Health says NOT_SERVING; calls are still taken.
    pub fn leaving(&self) -> &CancellationToken {
        &self.0.leaving
    }

    /// Nothing is accepted any more; watches end.
    pub fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// Whatever is still open ends now.
    pub fn forcing(&self) -> &CancellationToken {
        &self.0.forcing
    }

    /// Counts a call, from within the process too, until the token is dropped.
    pub(crate) fn open_call(&self) -> TaskTrackerToken {
        self.0.open.token()
    }

    /// The number of open calls.
    pub(crate) fn open_calls(&self) -> usize {
        self.0.open.len()
    }

    /// Waits until no call is open. Once [`Drain::stopping`] no new work is expected.
    pub(crate) async fn calls_ended(&self) {
        self.0.open.close();
        self.0.open.wait().await;
    }

    /// Whether the stop has begun.
    pub fn has_begun(&self) -> bool {
        self.0.leaving.is_cancelled()
    }
}
