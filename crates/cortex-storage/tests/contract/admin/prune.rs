//! What is older, or more, than it should be.

use std::time::Duration;

use cortex_testkit::Postgres;
use prune_storage_response::Event;
use sqlx::{Connection, PgConnection};

use super::*;

contract! {
    nothing_is_asked_for_and_nothing_goes,
    ended_sessions_go_by_age,
    sessions_of_any_status_go_by_age,
    the_newest_ended_sessions_stay,
    what_is_in_use_stays,
    metrics_go_by_age_and_count,
    what_goes_twice_is_counted_once,
    what_would_go_is_counted,
    what_forks_begin_with_stays,
    contents_are_freed_with_the_last_reference,
    space_is_given_back,
    wrong_bounds_are_named,
}

const HOUR: Duration = Duration::from_secs(3600);

fn hours(hours: u64) -> Option<prost_types::Duration> {
    (HOUR * u32::try_from(hours).expect("few")).try_into().ok()
}

pub async fn prune(f: &Fixture, request: PruneStorageRequest) -> PruneCompleted {
    let answer = f.admin().prune_storage(request).await;
    let mut events = answer.expect("a pruning begins").into_inner();
    let mut completed = None;
    while let Some(event) = events.next().await {
        if let Some(Event::Completed(end)) = event.expect("the pruning goes on").event {
            assert!(completed.replace(end).is_none(), "one end");
        }
    }
    completed.expect("an end")
}

async fn ended(f: &Fixture) -> String {
    let session_id = f.session().await;
    let request = UpdateSessionRequest {
        session_id: session_id.clone(),
        status: SessionStatus::Ended.into(),
        ..Default::default()
    };
    f.sessions().update_session(request).await.expect("an end");
    session_id
}

async fn left(f: &Fixture) -> Vec<String> {
    let list = ListSessionsRequest { page_size: 1000, ..Default::default() };
    let list = f.sessions().list_sessions(list).await.expect("sessions").into_inner();
    let mut ids: Vec<_> = list.sessions.into_iter().map(|session| session.id).collect();
    ids.reverse();
    ids
}

async fn nothing_is_asked_for_and_nothing_goes(f: &Fixture) {
    let session = ended(f).await;
    f.advance(1000 * HOUR);
    let pruned = prune(f, PruneStorageRequest::default()).await;
    assert_eq!(pruned, PruneCompleted::default());
    assert_eq!(left(f).await, [session]);
}

async fn ended_sessions_go_by_age(f: &Fixture) {
    let (old, active) = (ended(f).await, f.session().await);
    f.advance(2 * HOUR);
    let fresh = ended(f).await;
    let request = PruneStorageRequest { ended_session_age: hours(1), ..Default::default() };
    let pruned = prune(f, request).await;
    assert_eq!((pruned.deleted["sessions"], pruned.deleted["journal_entries"]), (1, 1));
    assert_eq!(left(f).await, [active, fresh]);
    let get = GetSessionRequest { session_id: old };
    refused(f.sessions().get_session(get).await, Code::NotFound, "SESSION_NOT_FOUND");
    let (findings, _) = check(f, true).await;
    assert_eq!(findings, [], "nothing of it is left behind");
}

async fn sessions_of_any_status_go_by_age(f: &Fixture) {
    let old = f.session().await;
    f.message(&old).await;
    f.advance(2 * HOUR);
    let fresh = f.session().await;
    let request = PruneStorageRequest { session_age: hours(1), ..Default::default() };
    assert_eq!(prune(f, request).await.deleted["sessions"], 1);
    assert_eq!(left(f).await, [fresh]);
}

async fn the_newest_ended_sessions_stay(f: &Fixture) {
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(ended(f).await);
    }
    let active = f.session().await;
    let keep = |kept| PruneStorageRequest { keep_ended_sessions: Some(kept), ..Default::default() };
    assert_eq!(prune(f, keep(7)).await, PruneCompleted::default());
    assert_eq!(prune(f, keep(2)).await.deleted["sessions"], 3);
    assert_eq!(left(f).await, [&sessions[3], &sessions[4], &active].map(Clone::clone));
    assert_eq!(prune(f, keep(0)).await.deleted["sessions"], 2);
    assert_eq!(left(f).await, [active]);
}

async fn what_is_in_use_stays(f: &Fixture) {
    let open = conversation(f).await;
    f.advance(2 * HOUR);
    let held = f.held().await;
    let all = PruneStorageRequest { session_age: hours(0), ..Default::default() };
    f.advance(Duration::from_millis(1));
    assert_eq!(prune(f, all).await, PruneCompleted::default());
    assert_eq!(left(f).await, [&open.session, &held.session].map(Clone::clone));
    // A holder whose lease is over holds nothing.
    f.advance(HOUR);
    assert_eq!(prune(f, all).await.deleted["sessions"], 1);
    assert_eq!(left(f).await, std::slice::from_ref(&open.session));
}

