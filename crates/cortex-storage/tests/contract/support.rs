//! A storage with its clients and a clock that the test moves, and short forms of requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use cortex_config::{ByteSize, SecretString};
use cortex_core::{CallId, ClaimantId, ExecutionId, HolderId, ManualClock, MessageId, TurnId};
pub use cortex_proto::cortex::storage::v1::*;
use cortex_proto::cortex::storage::v1::{
    admin_service_client::AdminServiceClient, artifact_service_client::ArtifactServiceClient,
    cache_service_client::CacheServiceClient, history_service_client::HistoryServiceClient,
    journal_service_client::JournalServiceClient, metric_service_client::MetricServiceClient,
    record_service_client::RecordServiceClient, session_service_client::SessionServiceClient,
    state_service_client::StateServiceClient,
};
use cortex_rpc::Transport;
use cortex_storage::{CacheBounds, Limits, Storage, StorageConfig};
use cortex_testkit::{Postgres, PostgresDatabase};
use prost_types::Any;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use tonic::{Code, Status};

/// Runs tests of the contract on each database; with two replicas, each call goes to the other one
/// than the call before.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            contract!(Sqlite: $($name),*);
        }
        mod postgres {
            contract!(Postgres: $($name),*);
        }
        mod postgres_replicas {
            contract!(PostgresReplicas: $($name),*);
        }
    };
    (one replica: $($name:ident),* $(,)?) => {
        mod sqlite_alone {
            contract!(Sqlite: $($name),*);
        }
        mod postgres_alone {
            contract!(Postgres: $($name),*);
        }
    };
    ($database:ident: $($name:ident),*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let database = crate::support::Database::$database;
                let fixture = crate::support::Fixture::open(database).await;
                super::$name(&fixture).await;
            }
        )*
    };
}

/// Small bounds where a test reaches them.
pub fn config() -> StorageConfig {
    let defaults = StorageConfig::default();
    StorageConfig {
        cache: CacheBounds { entries: 64, bytes: ByteSize::mib(2), ..defaults.cache },
        limits: Limits { aggregated_numbers: 20_000, ..defaults.limits },
        ..defaults
    }
}

/// What stores, and how many serve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// A file, which one process has.
    Sqlite,
    /// A database that one replica serves.
    Postgres,
    /// A database that two replicas serve.
    PostgresReplicas,
}

/// A storage, or two on one database, with their clients and their clock.
pub struct Fixture {
    pub replicas: Vec<Storage>,
    pub clock: Arc<ManualClock>,
    transports: Vec<Transport>,
    calls: AtomicUsize,
    pub config: StorageConfig,
    dir: TempDir,
    /// Dropped last.
    database: Option<PostgresDatabase<'static>>,
}

pub type Journal = JournalServiceClient<Transport>;

impl Fixture {
    pub async fn sqlite() -> Self {
        Self::open(Database::Sqlite).await
    }

    pub async fn sqlite_with(config: StorageConfig) -> Self {
        Self::open_with(Database::Sqlite, config).await
    }

    pub async fn open(database: Database) -> Self {
        Self::open_with(database, config()).await
    }

