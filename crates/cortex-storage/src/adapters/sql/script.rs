//! Several statements with their values, sent to the database in one go.
//!
//! Every trip to SQLite's thread costs more than a small insert, so a batch reads and writes in as few
//! trips as it can; to PostgreSQL each statement is a trip. Many rows are one statement over VALUES,
//! filled up with rows of NULL to a power of two: so few different statements come up that all of them
//! stay prepared.

use uuid::Uuid;

use super::{
    database::{Connection, Target},
    row::Row,
    value::{ToValue, Value},
};

/// Rows of one statement at most: 20 columns of them stay below SQLite's 32,766 variables.
const MAX_ROWS: usize = 1024;

/// Longer scripts are not kept prepared: they come up seldom, and a prepared one takes memory.
const MAX_PREPARED: usize = 32 * 1024;

/// Bytes and values of a transaction's script that writes some rows: it need not grow to hold them.
const USUAL_BYTES: usize = 4096;
const USUAL_VALUES: usize = 512;

/// Statements with their values.
pub(super) struct Script {
    sql: String,
    values: Vec<Value>,
    insert: &'static str,
}

impl Default for Script {
    fn default() -> Self {
        Self { sql: String::new(), values: Vec::new(), insert: "INSERT INTO" }
    }
}

impl Script {
    /// Adds SQL without values.
    pub(super) fn push(&mut self, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds the value of the next `?`.
    pub(super) fn bind<T: ToValue>(&mut self, value: T) -> &mut Self {
        self.values.push(T::to_value(Some(value)));
        self
    }

    /// Adds `(VALUES (?, …), …)` of at most [`MAX_ROWS`] rows, between `before` and `after`, as often as
    /// there are rows. `bind` adds the values of one row: `columns` of them, the first never NULL.
    /// `after` must leave out rows whose `column1` is NULL.
    pub(super) fn values<R>(
        &mut self,
        (before, columns, after): (&str, usize, &str),
        rows: &[R],
        bind: impl Fn(&mut Self, &R),
    ) {
        for chunk in rows.chunks(MAX_ROWS) {
            let size = chunk.len().next_power_of_two();
            self.push(before).push("(VALUES ");
            for row in 0..size {
                self.push(if row == 0 { "(?" } else { ",(?" });
                for _ in 1..columns {
                    self.push(",?");
                }
                self.push(")");
            }
            self.push(")").push(after).push(";");
            for row in chunk {
                bind(self, row);
            }
            self.fill_up(size - chunk.len(), columns);
        }
    }

    /// Adds `rows` rows of NULL, whose kinds are those of the last row.
    fn fill_up(&mut self, rows: usize, columns: usize) {
        let last = self.values.len().saturating_sub(columns);
        let nulls: Vec<_> = self.values[last..].iter().map(Value::null).collect();
        self.values.extend(std::iter::repeat_n(nulls, rows).flatten());
    }

    /// Adds an insert of `rows` into `table`, which lists its columns. `conflict` may be empty.
    pub(super) fn insert<R>(
        &mut self,
        (table, columns, conflict): (&str, usize, &str),
        rows: &[R],
        bind: impl Fn(&mut Self, &R),
    ) {
        if rows.is_empty() {
            return;
        }
        let before = format!("{} {table} SELECT * FROM ", self.insert);
        let after = format!(" v WHERE column1 IS NOT NULL {conflict}");
        self.values((&before, columns, &after), rows, bind);
    }

    /// Runs every statement, until one fails.
    pub(super) async fn execute(self, conn: &mut Connection) -> Result<(), sqlx::Error> {
        let keep = self.sql.len() <= MAX_PREPARED;
        conn.target().execute(self.sql, self.values, keep).await
    }

    /// Runs every statement, and answers the rows of all of them.
    pub(super) async fn fetch(self, conn: &mut Connection) -> Result<Vec<Row>, sqlx::Error> {
        self.fetch_on(conn.target()).await
    }

    /// The same, on a connection that reads.
    pub(super) async fn fetch_on(self, target: Target<'_>) -> Result<Vec<Row>, sqlx::Error> {
        let keep = self.sql.len() <= MAX_PREPARED;
        target.fetch_all(self.sql, self.values, keep).await
    }
}

/// One transaction: opened by its first script, closed by the [`Commit`] that it ends with.
pub(super) struct Transaction<'c> {
    conn: &'c mut Connection,
    open: bool,
    /// The batch that it commits, of a writer of a database that others write too.
    batch: Option<Batch>,
}

