//! Notices of sessions that may have become runnable. Only hints: they shorten a poll.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::broadcast::{self, error::RecvError};

use crate::{ports::Runnable, tenant::Scope};

/// Hints that wait for a slow listener; older ones are dropped, since the poll finds their sessions.
const CAPACITY: usize = 1024;

/// Where hints are told.
#[derive(Debug)]
pub struct RunnableHub(RwLock<broadcast::Sender<Runnable>>);

impl Default for RunnableHub {
    fn default() -> Self {
        Self(RwLock::new(broadcast::Sender::new(CAPACITY)))
    }
}

impl RunnableHub {
    /// Whether anybody listens.
    pub fn is_followed(&self) -> bool {
        self.sender().receiver_count() > 0
    }

    /// Tells everybody who listens.
    pub fn publish(&self, hint: Runnable) {
        // Fails only when nobody listens.
        drop(self.sender().send(hint));
    }

    /// Ends every subscription.
    pub fn close(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = broadcast::Sender::new(1);
    }

    fn sender(&self) -> RwLockReadGuard<'_, broadcast::Sender<Runnable>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to the hints in `scope`.
    pub fn subscribe(&self, scope: Scope) -> RunnableHints {
        RunnableHints { receiver: self.sender().subscribe(), scope }
    }
}

/// One listener.
#[derive(Debug)]
pub struct RunnableHints {
    receiver: broadcast::Receiver<Runnable>,
    scope: Scope,
}

impl RunnableHints {
    /// The next hints, those that came together in one go; none when storage has closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Vec<Runnable>> {
        loop {
            match self.receiver.recv().await {
                Ok(hint) if self.scope.includes(&hint.tenant) => return Some(self.gather(hint)),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn gather(&mut self, first: Runnable) -> Vec<Runnable> {
        let mut sessions = vec![first];
        while let Ok(hint) = self.receiver.try_recv() {
            let known = sessions.iter().any(|session| session.session_id == hint.session_id);
            if self.scope.includes(&hint.tenant) && !known {
                sessions.push(hint);
            }
        }
        sessions
    }
}