async fn metrics_go_by_age_and_count(f: &Fixture) {
    for value in 0..3 {
        measure(f, "", f64::from(value)).await;
    }
    f.advance(2 * HOUR);
    for value in 3..8 {
        f.advance(Duration::from_secs(1));
        measure(f, "", f64::from(value)).await;
    }
    let old = PruneStorageRequest { metric_age: hours(1), ..Default::default() };
    assert_eq!(prune(f, old).await.deleted["metrics"], 3);
    let keep = |kept| PruneStorageRequest { keep_metrics: Some(kept), ..Default::default() };
    assert_eq!(prune(f, keep(9)).await, PruneCompleted::default());
    assert_eq!(prune(f, keep(2)).await.deleted["metrics"], 3);
    let left = f.metrics().list_metrics(ListMetricsRequest::default()).await.expect("a page");
    let mut left: Vec<_> = left.into_inner().metrics.iter().map(|metric| metric.value).collect();
    left.sort_by(f64::total_cmp);
    assert_eq!(left, [6.0, 7.0]);
    assert_eq!(prune(f, keep(0)).await.deleted["metrics"], 2);
}

async fn what_goes_twice_is_counted_once(f: &Fixture) {
    let session = ended(f).await;
    measure(f, &session, 1.0).await;
    f.advance(2 * HOUR);
    measure(f, &session, 2.0).await;
    let request = PruneStorageRequest {
        keep_ended_sessions: Some(0),
        metric_age: hours(1),
        ..Default::default()
    };
    let only = PruneStorageRequest { validate_only: true, ..request };
    let would = prune(f, only).await;
    assert_eq!(would.deleted["metrics"], 2);
    assert_eq!(prune(f, request).await, would);
    assert_eq!(stats(f).await.rows["metrics"], 0);
}

async fn what_would_go_is_counted(f: &Fixture) {
    for _ in 0..3 {
        let session = f.session().await;
        let add = AddMessageRequest {
            session_id: session,
            role: MessageRole::User.into(),
            content: "hello".into(),
            ..Default::default()
        };
        f.history().add_message(add).await.expect("a message");
    }
    f.advance(HOUR);
    let request = PruneStorageRequest { session_age: hours(0), ..Default::default() };
    let only = PruneStorageRequest { validate_only: true, ..request };
    let would = prune(f, only).await;
    assert_eq!((would.deleted["sessions"], would.deleted["messages"]), (3, 3));
    assert_eq!(left(f).await.len(), 3, "nothing is deleted");
    let before = stats(f).await.rows;
    assert_eq!(prune(f, request).await, would);
    let after = stats(f).await.rows;
    for (collection, rows) in would.deleted {
        assert_eq!(before[&collection] - after[&collection], rows, "{collection}");
    }
}

async fn say(f: &Fixture, session: &str, content: &str) {
    let add = AddMessageRequest {
        session_id: session.to_owned(),
        role: MessageRole::User.into(),
        content: content.to_owned(),
        ..Default::default()
    };
    f.history().add_message(add).await.expect("a message");
}

async fn what_forks_begin_with_stays(f: &Fixture) {
    let large = "l".repeat(100_000);
    let say = async |session: &str, content: &str| say(f, session, content).await;
    let entries = async |session: &str| f.get_journal(session).await.head_sequence;
    let parent = f.session().await;
    say(&parent, &large).await;
    let cut = entries(&parent).await;
    let request = ForkJournalRequest { session_id: parent.clone(), ..Default::default() };
    let forked = f.journal().fork_journal(request).await.expect("a fork").into_inner();
    let fork = forked.session.expect("a session").id;
    say(&parent, "to the parent").await;
    let behind = entries(&parent).await - cut;
    f.advance(2 * HOUR);
    say(&fork, "to the fork").await;
    let before = f.entries(&fork).await;
    let request = PruneStorageRequest { session_age: hours(1), ..Default::default() };
    let only = PruneStorageRequest { validate_only: true, ..request };
    let would = prune(f, only).await;
    assert_eq!((would.deleted["sessions"], would.deleted["journal_entries"]), (1, behind));
    assert_eq!(would.freed_content_bytes, 0, "the fork has it");
    assert_eq!(prune(f, request).await, would);
    assert_eq!(f.entries(&fork).await, before, "the fork is whole");
    let (findings, _) = check(f, true).await;
    assert_eq!(findings, []);
    // With the fork everything goes.
    f.advance(2 * HOUR);
    assert_eq!(prune(f, request).await.deleted["sessions"], 1);
    assert_eq!(stats(f).await.content_bytes, 0);
}

