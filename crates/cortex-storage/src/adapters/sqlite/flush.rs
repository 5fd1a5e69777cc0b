//! Writing what a batch has decided: one script, one trip, one commit.

use std::sync::Arc;

use super::{
    cache::{OwnedHead, TenantNo},
    housekeeping::PurgeRow,
    rows::{LAST_POSITION, clustered, write_pending},
    script::Script,
    work::{Work, Writes},
};
use crate::{
    error::Result,
    journal::{Entry, Known, RequestKey, SessionHead, SessionNo},
};

const HEADS: &str = "heads (session, tenant, head, last_command, consumed, pending, epoch, holder_id, \
    turn_id, turn_sequence, waiting, wake_at, queue, open_calls, message_count, last_position, \
    history_floor, ready_at, updated_at)";
const HEADS_CONFLICT: &str = "ON CONFLICT (session) DO UPDATE SET head = excluded.head, \
    last_command = excluded.last_command, consumed = excluded.consumed, pending = excluded.pending, \
    epoch = excluded.epoch, holder_id = excluded.holder_id, turn_id = excluded.turn_id, \
    turn_sequence = excluded.turn_sequence, waiting = excluded.waiting, wake_at = excluded.wake_at, \
    queue = excluded.queue, open_calls = excluded.open_calls, message_count = excluded.message_count, \
    last_position = excluded.last_position, history_floor = excluded.history_floor, \
    ready_at = excluded.ready_at, updated_at = excluded.updated_at";
const ENTRIES: &str =
    "entries (entry, tenant, kind, type, payload_type, payload, created_at, epoch)";
const REQUESTS: &str = "requests (session, request, tenant, fingerprint, first, last, at, note)";
const EXECUTIONS: &str = "executions (tenant, execution_id, session, turn_id, call_id, kind, name, \
    state, claimant_id, claimant_instance, outcome_kind, settled, created_at, updated_at)";
const EXECUTIONS_CONFLICT: &str = "ON CONFLICT (tenant, execution_id) DO UPDATE SET \
    state = excluded.state, claimant_id = excluded.claimant_id, \
    claimant_instance = excluded.claimant_instance, outcome_kind = excluded.outcome_kind, \
    settled = excluded.settled, updated_at = excluded.updated_at";
const OUTCOMES: &str =
    "outcomes (tenant, execution_id, session, result, error, details_type, details)";
const MESSAGES: &str = "messages (message, tenant, session, message_id, role, content, metadata, \
    tool_calls, call_id, turn_id, created_at)";

