//! Where many follow a session, commits gather for each of them.

use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::time::Instant;

use super::{Fixture, payload};
use crate::{
    error::Result,
    journal::{Entry, EntryKind, SessionNo},
    ports::Standing,
    time::Stamp,
    watch::{EntryBatch, EntryWatchQuery, Notice, SessionHub, Subscription, Wanted, watch_entries},
};

const SESSION: SessionNo = SessionNo(1);

fn standing(head: i64) -> Standing {
    Standing { session: SESSION, head, shared: 0, finished: false }
}

fn commit(hub: &SessionHub, sequence: i64) {
    let entry = Entry {
        sequence,
        kind: EntryKind::Event,
        name: "content_delta".into(),
        payload: payload(),
        created_at: Stamp::default(),
        epoch: 1,
    };
    hub.publish(SESSION, || Notice::Commit(standing(sequence), Some([entry].into())));
}

/// The sequences of the next batch, and how long it took to come.
async fn next<S>(watch: &mut S) -> (Vec<i64>, Duration)
where
    S: Stream<Item = Result<EntryBatch>> + Unpin,
{
    let asked = Instant::now();
    let batch = watch.next().await.expect("goes on").expect("no error");
    (batch.entries.iter().map(|entry| entry.sequence).collect(), asked.elapsed())
}

#[tokio::test]
async fn what_comes_soon_after_is_gathered_and_what_comes_later_is_told_at_once() {
    let f = Fixture::open().await;
    let hub = SessionHub::new(64);
    let own = hub.subscribe(SESSION);
    let others: Vec<Subscription> = (0..99).map(|_| hub.subscribe(SESSION)).collect();
    let session_id = cortex_core::SessionId::generate();
    let query = EntryWatchQuery { session_id, after: 0, wanted: Wanted::Every };
    let watch = watch_entries(f.store.clone(), (own, standing(0)), query, &f.config.buffers);
    let mut watch = Box::pin(watch.expect("a watch"));
    assert!(next(&mut watch).await.0.is_empty());
    tokio::time::pause();

    tokio::time::advance(Duration::from_secs(1)).await;
    commit(&hub, 1);
    assert_eq!(next(&mut watch).await, (vec![1], Duration::ZERO));
    commit(&hub, 2);
    commit(&hub, 3);
    let (gathered, time) = next(&mut watch).await;
    assert_eq!(gathered, [2, 3]);
    assert!((19..=21).contains(&time.as_millis()), "{time:?}: 0.2 ms for each of 100");

    drop(others);
    commit(&hub, 4);
    assert_eq!(next(&mut watch).await, (vec![4], Duration::ZERO), "one alone does not wait");
}