    pub async fn open_with(database: Database, config: StorageConfig) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new(SystemTime::now()));
        let postgres = (database != Database::Sqlite).then(|| Postgres::shared().database());
        let count = if database == Database::PostgresReplicas { 2 } else { 1 };
        Self::with(count, config, clock, dir, postgres).await
    }

    /// Runs a statement in the database, which is PostgreSQL.
    pub fn sql(&self, statement: &str) {
        let database = self.database.as_ref().expect("PostgreSQL");
        database.server().sql_in(database.name(), statement);
    }

    /// Runs a statement in whichever database it is.
    pub async fn run(&self, statement: &'static str) {
        if self.database.is_some() {
            return self.sql(statement);
        }
        let url = format!("sqlite://{}", self.data_dir().join("cortex.db").display());
        let mut conn = SqliteConnection::connect(&url).await.expect("the file");
        sqlx::raw_sql(statement).execute(&mut conn).await.expect("the statement");
    }

    /// The way to the next replica.
    pub fn transport(&self) -> Transport {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        self.transports[call % self.transports.len()].clone()
    }

    /// Another one of the same kind, empty, with the same time.
    pub async fn another(&self) -> Self {
        self.another_with(self.config.clone()).await
    }

    /// The same with another configuration.
    pub async fn another_with(&self, config: StorageConfig) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let postgres = self.database.as_ref().map(|_| Postgres::shared().database());
        Self::with(self.replicas.len(), config, self.clock.clone(), dir, postgres).await
    }

    /// One on the SQLite file of a directory, with the same time.
    pub async fn on(&self, dir: TempDir) -> Self {
        self.like(dir, None).await
    }

    /// One on a database of PostgreSQL, with the same time.
    pub async fn on_postgres(&self, database: PostgresDatabase<'static>) -> Self {
        self.like(tempfile::tempdir().expect("a temporary directory"), Some(database)).await
    }

    async fn like(&self, dir: TempDir, postgres: Option<PostgresDatabase<'static>>) -> Self {
        let count = if postgres.is_some() { self.replicas.len() } else { 1 };
        Self::with(count, self.config.clone(), self.clock.clone(), dir, postgres).await
    }

    async fn with(
        count: usize,
        mut config: StorageConfig,
        clock: Arc<ManualClock>,
        dir: TempDir,
        postgres: Option<PostgresDatabase<'static>>,
    ) -> Self {
        config.postgres.url = postgres.as_ref().map(|made| SecretString::new(made.url()));
        let mut replicas = Vec::new();
        for _ in 0..count {
            let opened = Storage::open_at(config.clone(), dir.path(), clock.clone()).await;
            replicas.push(opened.expect("storage opens"));
        }
        let transports = replicas.iter().map(Storage::transport).collect();
        let calls = AtomicUsize::new(0);
        Self { replicas, clock, transports, calls, config, dir, database: postgres }
    }

    pub fn journal(&self) -> Journal {
        JournalServiceClient::new(self.transport()).max_decoding_message_size(16 << 20)
    }

    pub fn sessions(&self) -> SessionServiceClient<Transport> {
        SessionServiceClient::new(self.transport())
    }

    pub fn history(&self) -> HistoryServiceClient<Transport> {
        HistoryServiceClient::new(self.transport()).max_decoding_message_size(16 << 20)
    }

    pub fn state(&self) -> StateServiceClient<Transport> {
        StateServiceClient::new(self.transport())
    }

    pub fn records(&self) -> RecordServiceClient<Transport> {
        RecordServiceClient::new(self.transport())
    }

    pub fn metrics(&self) -> MetricServiceClient<Transport> {
        MetricServiceClient::new(self.transport())
    }

    pub fn cache(&self) -> CacheServiceClient<Transport> {
        CacheServiceClient::new(self.transport())
    }

    pub fn artifacts(&self) -> ArtifactServiceClient<Transport> {
        ArtifactServiceClient::new(self.transport())
    }

    /// Where the storage keeps what is not in the database.
    pub fn data_dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Closes the storage and opens it again.
    pub async fn reopen(&mut self) {
        for replica in &mut self.replicas {
            replica.close().await;
            let clock = self.clock.clone();
            let opened = Storage::open_at(self.config.clone(), self.dir.path(), clock).await;
            *replica = opened.expect("storage opens");
        }
        self.transports = self.replicas.iter().map(Storage::transport).collect();
    }

    pub fn admin(&self) -> AdminServiceClient<Transport> {
        AdminServiceClient::new(self.transport())
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// A new session of the agent `assistant`.
    pub async fn session(&self) -> String {
        let request = CreateSessionRequest { agent_name: "assistant".into(), ..Default::default() };
        let created = self.sessions().create_session(request).await.expect("a session");
        created.into_inner().session.expect("the session is told").id
    }

    /// A new holder of an instance of its own.
    pub async fn holder(&self) -> String {
        let holder = HolderId::generate().to_string();
        self.register(&holder, &holder).await.expect("a lease");
        holder
    }

    pub async fn register(
        &self,
        holder: &str,
        instance: &str,
    ) -> Result<RegisterHolderResponse, Status> {
        let request = RegisterHolderRequest {
            holder_id: holder.into(),
            instance: instance.into(),
            lease_duration: None,
        };
        Ok(self.journal().register_holder(request).await?.into_inner())
    }

    pub async fn acquire(&self, session: &str, holder: &str, seen: i64) -> Result<i64, Status> {
        let request = AcquireSessionRequest {
            session_id: session.into(),
            holder_id: holder.into(),
            seen_epoch: seen,
        };
        Ok(self.journal().acquire_session(request).await?.into_inner().epoch)
    }

    /// A new session, held by a new holder.
    pub async fn held(&self) -> Held<'_> {
        let session = self.session().await;
        let holder = self.holder().await;
        let epoch = self.acquire(&session, &holder, 0).await.expect("a grant");
        Held { fixture: self, session, holder, epoch }
    }

    pub async fn submit(&self, session: &str, kind: CommandKind) -> Result<i64, Status> {
        let request = command(session, kind);
        Ok(self.journal().submit_command(request).await?.into_inner().sequence)
    }

    pub async fn message(&self, session: &str) -> i64 {
        self.submit(session, CommandKind::Message).await.expect("a message is accepted")
    }

    pub async fn get_journal(&self, session: &str) -> cortex_proto::cortex::storage::v1::Journal {
        let request = GetJournalRequest { session_id: session.into() };
        let answer = self.journal().get_journal(request).await.expect("the journal is told");
        answer.into_inner().journal.expect("the journal is told")
    }

    /// Every entry of a session.
    pub async fn entries(&self, session: &str) -> Vec<JournalEntry> {
        let request = ListEntriesRequest {
            session_id: session.into(),
            page_size: 1000,
            ..Default::default()
        };
        let page = self.journal().list_entries(request).await.expect("entries are told");
        page.into_inner().entries
    }

    pub async fn runnable(&self) -> Vec<RunnableSession> {
        let request = ListRunnableSessionsRequest::default();
        let page = self.journal().list_runnable_sessions(request).await.expect("a list");
        page.into_inner().sessions
    }

    pub async fn is_runnable(&self, session: &str) -> bool {
        self.runnable().await.iter().any(|runnable| runnable.session_id == session)
    }

    pub async fn claim(
        &self,
        execution: &str,
        claimant: &str,
        epoch: i64,
    ) -> Result<Execution, Status> {
        let request = ClaimExecutionRequest {
            execution_id: execution.into(),
            claimant_id: claimant.into(),
            claimant_instance: "containers".into(),
            epoch,
        };
        let answer = self.journal().claim_execution(request).await?.into_inner();
        Ok(answer.execution.expect("the row is told"))
    }

    pub async fn finish(
        &self,
        execution: &str,
        claimant: &str,
        kind: OutcomeKind,
    ) -> Result<Execution, Status> {
        let outcome = ExecutionOutcome {
            kind: kind.into(),
            result: r#"{"product":42}"#.into(),
            ..Default::default()
        };
        let request = FinishExecutionRequest {
            execution_id: execution.into(),
            claimant_id: claimant.into(),
            outcome: Some(outcome),
        };
        let answer = self.journal().finish_execution(request).await?.into_inner();
        Ok(answer.execution.expect("the row is told"))
    }
}

