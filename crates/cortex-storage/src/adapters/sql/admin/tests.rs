//! Damage that is seeded and found, fills that end early, and disks that are full.

use std::sync::Arc;

use cortex_core::ManualClock;
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
        blobs,
        sql::{query::Query, store::SqlStore},
        sqlite,
    },
    admin::{
        BackupPiece, Cell, CheckEvent, Finding, Outlet, RestoreOptions, Work, backup, restore,
    },
    artifact::{Depot, StoreId},
    config::StorageConfig,
    error::{Result, StorageError},
    ports::{AdminStore, DumpScope, Fill},
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

    /// One with two sessions of three entries, two messages and one finished execution each.
    async fn with_rows() -> Self {
        let fixture = Self::new().await;
        fixture.run(&["INSERT INTO tenants (tenant, name) VALUES (1, 'default')"]).await;
        fixture.run(&["INSERT INTO names (name_no, name) VALUES (1, 'a'), (2, 'b')"]).await;
        for session in [1_i64, 2] {
            let at = |position: i64| (session << 32) + position;
            fixture
                .run(&[
                    &format!(
                        "INSERT INTO sessions (session, tenant, session_id, agent_name, user_id, \
                         status, metadata, manifest_digest, created_at) \
                         VALUES ({session}, 1, 's{session}', 'a', '', 1, '{{}}', '', 5)"
                    ),
                    &format!(
                        "INSERT INTO heads (session, tenant, head, last_command, consumed, \
                         pending, epoch, turn_sequence, waiting, queue, open_calls, \
                         message_count, last_position, history_floor, marks, shared, updated_at) \
                         VALUES ({session}, 1, 3, 3, 2, '[[3,1]]', 0, 0, 0, '[]', 0, 2, 2, 0, 0, 0, 5)"
                    ),
                    &format!(
                        "INSERT INTO entries (entry, tenant, kind, type, payload_type, payload, \
                         created_at, epoch) VALUES ({}, 1, 1, 1, 2, x'01', 5, 0), \
                         ({}, 1, 0, 1, 2, x'02', 5, 1), ({}, 1, 1, 1, 2, x'03', 5, 0)",
                        at(1),
                        at(2),
                        at(3)
                    ),
                    &format!(
                        "INSERT INTO messages (message, tenant, session, message_id, role, \
                         content, metadata, tool_calls, created_at) \
                         VALUES ({}, 1, {session}, x'00000000000000a1', 1, 'x', '', x'', 5), \
                         ({}, 1, {session}, x'00000000000000a2', 2, 'y', '', x'', 5)",
                        at(1),
                        at(2)
                    ),
                    &format!(
                        "INSERT INTO executions (tenant, execution_id, session, turn_id, call_id, \
                         kind, name, state, claimant_instance, outcome_kind, settled, created_at, \
                         updated_at) VALUES (1, x'000000000000000{session}', {session}, \
                         x'00000000000000b1', x'00000000000000c1', 1, 'n', 3, '', 1, 1, 5, 5)"
                    ),
                    &format!(
                        "INSERT INTO outcomes (tenant, execution_id, session, result, error) \
                         VALUES (1, x'000000000000000{session}', {session}, '', '')"
                    ),
                ])
                .await;
        }
        fixture
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
/// and subjects.
async fn damage(statements: &[&str], expected: &[(&str, &str, &str, &str)]) {
    let fixture = Fixture::with_rows().await;
    assert_eq!(fixture.findings(true).await, [], "what is seeded is whole");
    fixture.run(statements).await;
    let findings = fixture.findings(true).await;
    let found: Vec<_> =
        findings.iter().map(|f| (f.code, f.collection, &*f.session_id, &*f.subject)).collect();
    assert_eq!(found, expected, "{findings:?}");
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
        key!(2, 4),
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
    let delete = "DELETE FROM outcomes WHERE session = 1";
    damage(&[delete], &[("OUTCOME_MISSING", "executions", "s1", "exec_0000000000000001")]).await;
    let delete = "DELETE FROM executions WHERE session = 1";
    damage(&[delete], &[("EXECUTION_MISSING", "executions", "s1", "exec_0000000000000001")]).await;
}

#[tokio::test]
async fn a_cache_that_is_counted_wrong_is_told() {
    let count = "INSERT INTO caches (tenant, revision, entries, bytes) VALUES (1, 1, 1, 0)";
    damage(&[count], &[("COUNT_DIFFERS", "cache_entries", "", "default")]).await;
}

/// A content that one message refers to, and its hash.
fn content() -> ([String; 2], String) {
    let bytes = vec![7; 40];
    let hash = blake3::hash(&bytes).to_hex().to_string();
    // One piece: value 0, place 0, length 40.
    let insert = format!(
        "INSERT INTO contents (tenant, hash, refs, bytes) VALUES (1, x'{hash}', 1, x'{}')",
        "07".repeat(40)
    );
    let refer = format!(
        "UPDATE messages SET pieces = x'000028{hash}' WHERE session = 1 AND message_id = x'00000000000000a1'"
    );
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
    let scramble = "UPDATE messages SET pieces = x'ff' WHERE session = 1";
    damage(&[scramble], &[("PIECES_UNREADABLE", "messages", "", "messages")]).await;
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

/// The log of a fork: its first two entries are rows of another session.
#[tokio::test]
async fn a_gap_in_a_shared_log_is_a_gap_of_the_fork() {
    let share =
        concat!("DELETE FROM entries WHERE entry < ", key!(2, 3), " AND entry >= ", key!(2, 1));
    let head = "UPDATE heads SET shared = 2 WHERE session = 2";
    let part = "INSERT INTO parts (session, part, owner, first, last, first_mark, last_mark) \
        VALUES (2, 1, 1, 1, 2, 1, 1)";
    damage(&[share, head, part], &[]).await;
    let delete = concat!("DELETE FROM entries WHERE entry = ", key!(1, 1));
    let expected = [
        ("SEQUENCE_GAP", "journal_entries", "s1", "1"),
        ("SEQUENCE_GAP", "journal_entries", "s2", "1"),
    ];
    damage(&[share, head, part, delete], &expected).await;
    damage(&[share, head], &[("SEQUENCE_GAP", "journal_entries", "s2", "1")]).await;
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
    fixture.run(&["UPDATE entries SET payload = x''", "DELETE FROM names WHERE name_no = 2"]).await;
    let codes: Vec<_> = fixture.findings(false).await.iter().map(|f| f.code).collect();
    assert_eq!(codes, ["NAME_MISSING", "NAME_MISSING"]);
}

#[tokio::test]
async fn a_fill_that_is_dropped_leaves_nothing() -> Result<()> {
    let source = Fixture::with_rows().await;
    let target = Fixture::new().await;
    let mut dump = source.admin.dump(DumpScope::Backup).await?;
    let tables = dump.facts().tables.clone();
    let mut fill = target.admin.fill(dump.facts().schema_version, &tables).await?;
    for table in 0..tables.len() {
        fill.write(table, dump.rows(table).await?).await?;
    }
    let refusal = target.store.write(crate::adapters::sql::ops::Nothing).await;
    assert_eq!(refusal, Err(StorageError::Maintenance { work: Work::Restore }));
    drop(fill);
    assert!(target.is_empty().await);
    target.store.write(crate::adapters::sql::ops::Nothing).await
}

/// As a killed process leaves it: what the transaction has written is in the log, without its end.
#[tokio::test]
async fn a_crash_in_the_middle_of_a_fill_leaves_nothing() -> Result<()> {
    let source = Fixture::with_rows().await;
    let target = Fixture::new().await;
    let mut dump = source.admin.dump(DumpScope::Backup).await?;
    let tables = dump.facts().tables.clone();
    let mut fill = target.admin.fill(dump.facts().schema_version, &tables).await?;
    for table in 0..tables.len() {
        fill.write(table, dump.rows(table).await?).await?;
    }
    let copy = tempfile::tempdir().expect("a directory");
    for name in ["cortex.db", "cortex.db-wal"] {
        let from = target.dir.path().join(name);
        std::fs::copy(from, copy.path().join(name)).expect("a copy");
    }
    let clock = Arc::new(ManualClock::new(std::time::SystemTime::now()));
    let config = StorageConfig::default();
    let store = sqlite::open(copy.path().join("cortex.db"), &config, clock).await?;
    let crashed = Fixture { admin: SqlAdmin::new(store.clone(), config), store, dir: copy };
    assert!(crashed.is_empty().await);
    Ok(())
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_nothing() -> Result<()> {
    let target = Fixture::new().await;
    let dump = target.admin.dump(DumpScope::Backup).await?;
    let facts = dump.facts().clone();
    let mut conn = target.store.location.writer().await?;
    Query::new("PRAGMA max_page_count = 200").all_on(conn.target()).await?;
    let whose = Whose::Other(None);
    let mut fill = SqlFill::begin(conn, facts.schema_version, &facts.tables, whose).await?;
    let names = facts.tables.iter().position(|table| table.name == "names").expect("a table");
    let row =
        |number: i64| vec![Cell::Int(number), Cell::Text("x".repeat(9_000) + &number.to_string())];
    let refusal = fill.write(names, (1..500).map(row).collect()).await;
    assert_eq!(refusal, Err(StorageError::Full));
    drop(fill);
    assert!(target.is_empty().await);
    Ok(())
}

#[tokio::test]
async fn columns_that_came_later_may_be_missing_from_an_archive() -> Result<()> {
    let source = Fixture::with_rows().await;
    let bytes = source.archive().await;
    let target = Fixture::new().await;
    target.run(&["ALTER TABLE names ADD COLUMN later INTEGER NOT NULL DEFAULT 7"]).await;
    let pieces = futures::stream::iter([Ok(bytes.into())]);
    restore(&target.admin, &target.depot().await, RestoreOptions::default(), pieces).await?;
    let mut conn = target.store.location.writer().await?;
    let row =
        Query::new("SELECT count(*) FROM names WHERE later = 7").first_on(conn.target()).await?;
    assert_eq!(row.map(|row| row.try_get::<i64>(0)).transpose()?, Some(2));
    Ok(())
}

#[tokio::test]
async fn columns_that_are_not_there_are_named() -> Result<()> {
    let source = Fixture::with_rows().await;
    source.run(&["ALTER TABLE names ADD COLUMN other INTEGER"]).await;
    let bytes = source.archive().await;
    let target = Fixture::new().await;
    let pieces = futures::stream::iter([Ok(bytes.into())]);
    let refusal =
        restore(&target.admin, &target.depot().await, RestoreOptions::default(), pieces).await;
    let refusal = refusal.expect_err("a column is unknown");
    assert!(
        matches!(&refusal, StorageError::BackupInvalid { detail } if detail.contains("names.other"))
    );
    Ok(())
}

#[tokio::test]
async fn a_later_schema_is_refused() -> Result<()> {
    let source = Fixture::with_rows().await;
    source.run(&["INSERT INTO schema_versions VALUES (99, 1, 0)"]).await;
    let bytes = source.archive().await;
    let target = Fixture::new().await;
    let pieces = futures::stream::iter([Ok(bytes.into())]);
    let refusal =
        restore(&target.admin, &target.depot().await, RestoreOptions::default(), pieces).await;
    assert!(matches!(refusal, Err(StorageError::BackupTooNew { .. })), "{refusal:?}");
    Ok(())
}

/// A table with thousands of rows and large ones: pages and frames are cut, nothing is lost.
#[tokio::test]
async fn many_rows_survive() -> Result<()> {
    let source = Fixture::with_rows().await;
    source
        .run(&[
            "INSERT INTO names (name_no, name) WITH RECURSIVE n (i) AS \
            (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i, 'name ' || i FROM n",
            "INSERT INTO records (record, tenant, key, value, revision, created_at, updated_at) \
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30) \
            SELECT i, 1, 'k' || i, zeroblob(300000 + i), i, 5, 5 FROM n",
        ])
        .await;
    let bytes = source.archive().await;
    let target = Fixture::new().await;
    let pieces: Vec<_> = bytes.chunks(100_000).map(|piece| Ok(piece.to_vec().into())).collect();
    restore(
        &target.admin,
        &target.depot().await,
        RestoreOptions::default(),
        futures::stream::iter(pieces),
    )
    .await?;
    let (mut one, mut two) =
        (source.admin.dump(DumpScope::Backup).await?, target.admin.dump(DumpScope::Backup).await?);
    assert_eq!(one.facts().tables, two.facts().tables);
    for table in 0..one.facts().tables.len() {
        loop {
            let rows = one.rows(table).await?;
            assert_eq!(rows, two.rows(table).await?);
            if rows.is_empty() {
                break;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_catalogue_names_what_belongs_to_sessions() -> Result<()> {
    let fixture = Fixture::new().await;
    let mut conn = fixture.store.location.reader().await?;
    let tables = read_schema(&mut conn).await?;
    for table in tables {
        if table.column("session").is_some() && table.table.name != "purges" {
            let of =
                TABLES.iter().find(|known| known.name == table.table.name).map(|known| known.of);
            assert_ne!(of, Some(super::catalogue::Of::Nothing), "{}", table.table.name);
        }
    }
    Ok(())
}
