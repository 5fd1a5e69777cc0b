//! Refusing writes for a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::turnstile::Hold;
use crate::error::{Result, StorageError};

/// What keeps others from writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The installation is filled from a backup.
    Restore,
    /// The installation is copied into another database.
    Migration,
    /// It was copied: what would be written now would not be there.
    Migrated,
    /// Another replica does one of these, or compacts the database.
    Elsewhere,
}

impl Work {
    /// Why writes are refused, for a person.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Restore => "the installation is being restored from a backup",
            Self::Migration => "the installation is being copied into another database",
            Self::Migrated => {
                "the installation was copied into another database; restart it with that one"
            }
            Self::Elsewhere => {
                "another replica of storage restores, copies or compacts the installation"
            }
        }
    }
}

/// Whether writes are refused, and why.
#[derive(Default)]
pub struct Maintenance(Mutex<Refusal>);

#[derive(Default)]
struct Refusal {
    work: Option<Work>,
    /// What makes others refuse them too.
    hold: Option<Hold>,
}

impl Maintenance {
    /// Refuses writes from now on.
    ///
    /// # Errors
    /// `Maintenance` when they are refused already.
    pub fn begin(self: &Arc<Self>, work: Work) -> Result<Freeze> {
        let mut refusal = self.refusal();
        match refusal.work {
            Some(work) => Err(StorageError::Maintenance { work }),
            None => {
                refusal.work = Some(work);
                Ok(Freeze(Arc::clone(self)))
            }
        }
    }

    /// That writes are welcome.
    ///
    /// # Errors
    /// `Maintenance` when they are not.
    pub fn check(&self) -> Result<()> {
        match self.refusal().work {
            Some(work) => Err(StorageError::Maintenance { work }),
            None => Ok(()),
        }
    }

    /// Refuses writes for good: the installation lives on in another database.
    pub fn migrated(&self) {
        self.refusal().work = Some(Work::Migrated);
    }

    fn refusal(&self) -> MutexGuard<'_, Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes are refused until this is dropped.
pub struct Freeze(Arc<Maintenance>);

impl Freeze {
    /// With what makes others refuse them too.
    #[must_use]
    pub fn holding(self, hold: Option<Hold>) -> Self {
        self.0.refusal().hold = hold;
        self
    }

    /// Refuses writes until the process ends: the installation lives on in another database.
    pub fn stay(self) {
        self.0.migrated();
    }
}

impl Drop for Freeze {
    fn drop(&mut self) {
        let mut refusal = self.0.refusal();
        if refusal.work != Some(Work::Migrated) {
            *refusal = Refusal::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_refused_as_long_as_somebody_asks_for_it() {
        let maintenance = Arc::new(Maintenance::default());
        let freeze = maintenance.begin(Work::Restore).expect("nobody else");
        let work = Work::Restore;
        assert_eq!(maintenance.check(), Err(StorageError::Maintenance { work }));
        assert!(maintenance.begin(Work::Migration).is_err());
        drop(freeze);
        assert_eq!(maintenance.check(), Ok(()));
    }

    #[test]
    fn what_was_migrated_stays_as_it_is() {
        let maintenance = Arc::new(Maintenance::default());
        maintenance.begin(Work::Migration).expect("nobody else").stay();
        let work = Work::Migrated;
        assert_eq!(maintenance.check(), Err(StorageError::Maintenance { work }));
    }
}
