//! Sessions and their state.

use crate::{
    adapters::sql::{
        contents::ContentChanges,
        script::Script,
        work::{Work, Writes},
    },
    session::SessionStatus,
    time::Stamp,
};

impl Work {
    pub(super) fn write_states(&self, script: &mut Script, contents: &mut ContentChanges) {
        let mut rows = Vec::new();
        for session in &self.writes.states {
            let owner = self.read.heads.get(session).map(|owned| owned.tenant);
            let (Some(tenant), Some(state)) = (owner, self.read.states.get(session)) else {
                continue;
            };
            let mut cutter = contents.cutter();
            let data = cutter.text(0, &state.data);
            let pieces = contents.keep(tenant, cutter);
            if let Some((tenant, former)) = self.read.state_pieces.get(session) {
                contents.release(*tenant, former);
            }
            rows.push((*session, tenant, state, data, pieces));
        }
        let table = "states (session, tenant, data, version, updated_at, pieces)";
        let conflict = "ON CONFLICT (session) DO UPDATE SET data = excluded.data, \
            version = excluded.version, updated_at = excluded.updated_at, pieces = excluded.pieces";
        script.insert(
            (table, 6, conflict),
            &rows,
            |script, (session, tenant, state, data, pieces)| {
                script
                    .bind(session.0)
                    .bind(tenant.0)
                    .bind(data.to_string())
                    .bind(state.version)
                    .bind(state.updated_at.map(Stamp::micros))
                    .bind(pieces.encode());
            },
        );
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
        let table = "creations (tenant, request, fingerprint, session, sequence)";
        script.insert((table, 5, ""), &self.creations, |script, created| {
            script
                .bind(created.tenant.0)
                .bind(created.key.0.to_vec())
                .bind(created.fingerprint.0.to_vec())
                .bind(created.session.0)
                .bind(created.sequence);
        });
    }
}
