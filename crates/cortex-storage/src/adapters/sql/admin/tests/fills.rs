//! Fills that end early, disks that are full, and archives of other schemas.

use super::*;
use crate::adapters::sql::admin::catalogue::Of;

/// A fill with all that `source` has, not yet committed.
async fn filled(source: &Fixture, target: &SqlAdmin) -> Result<Box<dyn Fill>> {
    let mut dump = source.admin.dump(DumpScope::Backup).await?;
    let tables = dump.facts().tables.clone();
    let mut fill = target.fill(dump.facts().schema_version, &tables).await?;
    for table in 0..tables.len() {
        fill.write(table, dump.rows(table).await?).await?;
    }
    Ok(fill)
}

#[tokio::test]
async fn a_fill_that_is_dropped_leaves_nothing() -> Result<()> {
    let source = Fixture::with_rows().await;
    let target = Fixture::new().await;
    let fill = filled(&source, &target.admin).await?;
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
    let _fill = filled(&source, &target.admin).await?;
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

/// A session that is gone may have left rows, which are cleared away by its number.
#[tokio::test]
async fn new_sessions_get_no_number_of_which_rows_are_left() -> Result<()> {
    let source = Fixture::with_rows().await;
    source.run(&["INSERT INTO purges (session, staged) VALUES (50, 9000000000000000)"]).await;
    let database = Postgres::shared().database();
    let config = StorageConfig::default();
    let store = postgres::open(&database.url(), &config, None).await?;
    let admin = SqlAdmin::new(store.clone(), config);
    let fill = filled(&source, &admin).await?;
    fill.commit().await?;
    let target = Fixture { store, admin, dir: tempfile::tempdir().expect("a directory") };
    target.session().await?;
    let mut conn = target.store.location.reader().await?;
    let row = Query::new("SELECT max(session) FROM sessions").first_on(conn.target()).await?;
    assert_eq!(row.map(|row| row.try_get::<i64>(0)).transpose()?, Some(51));
    target.store.close().await;
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
    let target = Fixture::new().await;
    target.run(&["ALTER TABLE names ADD COLUMN later INTEGER NOT NULL DEFAULT 7"]).await;
    target.restore_from(&source).await?;
    let mut conn = target.store.location.writer().await?;
    let sql = "SELECT count(*), sum(later) FROM names";
    let row = Query::new(sql).first_on(conn.target()).await?.expect("a row");
    let (names, sum): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    assert!(names > 0);
    assert_eq!(sum, 7 * names);
    Ok(())
}

#[tokio::test]
async fn columns_that_are_not_there_are_named() -> Result<()> {
    let source = Fixture::with_rows().await;
    source.run(&["ALTER TABLE names ADD COLUMN other INTEGER"]).await;
    let refusal = Fixture::new().await.restore_from(&source).await;
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
    let refusal = Fixture::new().await.restore_from(&source).await;
    assert!(matches!(refusal, Err(StorageError::BackupTooNew { .. })), "{refusal:?}");
    Ok(())
}

/// A table with thousands of rows and large ones: pages and frames are cut, nothing is lost.
#[tokio::test]
async fn many_rows_survive() -> Result<()> {
    let source = Fixture::with_rows().await;
    source
        .run(&[
            // Nobody holds what is restored.
            "UPDATE heads SET holder_id = NULL",
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
            assert_ne!(of, Some(Of::Nothing), "{}", table.table.name);
        }
    }
    Ok(())
}
