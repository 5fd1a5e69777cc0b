//! One work of administration at a time.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Result, StorageError};

/// Lets one work in at a time. Cloning is cheap; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Turnstile(Arc<Mutex<Option<&'static str>>>);

/// Somebody is in, until this is dropped.
#[derive(Debug)]
pub struct Admitted(Turnstile);

impl Turnstile {
    /// Enters for `work`.
    ///
    /// # Errors
    /// `AdminBusy` when another is in.
    pub fn enter(&self, work: &'static str) -> Result<Admitted> {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *inside {
            Some(work) => Err(StorageError::AdminBusy { work }),
            None => {
                *inside = Some(work);
                Ok(Admitted(self.clone()))
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
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
        drop(inside);
        assert!(turnstile.enter("check").is_ok());
    }
}
