//! One work of administration at a time.

use std::{
    any::Any,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::error::{Result, StorageError};

/// What keeps other processes out, until it is dropped.
pub type Hold = Box<dyn Any + Send>;

/// Lets one work in at a time. Cloning is cheap; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Turnstile(Arc<Mutex<Option<&'static str>>>);

/// Somebody is in, until this is dropped.
pub struct Admitted {
    turnstile: Turnstile,
    /// What keeps other processes out.
    hold: Option<Hold>,
}

impl Turnstile {
    /// Enters for `work`.
    ///
    /// # Errors
    /// `AdminBusy` when another is in.
    pub fn enter(&self, work: &'static str) -> Result<Admitted> {
        let mut inside = self.inside();
        match *inside {
            Some(work) => Err(StorageError::AdminBusy { work }),
            None => {
                *inside = Some(work);
                Ok(Admitted { turnstile: self.clone(), hold: None })
            }
        }
    }

    /// Whether somebody is in.
    pub fn is_taken(&self) -> bool {
        self.inside().is_some()
    }

    fn inside(&self) -> MutexGuard<'_, Option<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted {
    /// With what keeps other processes out.
    #[must_use]
    pub fn holding(mut self, hold: Option<Hold>) -> Self {
        self.hold = hold;
        self
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        // Other processes first: they hear of it later.
        drop(self.hold.take());
        *self.turnstile.inside() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let turnstile = Turnstile::default();
        let inside = turnstile.enter("backup").expect("nobody is in");
        let refused = turnstile.enter("check").map(drop);
        assert_eq!(refused, Err(StorageError::AdminBusy { work: "backup" }));
        assert!(turnstile.is_taken());
        drop(inside);
        assert!(!turnstile.is_taken());
        assert!(turnstile.enter("check").is_ok());
    }
}
