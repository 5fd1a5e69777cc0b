//! Following records below a prefix: changes from a revision on.

use std::{sync::Arc, time::Duration};

use futures::{Stream, stream};
use tokio::time::timeout;

use super::RevisionWatch;
use crate::{
    error::{Result, StorageError},
    ports::RecordStore,
    record::{RecordChange, RecordKey},
    tenant::Tenant,
};

/// How often a watcher without changes hears how far it is.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(15);

/// What a watcher of records is told.
#[derive(Debug, Clone)]
pub enum RecordEvent {
    /// A record was written or is gone.
    Change(RecordChange),
    /// Nothing happened below the prefix up to this revision.
    Bookmark(i64),
}

/// Tells of changes below `prefix` after revision `after`; 0: from now on. Between two reads of the
/// database, of several writes of one key only the last is told. After the replay, and while nothing
/// happens, bookmarks say how far the watcher is.
///
/// # Errors
/// `BeyondHead`; the stream fails with `Compacted` when deletions after the revision are forgotten.
pub fn watch_records(
    store: Arc<dyn RecordStore>,
    revisions: RevisionWatch,
    tenant: Tenant,
    prefix: RecordKey,
    after: i64,
) -> Result<impl Stream<Item = Result<RecordEvent>> + Send + 'static> {
    let head = revisions.revision();
    if after > head {
        return Err(StorageError::BeyondHead { after, head });
    }
    let cursor = if after == 0 { head } else { after };
    let watch =
        RecordWatch { store, revisions, tenant, prefix, cursor, ready: Vec::new(), told: None };
    Ok(stream::try_unfold(watch, |mut watch| async move {
        Ok(watch.next().await?.map(|event| (event, watch)))
    }))
}

struct RecordWatch {
    store: Arc<dyn RecordStore>,
    revisions: RevisionWatch,
    tenant: Tenant,
    prefix: RecordKey,
    /// Everything up to here was read.
    cursor: i64,
    /// Read and not told, the next one last.
    ready: Vec<RecordChange>,
    /// The last revision that was told.
    told: Option<i64>,
}

impl RecordWatch {
    async fn next(&mut self) -> Result<Option<RecordEvent>> {
        loop {
            if let Some(change) = self.ready.pop() {
                self.told = Some(change.revision);
                return Ok(Some(RecordEvent::Change(change)));
            }
            let head = self.revisions.revision();
            if self.cursor < head {
                self.read(head).await?;
                continue;
            }
            if self.told.is_none() {
                return Ok(Some(self.bookmark()));
            }
            match timeout(BOOKMARK_INTERVAL, self.revisions.beyond(self.cursor)).await {
                Ok(Some(_)) => {}
                Ok(None) => return Err(StorageError::Closed),
                Err(_elapsed) => return Ok(Some(self.bookmark())),
            }
        }
    }

    fn bookmark(&mut self) -> RecordEvent {
        self.told = Some(self.cursor);
        RecordEvent::Bookmark(self.cursor)
    }

    async fn read(&mut self, head: i64) -> Result<()> {
        let mut changes =
            self.store.record_changes(&self.tenant, &self.prefix, self.cursor).await?;
        self.cursor = changes.last().map_or(head, |change| change.revision);
        changes.reverse();
        self.ready = changes;
        Ok(())
    }
}