/// A session with its holder.
pub struct Held<'f> {
    pub fixture: &'f Fixture,
    pub session: String,
    pub holder: String,
    pub epoch: i64,
}

impl Held<'_> {
    /// An append of `events` with `effects`, under a new request id.
    pub fn request(&self, events: &[&str], effects: JournalEffects) -> AppendEventsRequest {
        AppendEventsRequest {
            session_id: self.session.clone(),
            holder_id: self.holder.clone(),
            epoch: self.epoch,
            request_id: ExecutionId::generate().to_string(),
            events: events.iter().map(|name| event(name)).collect(),
            effects: Some(effects),
            ..Default::default()
        }
    }

    pub async fn append(
        &self,
        events: &[&str],
        effects: JournalEffects,
    ) -> Result<AppendEventsResponse, Status> {
        self.send(self.request(events, effects)).await
    }

    pub async fn send(&self, request: AppendEventsRequest) -> Result<AppendEventsResponse, Status> {
        Ok(self.fixture.journal().append_events(request).await?.into_inner())
    }

    pub async fn release(
        &self,
        last_command: i64,
        wait: Option<SessionWait>,
    ) -> Result<bool, Status> {
        let request = ReleaseSessionRequest {
            session_id: self.session.clone(),
            holder_id: self.holder.clone(),
            epoch: self.epoch,
            last_command_sequence: last_command,
            wait,
        };
        Ok(self.fixture.journal().release_session(request).await?.into_inner().held)
    }

    /// Submits a message and opens its turn.
    pub async fn open_turn(&self) -> String {
        let message = self.fixture.message(&self.session).await;
        let turn = TurnId::generate().to_string();
        let effects = JournalEffects {
            consumed_sequence: message,
            opened_turn_id: turn.clone(),
            ..Default::default()
        };
        self.append(&["turn_started"], effects).await.expect("a turn opens");
        turn
    }

    /// Journals the intent of one call, and answers its execution.
    pub async fn intend(&self, turn: &str) -> (String, String) {
        let intent = intent(turn);
        let ids = (intent.execution_id.clone(), intent.call_id.clone());
        let effects = JournalEffects { intents: vec![intent], ..Default::default() };
        self.append(&["tool_call_arguments"], effects).await.expect("an intent");
        ids
    }
}

