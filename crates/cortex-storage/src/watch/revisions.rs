//! How far the records of each tenant are.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::watch;

use crate::tenant::Tenant;

/// How far the records of each tenant are.
#[derive(Debug, Default)]
pub struct RevisionHub(Mutex<HashMap<Tenant, watch::Sender<i64>>>);

impl RevisionHub {
    /// Says that the records of `tenant` are at `revision`. Older news change nothing.
    pub fn publish(&self, tenant: &Tenant, revision: i64) {
        let topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = topics.get(tenant) {
            topic.send_if_modified(|last| {
                let newer = revision > *last;
                *last = revision.max(*last);
                newer
            });
        }
    }

    /// The tenants whose records are followed.
    pub fn followed(&self) -> Vec<Tenant> {
        let topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let followed = topics.iter().filter(|(_, topic)| topic.receiver_count() > 0);
        followed.map(|(tenant, _)| tenant.clone()).collect()
    }

    /// Ends every subscription.
    pub fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Follows the revisions of `tenant`, of which `read` was read after this call began.
    pub fn subscribe(&self, tenant: &Tenant) -> RevisionWatch {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        topics.retain(|_, topic| topic.receiver_count() > 0);
        let topic = topics.entry(tenant.clone()).or_insert_with(|| watch::Sender::new(0));
        RevisionWatch { receiver: topic.subscribe(), read: 0 }
    }
}

/// The revisions of one tenant.
#[derive(Debug)]
pub struct RevisionWatch {
    receiver: watch::Receiver<i64>,
    read: i64,
}

impl RevisionWatch {
    /// Notes a revision that was read from the database after subscribing.
    #[must_use]
    pub(crate) fn reading(mut self, revision: i64) -> Self {
        self.read = revision;
        self
    }

    /// The last revision that is known.
    pub fn revision(&self) -> i64 {
        self.read.max(*self.receiver.borrow())
    }

    /// Waits until the revision is above `seen`, and answers it; none when storage has closed.
    /// Cancel-safe.
    pub async fn beyond(&mut self, seen: i64) -> Option<i64> {
        loop {
            // Marked as seen before it is compared, so that no later one is missed.
            let current = self.read.max(*self.receiver.borrow_and_update());
            if current > seen {
                return Some(current);
            }
            self.receiver.changed().await.ok()?;
        }
    }
}
