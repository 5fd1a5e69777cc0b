//! How many runs there may be: a bounded queue before bounded places, and few starts at a time.
//!
//! Containers that start at a time share the processors: beyond one per processor only the latency
//! of each grows, not the throughput. So starts have their own, smaller bound.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ContainerError;

/// A cold start takes about this long, and a start is what most waiting is for.
const START: Duration = Duration::from_millis(300);

/// Gives places to runs, in the order of their coming.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    all: Arc<Semaphore>,
    running: Arc<Semaphore>,
    starts: Arc<Semaphore>,
    bounds: Bounds,
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    all: usize,
    running: usize,
    starts: usize,
}

/// The right to wait for a place.
#[derive(Debug)]
pub(crate) struct Ticket {
    all: OwnedSemaphorePermit,
    admission: Admission,
}

/// The right to run. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _all: OwnedSemaphorePermit,
    _running: OwnedSemaphorePermit,
}

/// The right to start a container. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Starting(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Admission {
    /// Lets `running` runs run, `starts` of them start at a time, and `queued` wait.
    pub(crate) fn new(running: usize, starts: usize, queued: usize) -> Self {
        let bounds = Bounds { all: running + queued, running, starts };
        Self {
            all: Arc::new(Semaphore::new(bounds.all)),
            running: Arc::new(Semaphore::new(running)),
            starts: Arc::new(Semaphore::new(starts)),
            bounds,
        }
    }

    /// A ticket, unless as many wait as may.
    ///
    /// # Errors
    /// [`ContainerError::TooManyRuns`], with when a place is likely to be free.
    pub(crate) fn ticket(&self) -> Result<Ticket, ContainerError> {
        match Arc::clone(&self.all).try_acquire_owned() {
            Ok(all) => Ok(Ticket { all, admission: self.clone() }),
            Err(_) => Err(ContainerError::TooManyRuns {
                limit: self.bounds.all,
                retry_after: self.estimate(),
            }),
        }
    }

    /// Runs that have a ticket: those that wait and those that run.
    pub(crate) fn admitted(&self) -> usize {
        self.bounds.all - self.all.available_permits()
    }

    /// When a place is likely to be free: when those that wait have started.
    fn estimate(&self) -> Duration {
        let queued = self.bounds.all - self.bounds.running;
        let rounds = u32::try_from(queued.div_ceil(self.bounds.starts)).unwrap_or(u32::MAX);
        START.saturating_mul(rounds).clamp(Duration::from_secs(1), Duration::from_secs(30))
    }
}

impl Ticket {
    /// Waits for a place and for the right to start. The caller bounds it. Cancel-safe: what was
    /// waited for is given back.
    pub(crate) async fn redeem(self) -> Result<(Place, Starting), ContainerError> {
        let closed = |_| ContainerError::Stopping;
        let Self { all, admission } = self;
        let running = admission.running.acquire_owned().await.map_err(closed)?;
        let starting = admission.starts.acquire_owned().await.map_err(closed)?;
        Ok((Place { _all: all, _running: running }, Starting(starting)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn beyond_the_queue_it_is_refused_with_when_to_retry() {
        let admission = Admission::new(1, 1, 1);
        let (first, second) = (admission.ticket().unwrap(), admission.ticket().unwrap());
        let refused = admission.ticket().unwrap_err();
        assert!(matches!(
            refused,
            ContainerError::TooManyRuns { limit: 2, retry_after } if retry_after >= Duration::from_secs(1)
        ));
        let (place, starting) = first.redeem().await.unwrap();
        let waiting = tokio::spawn(second.redeem());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "one at a time");
        drop(starting);
        drop(place);
        assert!(admission.ticket().is_ok(), "a place that is given back can be had again");
        waiting.await.unwrap().unwrap();
        assert_eq!(admission.admitted(), 0);
    }

    #[tokio::test]
    async fn starts_are_fewer_than_places() {
        let admission = Admission::new(10, 1, 0);
        let (_place, starting) = admission.ticket().unwrap().redeem().await.unwrap();
        let waiting = tokio::spawn(admission.ticket().unwrap().redeem());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(starting);
        waiting.await.unwrap().unwrap();
    }
}
