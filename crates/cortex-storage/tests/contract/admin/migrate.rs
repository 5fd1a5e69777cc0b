//! Copying an installation into another database.

use cortex_storage::{Storage, StorageConfig};
use cortex_testkit::Postgres;

use super::*;

contract! {
    an_installation_is_copied_and_goes_on,
    an_installation_is_copied_into_postgresql_and_back,
    nothing_is_written_meanwhile_and_after,
    a_migration_can_be_tried,
    a_target_that_cannot_be_filled_is_refused,
}

async fn migrate(
    f: &Fixture,
    url: &str,
    validate_only: bool,
) -> Result<MigrationCompleted, Status> {
    use migrate_storage_response::Event;

    let request = MigrateStorageRequest { target_url: url.to_owned(), validate_only };
    let mut events = f.admin().migrate_storage(request).await?.into_inner();
    let mut completed = None;
    while let Some(event) = events.next().await {
        if let Some(Event::Completed(end)) = event?.event {
            assert!(completed.replace(end).is_none(), "one end");
        }
    }
    Ok(completed.expect("an end"))
}

/// A database file that is not there, and its URL.
fn target() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite:{}", dir.path().join("cortex.db").display());
    (dir, url)
}

async fn an_installation_is_copied_and_goes_on(f: &Fixture) {
    let before = conversation(f).await;
    conversation(f).await;
    let (dir, url) = target();
    let copied = migrate(f, &url, false).await.expect("a copy");
    assert_eq!((copied.status.as_str(), copied.rows["sessions"]), ("copied", 2));
    assert_eq!(copied.rows["journal_entries"], stats(f).await.rows["journal_entries"]);
    let other = f.on(dir).await;
    assert_eq!(contents(f).await, contents(&other).await);
    // Whoever held a session holds it still.
    let after = Held {
        fixture: &other,
        session: before.session.clone(),
        holder: before.holder.clone(),
        epoch: before.epoch,
    };
    after.append(&["content_delta"], JournalEffects::default()).await.expect("an append");
    other.held().await;
    let (findings, _) = check(&other, true).await;
    assert_eq!(findings, []);
}

async fn an_installation_is_copied_into_postgresql_and_back(f: &Fixture) {
    let before = conversation(f).await;
    let database = Postgres::shared().database();
    let url = database.url();
    let tried = migrate(f, &url, true).await.expect("a possible copy");
    assert_eq!(tried.status, "valid");
    let copied = migrate(f, &url, false).await.expect("a copy");
    assert_eq!(copied.rows["sessions"], 1);
    let other = f.on_postgres(database).await;
    assert_eq!(contents(f).await, contents(&other).await);
    let held = Held {
        fixture: &other,
        session: before.session.clone(),
        holder: before.holder.clone(),
        epoch: before.epoch,
    };
    held.append(&["a_new_type"], JournalEffects::default()).await.expect("an append");
    other.held().await;
    let (findings, _) = check(&other, true).await;
    assert_eq!(findings, []);
    let (dir, url) = target();
    migrate(&other, &url, false).await.expect("a copy back");
    let back = f.on(dir).await;
    assert_eq!(contents(&other).await, contents(&back).await);
    back.held().await;
    let (findings, _) = check(&back, true).await;
    assert_eq!(findings, []);
}

async fn nothing_is_written_meanwhile_and_after(f: &Fixture) {
    let held = conversation(f).await;
    let (_dir, url) = target();
    let request = MigrateStorageRequest { target_url: url.clone(), validate_only: false };
    let mut admin = f.admin();
    let mut events = admin.migrate_storage(request.clone()).await.expect("a copy").into_inner();
    events.next().await.expect("an event").expect("it begins");
    let append = || held.append(&["content_delta"], JournalEffects::default());
    // By each replica.
    for _ in 0..2 {
        let status = refused(append().await, Code::Unavailable, "STORAGE_MAINTENANCE");
        assert!(cortex_rpc::fault(&status).retry_after.is_some());
        let second = f.admin().check_storage(CheckStorageRequest::default()).await;
        refused(second.map(|_| ()), Code::FailedPrecondition, "ADMIN_BUSY");
    }
    // Whoever leaves ends it, and the other database is as empty as before.
    drop(events);
    for _ in 0..2 {
        append().await.expect("an append");
    }
    migrate(f, &url, false).await.expect("a copy");
    for _ in 0..2 {
        let status = refused(append().await, Code::Unavailable, "STORAGE_MAINTENANCE");
        assert!(status.message().contains("restart"), "{}", status.message());
        f.entries(&held.session).await;
    }
}

/// Also by processes that are started anew with the old database, until somebody says otherwise.
#[tokio::test]
async fn what_was_copied_is_left_for_good() {
    for database in [Database::Sqlite, Database::PostgresReplicas] {
        let mut f = Fixture::open(database).await;
        conversation(&f).await;
        let (_dir, url) = target();
        migrate(&f, &url, false).await.expect("a copy");
        f.reopen().await;
        for _ in 0..2 {
            let create = CreateSessionRequest { agent_name: "a".into(), ..Default::default() };
            let answer = f.sessions().create_session(create).await;
            let status = refused(answer, Code::Unavailable, "STORAGE_MAINTENANCE");
            assert!(status.message().contains("restart"), "{}", status.message());
            let (findings, _) = check(&f, true).await;
            assert_eq!(findings, [], "it can still be read");
        }
        let refusal = migrate(&f, &url, false).await;
        refused(refusal, Code::FailedPrecondition, "NOT_EMPTY");
        f.run("DELETE FROM moves").await;
        f.reopen().await;
        f.session().await;
    }
}

async fn a_migration_can_be_tried(f: &Fixture) {
    conversation(f).await;
    let (dir, url) = target();
    let tried = migrate(f, &url, true).await.expect("a possible copy");
    assert_eq!((tried.status.as_str(), tried.rows["sessions"]), ("valid", 1));
    let files = std::fs::read_dir(dir.path()).expect("a directory").count();
    assert_eq!(files, 0, "nothing is made");
    f.session().await;
}

async fn a_target_that_cannot_be_filled_is_refused(f: &Fixture) {
    conversation(f).await;
    for wrong in ["", "mysql://u:secret@h/db", "postgres://u:secret@h:port/db", "sqlite:"] {
        let answer = migrate(f, wrong, false).await;
        let status = refused(answer, Code::InvalidArgument, "INVALID_FIELD");
        assert!(!status.message().contains("secret"), "{}", status.message());
    }
    let (dir, url) = target();
    for nowhere in ["sqlite:/nonexistent/cortex.db", "postgres://u:secret@127.0.0.1:9/db"] {
        let answer = migrate(f, nowhere, false).await;
        let status = refused(answer, Code::FailedPrecondition, "TARGET_UNREACHABLE");
        assert!(!status.message().contains("secret"), "{}", status.message());
    }
    let clock = f.clock.clone();
    let other = Storage::open(StorageConfig::default(), dir.path(), clock).await.expect("another");
    let answer = migrate(f, &url, true).await;
    refused(answer, Code::FailedPrecondition, "TARGET_UNREACHABLE");
    let mut sessions = session_service_client::SessionServiceClient::new(other.transport());
    let create = CreateSessionRequest { agent_name: "assistant".into(), ..Default::default() };
    sessions.create_session(create).await.expect("a session");
    other.close().await;
    for validate_only in [true, false] {
        let answer = migrate(f, &url, validate_only).await;
        refused(answer, Code::FailedPrecondition, "NOT_EMPTY");
    }
    f.session().await;
}