/// A command with an empty body.
pub fn command(session: &str, kind: CommandKind) -> SubmitCommandRequest {
    SubmitCommandRequest {
        session_id: session.into(),
        kind: kind.into(),
        r#type: "command".into(),
        payload: Some(any("cortex.agent.v1.SessionCommand", b"c")),
        ..Default::default()
    }
}

/// An event with an empty body.
pub fn event(name: &str) -> NewEvent {
    NewEvent { r#type: name.into(), payload: Some(any("cortex.agent.v1.SessionEvent", b"e")) }
}

pub fn any(name: &str, value: &[u8]) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: value.to_vec() }
}

/// The intent of a new call.
pub fn intent(turn: &str) -> ExecutionIntent {
    ExecutionIntent {
        execution_id: ExecutionId::generate().to_string(),
        call_id: CallId::generate().to_string(),
        turn_id: turn.into(),
        kind: "tool".into(),
        name: "calculator".into(),
        replaces_execution_id: String::new(),
    }
}

/// The settlement of one execution.
pub fn settle(execution: &str, kind: SettlementKind) -> JournalEffects {
    let settlement = ExecutionSettlement { execution_id: execution.into(), kind: kind.into() };
    JournalEffects { settlements: vec![settlement], ..Default::default() }
}

/// A message that joins by an append.
pub fn new_message(role: MessageRole, content: &str) -> NewHistoryMessage {
    NewHistoryMessage {
        message_id: MessageId::generate().to_string(),
        role: role.into(),
        content: content.into(),
        ..Default::default()
    }
}

pub fn claimant() -> String {
    ClaimantId::generate().to_string()
}

/// That a call was refused with this code and reason.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, reason: &str) -> Status {
    let status = answer.expect_err("the call is refused");
    let found = cortex_rpc::reason(&status);
    assert_eq!((status.code(), found.as_deref()), (code, Some(reason)), "{}", status.message());
    status
}

/// Cases of a property test; `PROPTEST_CASES` sets more.
pub fn cases(short: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(short)
}
