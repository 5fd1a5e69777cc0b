//! Hints of other replicas: those who follow here are told what has moved.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgNotification};
use tokio_util::sync::CancellationToken;

use super::{
    PostgresLocation,
    notify::{CHANNEL, Hint},
};
use crate::{
    adapters::sql::Followers,
    error::{Result, StorageError},
    journal::SessionNo,
    tenant::Tenant,
};

/// The pause before connecting again.
const PAUSE: Duration = Duration::from_millis(500);

/// Listens until `stop`. After a connection was lost, everything that is followed is looked at, since
/// hints may have been missed.
pub(super) async fn run(
    replica: String,
    location: PostgresLocation,
    followers: Followers,
    stop: CancellationToken,
) {
    let ended = stop.run_until_cancelled(async {
        loop {
            if let Err(error) = listen(&replica, &location, &followers).await {
                tracing::debug!(%error, "hints of other replicas cannot be heard");
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    let _: Option<()> = ended.await;
}

async fn listen(replica: &str, location: &PostgresLocation, followers: &Followers) -> Result<()> {
    let pool = location.readers(1);
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    followers.tell_all().await?;
    loop {
        match listener.try_recv().await? {
            Some(notification) => hear(replica, followers, &notification).await?,
            None => return Err(StorageError::Unreachable { detail: "LISTEN ended".to_owned() }),
        }
    }
}

async fn hear(replica: &str, followers: &Followers, told: &PgNotification) -> Result<()> {
    let hint = serde_json::from_str(told.payload())
        .unwrap_or(Hint { everything: true, ..Hint::default() });
    if hint.replica == replica {
        return Ok(());
    }
    if hint.everything {
        return followers.tell_all().await;
    }
    followers.tell_sessions(hint.sessions.into_iter().map(SessionNo).collect()).await?;
    followers.tell_runnable(hint.ready.into_iter().map(SessionNo).collect()).await?;
    followers.tell_revisions(hint.tenants.into_iter().map(Tenant::new).collect()).await
}
