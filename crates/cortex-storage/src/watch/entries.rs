//! Following a session: its log from a sequence on, then every commit.

use std::sync::Arc;

use futures::{Stream, stream};

use super::{Notice, Subscription};
use crate::{
    config::Buffers,
    error::{Result, StorageError},
    journal::{Entry, Sequence},
    ports::{JournalStore, Standing},
};

/// Entries that were committed together or read together.
#[derive(Debug, Clone)]
pub struct EntryBatch {
    /// The entries, in order; empty in a first batch that has nothing to replay.
    pub entries: Vec<Entry>,
    /// The sequence up to which this watcher has seen everything.
    pub last: Sequence,
}

/// Replays what comes after `after` and follows. The first batch comes at once, even if it is empty;
/// for a finished session with nothing to replay there is none. Ends after the last entry of a
/// finished session.
///
/// # Errors
/// `BeyondHead` at once. The stream ends with `SessionNotFound` when the session is deleted, and with
/// `Closed` when storage closes.
pub fn watch_entries(
    store: Arc<dyn JournalStore>,
    (subscription, standing): (Subscription, Standing),
    session_id: String,
    after: Sequence,
    buffers: &Buffers,
) -> Result<impl Stream<Item = Result<EntryBatch>> + Send + 'static> {
    if after > standing.head {
        return Err(StorageError::BeyondHead { after, head: standing.head });
    }
    let watch = EntryWatch {
        store,
        subscription,
        session_id,
        standing,
        cursor: after,
        started: false,
        max_entries: buffers.replay_entries,
        max_bytes: buffers.replay.as_usize(),
    };
    Ok(stream::try_unfold(watch, |mut watch| async move {
        Ok(watch.next().await?.map(|batch| (batch, watch)))
    }))
}

struct EntryWatch {
    store: Arc<dyn JournalStore>,
    subscription: Subscription,
    session_id: String,
    standing: Standing,
    cursor: Sequence,
    started: bool,
    max_entries: usize,
    max_bytes: usize,
}

impl EntryWatch {
    async fn next(&mut self) -> Result<Option<EntryBatch>> {
        loop {
            if self.cursor < self.standing.head {
                let entries = self.read_log().await?;
                return Ok(Some(self.batch(entries)));
            }
            if self.standing.finished {
                return Ok(None);
            }
            if !self.started {
                return Ok(Some(self.batch(Vec::new())));
            }
            let Some(notice) = self.subscription.next().await else {
                return Err(StorageError::Closed);
            };
            let entries = self.gather(notice).await?;
            if !entries.is_empty() {
                return Ok(Some(self.batch(entries)));
            }
        }
    }

    fn batch(&mut self, entries: Vec<Entry>) -> EntryBatch {
        self.started = true;
        self.cursor = entries.last().map_or(self.cursor, |entry| entry.sequence);
        EntryBatch { entries, last: self.cursor }
    }

    /// What `notice` brings, and the notices behind it that are ready, up to a full batch.
    async fn gather(&mut self, notice: Notice) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut next = Some(notice);
        while let Some(notice) = next {
            match notice {
                Notice::Deleted => return Err(self.gone()),
                Notice::Missed => {
                    let standing = self.store.standing(self.standing.session).await?;
                    self.standing = standing.ok_or_else(|| self.gone())?;
                    break;
                }
                Notice::Commit(standing, pushed) => {
                    self.adopt(standing);
                    if !self.take(&mut entries, pushed.as_deref(), &mut bytes) {
                        break;
                    }
                }
            }
            let full = entries.len() >= self.max_entries || bytes >= self.max_bytes;
            next = if full { None } else { self.subscription.ready() };
        }
        Ok(entries)
    }

    /// Adds the pushed entries that follow what this watcher has. False when there is a gap, or
    /// nothing was pushed: then the log has what is missing.
    fn take(&self, entries: &mut Vec<Entry>, pushed: Option<&[Entry]>, bytes: &mut usize) -> bool {
        let seen = entries.last().map_or(self.cursor, |entry| entry.sequence);
        let Some(pushed) = pushed else { return seen >= self.standing.head };
        let new = &pushed[pushed.partition_point(|entry| entry.sequence <= seen)..];
        if new.first().is_some_and(|entry| entry.sequence != seen + 1) {
            return false;
        }
        *bytes += new.iter().map(Entry::size).sum::<usize>();
        entries.extend_from_slice(new);
        true
    }

    /// A notice may be older than what was read when this watch began.
    fn adopt(&mut self, standing: Standing) {
        if standing.head >= self.standing.head {
            self.standing = standing;
        }
    }

    async fn read_log(&mut self) -> Result<Vec<Entry>> {
        let entries = self.store.replay(self.standing, self.cursor).await?;
        match entries.first() {
            Some(first) if first.sequence == self.cursor + 1 => Ok(entries),
            // Entries leave the log only with their session.
            _ => Err(self.gone()),
        }
    }

    fn gone(&self) -> StorageError {
        StorageError::SessionNotFound { session_id: self.session_id.clone() }
    }
}