impl Work<'_> {
    /// Adds everything that the batch writes to `script`, in an order that foreign keys allow.
    pub(super) fn write(&mut self, script: &mut Script) -> Result<()> {
        self.forget_deleted();
        self.write_names(script);
        self.writes.write_tenants(script);
        self.writes.write_sessions(script);
        self.write_heads(script);
        self.write_entries(script);
        self.writes.write_requests(script);
        self.write_holders(script);
        self.write_executions(script);
        self.writes.write_messages(script)?;
        self.write_states(script);
        self.write_descriptions(script);
        self.writes.write_records(script, self.now);
        self.write_revisions(script);
        self.writes.write_deletions(script);
        self.writes.write_housekeeping(script);
        #[cfg(test)]
        for sql in &self.writes.raw {
            script.push(sql);
        }
        Ok(())
    }

    /// A session that was deleted in this batch has no head to write.
    fn forget_deleted(&mut self) {
        for session in &self.writes.deletions {
            self.writes.heads.shift_remove(session);
            self.writes.states.shift_remove(session);
            self.writes.statuses.remove(session);
            self.writes.descriptions.remove(session);
            self.writes.creations.retain(|(_, _, _, created)| created != session);
        }
    }

    /// Numbers names that come up for the first time.
    fn write_names(&mut self, script: &mut Script) {
        let mut new: Vec<(i64, Arc<str>)> = Vec::new();
        for entry in self.writes.entries.values().flat_map(|(_, entries)| entries) {
            for name in [&entry.name, &entry.payload.type_url] {
                if !self.read.names.contains_key(name) {
                    let number = self.cache.next_name;
                    self.cache.next_name += 1;
                    self.read.names.insert(name.clone(), number);
                    new.push((number, name.clone()));
                }
            }
        }
        script.insert(("names (name_no, name)", 2, ""), &new, |script, (number, name)| {
            script.bind(*number).bind(name.to_string());
        });
    }

    fn write_heads(&self, script: &mut Script) {
        let heads: Vec<&OwnedHead> =
            self.writes.heads.iter().filter_map(|session| self.read.heads.get(session)).collect();
        script.insert((HEADS, 19, HEADS_CONFLICT), &heads, |script, owned| {
            bind_head(script, owned.tenant, &owned.head);
        });
    }

    fn write_entries(&self, script: &mut Script) {
        let entries: Vec<(SessionNo, TenantNo, &Entry)> = self
            .writes
            .entries
            .iter()
            .flat_map(|(session, (tenant, entries))| entries.iter().map(|e| (*session, *tenant, e)))
            .collect();
        let number = |name: &Arc<str>| self.read.names.get(name).copied();
        script.insert((ENTRIES, 8, ""), &entries, |script, (session, tenant, entry)| {
            script
                .bind(clustered(*session, entry.sequence))
                .bind(tenant.0)
                .bind(entry.kind.number())
                .bind(number(&entry.name))
                .bind(number(&entry.payload.type_url))
                .bind(entry.payload.value.to_vec())
                .bind(entry.created_at.micros())
                .bind(entry.epoch);
        });
    }

    fn write_holders(&self, script: &mut Script) {
        let holders: Vec<_> =
            self.writes.holders.iter().filter_map(|id| self.cache.holders.0.get(id)).collect();
        let table = "holders (tenant, holder_id, instance, duration, expires_at, voided, voids)";
        let conflict = "ON CONFLICT (holder_id) DO UPDATE SET \
            expires_at = excluded.expires_at, voided = excluded.voided, voids = excluded.voids";
        script.insert((table, 7, conflict), &holders, |script, owned| {
            let holder = &owned.holder;
            script
                .bind(owned.tenant.0)
                .bind(holder.holder_id.as_str().to_owned())
                .bind(holder.instance.clone())
                .bind(i64::try_from(holder.duration.as_micros()).unwrap_or(i64::MAX))
                .bind(holder.expires_at.micros())
                .bind(holder.voided)
                .bind(holder.voids.as_ref().map(|id| id.as_str().to_owned()));
        });
    }

    fn write_executions(&self, script: &mut Script) {
        let rows: Vec<_> = self
            .writes
            .executions
            .iter()
            .filter_map(|key| Some((key.0, self.read.executions.get(key)?)))
            .collect();
        script.insert((EXECUTIONS, 14, EXECUTIONS_CONFLICT), &rows, |script, (tenant, row)| {
            script
                .bind(tenant.0)
                .bind(row.execution_id.as_str().to_owned())
                .bind(row.session.0)
                .bind(row.turn_id.as_str().to_owned())
                .bind(row.call_id.as_str().to_owned())
                .bind(row.kind.number())
                .bind(row.name.clone())
                .bind(row.state.number())
                .bind(row.claimant_id.as_ref().map(|id| id.as_str().to_owned()))
                .bind(row.claimant_instance.clone())
                .bind(row.outcome_kind.map(crate::journal::OutcomeKind::number))
                .bind(row.settled)
                .bind(row.created_at.micros())
                .bind(row.updated_at.micros());
        });
        script.insert(
            (OUTCOMES, 7, ""),
            &self.writes.outcomes,
            |script, (tenant, id, session, outcome)| {
                let details = outcome.details.as_ref();
                script
                    .bind(tenant.0)
                    .bind(id.as_str().to_owned())
                    .bind(session.0)
                    .bind(outcome.result.clone())
                    .bind(outcome.error.clone())
                    .bind(details.map(|details| details.type_url.to_string()))
                    .bind(details.map(|details| details.value.to_vec()));
            },
        );
    }

    fn write_states(&self, script: &mut Script) {
        let states: Vec<_> = self
            .writes
            .states
            .iter()
            .filter_map(|session| {
                let tenant = self.read.heads.get(session)?.tenant;
                Some((*session, tenant, self.read.states.get(session)?))
            })
            .collect();
        let table = "states (session, tenant, data, version, updated_at)";
        let conflict = "ON CONFLICT (session) DO UPDATE SET data = excluded.data, \
            version = excluded.version, updated_at = excluded.updated_at";
        script.insert((table, 5, conflict), &states, |script, (session, tenant, state)| {
            script
                .bind(session.0)
                .bind(tenant.0)
                .bind(state.data.clone())
                .bind(state.version)
                .bind(state.updated_at.map(crate::time::Stamp::micros));
        });
    }

    fn write_descriptions(&self, script: &mut Script) {
        for session in &self.writes.statuses {
            if let Some(owned) = self.read.heads.get(session) {
                script.push("UPDATE sessions SET status = ? WHERE session = ?;");
                script.bind(owned.head.status.number()).bind(session.0);
            }
        }
        for session in &self.writes.descriptions {
            if let Some(description) = self.read.descriptions.get(session) {
                script.push(
                    "UPDATE sessions SET metadata = ?, manifest_digest = ? WHERE session = ?;",
                );
                script
                    .bind(description.metadata.clone())
                    .bind(description.manifest_digest.clone())
                    .bind(session.0);
            }
        }
    }

    fn write_revisions(&self, script: &mut Script) {
        for tenant in &self.writes.revisions {
            if let Some(row) = self.cache.tenants.get(tenant) {
                script.push("UPDATE tenants SET record_revision = ? WHERE tenant = ?;");
                script.bind(row.revision).bind(row.no.0);
            }
        }
    }
}

