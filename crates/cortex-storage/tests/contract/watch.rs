//! WatchEntries: replay and follow, without a gap, for any number of watchers of any speed.

use std::time::Duration;

use cortex_storage::StorageConfig;
use tokio_stream::StreamExt;
use tonic::{Code, Status, Streaming};

use crate::support::*;

contract! {
    a_watch_begins_at_once,
    a_watch_replays_and_follows,
    a_watch_resumes_after_a_sequence,
    a_cursor_beyond_the_head_is_out_of_range,
    a_watch_ends_after_the_last_entry_of_an_ended_session,
    deleting_the_session_ends_its_watches,
    watchers_see_the_same_log_while_it_is_written,
    entries_too_large_to_push_are_read_from_the_log,
    closing_storage_ends_its_watches,
    a_watch_of_one_kind_passes_the_other_over,
}

/// One watcher.
struct Watcher {
    stream: Streaming<WatchEntriesResponse>,
    last: i64,
}

impl Watcher {
    async fn open(f: &Fixture, session: &str, after: i64) -> Result<Self, Status> {
        let request =
            WatchEntriesRequest { session_id: session.into(), after_sequence: after, kind: 0 };
        let stream = f.journal().watch_entries(request).await?.into_inner();
        Ok(Self { stream, last: after })
    }

    /// The next batch; none at the end. Checks that it follows what this watcher has.
    async fn batch(&mut self) -> Result<Option<Vec<JournalEntry>>, Status> {
        let waited = tokio::time::timeout(Duration::from_secs(20), self.stream.next()).await;
        let Some(answer) = waited.expect("in time") else { return Ok(None) };
        let answer = answer?;
        for entry in &answer.entries {
            assert_eq!(entry.sequence, self.last + 1, "no gap and no duplicate");
            self.last = entry.sequence;
        }
        assert_eq!(answer.last_sequence, self.last);
        Ok(Some(answer.entries))
    }

    /// Reads until `sequence` was seen.
    async fn until(&mut self, sequence: i64) -> Vec<JournalEntry> {
        let mut entries = Vec::new();
        while self.last < sequence {
            entries.extend(self.batch().await.expect("no error").expect("goes on"));
        }
        entries
    }
}

async fn a_watch_begins_at_once(f: &Fixture) {
    let session = f.session().await;
    let mut watcher = Watcher::open(f, &session, 0).await.expect("a watch");
    let first = watcher.batch().await.expect("no error").expect("a first batch");
    assert!(first.is_empty());
}

async fn a_watch_replays_and_follows(f: &Fixture) {
    let held = f.held().await;
    held.append(&["a", "b"], JournalEffects::default()).await.expect("appended");
    let mut watcher = Watcher::open(f, &held.session, 0).await.expect("a watch");
    let replayed = watcher.batch().await.expect("no error").expect("a replay");
    assert_eq!(replayed.len(), 2);
    f.message(&held.session).await;
    held.append(&["c"], JournalEffects::default()).await.expect("appended");
    let followed = watcher.until(4).await;
    assert_eq!([replayed, followed].concat(), f.entries(&held.session).await);
}

async fn a_watch_resumes_after_a_sequence(f: &Fixture) {
    let held = f.held().await;
    let names = vec!["content_delta"; 1000];
    for _ in 0..3 {
        held.append(&names, JournalEffects::default()).await.expect("appended");
    }
    let mut watcher = Watcher::open(f, &held.session, 0).await.expect("a watch");
    watcher.until(700).await;
    let last = watcher.last;
    drop(watcher);
    let mut watcher = Watcher::open(f, &held.session, last).await.expect("a watch");
    watcher.until(3000).await;
}

async fn a_cursor_beyond_the_head_is_out_of_range(f: &Fixture) {
    let session = f.session().await;
    f.message(&session).await;
    Watcher::open(f, &session, 1).await.expect("the head itself is fine");
    let status =
        refused(Watcher::open(f, &session, 2).await.map(|_| ()), Code::OutOfRange, "BEYOND_HEAD");
    assert_eq!(
        cortex_rpc::fault(&status).metadata.get("head_sequence").map(String::as_str),
        Some("1")
    );
    let negative = Watcher::open(f, &session, -1).await.map(|_| ());
    refused(negative, Code::InvalidArgument, "INVALID_FIELD");
}

async fn a_watch_ends_after_the_last_entry_of_an_ended_session(f: &Fixture) {
    let held = f.held().await;
    let mut watcher = Watcher::open(f, &held.session, 0).await.expect("a watch");
    let message = f.message(&held.session).await;
    let ended = JournalEffects { status: SessionStatus::Ended.into(), ..Default::default() };
    held.append(&["session_ended"], ended).await.expect("ended");
    // A command that was there before must still be consumed, so this was not the last entry.
    let withdrawn = JournalEffects { consumed_sequence: message, ..Default::default() };
    held.append(&["message_withdrawn"], withdrawn).await.expect("consumed");
    watcher.until(3).await;
    assert!(watcher.batch().await.expect("no error").is_none());
    let mut late = Watcher::open(f, &held.session, 1).await.expect("a watch");
    late.until(3).await;
    assert!(late.batch().await.expect("no error").is_none());
    let mut done = Watcher::open(f, &held.session, 3).await.expect("a watch");
    assert!(done.batch().await.expect("no error").is_none(), "it ends before a first batch");
}

