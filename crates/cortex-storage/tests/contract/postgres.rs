//! What is PostgreSQL's own: errors of a server, its clock, hints that are lost, replicas that race.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use cortex_config::SecretString;
use cortex_core::ManualClock;
use cortex_storage::{Storage, StorageConfig, StorageError};
use cortex_testkit::Postgres;
use futures::future::join_all;
use tokio_stream::StreamExt;
use tonic::Code;

use crate::support::*;

async fn open(url: &str) -> Result<Storage, StorageError> {
    let mut config = StorageConfig::default();
    config.postgres.url = Some(SecretString::new(url));
    config.postgres.retry_for = cortex_config::Duration::from_millis(200);
    let clock = Arc::new(ManualClock::new(SystemTime::UNIX_EPOCH));
    Storage::open(config, Path::new("/nowhere"), clock).await
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_is_told_without_credentials() {
    let server = Postgres::shared();
    let database = server.database();
    let name = database.name();
    for (url, wanted) in [
        (server.guarded_url(name, "wrong-secret"), "password authentication failed"),
        (server.url("nowhere"), "database \"nowhere\" does not exist"),
        ("postgres://u:wrong-secret@127.0.0.1:1/vault".to_owned(), "127.0.0.1:1/vault"),
    ] {
        let refused = open(&url).await.err().expect("it is refused");
        let told = refused.to_string();
        assert!(matches!(refused, StorageError::Unreachable { .. }), "{told}");
        assert!(told.contains(wanted) && !told.contains("wrong-secret"), "{told}");
    }
    let refused = open("mysql://u:wrong-secret@h/d").await.err().expect("it is refused");
    assert!(matches!(refused, StorageError::Invalid { .. }));
}

#[tokio::test]
async fn leases_end_by_the_clock_of_the_database() {
    let database = Postgres::shared().database();
    // The clock that it is given shows 1970.
    let storage = open(&database.url()).await.expect("it opens");
    let mut journal = journal_service_client::JournalServiceClient::new(storage.transport());
    let request = RegisterHolderRequest {
        holder_id: cortex_core::HolderId::generate().to_string(),
        instance: "node".into(),
        lease_duration: None,
    };
    let lease = journal.register_holder(request).await.expect("a lease").into_inner();
    let ends = SystemTime::try_from(lease.lease_expires_at.expect("an end")).expect("a time");
    let ahead = ends.duration_since(SystemTime::now()).expect("it has not ended");
    assert!(ahead < Duration::from_secs(4), "{ahead:?}");
    storage.close().await;
}

#[tokio::test]
async fn a_database_that_refuses_writes_is_told_and_the_service_goes_on() {
    let database = Postgres::shared().database();
    let storage = open(&database.url()).await.expect("it opens");
    let mut sessions = session_service_client::SessionServiceClient::new(storage.transport());
    let new = || CreateSessionRequest { agent_name: "a".into(), ..Default::default() };
    sessions.create_session(new()).await.expect("created");
    let cut = |read_only: &str| {
        let name = database.name();
        let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = {read_only}");
        database.server().sql(&set);
        database.server().sql(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ));
    };
    cut("on");
    refused(sessions.create_session(new()).await, Code::FailedPrecondition, "STORAGE_READ_ONLY");
    cut("off");
    sessions.create_session(new()).await.expect("it goes on by itself");
    storage.close().await;
}

#[tokio::test]
async fn a_server_without_a_connection_to_spare_is_told_and_the_service_goes_on() {
    let database = Postgres::shared().database();
    let (server, name) = (database.server(), database.name());
    // Limits are not for superusers.
    server.sql(&format!("ALTER DATABASE {name} OWNER TO guarded"));
    let storage = open(&server.guarded_url(name, "hunter2")).await.expect("it opens");
    let mut sessions = session_service_client::SessionServiceClient::new(storage.transport());
    let new = || CreateSessionRequest { agent_name: "a".into(), ..Default::default() };
    let created = sessions.create_session(new()).await.expect("created").into_inner().session;
    let session_id = created.expect("the session").id;
    server.sql(&format!("ALTER DATABASE {name} CONNECTION LIMIT 0"));
    server.sql(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    ));
    let told =
        refused(sessions.create_session(new()).await, Code::Unavailable, "STORAGE_UNREACHABLE");
    assert!(told.message().contains("too many connections"), "{}", told.message());
    server.sql(&format!("ALTER DATABASE {name} CONNECTION LIMIT -1"));
    sessions.create_session(new()).await.expect("it goes on by itself");
    sessions.get_session(GetSessionRequest { session_id }).await.expect("it is there");
    storage.close().await;
}

