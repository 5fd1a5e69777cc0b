//! Damage that is seeded and found.

mod fills;

use std::{sync::Arc, time::Duration};

use cortex_core::{
    CallId, ClaimantId, ExecutionId, HolderId, ManualClock, MessageId, SessionId, TurnId,
};
use cortex_testkit::Postgres;
use futures::StreamExt;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    SqlAdmin,
    catalogue::{TABLES, read_schema},
    fill::{SqlFill, Whose},
};
use crate::{
    adapters::{
        blobs, postgres,
        sql::{
            query::Query,
            row::Row,
            store::SqlStore,
            tests::{append, submit},
        },
        sqlite,
    },
    admin::{
        BackupPiece, Cell, CheckEvent, Finding, Outlet, RestoreOptions, Work, backup, restore,
    },
    artifact::{Depot, StoreId},
    config::StorageConfig,
    entry_text::Text,
    error::{Result, StorageError},
    history::{NewMessage, Role},
    journal::{
        Acquire, Claim, Effects, ExecutionKind, Fingerprint, Finish, ForkRequest, Intent, Outcome,
        OutcomeKind, Registration, Settlement, SettlementKind,
    },
    ports::{AdminStore, DumpScope, Fill, JournalStore, SessionStore},
    session::NewSession,
    state::StateChange,
    tenant::Tenant,
    transfer::fork,
};

