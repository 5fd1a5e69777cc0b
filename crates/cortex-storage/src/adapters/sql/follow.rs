//! Telling those who follow here what others have committed.
//!
//! What another replica commits is known here by its hints, and, when a hint is lost, by looking every
//! now and then. Followers are told only how far things are, and read the rest.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{read::Reader, writer::Hubs};
use crate::{error::Result, journal::SessionNo, ports::Standing, tenant::Tenant, watch::Notice};

/// Those who follow sessions and records here.
#[derive(Clone)]
pub(in crate::adapters) struct Followers {
    reader: Reader,
    hubs: Hubs,
    /// What was told last, of each session that is followed.
    told: Arc<Mutex<HashMap<SessionNo, Standing>>>,
}

impl Followers {
    pub(super) fn new(reader: Reader, hubs: Hubs) -> Self {
        Self { reader, hubs, told: Arc::default() }
    }

    /// Looks every `interval` what others have committed, until `stop`.
    pub(in crate::adapters) async fn poll(self, interval: Duration, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            if let Err(error) = self.tell_all().await {
                tracing::warn!(%error, "looking for what others have committed failed");
            }
        }
    }

    /// Reads how far everything is that is followed, and tells it.
    pub(in crate::adapters) async fn tell_all(&self) -> Result<()> {
        let sessions = self.hubs.sessions.followed();
        self.told.lock().await.retain(|session, _| sessions.contains(session));
        self.tell_sessions(sessions).await?;
        self.tell_revisions(self.hubs.revisions.followed()).await
    }

    /// Reads how far these sessions are, as far as anybody follows them, and tells it.
    pub(in crate::adapters) async fn tell_sessions(&self, sessions: Vec<SessionNo>) -> Result<()> {
        let mut sessions = sessions;
        sessions.retain(|session| self.hubs.sessions.is_followed(*session));
        // Held while they are read, so that nobody tells something older after something newer.
        let mut told = self.told.lock().await;
        let standings = self.reader.standings(&sessions).await?;
        for session in sessions {
            match standings.get(&session) {
                Some(standing) if told.insert(session, *standing) != Some(*standing) => {
                    self.hubs.sessions.publish(session, || Notice::Commit(*standing, None));
                }
                Some(_) => {}
                None => self.hubs.sessions.publish(session, || Notice::Deleted),
            }
        }
        Ok(())
    }

    /// Reads how far the records of these tenants are, as far as anybody follows them, and tells it.
    pub(in crate::adapters) async fn tell_revisions(&self, tenants: Vec<Tenant>) -> Result<()> {
        let followed = self.hubs.revisions.followed();
        for tenant in tenants.into_iter().filter(|tenant| followed.contains(tenant)) {
            let revision = self.reader.revision(&tenant).await?;
            self.hubs.revisions.publish(&tenant, revision);
        }
        Ok(())
    }

    /// Tells who of these sessions somebody should take, if anybody listens.
    pub(in crate::adapters) async fn tell_runnable(&self, sessions: Vec<SessionNo>) -> Result<()> {
        if sessions.is_empty() || !self.hubs.runnable.is_followed() {
            return Ok(());
        }
        for hint in self.reader.hints(&sessions).await? {
            self.hubs.runnable.publish(hint);
        }
        Ok(())
    }
}
