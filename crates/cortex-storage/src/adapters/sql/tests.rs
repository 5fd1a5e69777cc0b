//! Group commits, transactions that fail, and what is cleared away, on both databases; and what only
//! happens to a file.

mod ahead;
mod gathering;
mod kept;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cortex_core::{HolderId, ManualClock, SessionId};
use cortex_testkit::{Postgres, PostgresDatabase};
use futures::{StreamExt, future::join_all};
use sqlx::{Connection, sqlite::SqliteConnection};
use tempfile::TempDir;

use super::{
    SqlStore, cache::Cache, database::Target, needs::Needs, ops::Operation, query::Query,
    work::Work,
};
use crate::{
    adapters::{postgres, sqlite},
    config::StorageConfig,
    error::{Result, StorageError},
    history::{NewMessage, Role},
    journal::{
        Acquire, Append, AppendKey, Appended, Command, CommandKind, Direct, DirectEffect, Effects,
        Event, Fingerprint, Payload, Registration, RequestId, Submit,
    },
    ports::{EntryQuery, JournalStore, SessionStore},
    session::NewSession,
    tenant::Tenant,
    watch::{EntryWatchQuery, Wanted, watch_entries},
};

mod contents;

/// Runs tests on each database.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(super::Fixture::open().await).await;
                }
            )*
        }
        mod on_postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(super::Fixture::postgres().await).await;
                }
            )*
        }
    };
}

mod logs;

on_both! {
    in_one_commit_a_refused_write_fails_alone_and_a_repeated_one_is_found,
    a_write_that_the_database_refuses_fails_alone,
    a_commit_whose_answer_was_lost_is_told_to_watchers_and_known_when_repeated,
    the_rows_of_a_deleted_session_and_of_a_cleared_history_go_away,
    a_repeated_append_of_events_alone_is_found_by_the_table_of_requests,
    a_holder_that_is_long_gone_is_forgotten_and_its_sessions_are_free,
}

pub(super) struct Fixture {
    pub(super) store: Arc<SqlStore>,
    pub(super) tenant: Tenant,
    pub(super) clock: Arc<ManualClock>,
    config: StorageConfig,
    dir: TempDir,
    /// Dropped last.
    database: Option<PostgresDatabase<'static>>,
}

fn payload() -> Payload {
    Payload { type_url: "type.googleapis.com/test.Event".into(), value: Bytes::from_static(b"x") }
}

pub(super) fn append(held: &(SessionId, HolderId), request: &str) -> Append {
    Append {
        session_id: held.0.clone(),
        holder_id: held.1.clone(),
        epoch: 1,
        key: AppendKey::Request(
            RequestId::parse(request.to_owned()).expect("short").expect("not empty"),
        ),
        fingerprint: Fingerprint::default(),
        events: vec![Event { name: "content_delta".into(), payload: payload() }],
        effects: Effects::default(),
        max_state: 1 << 20,
    }
}

pub(super) fn submit(session: &SessionId) -> Submit {
    Submit {
        session_id: session.clone(),
        command: Command { kind: CommandKind::Steer, name: "steer".into(), payload: payload() },
        request_id: None,
        fingerprint: Fingerprint::default(),
        require_idle: false,
        max_queued: 16,
        max_pending: 1024,
    }
}