struct Fixture {
    store: Arc<SqlStore>,
    admin: SqlAdmin,
    dir: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new(std::time::SystemTime::now()));
        let config = StorageConfig::default();
        let store = sqlite::open(dir.path().join("cortex.db"), &config, clock).await;
        let store = store.expect("storage opens");
        Self { admin: SqlAdmin::new(store.clone(), config), store, dir }
    }

    /// One with two sessions of four entries, two messages, a state and one finished execution each. The
    /// last command of each waits.
    async fn with_rows() -> Self {
        let fixture = Self::new().await;
        for _ in 0..2 {
            fixture.conversation().await.expect("a conversation");
        }
        fixture
    }

    async fn conversation(&self) -> Result<SessionId> {
        let (store, tenant) = (&self.store, Tenant::default());
        let (session_id, holder_id) = (self.session().await?, HolderId::generate());
        let (instance, duration) = (holder_id.to_string(), Duration::from_secs(3));
        let registration = Registration { holder_id: holder_id.clone(), instance, duration };
        store.register_holder(&tenant, registration).await?;
        let acquire =
            Acquire { session_id: session_id.clone(), holder_id: holder_id.clone(), seen_epoch: 0 };
        store.acquire(&tenant, acquire).await?;
        let held = (session_id.clone(), holder_id);
        store.submit(&tenant, submit(&session_id)).await?;
        let (turn_id, execution_id) = (TurnId::generate(), ExecutionId::generate());
        let intent = Intent {
            execution_id: execution_id.clone(),
            call_id: CallId::generate(),
            turn_id: turn_id.clone(),
            kind: ExecutionKind::Tool,
            name: "calculator".into(),
            replaces: None,
        };
        let mut begin = append(&held, "begin");
        begin.effects = Effects {
            consumed: Some(1),
            opened_turn: Some(turn_id.clone()),
            messages: vec![message(Role::User), message(Role::Assistant)],
            state: Some(StateChange::Merge(r#"{"a":1}"#.into())),
            intents: vec![intent],
            ..Effects::default()
        };
        store.append(&tenant, begin).await?;
        let claimant_id = ClaimantId::generate();
        let claim = Claim {
            execution_id: execution_id.clone(),
            claimant_id: claimant_id.clone(),
            claimant_instance: "node".into(),
            epoch: 1,
        };
        store.claim(&tenant, claim).await?;
        let outcome = Outcome {
            kind: OutcomeKind::Succeeded,
            result: "42".into(),
            error: String::new(),
            details: None,
        };
        let finish = Finish { execution_id: execution_id.clone(), claimant_id, outcome };
        store.finish(&tenant, finish).await?;
        let mut end = append(&held, "end");
        end.effects = Effects {
            closed_turn: Some(turn_id),
            settlements: vec![Settlement { execution_id, kind: SettlementKind::Outcome }],
            ..Effects::default()
        };
        store.append(&tenant, end).await?;
        store.submit(&tenant, submit(&session_id)).await?;
        Ok(session_id)
    }

    async fn session(&self) -> Result<SessionId> {
        let new = NewSession::plain();
        Ok(self.store.create_session(&Tenant::default(), new).await?.session_id)
    }

    /// The session of a number, and its execution, as findings call them.
    async fn names(&self) -> Vec<(String, &'static str)> {
        let mut conn = self.store.location.reader().await.expect("a connection");
        let mut names = Vec::new();
        let called = |names: [&'static str; 3], row: &Row| {
            let number: i64 = row.try_get(1).expect("a number");
            names[usize::try_from(number - 1).expect("few")]
        };
        let sql = "SELECT session_id, session FROM sessions";
        for row in Query::new(sql).all_on(conn.target()).await.expect("rows") {
            names.push((row.try_get(0).expect("an id"), called(["s1", "s2", "s3"], &row)));
        }
        let sql = "SELECT execution_id, execution FROM executions";
        for row in Query::new(sql).all_on(conn.target()).await.expect("rows") {
            let id: ExecutionId = row.try_get(0).expect("an id");
            names.push((id.to_string(), called(["x1", "x2", "x3"], &row)));
        }
        names
    }

    /// Runs statements behind the writer's back, without foreign keys.
    async fn run(&self, statements: &[&str]) {
        let mut conn = self.store.location.writer().await.expect("a connection");
        for sql in ["PRAGMA foreign_keys = OFF"].iter().chain(statements) {
            let run = Query::new(*sql).all_on(conn.target()).await;
            run.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }

    async fn findings(&self, full: bool) -> Vec<Finding> {
        let (sender, receiver) = mpsc::channel(1);
        let out = Outlet::new(sender);
        let work = async {
            let checked = self.admin.check(full, &out).await.expect("a check");
            drop(out);
            checked
        };
        let events = ReceiverStream::new(receiver).filter_map(async |event| match event {
            CheckEvent::Finding(finding) => Some(finding),
            _ => None,
        });
        let (checked, findings) = tokio::join!(work, events.collect::<Vec<_>>());
        assert_eq!(checked.findings, findings.len() as i64);
        findings
    }

    async fn archive(&self) -> Vec<u8> {
        let (sender, receiver) = mpsc::channel(1);
        let out = Outlet::new(sender);
        let work = async {
            backup(&self.admin, None, &out).await.expect("a backup");
            drop(out);
        };
        let pieces = ReceiverStream::new(receiver).collect::<Vec<BackupPiece>>();
        let ((), pieces) = tokio::join!(work, pieces);
        pieces.iter().flat_map(|piece| piece.bytes.to_vec()).collect()
    }

    /// Restores what another one has.
    async fn restore_from(&self, source: &Self) -> Result<()> {
        let pieces = futures::stream::iter([Ok(source.archive().await.into())]);
        restore(&self.admin, &self.depot().await, RestoreOptions::default(), pieces).await.map(drop)
    }

    async fn depot(&self) -> Depot {
        let config = StorageConfig::default().artifacts;
        let id = StoreId::generate();
        let blobs = blobs::open(&config, self.dir.path(), &id).await.expect("a directory");
        Depot::new(self.store.clone(), self.store.clone(), blobs, &config)
    }

    async fn is_empty(&self) -> bool {
        let dump = self.admin.dump(DumpScope::Everything).await.expect("a snapshot");
        dump.facts().tables.iter().all(|table| table.rows == 0)
    }
}

/// Seeds damage with `statements`, and expects findings with exactly these codes, collections, sessions
/// and subjects. Sessions are called s1 and s2, their executions x1 and x2.
async fn damage(statements: &[&str], expected: &[(&str, &str, &str, &str)]) {
    damage_to(&Fixture::with_rows().await, statements, expected).await;
}

async fn damage_to(fixture: &Fixture, statements: &[&str], expected: &[(&str, &str, &str, &str)]) {
    let names = fixture.names().await;
    let called = |id: &str| names.iter().find(|(known, _)| known == id).map(|(_, name)| *name);
    assert_eq!(fixture.findings(true).await, [], "what is seeded is whole");
    fixture.run(statements).await;
    let findings = fixture.findings(true).await;
    let name = |id| called(id).unwrap_or(id);
    let found: Vec<_> = findings
        .iter()
        .map(|f| (f.code, f.collection, name(&*f.session_id), name(&*f.subject)))
        .collect();
    assert_eq!(found, expected, "{findings:?}");
}

fn message(role: Role) -> NewMessage {
    NewMessage {
        message_id: MessageId::generate(),
        role,
        content: Text::Given("x".into()),
        metadata: String::new(),
        tool_calls: Vec::new(),
        call_id: None,
        turn_id: None,
    }
}

/// That a row belongs to the execution of the first session.
macro_rules! of_first {
    () => {
        "execution_id = (SELECT execution_id FROM executions WHERE session = 1)"
    };
}

/// The key of a position in a session.
macro_rules! key {
    ($session:literal, $position:literal) => {
        concat!("((", $session, " << 32) + ", $position, ")")
    };
}

#[tokio::test]
async fn a_missing_entry_is_a_gap() {
    let delete = concat!("DELETE FROM entries WHERE entry = ", key!(1, 2));
    damage(&[delete], &[("SEQUENCE_GAP", "journal_entries", "s1", "2")]).await;
}

#[tokio::test]
async fn an_entry_beyond_the_head_is_told() {
    let more = concat!(
        "INSERT INTO entries (entry, tenant, kind, type, payload_type, payload, created_at, epoch) \
         VALUES (",
        key!(2, 5),
        ", 1, 0, 1, 2, x'', 5, 1)"
    );
    damage(&[more], &[("HEAD_DIFFERS", "sessions", "s2", "head")]).await;
}

#[tokio::test]
async fn an_entry_without_a_type_is_told() {
    let forget = concat!("UPDATE entries SET type = 9 WHERE entry = ", key!(1, 2));
    damage(&[forget], &[("NAME_MISSING", "journal_entries", "s1", "2")]).await;
}

#[tokio::test]
async fn a_head_that_says_something_else_is_told() {
    for (column, value) in [
        ("last_command", "1"),
        ("pending", "'[]'"),
        ("message_count", "7"),
        ("last_position", "1"),
        ("open_calls", "1"),
    ] {
        let update = format!("UPDATE heads SET {column} = {value} WHERE session = 1");
        damage(&[&update], &[("HEAD_DIFFERS", "sessions", "s1", column)]).await;
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_told() {
    let update = "UPDATE heads SET pending = 'nonsense' WHERE session = 2";
    damage(&[update], &[("HEAD_UNREADABLE", "sessions", "s2", "head")]).await;
}

#[tokio::test]
async fn a_session_without_a_head_is_told() {
    let delete = "DELETE FROM heads WHERE session = 2";
    damage(&[delete], &[("HEAD_MISSING", "sessions", "s2", "head")]).await;
    let move_away = "UPDATE heads SET tenant = 9 WHERE session = 2";
    let expected =
        [("HEAD_MISSING", "sessions", "s2", "head"), ("TENANT_MISSING", "heads", "", "heads:9")];
    damage(&[move_away], &expected).await;
}

#[tokio::test]
async fn rows_of_no_session_are_told() {
    let entries = concat!(
        "INSERT INTO entries (entry, tenant, kind, type, payload_type, payload, created_at, epoch) \
         VALUES (",
        key!(7, 1),
        ", 1, 0, 1, 2, x'', 5, 1)"
    );
    damage(&[entries], &[("SESSION_MISSING", "journal_entries", "", "entries:7")]).await;
    let request = "INSERT INTO requests (session, request, tenant, fingerprint, first, last, at) \
        VALUES (7, x'01', 1, x'01', 1, 1, 5)";
    damage(&[request], &[("SESSION_MISSING", "requests", "", "requests:7")]).await;
    // What is being cleared away is no damage.
    damage(&[entries, request, "INSERT INTO purges (session) VALUES (7)"], &[]).await;
}

#[tokio::test]
async fn a_reference_that_a_foreign_key_forbids_is_told() {
    let update = "UPDATE sessions SET tenant = 5 WHERE session = 2";
    let expected = [
        ("REFERENCE_BROKEN", "database", "", "sessions:2"),
        ("HEAD_MISSING", "sessions", "s2", "head"),
        ("TENANT_MISSING", "sessions", "", "sessions:5"),
    ];
    damage(&[update], &expected).await;
}

#[tokio::test]
async fn outcomes_and_executions_belong_together() {
    let delete = concat!("DELETE FROM outcomes WHERE ", of_first!());
    damage(&[delete], &[("OUTCOME_MISSING", "executions", "s1", "x1")]).await;
    let delete = "DELETE FROM executions WHERE session = 1";
    damage(&[delete], &[("EXECUTION_MISSING", "executions", "", "x1")]).await;
}

#[tokio::test]
async fn a_cache_that_is_counted_wrong_is_told() {
    let count = "INSERT INTO caches (tenant, revision, entries, bytes) VALUES (1, 1, 1, 0)";
    damage(&[count], &[("COUNT_DIFFERS", "cache_entries", "", "default")]).await;
}

/// A content that one outcome refers to, and its hash.
fn content() -> ([String; 2], String) {
    let bytes = vec![7; 40];
    let hash = blake3::hash(&bytes).to_hex().to_string();
    // One piece: value 0, place 0, length 40.
    let insert = format!(
        "INSERT INTO contents (tenant, hash, refs, bytes) VALUES (1, x'{hash}', 1, x'{}')",
        "07".repeat(40)
    );
    let of_first = of_first!();
    let refer = format!("UPDATE outcomes SET pieces = x'000028{hash}' WHERE {of_first}");
    ([insert, refer], hash)
}

#[tokio::test]
async fn contents_and_references_belong_together() {
    let ([insert, refer], hash) = content();
    let subject = format!("b3_{hash}");
    damage(&[&insert, &refer], &[]).await;
    let expected = |code| [(code, "contents", "", &*subject)];
    damage(&[&refer], &expected("CONTENT_MISSING")).await;
    damage(&[&insert], &expected("CONTENT_REFS_DIFFER")).await;
    let more = "UPDATE contents SET refs = 2";
    damage(&[&insert, &refer, more], &expected("CONTENT_REFS_DIFFER")).await;
    let alter = "UPDATE contents SET bytes = x'00'";
    damage(&[&insert, &refer, alter], &expected("CONTENT_ALTERED")).await;
    let scramble = concat!("UPDATE outcomes SET pieces = x'ff' WHERE ", of_first!());
    damage(&[scramble], &[("PIECES_UNREADABLE", "outcomes", "", "outcomes")]).await;
}

#[tokio::test]
async fn artifacts_and_their_bytes_belong_together() {
    let note = "INSERT INTO artifacts (tenant, artifact_id, session, name, type, path, size, \
        metadata, content_type, digest, created_at, updated_at) \
        VALUES (1, 'a1', 1, '', '', '', 3, '', '', x'01', 5, 5)";
    damage(&[note], &[("BYTES_UNKNOWN", "artifacts", "", "a1")]).await;
    let bytes = "INSERT INTO artifact_bytes (tenant, digest, name, uses) VALUES (1, x'01', 'n', 2)";
    damage(&[note, bytes], &[("COUNT_DIFFERS", "artifacts", "", "n")]).await;
    damage(&[note, bytes, "UPDATE artifact_bytes SET uses = 1"], &[]).await;
}

/// The log of a fork: its first entries are rows of another session.
#[tokio::test]
async fn a_gap_in_a_shared_log_is_a_gap_of_the_fork() -> Result<()> {
    let forked = async || {
        let fixture = Fixture::new().await;
        let request = ForkRequest {
            session_id: fixture.conversation().await?,
            sequence: None,
            metadata: None,
            request_id: None,
            fingerprint: Fingerprint::default(),
        };
        fork(&*fixture.store, &Tenant::default(), request).await?;
        Ok::<_, StorageError>(fixture)
    };
    let delete = concat!("DELETE FROM entries WHERE entry = ", key!(1, 2));
    let expected = [
        ("SEQUENCE_GAP", "journal_entries", "s1", "2"),
        ("SEQUENCE_GAP", "journal_entries", "s2", "2"),
    ];
    damage_to(&forked().await?, &[delete], &expected).await;
    let expected =
        [("SEQUENCE_GAP", "journal_entries", "s2", "1"), ("MARK_MISSING", "sessions", "s2", "1")];
    damage_to(&forked().await?, &["DELETE FROM parts"], &expected).await;
    Ok(())
}

#[tokio::test]
async fn marks_that_do_not_follow_each_other_are_told() {
    let delete = concat!("DELETE FROM marks WHERE mark = ", key!(1, 1));
    damage(&[delete], &[("MARK_MISSING", "sessions", "s1", "1")]).await;
    let ahead = concat!("UPDATE marks SET sequence = 99 WHERE mark = ", key!(2, 1));
    damage(&[ahead], &[("MARK_WRONG", "sessions", "s2", "1")]).await;
    // The messages of the other session join, which are known there.
    let twice = concat!(
        "UPDATE marks SET delta = (SELECT delta FROM marks WHERE mark = ",
        key!(1, 1),
        ") WHERE mark = ",
        key!(1, 2)
    );
    damage(&[twice], &[("MARK_WRONG", "sessions", "s1", "2")]).await;
}

#[tokio::test]
async fn a_history_that_the_journal_does_not_make_is_told() {
    let change = concat!("UPDATE messages SET content = 'y' WHERE message = ", key!(1, 2));
    damage(&[change], &[("HISTORY_DIFFERS", "messages", "s1", "2")]).await;
    let role = concat!("UPDATE messages SET role = 99 WHERE message = ", key!(2, 1));
    damage(&[role], &[("HISTORY_DIFFERS", "messages", "s2", "1")]).await;
    let delete = concat!("DELETE FROM messages WHERE message = ", key!(1, 1));
    let expected = [
        ("HEAD_DIFFERS", "sessions", "s1", "message_count"),
        ("HISTORY_DIFFERS", "messages", "s1", "1"),
    ];
    damage(&[delete], &expected).await;
}

#[tokio::test]
async fn a_state_that_the_journal_does_not_make_is_told() {
    let change = "UPDATE states SET data = '{\"a\":2}' WHERE session = 1";
    damage(&[change], &[("STATE_DIFFERS", "states", "s1", "state")]).await;
    let version = "UPDATE states SET version = 7 WHERE session = 2";
    damage(&[version], &[("STATE_DIFFERS", "states", "s2", "state")]).await;
    let delete = "DELETE FROM states WHERE session = 1";
    damage(&[delete], &[("STATE_DIFFERS", "states", "s1", "state")]).await;
}

#[tokio::test]
async fn a_cursor_beyond_the_head_is_told() {
    let beyond = "UPDATE heads SET consumed = 9 WHERE session = 1";
    let expected = [
        ("HEAD_DIFFERS", "sessions", "s1", "pending"),
        ("HEAD_DIFFERS", "sessions", "s1", "consumed"),
    ];
    damage(&[beyond], &expected).await;
    let queue = "UPDATE heads SET queue = '[4]' WHERE session = 1";
    damage(&[queue], &[("HEAD_DIFFERS", "sessions", "s1", "queue")]).await;
}

#[tokio::test]
async fn an_entry_whose_beginning_is_nowhere_is_told() {
    for start in ["0", "1", "3", "4"] {
        let update = format!("UPDATE entries SET start = {start} WHERE entry = {}", key!(1, 3));
        damage(&[&update], &[("START_MISSING", "journal_entries", "s1", "3")]).await;
    }
}

#[tokio::test]
async fn a_damaged_file_is_told() {
    let fixture = Fixture::with_rows().await;
    let value = "x".repeat(400_000);
    fixture.run(&[&format!("UPDATE messages SET metadata = '{value}'")]).await;
    fixture.run(&["PRAGMA wal_checkpoint(TRUNCATE)"]).await;
    let path = fixture.dir.path().join("cortex.db");
    let mut bytes = std::fs::read(&path).expect("the file");
    let half = bytes.len() / 2;
    bytes[half..half + 40_000].fill(0xa5);
    std::fs::write(&path, bytes).expect("the file");
    let findings = fixture.findings(true).await;
    assert!(findings.iter().any(|finding| finding.code == "DATABASE_DAMAGED"), "{findings:?}");
}

#[tokio::test]
async fn samples_look_at_the_ends_of_journals() {
    let fixture = Fixture::with_rows().await;
    fixture
        .run(&["UPDATE entries SET payload = x''", "DELETE FROM names WHERE name = 'steer'"])
        .await;
    let codes: Vec<_> = fixture.findings(false).await.iter().map(|f| f.code).collect();
    assert_eq!(codes, ["NAME_MISSING", "NAME_MISSING"]);
}
