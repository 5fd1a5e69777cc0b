//! Keeps the registry in step with its directory.
//!
//! Events of the file system are only hints: after one, and periodically, everything is read again
//! and compared by content. So a lost event costs time, never correctness.

use std::{path::Path, sync::Arc, time::Duration};

use notify::{RecursiveMode, Watcher};
use tokio::{sync::mpsc, time};
use tokio_util::sync::CancellationToken;

use crate::{applied::Applied, config::ManifestConfig, registry::Registry};

/// How soon storage is asked again for applied manifests when it did not answer.
const STORAGE_RETRY: Duration = Duration::from_secs(2);

/// Reloads the registry after changes until `stop`. `stored` says whether what storage keeps has
/// already been read.
pub(crate) async fn run(
    config: &ManifestConfig,
    registry: Arc<Registry>,
    applied: Applied,
    stored: bool,
    stop: CancellationToken,
) {
    let (hint, mut hints) = mpsc::channel(1);
    let watcher = config.root.as_ref().filter(|_| config.watch).and_then(|root| watch(root, hint));
    let mut wait = if stored { config.rescan.get() } else { STORAGE_RETRY };
    loop {
        let hinted = tokio::select! {
            () = stop.cancelled() => return,
            Some(()) = hints.recv(), if watcher.is_some() => true,
            () = time::sleep(wait) => false,
        };
        if hinted && !quiet(&mut hints, config.watch_quiet.get(), &stop).await {
            return;
        }
        wait = match applied.reload(registry.clone()).await {
            Ok(snapshot) => {
                tracing::debug!(revision = snapshot.revision, hinted, "manifests read again");
                config.rescan.get()
            }
            Err(error) => {
                tracing::warn!(%error, "manifests cannot be read again; what is loaded stays");
                STORAGE_RETRY.max(wait)
            }
        };
    }
}

/// Waits until no hint has come for `quiet_for`, or ten times as long at most.
async fn quiet(
    hints: &mut mpsc::Receiver<()>,
    quiet_for: Duration,
    stop: &CancellationToken,
) -> bool {
    let latest = time::Instant::now() + quiet_for * 10;
    loop {
        let until = (time::Instant::now() + quiet_for).min(latest);
        tokio::select! {
            () = stop.cancelled() => return false,
            () = time::sleep_until(until) => return true,
            Some(()) = hints.recv() => {}
        }
    }
}

/// Hints of the file system. None when it gives none; the periodic reading remains.
fn watch(root: &str, hint: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let told = move |event: notify::Result<notify::Event>| {
        let reading = event.is_ok_and(|event| event.kind.is_access());
        if !reading {
            // One hint that waits is as good as many.
            let _ = hint.try_send(());
        }
    };
    let watcher = notify::recommended_watcher(told).and_then(|mut watcher| {
        watcher.watch(Path::new(root), RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    match watcher {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, root, "the manifests' directory cannot be watched");
            None
        }
    }
}
