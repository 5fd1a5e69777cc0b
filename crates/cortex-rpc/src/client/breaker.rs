//! A circuit breaker: an endpoint that keeps failing is left alone for a while, then tried with one
//! call (Nygard, "Release It!").

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::client::config::BreakerConfig;

/// The breaker of one endpoint.
#[derive(Debug)]
pub(crate) struct Breaker {
    failures_to_open: u32,
    open: Duration,
    max_open: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Calls pass; so many failed in a row.
    Closed { failures: u32 },
    /// No call passes before `until`. It was opened for `span`.
    Open { until: Instant, span: Duration },
    /// One call is out to try. Another may try if nothing was heard of it by `until`.
    Trying { until: Instant, span: Duration },
}

impl Breaker {
    pub(crate) fn new(config: &BreakerConfig) -> Self {
        Self {
            failures_to_open: config.failures,
            open: config.open.get(),
            max_open: config.max_open.get(),
            state: Mutex::new(State::Closed { failures: 0 }),
        }
    }

    /// Whether a call would pass, without sending one. Says how long not.
    pub(crate) fn closed_in(&self, now: Instant) -> Duration {
        match *self.lock() {
            State::Closed { .. } => Duration::ZERO,
            State::Open { until, .. } | State::Trying { until, .. } => {
                until.saturating_duration_since(now)
            }
        }
    }

    /// Takes the place of a call. `false`: somebody else is trying, or nobody may yet.
    pub(crate) fn acquire(&self, now: Instant) -> bool {
        let mut state = self.lock();
        match *state {
            State::Closed { .. } => true,
            State::Open { until, span } | State::Trying { until, span } => {
                if now < until {
                    return false;
                }
                *state = State::Trying { until: now + span, span };
                true
            }
        }
    }

    /// A call was answered.
    pub(crate) fn succeeded(&self) {
        *self.lock() = State::Closed { failures: 0 };
    }

    /// A call found the endpoint away. `true` when that opened the circuit.
    pub(crate) fn failed(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let (next, opened) = match *state {
            State::Closed { failures } if failures + 1 < self.failures_to_open => {
                (State::Closed { failures: failures + 1 }, false)
            }
            State::Closed { .. } => (State::Open { until: now + self.open, span: self.open }, true),
            State::Trying { span, .. } => {
                let span = (span * 2).min(self.max_open);
                (State::Open { until: now + span, span }, false)
            }
            // A call that was sent before the circuit opened.
            open @ State::Open { .. } => (open, false),
        };
        *state = next;
        opened
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(&BreakerConfig { failures: 2, ..BreakerConfig::default() })
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_does_not() {
        let (breaker, now) = (breaker(), Instant::now());
        assert!(!breaker.failed(now));
        breaker.succeeded();
        assert!(!breaker.failed(now));
        assert!(breaker.acquire(now));
        assert!(breaker.failed(now));
        assert!(!breaker.acquire(now));
        assert_eq!(breaker.closed_in(now), Duration::from_millis(500));
    }

    #[test]
    fn one_call_tries_and_its_failure_doubles_the_pause() {
        let (breaker, start) = (breaker(), Instant::now());
        breaker.failed(start);
        breaker.failed(start);
        let later = start + Duration::from_millis(500);
        assert!(breaker.acquire(later));
        assert!(!breaker.acquire(later), "only one tries");
        breaker.failed(later);
        assert_eq!(breaker.closed_in(later), Duration::from_secs(1));
        let much_later = later + Duration::from_secs(1);
        assert!(breaker.acquire(much_later));
        breaker.succeeded();
        assert!(breaker.acquire(much_later) && breaker.acquire(much_later));
    }

    #[test]
    fn a_try_that_is_never_heard_of_again_does_not_block_for_ever() {
        let (breaker, start) = (breaker(), Instant::now());
        breaker.failed(start);
        breaker.failed(start);
        let later = start + Duration::from_millis(500);
        assert!(breaker.acquire(later));
        assert!(breaker.acquire(later + Duration::from_millis(500)));
    }

    #[test]
    fn the_pause_has_a_limit() {
        let (breaker, mut now) = (breaker(), Instant::now());
        breaker.failed(now);
        breaker.failed(now);
        for _ in 0..10 {
            now += breaker.closed_in(now);
            assert!(breaker.acquire(now));
            breaker.failed(now);
        }
        assert_eq!(breaker.closed_in(now), Duration::from_secs(10));
    }
}