fn bind_head(script: &mut Script, tenant: TenantNo, head: &SessionHead) {
    let turn = head.turn.as_ref();
    let wait = turn.and_then(|turn| turn.wait);
    script
        .bind(head.session.0)
        .bind(tenant.0)
        .bind(head.head)
        .bind(head.last_command)
        .bind(head.consumed)
        .bind(write_pending(&head.pending))
        .bind(head.epoch)
        .bind(head.holder.as_ref().map(|id| id.as_str().to_owned()))
        .bind(turn.map(|turn| turn.turn_id.as_str().to_owned()))
        .bind(turn.map_or(0, |turn| turn.sequence))
        .bind(wait.is_some())
        .bind(wait.and_then(|wait| wait.wake_at).map(crate::time::Stamp::micros))
        .bind(serde_json::to_string(&head.queue).unwrap_or_default())
        .bind(head.open_calls)
        .bind(head.message_count)
        .bind(head.last_position)
        .bind(head.history_floor)
        .bind(head.ready_at.map(crate::time::Stamp::micros))
        .bind(head.updated_at.micros());
}

impl Writes {
    fn write_tenants(&self, script: &mut Script) {
        script.insert(("tenants (tenant, name)", 2, ""), &self.tenants, |script, (no, tenant)| {
            script.bind(no.0).bind(tenant.as_str().to_owned());
        });
    }

    fn write_sessions(&self, script: &mut Script) {
        let table = "sessions (session, tenant, session_id, agent_name, user_id, status, metadata, \
            manifest_digest, created_at)";
        script.insert((table, 9, ""), &self.sessions, |script, row| {
            script
                .bind(row.session.0)
                .bind(row.tenant.0)
                .bind(row.session_id.clone())
                .bind(row.new.agent_name.clone())
                .bind(row.new.user_id.clone())
                .bind(crate::session::SessionStatus::Active.number())
                .bind(row.new.metadata.clone())
                .bind(row.new.manifest_digest.clone())
                .bind(row.created_at.micros());
        });
        let table = "creations (tenant, request, fingerprint, session)";
        script.insert(
            (table, 4, ""),
            &self.creations,
            |script, (tenant, key, fingerprint, session)| {
                script
                    .bind(tenant.0)
                    .bind(key.0.to_vec())
                    .bind(fingerprint.0.to_vec())
                    .bind(session.0);
            },
        );
    }

    fn write_requests(&self, script: &mut Script) {
        let bind = |script: &mut Script, row: &(TenantNo, SessionNo, RequestKey, Known)| {
            let (tenant, session, key, known) = row;
            script
                .bind(session.0)
                .bind(key.0.to_vec())
                .bind(tenant.0)
                .bind(known.fingerprint.0.to_vec())
                .bind(known.first)
                .bind(known.last)
                .bind(known.at.micros())
                .bind(known.note.clone());
        };
        script.insert((REQUESTS, 8, ""), &self.requests, bind);
    }

