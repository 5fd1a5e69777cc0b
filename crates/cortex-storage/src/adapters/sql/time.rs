//! What time it is.

use std::sync::Arc;

use cortex_core::Clock;

use crate::time::Stamp;

/// By which clock leases end. There must be one for all who write a database.
#[derive(Clone)]
pub(in crate::adapters) enum Timekeeper {
    /// This one.
    Clock(Arc<dyn Clock>),
    /// The database's own.
    Database,
}

impl Timekeeper {
    /// The time, unless the database has to be asked.
    pub(super) fn now(&self) -> Option<Stamp> {
        match self {
            Self::Clock(clock) => Some(Stamp::now(&**clock)),
            Self::Database => None,
        }
    }
}
