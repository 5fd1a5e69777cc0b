//! What is cleared away.

use crate::{
    adapters::sql::{
        housekeeping::PurgeRow,
        rows::{LAST_POSITION, clustered},
        script::Script,
        work::Writes,
    },
    journal::SessionNo,
};

impl Writes {
    /// The rows that are long go in steps, later; from now on nothing finds them.
    pub(super) fn write_deletions(&self, script: &mut Script) {
        for session in &self.deletions {
            script.push("DELETE FROM sessions WHERE session = ?;").bind(session.0);
        }
        script.insert(("purges (session, messages)", 2, ""), &self.purges, |script, purge| {
            script.bind(purge.session.0).bind(purge.messages);
        });
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
        for (purge, rows) in &self.purge_steps {
            write_purge_step(script, *purge, *rows);
        }
    }
}

/// Deletes at most `rows` rows of each table, and takes the entry off the list when none is left.
fn write_purge_step(script: &mut Script, purge: PurgeRow, rows: i64) {
    let session = SessionNo(purge.session);
    let (first, last) = (clustered(session, 0), clustered(session, LAST_POSITION));
    let last_message = purge.messages.map_or(last, |position| clustered(session, position));
    script.push(
        "DELETE FROM messages WHERE message IN \
         (SELECT message FROM messages WHERE message BETWEEN ? AND ? LIMIT ?);",
    );
    script.bind(first).bind(last_message).bind(rows);
    if purge.messages.is_none() {
        script.push(
            "DELETE FROM entries WHERE entry IN \
             (SELECT entry FROM entries WHERE entry BETWEEN ? AND ? LIMIT ?);",
        );
        script.bind(first).bind(last).bind(rows);
        script.push(
            "DELETE FROM requests WHERE (session, request) IN \
             (SELECT session, request FROM requests WHERE session = ? LIMIT ?);",
        );
        script.bind(purge.session).bind(rows);
        let tables = [
            ("executions", "execution"),
            ("outcomes", "tenant, execution_id"),
            ("metrics", "metric"),
        ];
        for (table, key) in tables {
            script.push(&format!(
                "DELETE FROM {table} WHERE ({key}) IN \
                 (SELECT {key} FROM {table} WHERE session = ? LIMIT ?);"
            ));
            script.bind(purge.session).bind(rows);
        }
    }
    script.push(
        "DELETE FROM purges WHERE purge = ? \
         AND NOT EXISTS (SELECT 1 FROM messages WHERE message BETWEEN ? AND ?)",
    );
    script.bind(purge.purge).bind(first).bind(last_message);
    if purge.messages.is_none() {
        script.push(" AND NOT EXISTS (SELECT 1 FROM entries WHERE entry BETWEEN ? AND ?)");
        script.bind(first).bind(last);
        for table in ["requests", "executions", "outcomes", "metrics"] {
            script.push(&format!(" AND NOT EXISTS (SELECT 1 FROM {table} WHERE session = ?)"));
            script.bind(purge.session);
        }
    }
    script.push(";");
}