/// Sessions that go together with their forks keep nothing for them.
#[tokio::test]
async fn what_goes_with_its_forks_is_counted_whole() {
    let f = Fixture::open(Database::Sqlite).await;
    let parent = f.session().await;
    f.message(&parent).await;
    let request = ForkJournalRequest { session_id: parent.clone(), ..Default::default() };
    f.journal().fork_journal(request).await.expect("a fork");
    let shared = f.get_journal(&parent).await.head_sequence;
    f.advance(HOUR);
    let request = PruneStorageRequest { session_age: hours(0), ..Default::default() };
    let only = PruneStorageRequest { validate_only: true, ..request };
    let would = prune(&f, only).await;
    assert_eq!((would.deleted["sessions"], would.deleted["journal_entries"]), (2, shared));
    assert_eq!(prune(&f, request).await, would);
}

async fn contents_are_freed_with_the_last_reference(f: &Fixture) {
    let (old, shared) = ("o".repeat(200_000), "s".repeat(100_000));
    let say = async |session: &str, content: &str| say(f, session, content).await;
    for _ in 0..2 {
        let session = f.session().await;
        say(&session, &old).await;
        say(&session, &shared).await;
    }
    f.advance(2 * HOUR);
    let kept = f.session().await;
    say(&kept, &shared).await;
    let before = stats(f).await.content_bytes;
    assert!((300_000..310_000).contains(&before), "each content counts once: {before}");
    let request = PruneStorageRequest { session_age: hours(1), ..Default::default() };
    let only = PruneStorageRequest { validate_only: true, ..request };
    let would = prune(f, only).await;
    assert_eq!(would.freed_content_bytes, 200_000);
    assert_eq!(prune(f, request).await, would);
    assert_eq!(before - stats(f).await.content_bytes, 200_000);
    let (findings, _) = check(f, true).await;
    assert_eq!(findings, []);
}

/// Four megabytes that nobody needs any more.
async fn four_megabytes(f: &Fixture) {
    let session = f.session().await;
    for number in 0..40_u8 {
        let mut value = vec![0; 100_000];
        blake3::Hasher::new().update(&[number]).finalize_xof().fill(&mut value);
        let submit = SubmitCommandRequest {
            payload: Some(any("cortex.agent.v1.SessionCommand", &value)),
            ..command(&session, CommandKind::Steer)
        };
        f.journal().submit_command(submit).await.expect("a command");
    }
    f.advance(HOUR);
}

fn compacting() -> PruneStorageRequest {
    PruneStorageRequest { session_age: hours(0), compact: true, ..Default::default() }
}

async fn space_is_given_back(f: &Fixture) {
    four_megabytes(f).await;
    let before = stats(f).await.database_bytes;
    let pruned = prune(f, compacting()).await;
    assert!(pruned.freed_database_bytes > 0, "{pruned:?}");
    assert!(stats(f).await.database_bytes < before);
    f.session().await;
}

/// A transaction that began before the pruning keeps what was deleted, even one of another database.
#[tokio::test]
async fn older_transactions_are_waited_for() {
    let f = Fixture::open(Database::Postgres).await;
    four_megabytes(&f).await;
    let other = Postgres::shared().database();
    let mut conn = PgConnection::connect(&other.url()).await.expect("a connection");
    let begin = sqlx::raw_sql("BEGIN; SELECT pg_current_xact_id()").execute(&mut conn).await;
    begin.expect("a transaction");
    let answer = f.admin().prune_storage(compacting()).await;
    let mut events = answer.expect("a pruning begins").into_inner();
    let (mut waited, mut completed) = (false, None);
    while let Some(event) = events.next().await {
        match event.expect("the pruning goes on").event {
            Some(Event::Progress(at)) if !waited && at.phase.contains("older transactions") => {
                waited = true;
                sqlx::raw_sql("COMMIT").execute(&mut conn).await.expect("its end");
            }
            Some(Event::Completed(end)) => completed = Some(end),
            _ => {}
        }
    }
    let pruned = completed.expect("an end");
    assert!(pruned.freed_database_bytes > 3_000_000, "{pruned:?}");
    assert!(waited, "it waits");
}

async fn wrong_bounds_are_named(f: &Fixture) {
    let request = PruneStorageRequest { keep_ended_sessions: Some(-1), ..Default::default() };
    let answer = f.admin().prune_storage(request).await;
    let status = refused(answer.map(|_| ()), Code::InvalidArgument, "INVALID_FIELD");
    assert!(status.message().contains("keep_ended_sessions"), "{}", status.message());
}
