//! Hints to other replicas: what has moved, told after the commit.
//!
//! A hint is not part of the transaction, since there it would make all commits wait for each other. One
//! connection of its own sends them; what comes up while one is under way goes with the next. A lost
//! hint costs the others the time until they look by themselves.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::PostgresLocation;
use crate::{error::Result, journal::SessionNo, tenant::Tenant};

/// The channel of hints.
pub(super) const CHANNEL: &str = "cortex_storage";
/// Things that one hint names; PostgreSQL takes 8,000 bytes. With more, everything has moved.
const MAX_NAMED: usize = 256;
/// Bytes of a hint.
const MAX_BYTES: usize = 7_500;
/// The pause after a hint that could not be sent.
const PAUSE: Duration = Duration::from_millis(500);

/// What has moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hint {
    /// Who tells it.
    pub(super) replica: String,
    /// Sessions that were written, by number.
    pub(super) sessions: BTreeSet<i64>,
    /// Those of them that somebody should take.
    pub(super) ready: BTreeSet<i64>,
    /// Tenants whose records have changed.
    pub(super) tenants: BTreeSet<String>,
    /// More than can be named.
    pub(super) everything: bool,
}

impl Hint {
    fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.tenants.is_empty() && !self.everything
    }

    fn shorten(&mut self) {
        if self.sessions.len() + self.tenants.len() > MAX_NAMED {
            let (everything, replica) = (true, String::new());
            *self = Self { everything, replica, ..Self::default() };
        }
    }
}

/// Collects hints for the task that sends them.
#[derive(Debug)]
pub(in crate::adapters) struct Notifier {
    replica: String,
    pending: Mutex<Hint>,
    more: Notify,
}

impl Default for Notifier {
    fn default() -> Self {
        // An identifier of this process among the replicas.
        let replica = cortex_core::HolderId::generate().to_string();
        Self { replica, pending: Mutex::default(), more: Notify::new() }
    }
}

impl Notifier {
    /// By which this replica knows its own hints.
    pub(super) fn replica(&self) -> &str {
        &self.replica
    }

    /// Notes what a commit has moved. Never waits.
    pub(in crate::adapters) fn tell<'t>(
        &self,
        sessions: impl Iterator<Item = SessionNo>,
        ready: impl Iterator<Item = SessionNo>,
        tenants: impl Iterator<Item = &'t Tenant>,
    ) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.sessions.extend(sessions.map(|session| session.0));
        pending.ready.extend(ready.map(|session| session.0));
        pending.tenants.extend(tenants.map(|tenant| tenant.as_str().to_owned()));
        pending.shorten();
        let empty = pending.is_empty();
        drop(pending);
        if !empty {
            self.more.notify_one();
        }
    }

    fn take(&self) -> Hint {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hint = std::mem::take(&mut *pending);
        hint.replica.clone_from(&self.replica);
        hint
    }
}

/// Sends hints until `stop`.
pub(super) async fn run(
    notifier: Arc<Notifier>,
    location: PostgresLocation,
    stop: CancellationToken,
) {
    let mut conn = None;
    while stop.run_until_cancelled(notifier.more.notified()).await.is_some() {
        let hint = notifier.take();
        if hint.is_empty() {
            continue;
        }
        let sent = stop.run_until_cancelled(send(&mut conn, &location, &hint)).await;
        if let Some(Err(error)) = sent {
            tracing::debug!(%error, "a hint to other replicas was lost");
            conn = None;
            stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        }
    }
}

async fn send(
    conn: &mut Option<PgConnection>,
    location: &PostgresLocation,
    hint: &Hint,
) -> Result<()> {
    let open = match conn.take() {
        Some(open) => open,
        None => location.hinter().await?,
    };
    let open = conn.insert(open);
    let text = match serde_json::to_string(hint).unwrap_or_default() {
        text if text.len() <= MAX_BYTES => text,
        _ => everything(&hint.replica),
    };
    sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(text).execute(open).await?;
    Ok(())
}

fn everything(replica: &str) -> String {
    let hint = Hint { everything: true, replica: replica.to_owned(), ..Hint::default() };
    serde_json::to_string(&hint).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_together_is_one_hint_and_too_much_is_everything() {
        let notifier = Notifier::default();
        let tenant = Tenant::default();
        let tell = |numbers: std::ops::Range<i64>| {
            notifier.tell(numbers.map(SessionNo), std::iter::empty(), std::iter::once(&tenant));
        };
        tell(0..2);
        tell(1..3);
        let hint = notifier.take();
        assert_eq!(hint.sessions, (0..3).collect());
        assert!(!hint.everything);
        tell(0..1000);
        assert!(notifier.take().everything);
        assert!(notifier.take().is_empty());
    }
}
