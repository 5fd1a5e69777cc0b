//! Telling how far something is.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::error::{Result, StorageError};

/// How often progress is told.
const INTERVAL: Duration = Duration::from_millis(200);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Rows.
    Rows,
    /// Bytes.
    Bytes,
    /// Sessions.
    Sessions,
}

impl Unit {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Bytes => "bytes",
            Self::Sessions => "sessions",
        }
    }
}

/// A part of some work: what is done in it, and how much there is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// For a person, for example `journal entries`.
    pub name: String,
    /// How much there is to do; 0: not known.
    pub total: i64,
    /// What is counted.
    pub unit: Unit,
}

/// How far something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// How much of it is done.
    pub done: i64,
}

/// Decides when progress is worth telling: at the begin of a phase, and then five times a second.
#[derive(Debug)]
pub struct Pace {
    phase: Phase,
    done: i64,
    told: Option<Instant>,
}

impl Pace {
    /// Begins with a phase.
    pub fn new(name: impl Into<String>, total: i64, unit: Unit) -> Self {
        Self { phase: Phase { name: name.into(), total, unit }, done: 0, told: None }
    }

    /// Goes on to another phase.
    pub fn enter(&mut self, name: impl Into<String>, total: i64, unit: Unit) {
        *self = Self::new(name, total, unit);
    }

    /// Notes that `more` is done, and says how far it is if that should be told.
    pub fn advance(&mut self, more: i64) -> Option<Progress> {
        self.advance_at(Instant::now(), more)
    }

    fn advance_at(&mut self, now: Instant, more: i64) -> Option<Progress> {
        self.done += more;
        let due = self.told.is_none_or(|told| now.duration_since(told) >= INTERVAL);
        due.then(|| {
            self.told = Some(now);
            self.here()
        })
    }

    /// How far it is.
    pub fn here(&self) -> Progress {
        Progress { phase: self.phase.clone(), done: self.done }
    }
}

/// Where work tells what happens. Waits while its reader is behind.
#[derive(Debug, Clone)]
pub struct Outlet<T>(mpsc::Sender<T>);

impl<T> Outlet<T> {
    /// Tells `event` to the other end of `sender`.
    pub fn new(sender: mpsc::Sender<T>) -> Self {
        Self(sender)
    }

    /// Tells an event.
    ///
    /// # Errors
    /// `Closed` when nobody listens any more.
    pub async fn tell(&self, event: T) -> Result<()> {
        self.0.send(event).await.map_err(|_| StorageError::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_at_the_begin_and_then_now_and_then() {
        let (mut pace, begin) = (Pace::new("rows", 10, Unit::Rows), Instant::now());
        assert_eq!(pace.advance_at(begin, 1).map(|progress| progress.done), Some(1));
        assert_eq!(pace.advance_at(begin, 1), None);
        let later = pace.advance_at(begin + INTERVAL, 1);
        assert_eq!(later.map(|progress| progress.done), Some(3));
        pace.enter("others", 0, Unit::Bytes);
        let told = pace.advance_at(begin + INTERVAL, 0);
        assert_eq!(told.map(|progress| progress.phase.unit), Some(Unit::Bytes));
    }
}
