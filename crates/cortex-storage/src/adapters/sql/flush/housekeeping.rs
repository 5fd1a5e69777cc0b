//! What is cleared away.

use super::artifacts::write_artifact_purge;
use crate::{
    adapters::sql::{
        housekeeping::{PurgeRow, STEP_ROWS},
        rows::{LAST_POSITION, clustered},
        script::Script,
        work::Writes,
    },
    journal::SessionNo,
    time::Stamp,
};

impl Writes {
    /// The rows that are long go in steps, later; from now on nothing finds them.
    pub(super) fn write_deletions(&self, script: &mut Script) {
        for session in &self.deletions {
            script.push("DELETE FROM sessions WHERE session = ?;").bind(session.0);
        }
        let table = "purges (session, messages, staged)";
        script.insert((table, 3, ""), &self.purges, |script, purge| {
            script.bind(purge.session.0).bind(purge.messages).bind(purge.staged.map(Stamp::micros));
        });
        for (session, until) in &self.leases {
            script.push("UPDATE purges SET staged = ? WHERE session = ?;");
            script.bind(until.map(Stamp::micros)).bind(session.0);
        }
        for session in &self.unstaged {
            script.push("DELETE FROM purges WHERE session = ?;").bind(session.0);
        }
    }

    pub(super) fn write_housekeeping(&self, script: &mut Script) {
        if let Some(before) = self.forget_tombstones {
            script.push(
                "UPDATE tenants SET compacted_revision = coalesce((SELECT max(d.revision) \
                 FROM tombstones d WHERE d.tenant = tenants.tenant AND d.deleted_at < ? \
                 AND d.revision > tenants.compacted_revision), compacted_revision);",
            );
            script.bind(before.micros());
            script.push("DELETE FROM tombstones WHERE deleted_at < ?;").bind(before.micros());
        }
        for holder in &self.forgotten_holders {
            script
                .push("DELETE FROM holders WHERE holder_id = ?;")
                .bind(holder.as_str().to_owned());
        }
        for (session, key) in &self.forgotten_requests {
            script.push("DELETE FROM requests WHERE session = ? AND request = ?;");
            script.bind(session.0).bind(key.0.to_vec());
        }
        for purge in &self.purge_steps {
            purge.write_step(script);
        }
    }
}

/// The tables of logs, their keys, and what of them is kept.
const LOGS: [(&str, &str, &str); 2] =
    [("entries", "entry", KEPT_ENTRIES), ("marks", "mark", KEPT_MARKS)];
/// What is not to be deleted: rows of a log up to the last position that a part of a fork refers to.
const KEPT_ENTRIES: &str = "(SELECT coalesce(max(p.last), 0) FROM parts p WHERE p.owner = ?)";
const KEPT_MARKS: &str = "(SELECT coalesce(max(p.last_mark), 0) FROM parts p WHERE p.owner = ?)";

/// Tables of rows of a session that refer to no contents, their keys, and the order in which they go.
const OTHERS: [(&str, &str, &str); 3] = [
    ("requests", "session, request", "session, request"),
    ("executions", "execution", "execution"),
    ("metrics", "metric", "measured_at, metric"),
];

impl PurgeRow {
    fn session(&self) -> SessionNo {
        SessionNo(self.session)
    }

    /// The keys of the messages that go.
    fn messages(&self) -> (i64, i64) {
        let last = self.messages.unwrap_or(LAST_POSITION);
        (clustered(self.session(), 0), clustered(self.session(), last))
    }

    /// The keys of the log, of which [`KEPT_ENTRIES`] or [`KEPT_MARKS`] stay.
    fn log(&self) -> (i64, i64) {
        (clustered(self.session(), 0), clustered(self.session(), LAST_POSITION))
    }

    /// Deletes some rows of each table that refers to contents, and answers of each row its tenant and
    /// its pieces.
    pub(in super::super) fn clear(&self, script: &mut Script) {
        let (first, last) = self.messages();
        script.push(
            "DELETE FROM messages WHERE message IN \
             (SELECT message FROM messages WHERE message BETWEEN ? AND ? LIMIT ?) \
             RETURNING tenant, pieces;",
        );
        script.bind(first).bind(last).bind(STEP_ROWS);
        if self.messages.is_none() {
            let (before, last) = self.log();
            for (table, key, kept) in LOGS {
                script.push(&format!(
                    "DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} \
                     WHERE {key} > ? + {kept} AND {key} <= ? LIMIT ?) RETURNING tenant, pieces;"
                ));
                script.bind(before).bind(self.session).bind(last).bind(STEP_ROWS);
            }
            script.push(
                // Of the same executions that go with this step.
                "DELETE FROM outcomes WHERE (tenant, execution_id) IN \
                 (SELECT x.tenant, x.execution_id FROM executions x WHERE x.session = ? \
                 ORDER BY x.execution LIMIT ?) RETURNING tenant, pieces;",
            );
            script.bind(self.session).bind(STEP_ROWS);
        }
    }

    /// Deletes some rows of each other table, and takes the entry off the list when none is left.
    fn write_step(&self, script: &mut Script) {
        if self.messages.is_none() {
            write_artifact_purge(script, self.session(), STEP_ROWS);
            for (table, key, order) in OTHERS {
                script.push(&format!(
                    "DELETE FROM {table} WHERE ({key}) IN \
                     (SELECT {key} FROM {table} WHERE session = ? ORDER BY {order} LIMIT ?);"
                ));
                script.bind(self.session).bind(STEP_ROWS);
            }
        }
        let (first, last) = self.messages();
        script.push(
            "DELETE FROM purges WHERE purge = ? \
             AND NOT EXISTS (SELECT 1 FROM messages WHERE message BETWEEN ? AND ?)",
        );
        script.bind(self.purge).bind(first).bind(last);
        if self.messages.is_none() {
            let (before, last) = self.log();
            for (table, key, kept) in LOGS {
                script.push(&format!(
                    " AND NOT EXISTS (SELECT 1 FROM {table} WHERE {key} > ? + {kept} AND {key} <= ?)"
                ));
                script.bind(before).bind(self.session).bind(last);
            }
            for table in ["requests", "executions", "metrics", "artifacts"] {
                script.push(&format!(" AND NOT EXISTS (SELECT 1 FROM {table} WHERE session = ?)"));
                script.bind(self.session);
            }
        }
        script.push(";");
    }
}