async fn deleting_the_session_ends_its_watches(f: &Fixture) {
    let session = f.session().await;
    let mut watcher = Watcher::open(f, &session, 0).await.expect("a watch");
    watcher.batch().await.expect("no error").expect("a first batch");
    let request = DeleteSessionRequest { session_id: session };
    f.sessions().delete_session(request).await.expect("deleted");
    refused(watcher.batch().await, Code::NotFound, "SESSION_NOT_FOUND");
}

async fn watchers_see_the_same_log_while_it_is_written(f: &Fixture) {
    const APPENDS: i64 = 200;
    const EACH: i64 = 7;
    let held = f.held().await;
    let session = held.session.as_str();
    let write = async {
        for _ in 0..APPENDS {
            held.append(&["content_delta"; EACH as usize], JournalEffects::default())
                .await
                .expect("appended");
        }
    };
    // Some read on, some leave and come back, some begin late, some hardly read at all.
    let watch = |pause: u64, batches: usize| async move {
        let mut last = 0;
        while last < APPENDS * EACH {
            let mut watcher = Watcher::open(f, session, last).await.expect("a watch");
            for _ in 0..batches {
                if watcher.last == APPENDS * EACH {
                    break;
                }
                watcher.batch().await.expect("no error").expect("goes on");
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            last = watcher.last;
        }
    };
    let watchers = [(0, usize::MAX), (0, 3), (5, 10), (20, usize::MAX), (1, 1)];
    let watchers = watchers.into_iter().map(|(pause, batches)| watch(pause, batches));
    tokio::join!(write, futures::future::join_all(watchers));
}

async fn entries_too_large_to_push_are_read_from_the_log(f: &Fixture) {
    let held = f.held().await;
    let mut watcher = Watcher::open(f, &held.session, 0).await.expect("a watch");
    watcher.batch().await.expect("no error").expect("a first batch");
    let mut request = held.request(&["big", "big", "small"], JournalEffects::default());
    for event in &mut request.events[..2] {
        event.payload = Some(any("cortex.agent.v1.SessionEvent", &vec![7; 3 << 20]));
    }
    held.send(request).await.expect("appended");
    held.append(&["small"], JournalEffects::default()).await.expect("appended");
    let entries = watcher.until(4).await;
    assert_eq!(entries[1].payload.as_ref().expect("a payload").value.len(), 3 << 20);
}

async fn a_watch_of_one_kind_passes_the_other_over(f: &Fixture) {
    let held = f.held().await;
    let follow = async |kind: JournalEntryKind| {
        let request = WatchEntriesRequest {
            session_id: held.session.clone(),
            after_sequence: 0,
            kind: kind.into(),
        };
        f.journal().watch_entries(request).await.expect("a watch").into_inner()
    };
    f.message(&held.session).await;
    held.append(&["a", "b"], JournalEffects::default()).await.expect("appended");
    let mut commands = follow(JournalEntryKind::Command).await;
    let mut events = follow(JournalEntryKind::Event).await;
    for _ in 0..3 {
        held.append(&["c"], JournalEffects::default()).await.expect("appended");
        f.message(&held.session).await;
    }
    let log = f.entries(&held.session).await;
    for (stream, kind) in
        [(&mut commands, JournalEntryKind::Command), (&mut events, JournalEntryKind::Event)]
    {
        let wanted: Vec<_> = log.iter().filter(|entry| entry.kind() == kind).cloned().collect();
        let (mut seen, mut last) = (Vec::new(), 0);
        while seen.len() < wanted.len() {
            let waited = tokio::time::timeout(Duration::from_secs(20), stream.next()).await;
            let answer = waited.expect("in time").expect("goes on").expect("no error");
            assert!(last == 0 || !answer.entries.is_empty(), "nothing is told of other entries");
            assert!(answer.last_sequence > last, "what was passed over counts as seen");
            last = answer.last_sequence;
            seen.extend(answer.entries);
        }
        assert_eq!(seen, wanted);
    }
    let unknown =
        WatchEntriesRequest { session_id: held.session.clone(), after_sequence: 0, kind: 9 };
    let refusal = f.journal().watch_entries(unknown).await.map(|_| ());
    refused(refusal, Code::InvalidArgument, "INVALID_FIELD");
}

#[tokio::test]
async fn a_watcher_that_falls_behind_catches_up_on_sqlite() {
    falls_behind(Database::Sqlite).await;
}

#[tokio::test]
async fn a_watcher_that_falls_behind_catches_up_on_postgres() {
    falls_behind(Database::PostgresReplicas).await;
}

/// A watcher that fell behind the channel reads the log, and the writer never waits for it.
async fn falls_behind(database: Database) {
    let mut config = StorageConfig::default();
    config.buffers.watch_commits = 2;
    let f = Fixture::open_with(database, config).await;
    let held = f.held().await;
    let mut watcher = Watcher::open(&f, &held.session, 0).await.expect("a watch");
    watcher.batch().await.expect("no error").expect("a first batch");
    for _ in 0..50 {
        held.append(&["content_delta"], JournalEffects::default()).await.expect("appended");
    }
    watcher.until(50).await;
    held.append(&["content_delta"], JournalEffects::default()).await.expect("appended");
    watcher.until(51).await;
}

/// A watcher whose storage closes is told so.
async fn closing_storage_ends_its_watches(f: &Fixture) {
    let session = f.session().await;
    let mut watcher = Watcher::open(f, &session, 0).await.expect("a watch");
    watcher.batch().await.expect("no error").expect("a first batch");
    for replica in &f.replicas {
        replica.close().await;
    }
    refused(watcher.batch().await, Code::Unavailable, "STORAGE_CLOSED");
    let answer = f.submit(&session, CommandKind::Message).await;
    refused(answer, Code::Unavailable, "STORAGE_CLOSED");
}