#[tokio::test]
async fn a_watcher_hears_of_a_commit_whose_hint_was_lost() {
    let f = Fixture::open(Database::PostgresReplicas).await;
    let session = f.session().await;
    let watch = WatchEntriesRequest { session_id: session.clone(), after_sequence: 0, kind: 0 };
    let mut journals = [0, 1].map(|_| f.journal());
    let mut told = journals[0].watch_entries(watch).await.expect("a watch").into_inner();
    told.next().await.expect("goes on").expect("no error");
    // Nobody listens for a while, and then hints are heard again.
    for sequence in 1..=2 {
        f.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND query LIKE 'LISTEN%'",
        );
        let command = command(&session, CommandKind::Steer);
        journals[1].submit_command(command).await.expect("accepted");
        let waited = tokio::time::timeout(Duration::from_secs(10), told.next()).await;
        let batch = waited.expect("in time").expect("goes on").expect("no error");
        assert_eq!(batch.last_sequence, sequence);
    }
}

/// A tenant that one replica was asked for in vain is known to it once another has made it.
#[tokio::test]
async fn a_tenant_that_another_replica_has_made_is_found() {
    let mut f = Fixture::open(Database::PostgresReplicas).await;
    let other = f.replicas.pop().expect("two replicas");
    let one = f.replicas.pop().expect("two replicas");
    let of = |message| {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("x-cortex-tenant", "acme".parse().expect("a name"));
        request
    };
    let mut journal = journal_service_client::JournalServiceClient::new(one.transport());
    let nowhere = cortex_core::SessionId::generate().to_string();
    for _ in 0..8 {
        let command = of(command(&nowhere, CommandKind::Steer));
        let answer = journal.submit_command(command).await;
        refused(answer, Code::NotFound, "SESSION_NOT_FOUND");
    }
    let mut sessions = session_service_client::SessionServiceClient::new(other.transport());
    let mut request =
        tonic::Request::new(CreateSessionRequest { agent_name: "a".into(), ..Default::default() });
    request.metadata_mut().insert("x-cortex-tenant", "acme".parse().expect("a name"));
    let created = sessions.create_session(request).await.expect("created").into_inner();
    let session = created.session.expect("a session").id;
    for _ in 0..8 {
        journal.submit_command(of(command(&session, CommandKind::Steer))).await.expect("accepted");
    }
}

/// Everything that two replicas can want at the same time: one session, one tenant that is new, one
/// request, one record, one holder's instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_race_leave_one_truth() {
    let f = Fixture::open(Database::PostgresReplicas).await;
    let created = join_all((0..8).map(|_| {
        let request = CreateSessionRequest {
            agent_name: "a".into(),
            request_id: "one".into(),
            ..Default::default()
        };
        let mut sessions = f.sessions();
        async move { sessions.create_session(request).await.expect("created").into_inner() }
    }))
    .await;
    let id = |created: &CreateSessionResponse| created.session.clone().expect("a session").id;
    let session = id(&created[0]);
    assert!(created.iter().all(|other| id(other) == session), "one request is one session");
    let submitted = join_all((0..40).map(|_| f.submit(&session, CommandKind::Steer))).await;
    let mut sequences: Vec<i64> = submitted.into_iter().map(|s| s.expect("accepted")).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=40).collect::<Vec<_>>());
    let written = join_all((0..8).map(|n| {
        let request = PutRecordRequest {
            key: "locks/one".into(),
            value: vec![n].into(),
            expected_revision: Some(0),
            ..Default::default()
        };
        let mut records = f.records();
        async move { records.put_record(request).await }
    }))
    .await;
    assert_eq!(written.iter().filter(|written| written.is_ok()).count(), 1, "one writer wins");
    let holders: Vec<_> = (0..6).map(|_| cortex_core::HolderId::generate().to_string()).collect();
    join_all(holders.iter().map(|holder| f.register(holder, "node"))).await;
    let renewed = join_all(holders.iter().map(|holder| {
        let request = RenewHolderRequest { holder_id: holder.clone() };
        let mut journal = f.journal();
        async move { journal.renew_holder(request).await }
    }))
    .await;
    assert_eq!(renewed.iter().filter(|renewed| renewed.is_ok()).count(), 1, "one lease is valid");
}
