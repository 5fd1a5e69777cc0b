//! A watch of the registry: everything that there is or everything since a revision, a bookmark, and
//! then what happens.

use std::{collections::VecDeque, sync::Arc};

use cortex_proto::cortex::manifest::v1::{
    WatchBookmark, WatchManifestsResponse, watch_manifests_response::Change as Arm,
};
use futures::{Stream, stream};
use tokio::sync::watch;
use tonic::Status;

use crate::{
    changes::{Change, Since},
    convert,
    error::RegistryError,
    kind::ManifestKind,
    registry::Registry,
};

struct Follower {
    registry: Arc<Registry>,
    kind: Option<ManifestKind>,
    pending: VecDeque<WatchManifestsResponse>,
    after: i64,
    head: watch::Receiver<i64>,
}

/// Follows the registry. Events of what there already is have revision 0, so that a watch that is
/// cut among them starts over; the bookmark behind them has the revision to resume from.
///
/// The stream ends only with the registry or its reader.
///
/// # Errors
/// [`RegistryError::BeyondHead`] for a revision that is not there yet.
pub(crate) fn follow(
    registry: Arc<Registry>,
    after: i64,
    kind: Option<ManifestKind>,
) -> Result<impl Stream<Item = Result<WatchManifestsResponse, Status>> + Send, RegistryError> {
    let head = registry.changes().subscribe();
    let mut follower = Follower { registry, kind, pending: VecDeque::new(), after, head };
    follower.begin()?;
    Ok(stream::unfold(follower, |mut follower| async move {
        let next = follower.next().await?;
        Some((Ok(next), follower))
    }))
}

impl Follower {
    fn begin(&mut self) -> Result<(), RegistryError> {
        if self.after == 0 {
            self.tell_everything();
            return Ok(());
        }
        match self.registry.changes().since(self.after) {
            Since::BeyondHead(head) => Err(RegistryError::BeyondHead { asked: self.after, head }),
            Since::Forgotten => {
                self.tell_everything();
                Ok(())
            }
            Since::Changes(changes, head) => {
                self.tell(changes, head);
                self.bookmark();
                Ok(())
            }
        }
    }

    async fn next(&mut self) -> Option<WatchManifestsResponse> {
        loop {
            if let Some(response) = self.pending.pop_front() {
                return Some(response);
            }
            self.head.changed().await.ok()?;
            match self.registry.changes().since(self.after) {
                Since::Changes(changes, head) => self.tell(changes, head),
                Since::Forgotten => self.tell_everything(),
                // What this watch has told comes from a snapshot whose changes are being recorded.
                Since::BeyondHead(_) => {}
            }
        }
    }

    fn tell_everything(&mut self) {
        let snapshot = self.registry.snapshot();
        self.after = snapshot.revision;
        for (index, manifest) in snapshot.named() {
            if self.kind.is_none_or(|kind| manifest.id().kind == kind) {
                let manifest = convert::manifest(manifest, &snapshot.warnings(index));
                self.push(0, Arm::Loaded(manifest));
            }
        }
        self.bookmark();
    }

    fn tell(&mut self, changes: Vec<(i64, Change)>, head: i64) {
        self.after = head;
        for (revision, change) in changes {
            let arm = match &change {
                Change::Loaded(manifest) if self.wants(manifest.id().kind) => {
                    Arm::Loaded(convert::manifest(manifest, &manifest.warnings))
                }
                Change::Removed(id) if self.wants(id.kind) => Arm::Removed(convert::reference(id)),
                Change::Rejected(diagnostic) => Arm::Rejected(convert::diagnostic(diagnostic)),
                Change::Loaded(_) | Change::Removed(_) => continue,
            };
            self.push(revision, arm);
        }
    }

    fn wants(&self, kind: ManifestKind) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind)
    }

    fn bookmark(&mut self) {
        self.push(self.after, Arm::Bookmark(WatchBookmark {}));
    }

    fn push(&mut self, revision: i64, arm: Arm) {
        self.pending.push_back(WatchManifestsResponse { revision, change: Some(arm) });
    }
}
