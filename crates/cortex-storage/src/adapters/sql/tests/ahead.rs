//! What comes while a commit is under way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cortex_core::{HolderId, SessionId};
use futures::{FutureExt, future::BoxFuture};
use tokio::time::{sleep, timeout};

use super::{Fixture, append, submit};
use crate::{
    adapters::sql::{cache::Cache, needs::Needs, ops::Operation, work::Work},
    error::{Result, StorageError},
    journal::RequestId,
    ports::JournalStore,
};

/// A commit that takes its time, about a second.
const SLOW: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000000) \
    SELECT count(*) FROM n;";
/// The same, and then it fails.
const SLOW_AND_BAD: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000000) \
    SELECT count(*) FROM n; INSERT INTO nowhere VALUES (1);";

/// Counts how often it is decided, and puts SQL before the commit of its batch.
struct Counted(Arc<AtomicUsize>, &'static str);

impl Operation for Counted {
    type Answer = ();

    fn needs(&self, _: &Cache, _: &mut Needs) {}

    fn decide(&self, work: &mut Work) -> Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        work.writes.raw.push(self.1);
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}

impl Fixture {
    /// A session under epoch 1 with one entry, so that nothing must be read for the next.
    async fn begun(&self) -> (SessionId, HolderId) {
        let held = self.held().await;
        assert_eq!(self.append(&held, "first").await.map(|appended| appended.first), Ok(1));
        held
    }

    /// A commit with `sql` that is under way, or will be as soon as one that does nothing has ended.
    async fn departed(&self, sql: &'static str) -> BoxFuture<'static, Result<()>> {
        let (store, count) = (Arc::clone(&self.store), Arc::new(AtomicUsize::new(0)));
        let slow = Counted(Arc::clone(&count), sql);
        let written = tokio::spawn(async move { store.write(slow).await });
        Self::reached(&count, 1).await;
        // It departs as soon as it is decided, unless housekeeping was first.
        sleep(Duration::from_millis(20)).await;
        written.map(|written| written.expect("no panic")).boxed()
    }

    /// Waits until `count` is that high.
    async fn reached(count: &AtomicUsize, least: usize) {
        let reached = async {
            while count.load(Ordering::SeqCst) < least {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(10), reached).await.expect("it is decided");
    }
}

#[tokio::test]
async fn it_is_decided_at_once_and_committed_after() {
    let f = Fixture::open().await;
    let held = f.begun().await;
    let mut slow = f.departed(SLOW).await;
    let count = Arc::new(AtomicUsize::new(0));
    let mut writes = Box::pin(async {
        futures::join!(
            f.append(&held, "a"),
            f.append(&held, "b"),
            f.store.write(Counted(count.clone(), ""))
        )
    });
    assert!((&mut writes).now_or_never().is_none(), "they wait");
    Fixture::reached(&count, 1).await;
    assert!((&mut slow).now_or_never().is_none(), "the commit before goes on");
    assert!((&mut writes).now_or_never().is_none(), "nobody is answered before his commit");
    assert_eq!(f.sequences(&held.0).await, [1]);
    assert_eq!(slow.await, Ok(()));
    let (a, b, counted) = writes.await;
    assert_eq!((a.map(|a| a.first), b.map(|b| b.first), counted), (Ok(2), Ok(3), Ok(())));
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(f.sequences(&held.0).await, [1, 2, 3]);
}

#[tokio::test]
async fn it_is_decided_again_when_the_commit_before_fails() {
    let f = Fixture::open().await;
    let (held, other) = (f.begun().await, f.begun().await);
    let count = Arc::new(AtomicUsize::new(0));
    let mut first = Box::pin(f.append(&held, "a"));
    assert!((&mut first).now_or_never().is_none(), "it waits for the writer");
    // Both in one batch, which fails after the append.
    let mut bad = f.departed(SLOW_AND_BAD).await;
    let mut writes = Box::pin(async {
        futures::join!(
            f.append(&held, "b"),
            f.append(&other, "a"),
            f.store.write(Counted(count.clone(), ""))
        )
    });
    assert!((&mut writes).now_or_never().is_none(), "they wait");
    Fixture::reached(&count, 1).await;
    assert!((&mut bad).now_or_never().is_none(), "the commit before goes on");
    assert!(matches!(bad.await, Err(StorageError::Internal { .. })));
    assert_eq!(first.await.map(|a| a.first), Ok(2), "done again alone");
    let (b, a, counted) = writes.await;
    assert_eq!((b.map(|b| b.first), a.map(|a| a.first), counted), (Ok(3), Ok(2), Ok(())));
    assert_eq!(count.load(Ordering::SeqCst), 2, "what it was decided on did not come to be");
    assert_eq!(f.sequences(&held.0).await, [1, 2, 3]);
    assert_eq!(f.sequences(&other.0).await, [1, 2]);
}

#[tokio::test]
async fn what_must_be_read_for_waits_and_what_follows_waits_behind_it() {
    let f = Fixture::open().await;
    let held = f.begun().await;
    let slow = f.departed(SLOW).await;
    let (before, after) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut asking = submit(&held.0);
    asking.request_id = RequestId::parse("once".to_owned()).expect("short");
    let mut writes = Box::pin(async {
        futures::join!(
            f.store.write(Counted(before.clone(), "")),
            f.store.submit(&f.tenant, asking),
            f.append(&held, "a"),
            f.store.write(Counted(after.clone(), "")),
        )
    });
    assert!((&mut writes).now_or_never().is_none(), "they wait");
    Fixture::reached(&before, 1).await;
    sleep(Duration::from_millis(20)).await;
    assert_eq!(after.load(Ordering::SeqCst), 0, "it waits behind what must be read for");
    assert_eq!(slow.await, Ok(()));
    let (_, submitted, appended, _) = writes.await;
    assert_eq!(submitted.map(|submitted| submitted.sequence), Ok(2));
    assert_eq!(appended.map(|appended| appended.first), Ok(3));
    assert_eq!(after.load(Ordering::SeqCst), 1);
    assert_eq!(f.sequences(&held.0).await, [1, 2, 3]);
}

#[tokio::test]
async fn it_is_committed_before_the_database_closes() {
    let f = Fixture::open().await;
    let held = f.begun().await;
    let slow = f.departed(SLOW).await;
    let append = f.store.append(&f.tenant, append(&held, "a"));
    let (appended, (), written) = futures::join!(append, f.store.close(), slow);
    assert_eq!((appended.map(|a| a.first), written), (Ok(2), Ok(())));
    assert_eq!(f.number("SELECT count(*) FROM entries").await, 2);
}
