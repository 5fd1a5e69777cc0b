//! Watches: what is told after a commit, and streams that replay and follow.
//!
//! A commit is published to bounded channels and never waits for a subscriber. One that falls behind
//! is told so and reads what it missed from the database, so that every watcher sees the same commits
//! in the same order without a gap, whatever its speed.

mod entries;
mod hub;
mod records;
mod revisions;
mod runnable;

pub use entries::{EntryBatch, EntryWatchQuery, Wanted, watch_entries};
pub use hub::{Notice, SessionHub, Subscription};
pub use records::{RecordEvent, watch_records};
pub use revisions::{RevisionHub, RevisionWatch};
pub use runnable::{RunnableHints, RunnableHub};
