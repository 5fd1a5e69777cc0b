//! Sessions, their history and their state.

use crate::{
    adapters::sql::{
        rows::clustered,
        script::Script,
        work::{Work, Writes},
    },
    error::{Result, StorageError},
    session::SessionStatus,
    time::Stamp,
};

const MESSAGES: &str = "messages (message, tenant, session, message_id, role, content, metadata, \
    tool_calls, call_id, turn_id, created_at)";

impl Work<'_> {
    pub(super) fn write_states(&self, script: &mut Script) {
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
                .bind(state.updated_at.map(Stamp::micros));
        });
    }

    pub(super) fn write_descriptions(&self, script: &mut Script) {
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
}

impl Writes {
    pub(super) fn write_tenants(&self, script: &mut Script) {
        script.insert(("tenants (tenant, name)", 2, ""), &self.tenants, |script, (no, tenant)| {
            script.bind(no.0).bind(tenant.as_str().to_owned());
        });
    }

    pub(super) fn write_sessions(&self, script: &mut Script) {
        let table = "sessions (session, tenant, session_id, agent_name, user_id, status, metadata, \
            manifest_digest, created_at)";
        script.insert((table, 9, ""), &self.sessions, |script, row| {
            script
                .bind(row.session.0)
                .bind(row.tenant.0)
                .bind(row.session_id.clone())
                .bind(row.new.agent_name.clone())
                .bind(row.new.user_id.clone())
                .bind(SessionStatus::Active.number())
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

    pub(super) fn write_messages(&self, script: &mut Script) -> Result<()> {
        let mut rows = Vec::with_capacity(self.messages.len());
        for (tenant, session, message) in &self.messages {
            let tool_calls = match message.tool_calls.as_slice() {
                [] => String::new(),
                calls => serde_json::to_string(calls)
                    .map_err(|error| StorageError::internal(error.to_string()))?,
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
}