    fn write_messages(&self, script: &mut Script) -> Result<()> {
        let mut rows = Vec::with_capacity(self.messages.len());
        for (tenant, session, message) in &self.messages {
            let tool_calls = match message.tool_calls.as_slice() {
                [] => String::new(),
                calls => serde_json::to_string(calls)
                    .map_err(|error| crate::error::StorageError::internal(error.to_string()))?,
            };
            rows.push((tenant, session, message, tool_calls));
        }
        script.insert(
            (MESSAGES, 11, ""),
            &rows,
            |script, (tenant, session, message, tool_calls)| {
                script
                    .bind(clustered(**session, message.position))
                    .bind(tenant.0)
                    .bind(session.0)
                    .bind(message.message_id.as_str().to_owned())
                    .bind(message.role.number())
                    .bind(message.content.clone())
                    .bind(message.metadata.clone())
                    .bind(tool_calls.clone())
                    .bind(message.call_id.as_ref().map(|id| id.as_str().to_owned()))
                    .bind(message.turn_id.as_ref().map(|id| id.as_str().to_owned()))
                    .bind(message.timestamp.micros());
            },
        );
        for ((session, id), content) in &self.contents {
            script.push("UPDATE messages SET content = ? WHERE session = ? AND message_id = ?;");
            script.bind(content.clone()).bind(session.0).bind(id.as_str().to_owned());
        }
        for (session, id) in &self.removals {
            script.push("DELETE FROM messages WHERE session = ? AND message_id = ?;");
            script.bind(session.0).bind(id.as_str().to_owned());
        }
        Ok(())
    }

    fn write_records(&self, script: &mut Script, now: crate::time::Stamp) {
        let rows: Vec<_> = self.records.iter().collect();
        let table = "records (tenant, key, value, revision, created_at, updated_at, expires_at)";
        let conflict = "ON CONFLICT (tenant, key) DO UPDATE SET value = excluded.value, \
            revision = excluded.revision, created_at = excluded.created_at, \
            updated_at = excluded.updated_at, expires_at = excluded.expires_at";
        script.insert((table, 7, conflict), &rows, |script, ((tenant, key), row)| {
            script
                .bind(tenant.0)
                .bind(key.as_str().to_owned())
                .bind(row.value.to_vec())
                .bind(row.fact.revision)
                .bind(row.fact.created_at.micros())
                .bind(row.updated_at.micros())
                .bind(row.fact.expires_at.map(crate::time::Stamp::micros));
        });
        for (tenant, key) in &self.record_removals {
            script.push("DELETE FROM records WHERE tenant = ? AND key = ?;");
            script.bind(tenant.0).bind(key.as_str().to_owned());
        }
        let table = "tombstones (tenant, revision, key, deleted_at)";
        script.insert((table, 4, ""), &self.tombstones, |script, (tenant, revision, key)| {
            script.bind(tenant.0).bind(*revision).bind(key.as_str().to_owned()).bind(now.micros());
        });
    }

    /// The rows that are long go in steps, later; from now on nothing finds them.
    fn write_deletions(&self, script: &mut Script) {
        for session in &self.deletions {
            script.push("DELETE FROM sessions WHERE session = ?;").bind(session.0);
        }
        script.insert(("purges (session, messages)", 2, ""), &self.purges, |script, purge| {
            script.bind(purge.session.0).bind(purge.messages);
        });
    }

    fn write_housekeeping(&self, script: &mut Script) {
        if let Some(before) = self.forget_tombstones {
            script.push(
                "UPDATE tenants SET compacted_revision = max(compacted_revision, \
                 (SELECT coalesce(max(d.revision), 0) FROM tombstones d \
                  WHERE d.tenant = tenants.tenant AND d.deleted_at < ?));",
            );
            script.bind(before.micros());
            script.push("DELETE FROM tombstones WHERE deleted_at < ?;").bind(before.micros());
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
        for (table, key) in [("executions", "execution"), ("outcomes", "rowid")] {
            script.push(&format!(
                "DELETE FROM {table} WHERE {key} IN \
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
        for table in ["requests", "executions", "outcomes"] {
            script.push(&format!(" AND NOT EXISTS (SELECT 1 FROM {table} WHERE session = ?)"));
            script.bind(purge.session);
        }
    }
    script.push(";");
}
