//! After a commit to PostgreSQL whose answer was lost: what became of it.

use std::time::Duration;

use uuid::Uuid;

use super::{FIRST_PAUSE, LONGEST_PAUSE, unconnected};
use crate::{
    adapters::sql::{
        database::{Connection, Location},
        query::Query,
        script::CommitFailed,
    },
    error::{Result, StorageError},
};

/// How often the server is asked what became of a batch.
const QUESTIONS: u32 = 20;

/// Finds out whether a transaction was committed whose commit was not answered.
///
/// # Errors
/// `Unreachable` when it was not, `Io` when that cannot be known, and else why the commit failed.
pub(super) async fn settle(
    failed: CommitFailed,
    location: &Location,
    conn: &mut Option<Connection>,
) -> Result<()> {
    let error = StorageError::from(failed.error);
    let Some(batch) = failed.unknown.filter(|_| matches!(error, StorageError::Unreachable { .. }))
    else {
        return Err(error);
    };
    *conn = None;
    let mut pause = FIRST_PAUSE;
    for _ in 0..QUESTIONS {
        match last_batch(batch.writer, location, conn).await {
            Ok(last) if last == batch.number => return Ok(()),
            Ok(_) => return Err(error),
            // Its transaction still runs, or nobody answers.
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Err(StorageError::Io { detail: format!("the answer to a commit was lost: {error}") })
}

/// The last batch of a writer that was committed. Waits for one that is being committed.
async fn last_batch(
    writer: Uuid,
    location: &Location,
    conn: &mut Option<Connection>,
) -> Result<i64> {
    // The row is locked by whoever writes it, even if it is not there yet.
    const LAST: &str = "INSERT INTO writers (writer, batch, at) VALUES (?, 0, 0) \
        ON CONFLICT (writer) DO UPDATE SET batch = writers.batch RETURNING batch";
    if conn.is_none() {
        *conn = Some(location.writer().await?);
    }
    let Some(open) = conn else { return Err(unconnected()) };
    let row = Query::new(LAST).bind(writer.as_bytes().as_slice())?.first_on(open.target()).await;
    if row.is_err() {
        *conn = None;
    }
    Ok(row?.map_or(Ok(0), |row| row.try_get(0))?)
}

/// How long a writer may take to look whether its last batch was committed: for much longer than it asks.
const WRITER_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// Forgets writers of processes that are gone.
pub(in crate::adapters) async fn forget_writers(conn: &mut Connection) -> Result<()> {
    let sql = "DELETE FROM writers \
        WHERE at < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - ?";
    let retention = i64::try_from(WRITER_RETENTION.as_micros()).unwrap_or(i64::MAX);
    Query::new(sql).bind(retention)?.all_on(conn.target()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use cortex_testkit::Postgres;

    use super::*;
    use crate::{
        adapters::{
            postgres::{self, PostgresLocation},
            sql::script::Batch,
        },
        config::StorageConfig,
    };

    /// Ends a transaction that noted `batch`, and answers what is found out about it.
    async fn settled(location: &Location, batch: Batch, end: &str) -> Result<()> {
        let mut conn = location.writer().await?;
        for sql in ["BEGIN", &noting(batch), end] {
            Query::new(sql).all_on(conn.target()).await?;
        }
        let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let failed = CommitFailed { error: lost.into(), unknown: Some(batch) };
        let mut conn = Some(conn);
        let settled = settle(failed, location, &mut conn).await;
        assert!(conn.is_some(), "it is connected again");
        settled
    }

    fn noting(Batch { writer, number }: Batch) -> String {
        format!(
            "INSERT INTO writers (writer, batch, at) VALUES ('\\x{}', {number}, 0) \
             ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch",
            writer.simple()
        )
    }

    #[tokio::test]
    async fn what_became_of_a_commit_without_an_answer_is_found_out() -> Result<()> {
        let database = Postgres::shared().database();
        let config = StorageConfig::default();
        postgres::open(&database.url(), &config, None).await?;
        let location = Location::Postgres(PostgresLocation::parse(&database.url(), &config)?);
        let writer = Uuid::now_v7();
        let ends = [("ROLLBACK", false), ("COMMIT", true), ("ROLLBACK", false), ("COMMIT", true)];
        for (number, (end, committed)) in (1..).zip(ends) {
            let settled = settled(&location, Batch { writer, number }, end).await;
            assert_eq!(settled.is_ok(), committed, "batch {number}: {settled:?}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_commit_that_still_goes_on_is_waited_for() -> Result<()> {
        let database = Postgres::shared().database();
        let config = StorageConfig::default();
        postgres::open(&database.url(), &config, None).await?;
        let location = Location::Postgres(PostgresLocation::parse(&database.url(), &config)?);
        for number in 1..=2 {
            let batch = Batch { writer: Uuid::from_u128(7), number };
            let mut open = location.writer().await?;
            for sql in ["BEGIN", &noting(batch)] {
                Query::new(sql).all_on(open.target()).await?;
            }
            let mut conn = None;
            let asked = last_batch(batch.writer, &location, &mut conn);
            let commit = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Query::new("COMMIT").all_on(open.target()).await
            };
            let (last, committed) = tokio::join!(asked, commit);
            committed?;
            assert_eq!(last?, number);
        }
        Ok(())
    }
}
