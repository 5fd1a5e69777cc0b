//! What has changed in the registry, for those who watch it.
//!
//! Each change has a revision of its own, so that a watch resumes between two changes of one load.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{diagnostic::Diagnostic, kind::ManifestRef, manifest::Manifest, snapshot::Snapshot};

/// Changes that are kept for watches that resume.
const KEPT: usize = 4096;

/// One change.
#[derive(Debug, Clone)]
pub enum Change {
    /// A manifest was loaded or changed.
    Loaded(Arc<Manifest>),
    /// A manifest was removed.
    Removed(ManifestRef),
    /// A file cannot be loaded.
    Rejected(Diagnostic),
}

/// The last changes, and a signal when there are more.
#[derive(Debug)]
pub struct Changes {
    log: Mutex<Log>,
    head: watch::Sender<i64>,
}

#[derive(Debug)]
struct Log {
    /// Changes after this revision are in the log.
    complete_after: i64,
    head: i64,
    entries: VecDeque<(i64, Change)>,
}

/// The changes after a revision.
#[derive(Debug)]
pub enum Since {
    /// These, up to the head.
    Changes(Vec<(i64, Change)>, i64),
    /// They are no longer known: everything has to be told again.
    Forgotten,
    /// The revision is not there yet; this is the head.
    BeyondHead(i64),
}

impl Changes {
    /// An empty log that starts at a revision.
    pub fn new(revision: i64) -> Self {
        let log = Log { complete_after: revision, head: revision, entries: VecDeque::new() };
        Self { log: Mutex::new(log), head: watch::Sender::new(revision) }
    }

    /// Records what has changed from one snapshot to the next.
    pub fn record(&self, before: &Snapshot, after: &Snapshot) {
        let changes = between(before, after);
        let count = i64::try_from(changes.len()).unwrap_or(0);
        {
            let mut log = self.lock();
            let first = after.revision - count + 1;
            log.entries.extend((first..).zip(changes));
            log.head = after.revision;
            while log.entries.len() > KEPT {
                if let Some((revision, _)) = log.entries.pop_front() {
                    log.complete_after = revision;
                }
            }
        }
        self.head.send_replace(after.revision);
    }

    /// The changes after `revision`.
    pub fn since(&self, revision: i64) -> Since {
        let log = self.lock();
        if revision > log.head {
            return Since::BeyondHead(log.head);
        }
        if revision < log.complete_after {
            return Since::Forgotten;
        }
        let after = log.entries.iter().filter(|(own, _)| *own > revision);
        Since::Changes(after.cloned().collect(), log.head)
    }

    /// A receiver that changes with the head.
    pub fn subscribe(&self) -> watch::Receiver<i64> {
        self.head.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has changed from one snapshot to the next, by kind and name, and then what is newly broken.
pub(crate) fn between(before: &Snapshot, after: &Snapshot) -> Vec<Change> {
    let content = |snapshot: &Snapshot| -> BTreeMap<ManifestRef, Arc<Manifest>> {
        snapshot.named().map(|(_, manifest)| (manifest.id().clone(), manifest.clone())).collect()
    };
    let (old, new) = (content(before), content(after));
    let same = |id: &ManifestRef, manifest: &Manifest| {
        old.get(id).is_some_and(|old| {
            old.digest == manifest.digest
                && old.prompts == manifest.prompts
                && old.source == manifest.source
        })
    };
    let removed = old.keys().filter(|id| !new.contains_key(id)).cloned().map(Change::Removed);
    let loaded = new.iter().filter(|(id, manifest)| !same(id, manifest));
    let loaded = loaded.map(|(_, manifest)| Change::Loaded(manifest.clone()));
    let known: Vec<&Diagnostic> = errors(before).collect();
    let rejected = errors(after).filter(|error| !known.contains(error));
    removed.chain(loaded).chain(rejected.cloned().map(Change::Rejected)).collect()
}

fn errors(snapshot: &Snapshot) -> impl Iterator<Item = &Diagnostic> {
    let broken = snapshot.broken().iter();
    broken.flat_map(|broken| broken.diagnostics.iter().filter(|d| d.is_error()))
}