impl Fixture {
    pub(super) async fn open() -> Self {
        let config = StorageConfig {
            busy_timeout: cortex_config::Duration::from_millis(50),
            housekeeping_interval: cortex_config::Duration::from_millis(20),
            ..StorageConfig::default()
        };
        let dir = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new(std::time::SystemTime::now()));
        let path = dir.path().join("cortex.db");
        let store = sqlite::open(path, &config, clock.clone()).await.expect("it opens");
        let tenant = Tenant::default();
        Self { store, tenant, clock, config, dir, database: None }
    }

    /// On PostgreSQL, with one writer, so that what waits comes in one batch.
    async fn postgres() -> Self {
        let mut config = StorageConfig {
            housekeeping_interval: cortex_config::Duration::from_millis(20),
            ..StorageConfig::default()
        };
        config.postgres.writers = 1;
        let database = Postgres::shared().database();
        let clock = Arc::new(ManualClock::new(std::time::SystemTime::now()));
        let opened = postgres::open(&database.url(), &config, Some(clock.clone())).await;
        let (store, tenant) = (opened.expect("it opens"), Tenant::default());
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { store, tenant, clock, config, dir, database: Some(database) }
    }

    /// Another replica on the same server, which keeps house only when it is told to.
    async fn replica(&self) -> Arc<SqlStore> {
        let url = self.database.as_ref().expect("PostgreSQL").url();
        let hour = cortex_config::Duration::from_secs(3600);
        let config = StorageConfig { housekeeping_interval: hour, ..self.config.clone() };
        postgres::open(&url, &config, Some(self.clock.clone())).await.expect("it opens")
    }

    /// A second connection to the same file.
    async fn other(&self) -> SqliteConnection {
        let url = format!("sqlite://{}", self.dir.path().join("cortex.db").display());
        SqliteConnection::connect(&url).await.expect("it connects")
    }

    pub(super) async fn session(&self) -> SessionId {
        let new = NewSession::plain();
        self.store.create_session(&self.tenant, new).await.expect("a session").session_id
    }

    /// A session held under epoch 1.
    pub(super) async fn held(&self) -> (SessionId, HolderId) {
        let (session_id, holder_id) = (self.session().await, HolderId::generate());
        let (instance, duration) = (holder_id.to_string(), Duration::from_secs(3));
        let registration = Registration { holder_id: holder_id.clone(), instance, duration };
        self.store.register_holder(&self.tenant, registration).await.expect("a lease");
        let acquire =
            Acquire { session_id: session_id.clone(), holder_id: holder_id.clone(), seen_epoch: 0 };
        self.store.acquire(&self.tenant, acquire).await.expect("a grant");
        (session_id, holder_id)
    }

    pub(super) async fn append(
        &self,
        held: &(SessionId, HolderId),
        request: &str,
    ) -> Result<Appended> {
        self.store.append(&self.tenant, append(held, request)).await
    }

    pub(super) async fn raw(&self, sql: &'static str) -> Result<usize> {
        self.store.write(Raw(sql)).await
    }

    pub(super) async fn sequences(&self, session: &SessionId) -> Vec<i64> {
        let query = EntryQuery {
            session_id: session.clone(),
            after: 0,
            page_size: cortex_core::PageSize::parse(1000).expect("positive"),
            types: Vec::new(),
        };
        let page = self.store.entries(&self.tenant, query).await.expect("a page");
        page.entries.into_iter().map(|entry| entry.sequence).collect()
    }

    /// Waits until nothing is to be cleared away.
    pub(super) async fn kept(&self) {
        self.until("SELECT count(*) FROM purges").await;
    }

    /// Waits until a number is 0.
    pub(super) async fn until(&self, sql: &'static str) {
        tokio::time::timeout(Duration::from_secs(20), async {
            while self.number(sql).await > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("housekeeping ends");
    }

    pub(super) async fn number(&self, sql: &str) -> i64 {
        let query = Query::new(sql);
        let row = match &self.database {
            Some(_) => query.first(&self.store.reader.pool).await,
            // A connection of its own: the store may be closed.
            None => query.first_on(Target::Sqlite(&mut self.other().await)).await,
        };
        let row = row.expect("it is read");
        row.expect("a row").try_get(0).expect("a number")
    }

    pub(super) async fn count(&self, table: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {table}")).await
    }
}

/// Puts SQL before the commit of its batch, and says how many sessions the batch has written to so
/// far.
struct Raw(&'static str);

impl Operation for Raw {
    type Answer = usize;

    fn needs(&self, _: &Cache, _: &mut Needs) {}

    fn decide(&self, work: &mut Work) -> Result<usize> {
        work.writes.raw.push(self.0);
        Ok(work.writes.entries.len())
    }

    fn size(&self) -> usize {
        0
    }
}

async fn in_one_commit_a_refused_write_fails_alone_and_a_repeated_one_is_found(f: Fixture) {
    let (first, second) = (f.held().await, f.held().await);
    let mut stale = append(&first, "stale");
    stale.epoch = 7;
    let appends = [
        append(&first, "a"),
        stale,
        append(&second, "a"),
        append(&first, "a"),
        append(&first, "b"),
    ];
    let appends = appends.into_iter().map(|op| f.store.append(&f.tenant, op));
    // All futures are polled before the writer runs, so that it finds all of them waiting.
    let (outcomes, seen) = futures::join!(join_all(appends), f.raw(""));
    assert_eq!(seen, Ok(2), "they came in one batch");
    let firsts: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().map(|a| a.first).ok()).collect();
    assert_eq!(firsts, [Some(1), None, Some(1), Some(1), Some(2)]);
    assert!(matches!(outcomes[1], Err(StorageError::StaleEpoch { epoch: 7, current: 1, .. })));
    assert_eq!(f.sequences(&first.0).await, [1, 2]);
    assert_eq!(f.sequences(&second.0).await, [1]);
}

async fn a_write_that_the_database_refuses_fails_alone(f: Fixture) {
    let held = f.held().await;
    let before = (0..5).map(|n| append(&held, &format!("before-{n}")));
    let after = (0..5).map(|n| append(&held, &format!("after-{n}")));
    let (before, bad, after) = futures::join!(
        join_all(before.map(|op| f.store.append(&f.tenant, op))),
        f.raw("INSERT INTO nowhere VALUES (1);"),
        join_all(after.map(|op| f.store.append(&f.tenant, op))),
    );
    assert!(matches!(bad, Err(StorageError::Internal { .. })), "{bad:?}");
    let firsts: Vec<_> =
        before.into_iter().chain(after).map(|a| a.expect("appended").first).collect();
    assert_eq!(firsts, (1..=10).collect::<Vec<i64>>());
    assert_eq!(f.sequences(&held.0).await, firsts);
}

async fn a_commit_whose_answer_was_lost_is_told_to_watchers_and_known_when_repeated(f: Fixture) {
    let held = f.held().await;
    let following = f.store.follow(&f.tenant, &held.0).await.expect("a subscription");
    let store: Arc<dyn JournalStore> = f.store.clone();
    let query = EntryWatchQuery { session_id: held.0.clone(), after: 0, wanted: Wanted::Every };
    let watch = watch_entries(store, following, query, &f.config.buffers);
    let mut watch = Box::pin(watch.expect("a watch"));
    assert!(watch.next().await.expect("goes on").expect("no error").entries.is_empty());
    // The transaction reaches the disk, and then something breaks.
    let (appended, _) =
        futures::join!(f.append(&held, "a"), f.raw("COMMIT; INSERT INTO nowhere VALUES (1);"));
    // Done again one by one: the append finds itself in the log.
    assert_eq!(appended.map(|a| a.first), Ok(1));
    let batch = watch.next().await.expect("goes on").expect("no error");
    assert_eq!(batch.last, 1);
    assert_eq!(f.append(&held, "a").await.map(|a| a.first), Ok(1));
    assert_eq!(f.append(&held, "b").await.map(|a| a.first), Ok(2));
    assert_eq!(watch.next().await.expect("goes on").expect("no error").last, 2);
    assert_eq!(f.sequences(&held.0).await, [1, 2]);
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_service_goes_on() {
    let f = Fixture::open().await;
    let held = f.held().await;
    f.raw("PRAGMA max_page_count = 1;").await.expect("it shrinks to what is used");
    let mut refused = None;
    for n in 0..2_000 {
        if let Err(error) = f.append(&held, &n.to_string()).await {
            refused = Some(error);
            break;
        }
    }
    assert_eq!(refused, Some(StorageError::Full));
    let written = f.sequences(&held.0).await.len() as i64;
    f.raw("PRAGMA max_page_count = 1000000;").await.expect("there is room again");
    assert_eq!(f.append(&held, "last").await.map(|a| a.first), Ok(written + 1));
}

#[tokio::test]
async fn a_lock_of_another_process_is_told_and_the_service_goes_on() {
    let f = Fixture::open().await;
    let held = f.held().await;
    let mut other = f.other().await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("locked");
    assert_eq!(f.append(&held, "a").await.map(|a| a.first), Err(StorageError::Locked));
    assert_eq!(f.sequences(&held.0).await, [] as [i64; 0], "reads go on");
    sqlx::query("ROLLBACK").execute(&mut other).await.expect("unlocked");
    assert_eq!(f.append(&held, "a").await.map(|a| a.first), Ok(1));
}

#[tokio::test]
async fn adatabase_that_refuses_writes_is_told_and_the_service_goes_on() {
    let f = Fixture::open().await;
    let held = f.held().await;
    f.raw("PRAGMA query_only = 1;").await.expect("set");
    assert_eq!(f.append(&held, "a").await.map(|a| a.first), Err(StorageError::ReadOnly));
    f.raw("PRAGMA query_only = 0;").await.expect("set");
    assert_eq!(f.append(&held, "a").await.map(|a| a.first), Ok(1));
}

#[tokio::test]
async fn a_file_that_is_nodatabase_and_adatabase_in_use_are_told() {
    let f = Fixture::open().await;
    let path = f.dir.path().join("cortex.db");
    let clock = Arc::new(cortex_core::SystemClock);
    let twice = sqlite::open(path, &f.config, clock.clone()).await;
    assert!(matches!(twice.err(), Some(StorageError::Locked)));
    let path = f.dir.path().join("garbage.db");
    std::fs::write(&path, [7; 8192]).expect("written");
    let garbage = sqlite::open(path, &f.config, clock.clone()).await;
    assert!(matches!(garbage.err(), Some(StorageError::Corrupt { .. })));
    let missing = f.dir.path().join("missing/cortex.db");
    let nowhere = sqlite::open(missing, &f.config, clock).await;
    assert!(matches!(nowhere.err(), Some(StorageError::Io { .. })));
}

#[tokio::test]
async fn everything_is_there_after_opening_again() {
    let mut f = Fixture::open().await;
    let held = f.held().await;
    f.append(&held, "a").await.expect("appended");
    f.store.submit(&f.tenant, submit(&held.0)).await.expect("accepted");
    let before = f.store.journal(&f.tenant, &held.0).await.expect("a head").head;
    f.store.close().await;
    let path = f.dir.path().join("cortex.db");
    let clock = Arc::new(cortex_core::SystemClock);
    f.store = sqlite::open(path, &f.config, clock).await.expect("it opens");
    let after = f.store.journal(&f.tenant, &held.0).await.expect("a head").head;
    assert_eq!(after, before);
    assert_eq!(f.append(&held, "a").await.map(|a| a.first), Ok(1), "known");
    assert_eq!(f.append(&held, "b").await.map(|a| a.first), Ok(3));
}

async fn the_rows_of_a_deleted_session_and_of_a_cleared_history_go_away(f: Fixture) {
    let (kept, gone) = (f.held().await, f.held().await);
    for held in [&kept, &gone] {
        for n in 0..3 {
            let mut op = append(held, &n.to_string());
            op.events = vec![op.events[0].clone(); 1000];
            f.store.append(&f.tenant, op).await.expect("appended");
        }
    }
    f.store.delete_session(&f.tenant, &gone.0).await.expect("deleted");
    let message = NewMessage {
        message_id: cortex_core::MessageId::generate(),
        role: Role::User,
        content: crate::entry_text::Text::Given("hello".into()),
        metadata: String::new(),
        tool_calls: Vec::new(),
        call_id: None,
        turn_id: None,
    };
    for effect in [DirectEffect::AddMessage(message), DirectEffect::ClearHistory] {
        let direct = Direct {
            session_id: kept.0.clone(),
            command: submit(&kept.0).command,
            effect,
            request_id: None,
            fingerprint: Fingerprint::default(),
            max_pending: 1024,
            max_state: 1 << 20,
        };
        f.store.direct(&f.tenant, direct).await.expect("written");
    }
    f.kept().await;
    assert_eq!((f.count("sessions").await, f.count("heads").await), (1, 1));
    assert_eq!((f.count("entries").await, f.count("requests").await), (3002, 3));
    assert_eq!(f.count("messages").await, 0);
    assert_eq!(f.sequences(&kept.0).await.len(), 1000, "a page of what is kept");
}

async fn a_repeated_append_of_events_alone_is_found_by_the_table_of_requests(f: Fixture) {
    let held = f.held().await;
    f.append(&held, "a").await.expect("appended");
    let appends = ["b", "a", "c"].map(|request| f.append(&held, request));
    let firsts = join_all(appends).await.into_iter().map(|a| a.map(|a| a.first));
    assert_eq!(firsts.collect::<Vec<_>>(), [Ok(2), Ok(1), Ok(3)]);
    let mut other = append(&held, "a");
    other.fingerprint = Fingerprint([1; 16]);
    let reused = f.store.append(&f.tenant, other).await;
    assert!(matches!(reused, Err(StorageError::RequestIdReused { .. })));
    assert_eq!(f.sequences(&held.0).await, [1, 2, 3]);
}

async fn a_holder_that_is_long_gone_is_forgotten_and_its_sessions_are_free(f: Fixture) {
    let held = f.held().await;
    assert_eq!(f.count("holders").await, 1);
    f.clock.advance(Duration::from_secs(8 * 24 * 3600));
    f.store.forget_holders().await.expect("forgotten");
    assert_eq!(f.count("holders").await, 0);
    let renewed = f.store.renew_holder(&f.tenant, &held.1).await;
    assert!(matches!(renewed, Err(StorageError::LeaseVoid { .. })));
    let (holder_id, instance) = (HolderId::generate(), "other".to_owned());
    let duration = Duration::from_secs(3);
    let registration = Registration { holder_id: holder_id.clone(), instance, duration };
    f.store.register_holder(&f.tenant, registration).await.expect("a lease");
    let acquire = Acquire { session_id: held.0, holder_id, seen_epoch: 1 };
    assert_eq!(f.store.acquire(&f.tenant, acquire).await.map(|a| a.epoch), Ok(2));
}
