//! Refusing writes for a while.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

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
}

impl Work {
    const ALL: [Self; 3] = [Self::Restore, Self::Migration, Self::Migrated];

    fn number(self) -> u8 {
        match self {
            Self::Restore => 1,
            Self::Migration => 2,
            Self::Migrated => 3,
        }
    }

    /// Why writes are refused, for a person.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Restore => "the installation is being restored from a backup",
            Self::Migration => "the installation is being copied into another database",
            Self::Migrated => {
                "the installation was copied into another database; restart it with that one"
            }
        }
    }
}

/// Whether writes are refused, and why.
#[derive(Debug, Default)]
pub struct Maintenance(AtomicU8);

impl Maintenance {
    /// Refuses writes from now on.
    ///
    /// # Errors
    /// `Maintenance` when they are refused already.
    pub fn begin(self: &Arc<Self>, work: Work) -> Result<Freeze> {
        let begun = self.0.compare_exchange(0, work.number(), Ordering::SeqCst, Ordering::SeqCst);
        match begun {
            Ok(_) => Ok(Freeze { maintenance: Arc::clone(self) }),
            Err(_) => Err(self.check().err().unwrap_or(StorageError::Overloaded)),
        }
    }

    /// That writes are welcome.
    ///
    /// # Errors
    /// `Maintenance` when they are not.
    pub fn check(&self) -> Result<()> {
        let number = self.0.load(Ordering::SeqCst);
        match Work::ALL.into_iter().find(|work| work.number() == number) {
            Some(work) => Err(StorageError::Maintenance { work }),
            None => Ok(()),
        }
    }
}

/// Writes are refused until this is dropped.
#[derive(Debug)]
pub struct Freeze {
    maintenance: Arc<Maintenance>,
}

impl Freeze {
    /// Refuses writes until the process ends: the installation lives on in another database.
    pub fn stay(self) {
        self.maintenance.0.store(Work::Migrated.number(), Ordering::SeqCst);
    }
}

impl Drop for Freeze {
    fn drop(&mut self) {
        let migrated = Work::Migrated.number();
        if self.maintenance.0.load(Ordering::SeqCst) != migrated {
            self.maintenance.0.store(0, Ordering::SeqCst);
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
