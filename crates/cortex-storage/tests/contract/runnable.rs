//! Which sessions somebody should take: a predicate on what is stored, and hints that shorten a poll.

use std::time::Duration;

use cortex_core::Clock;
use prost_types::Timestamp;
use tokio_stream::StreamExt;

use crate::support::*;

contract! {
    a_command_makes_a_session_runnable,
    an_open_turn_is_runnable_unless_it_waits,
    a_queued_message_is_runnable,
    a_wait_ends_by_a_command_or_at_its_time,
    a_dead_holder_leaves_its_work_runnable,
    the_longest_runnable_comes_first_and_pages_go_on,
    hints_tell_of_new_work_at_once,
}

async fn a_command_makes_a_session_runnable(f: &Fixture) {
    let session = f.session().await;
    assert!(!f.is_runnable(&session).await);
    f.message(&session).await;
    let found = f.runnable().await;
    let expected =
        RunnableSession { session_id: session.clone(), epoch: 0, tenant: "default".into() };
    assert_eq!(found, [expected]);
    let holder = f.holder().await;
    f.acquire(&session, &holder, 0).await.expect("a grant");
    assert!(!f.is_runnable(&session).await);
}

async fn an_open_turn_is_runnable_unless_it_waits(f: &Fixture) {
    let held = f.held().await;
    held.open_turn().await;
    f.advance(Duration::from_secs(4));
    assert!(f.is_runnable(&held.session).await);
    held.release(1, Some(SessionWait { wake_at: None })).await.expect("released");
    assert!(!f.is_runnable(&held.session).await);
    // Whoever takes a waiting session makes it run; if it dies, somebody else must go on.
    let other = f.holder().await;
    f.acquire(&held.session, &other, 1).await.expect("a grant");
    f.advance(Duration::from_secs(4));
    assert!(f.is_runnable(&held.session).await);
}

async fn a_queued_message_is_runnable(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let message = f.message(&held.session).await;
    let effects = JournalEffects {
        consumed_sequence: message,
        queued_sequences: vec![message],
        closed_turn_id: turn,
        ..Default::default()
    };
    held.append(&["turn_completed"], effects).await.expect("closed");
    f.advance(Duration::from_secs(4));
    assert!(f.is_runnable(&held.session).await, "nothing is pending and no turn is open");
}

async fn a_wait_ends_by_a_command_or_at_its_time(f: &Fixture) {
    let held = f.held().await;
    held.open_turn().await;
    let wake_at = Some(Timestamp::from(f.clock.now() + Duration::from_secs(60)));
    held.release(1, Some(SessionWait { wake_at })).await.expect("released");
    assert!(!f.is_runnable(&held.session).await);
    f.advance(Duration::from_secs(61));
    assert!(f.is_runnable(&held.session).await);
    let held = f.held().await;
    held.open_turn().await;
    held.release(1, Some(SessionWait { wake_at: None })).await.expect("released");
    f.submit(&held.session, CommandKind::Approval).await.expect("accepted");
    assert!(f.is_runnable(&held.session).await);
}

async fn a_dead_holder_leaves_its_work_runnable(f: &Fixture) {
    let held = f.held().await;
    f.message(&held.session).await;
    assert!(!f.is_runnable(&held.session).await);
    f.advance(Duration::from_secs(3));
    assert!(f.is_runnable(&held.session).await);
}

async fn the_longest_runnable_comes_first_and_pages_go_on(f: &Fixture) {
    let mut expected = Vec::new();
    for _ in 0..5 {
        let session = f.session().await;
        f.message(&session).await;
        f.advance(Duration::from_millis(10));
        expected.push(session);
    }
    // More work does not make it younger.
    f.message(&expected[0]).await;
    let mut request = ListRunnableSessionsRequest { page_size: 2, ..Default::default() };
    let mut found = Vec::new();
    loop {
        let page = f.journal().list_runnable_sessions(request.clone()).await.expect("a page");
        let page = page.into_inner();
        found.extend(page.sessions.into_iter().map(|session| session.session_id));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, expected);
}

async fn hints_tell_of_new_work_at_once(f: &Fixture) {
    let request = WatchRunnableSessionsRequest {};
    let mut hints =
        f.journal().watch_runnable_sessions(request).await.expect("a watch").into_inner();
    let first = hints.next().await.expect("a first answer").expect("no error");
    assert!(first.sessions.is_empty());
    let held = f.held().await;
    f.message(&held.session).await;
    let free = f.session().await;
    f.message(&free).await;
    // A hint may be in vain where a writer does not know the holder; whether the session is there to be
    // taken is said by the list alone.
    let mut found = Vec::new();
    while !found.contains(&free) {
        let hint = hints.next().await.expect("a hint").expect("no error");
        found.extend(hint.sessions.into_iter().map(|hint| hint.session_id));
    }
    assert!(!f.is_runnable(&held.session).await, "a held session is its holder's business");
}