/// A batch, by which a writer finds out later whether it was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch {
    /// The writer: no other one ever has the same.
    pub(super) writer: Uuid,
    /// Rises with each batch.
    pub(super) number: i64,
}

/// A commit that did not succeed.
pub(super) struct CommitFailed {
    pub(super) error: sqlx::Error,
    /// The batch, if it may have been committed all the same.
    pub(super) unknown: Option<Batch>,
}

impl<'c> Transaction<'c> {
    pub(super) fn new(conn: &'c mut Connection, batch: Batch) -> Self {
        let batch = conn.is_shared().then_some(batch);
        Self { conn, open: false, batch }
    }

    /// The batch, which a transaction of a database that others write too must note.
    pub(super) fn batch(&self) -> Option<Batch> {
        self.batch
    }

    /// A script that opens the transaction if that has not happened.
    pub(super) fn script(&mut self) -> Script {
        let (sql, values) = (String::with_capacity(USUAL_BYTES), Vec::with_capacity(USUAL_VALUES));
        let mut script = Script { sql, values, insert: self.conn.insert() };
        if !self.open {
            script.push(self.conn.begin());
            self.open = true;
        }
        script
    }

    pub(super) async fn fetch(&mut self, script: Script) -> Result<Vec<Row>, sqlx::Error> {
        script.fetch(self.conn).await
    }

    /// Runs one statement without values.
    pub(super) async fn run(&mut self, sql: &str) -> Result<Vec<Row>, sqlx::Error> {
        let mut script = self.script();
        script.push(sql);
        self.fetch(script).await
    }

    /// The connection that it is on.
    pub(super) fn connection(&mut self) -> &mut Connection {
        self.conn
    }

    /// The end of the transaction: to run `script`, which is one of its own, and commit.
    pub(super) fn end(self, script: Script) -> Commit {
        Commit { script, batch: self.batch }
    }
}

/// The last script of a transaction, which commits it.
pub(super) struct Commit {
    script: Script,
    /// The batch, of a writer of a database that others write too.
    batch: Option<Batch>,
}

impl Commit {
    /// Runs the script and commits, in one trip if the database allows that.
    pub(super) async fn run(self, conn: &mut Connection) -> Result<(), CommitFailed> {
        let mut script = self.script;
        let failed = |error| CommitFailed { error, unknown: None };
        if !conn.is_shared() {
            script.push("COMMIT;");
            return script.execute(conn).await.map_err(failed);
        }
        script.execute(conn).await.map_err(failed)?;
        let mut commit = Script::default();
        commit.push("COMMIT");
        let unknown = self.batch;
        commit.execute(conn).await.map_err(|error| CommitFailed { error, unknown })
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, sqlite::SqliteConnection};

    use super::*;

    #[tokio::test]
    async fn rows_that_fill_up_a_statement_are_not_inserted() -> Result<(), sqlx::Error> {
        let mut conn = Connection::Sqlite(SqliteConnection::connect("sqlite::memory:").await?);
        let mut script = Script::default();
        script.push("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT) STRICT;");
        let rows: Vec<i64> = (1..=2500).collect();
        script.insert(("t (a, b)", 2, ""), &rows, |script, row| {
            script.bind(*row).bind(format!("row {row}"));
        });
        script.push("SELECT count(*), max(b) FROM t WHERE a = ?;").bind(2500);
        let found = script.fetch(&mut conn).await?;
        assert_eq!(found[0].try_get::<i64>(0)?, 1);
        let mut script = Script::default();
        script.push("SELECT count(*) FROM t");
        assert_eq!(script.fetch(&mut conn).await?[0].try_get::<i64>(0)?, 2500);
        Ok(())
    }
}
