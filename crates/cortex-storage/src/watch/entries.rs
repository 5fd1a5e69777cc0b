//! Following a session: its log from a sequence on, then every commit.

use std::{sync::Arc, time::Duration};

use cortex_core::SessionId;
use futures::{Stream, stream};
use tokio::time::Instant;

use super::{Notice, Subscription};
use crate::{
    config::Buffers,
    error::{Result, StorageError},
    journal::{Entry, EntryKind, Sequence},
    ports::{JournalStore, Standing},
};

/// How much longer each follower of a session lets commits gather for every one that follows it: all
/// of them together are told 5,000 times a second at most, which takes a fraction of a processor. To tell
/// 100 of them of each commit would take longer than the commit.
const SHARE: Duration = Duration::from_micros(200);
/// The longest that commits are gathered, however many follow.
const LONGEST_GATHERING: Duration = Duration::from_millis(250);
/// A shorter wait is none: timers have this resolution.
const SHORTEST_GATHERING: Duration = Duration::from_millis(1);

/// Which entries a watcher wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All of them.
    Every,
    /// What was submitted.
    Commands,
    /// What the holder appended.
    Events,
}

impl Wanted {
    fn admits(self, entry: &Entry) -> bool {
        match self {
            Self::Every => true,
            Self::Commands => entry.kind != EntryKind::Event,
            Self::Events => entry.kind == EntryKind::Event,
        }
    }
}

/// What a watcher asks for.
#[derive(Debug, Clone)]
pub struct EntryWatchQuery {
    /// The session, as the caller names it.
    pub session_id: SessionId,
    /// The sequence after which it begins.
    pub after: Sequence,
    /// Which entries.
    pub wanted: Wanted,
}

/// Entries that were committed together or read together.
#[derive(Debug, Clone)]
pub struct EntryBatch {
    /// The entries, in order; empty only in a first batch that has nothing to replay.
    pub entries: Vec<Entry>,
    /// The sequence up to which this watcher has seen everything.
    pub last: Sequence,
}

/// Replays what `query` asks for and follows. The first batch comes at once, even if it is empty; for a
/// finished session with nothing to replay there is none. Ends after the last entry of a finished
/// session.
///
/// # Errors
/// `BeyondHead` at once. The stream ends with `SessionNotFound` when the session is deleted, and with
/// `Closed` when storage closes.
pub fn watch_entries(
    store: Arc<dyn JournalStore>,
    (subscription, standing): (Subscription, Standing),
    query: EntryWatchQuery,
    buffers: &Buffers,
) -> Result<impl Stream<Item = Result<EntryBatch>> + Send + 'static> {
    let EntryWatchQuery { session_id, after, wanted } = query;
    if after > standing.head {
        return Err(StorageError::BeyondHead { after, head: standing.head });
    }
    let watch = EntryWatch {
        store,
        subscription,
        session_id,
        wanted,
        standing,
        cursor: after,
        started: false,
        told: None,
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
    session_id: SessionId,
    wanted: Wanted,
    standing: Standing,
    /// What this watcher has seen, wanted or not.
    cursor: Sequence,
    started: bool,
    /// When this watcher was told something last.
    told: Option<Instant>,
    max_entries: usize,
    max_bytes: usize,
}

impl EntryWatch {
    async fn next(&mut self) -> Result<Option<EntryBatch>> {
        loop {
            let mut entries = Vec::new();
            if self.cursor < self.standing.head {
                let read = self.read_log().await?;
                self.keep(&mut entries, &read);
            } else if self.standing.finished {
                return Ok(None);
            } else if self.started {
                self.let_gather().await;
                let Some(notice) = self.subscription.next().await else {
                    return Err(StorageError::Closed);
                };
                entries = self.gather(notice).await?;
            }
            if !std::mem::replace(&mut self.started, true) || !entries.is_empty() {
                self.told = Some(Instant::now());
                return Ok(Some(EntryBatch { entries, last: self.cursor }));
            }
        }
    }

    /// Lets commits gather where many follow, unless it is long since this watcher was told anything.
    async fn let_gather(&self) {
        let Some(told) = self.told else { return };
        let followers = u32::try_from(self.subscription.followers()).unwrap_or(u32::MAX);
        let due = told + SHARE.saturating_mul(followers).min(LONGEST_GATHERING);
        if due.saturating_duration_since(Instant::now()) >= SHORTEST_GATHERING {
            tokio::time::sleep_until(due).await;
        }
    }

    /// Moves past `seen`, and adds what is wanted of it.
    fn keep(&mut self, entries: &mut Vec<Entry>, seen: &[Entry]) {
        self.cursor = seen.last().map_or(self.cursor, |entry| entry.sequence);
        entries.extend(seen.iter().filter(|entry| self.wanted.admits(entry)).cloned());
    }

    /// What `notice` brings, and the notices behind it that are ready, up to a full batch.
    async fn gather(&mut self, notice: Notice) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
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
                    if !self.take(&mut entries, pushed.as_deref()) {
                        break;
                    }
                }
            }
            next = if self.is_full(&entries) { None } else { self.subscription.ready() };
        }
        Ok(entries)
    }

    /// Adds the pushed entries that follow what this watcher has. False when there is a gap, or
    /// nothing was pushed: then the log has what is missing.
    fn take(&mut self, entries: &mut Vec<Entry>, pushed: Option<&[Entry]>) -> bool {
        let seen = self.cursor;
        let Some(pushed) = pushed else { return seen >= self.standing.head };
        let new = &pushed[pushed.partition_point(|entry| entry.sequence <= seen)..];
        if new.first().is_some_and(|entry| entry.sequence != seen + 1) {
            return false;
        }
        self.keep(entries, new);
        true
    }

    fn is_full(&self, entries: &[Entry]) -> bool {
        entries.len() >= self.max_entries
            || entries.iter().map(Entry::size).sum::<usize>() >= self.max_bytes
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
        StorageError::SessionNotFound { session_id: self.session_id.to_string() }
    }
}
