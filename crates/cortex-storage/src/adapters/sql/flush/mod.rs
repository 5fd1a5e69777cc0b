//! Writing what a batch has decided: one script, one trip, one commit.

mod artifacts;
mod cached;
mod housekeeping;
mod ledger;
mod log;
mod messages;
mod metrics;
mod records;
mod sessions;

use std::sync::Arc;

use super::{
    cache::{OwnedHead, TenantNo},
    contents::ContentChanges,
    rows::{clustered, write_last_append, write_pending},
    script::Script,
    work::{HeadWrite, Work, Writes},
};
use crate::{
    journal::{Known, RequestKey, SessionHead, SessionNo},
    time::Stamp,
};

const HEADS: &str = "heads (session, tenant, head, last_command, consumed, pending, epoch, holder_id, \
    turn_id, turn_sequence, waiting, wake_at, queue, open_calls, message_count, last_position, \
    history_floor, ready_at, updated_at, last_append, marks, shared)";
const HEADS_CONFLICT: &str = "ON CONFLICT (session) DO UPDATE SET head = excluded.head, \
    last_command = excluded.last_command, consumed = excluded.consumed, pending = excluded.pending, \
    epoch = excluded.epoch, holder_id = excluded.holder_id, turn_id = excluded.turn_id, \
    turn_sequence = excluded.turn_sequence, waiting = excluded.waiting, wake_at = excluded.wake_at, \
    queue = excluded.queue, open_calls = excluded.open_calls, message_count = excluded.message_count, \
    last_position = excluded.last_position, history_floor = excluded.history_floor, \
    ready_at = excluded.ready_at, updated_at = excluded.updated_at, last_append = excluded.last_append, \
    marks = excluded.marks, shared = excluded.shared";
const MOVE_HEADS: &str = "UPDATE heads SET head = v.column2, last_command = v.column3, \
    consumed = v.column4, pending = v.column5, queue = v.column6, open_calls = v.column7, \
    message_count = v.column8, last_position = v.column9, updated_at = v.column10, \
    last_append = v.column11, marks = v.column12 FROM ";
const MOVED_HEADS: &str = " v WHERE heads.session = v.column1";
const ENTRIES: &str =
    "entries (entry, tenant, kind, type, payload_type, payload, start, created_at, epoch, pieces)";
const REQUESTS: &str = "requests (session, request, tenant, fingerprint, first, last, at, note)";

impl Work {
    /// Adds everything that the batch writes to `script`, in an order that foreign keys allow. Pieces of
    /// `least_content` bytes and more are stored once per tenant.
    pub(super) fn write(&mut self, script: &mut Script, least_content: usize) {
        let mut contents = ContentChanges::new(least_content);
        self.release_deleted(&mut contents);
        self.forget_deleted();
        self.write_names(script);
        self.writes.write_tenants(script);
        self.writes.write_sessions(script);
        self.write_heads(script);
        self.write_entries(script, &mut contents);
        self.writes.write_marks(script, &mut contents);
        self.writes.write_parts(script);
        self.writes.write_requests(script);
        self.write_holders(script);
        self.write_executions(script, &mut contents);
        self.write_messages(script, &mut contents);
        self.write_states(script, &mut contents);
        self.write_descriptions(script);
        self.writes.write_records(script, self.now);
        self.write_revisions(script);
        self.writes.write_metrics(script);
        self.writes.write_cached(script);
        self.write_cache_totals(script);
        self.writes.write_artifacts(script);
        self.writes.write_deletions(script);
        self.writes.write_housekeeping(script);
        contents.write(script);
        #[cfg(test)]
        for sql in &self.writes.raw {
            script.push(sql);
        }
    }

    /// What rows that are gone referred to.
    fn release_deleted(&self, contents: &mut ContentChanges) {
        for (tenant, pieces) in &self.read.cleared {
            contents.release(*tenant, pieces);
        }
        // The state goes with its session at once.
        let states = self.writes.deletions.iter().filter_map(|s| self.read.state_pieces.get(s));
        for (tenant, pieces) in states {
            contents.release(*tenant, pieces);
        }
    }

    /// A session that was deleted in this batch has no head to write.
    fn forget_deleted(&mut self) {
        for session in &self.writes.deletions {
            self.writes.heads.shift_remove(session);
            self.writes.states.shift_remove(session);
            self.writes.statuses.remove(session);
            self.writes.descriptions.remove(session);
            self.writes.creations.retain(|created| created.session != *session);
            self.writes.parts.shift_remove(session);
        }
    }

    /// Names of entries that have no number.
    pub(in super::super) fn unknown_names(&self) -> impl Iterator<Item = &Arc<str>> {
        let entries = self.writes.all_entries();
        let names = entries.flat_map(|(_, _, entry)| [&entry.name, &entry.payload.type_url]);
        names.filter(|name| !self.read.names.contains_key(*name))
    }

    /// Numbers names that come up for the first time.
    fn write_names(&mut self, script: &mut Script) {
        let mut new: Vec<(i64, Arc<str>)> = Vec::new();
        let unknown: Vec<_> = self.unknown_names().cloned().collect();
        for name in unknown {
            if !self.read.names.contains_key(&name) {
                let number = self.cache.next_name;
                self.cache.next_name += 1;
                self.read.names.insert(name.clone(), number);
                new.push((number, name));
            }
        }
        script.insert(("names (name_no, name)", 2, ""), &new, |script, (number, name)| {
            script.bind(*number).bind(name.to_string());
        });
    }

    fn write_heads(&self, script: &mut Script) {
        let heads = |wanted: HeadWrite| -> Vec<&OwnedHead> {
            let chosen = self.writes.heads.iter().filter(|(_, write)| **write == wanted);
            chosen.filter_map(|(session, _)| self.read.heads.get(session)).collect()
        };
        let whole = heads(HeadWrite::Whole);
        script.insert((HEADS, 22, HEADS_CONFLICT), &whole, |script, owned| {
            bind_head(script, owned.tenant, &owned.head);
        });
        let moved = heads(HeadWrite::Moved);
        script.values((MOVE_HEADS, 12, MOVED_HEADS), &moved, |script, owned| {
            bind_moved_head(script, &owned.head);
        });
    }

    fn write_entries(&mut self, script: &mut Script, contents: &mut ContentChanges) {
        let mut rows = Vec::new();
        for (session, tenant, entry) in self.writes.all_entries() {
            let mut cutter = contents.cutter();
            let payload = cutter.bytes(0, &entry.payload.value);
            let pieces = contents.keep(tenant, cutter);
            let start = self.cache.starts.find(session, entry, &payload);
            let (start, left_out) = start.unzip();
            let payload = payload[left_out.unwrap_or(0)..].to_vec();
            let key = clustered(session, entry.sequence);
            rows.push((key, tenant, entry, (start, payload), pieces));
        }
        let number = |name: &Arc<str>| self.read.names.get(name).copied();
        script.insert((ENTRIES, 10, ""), &rows, |script, row| {
            let (key, tenant, entry, (start, payload), pieces) = row;
            script
                .bind(*key)
                .bind(tenant.0)
                .bind(entry.kind.number())
                .bind(number(&entry.name))
                .bind(number(&entry.payload.type_url))
                .bind(payload.clone())
                .bind(*start)
                .bind(entry.created_at.micros())
                .bind(entry.epoch)
                .bind(pieces.encode());
        });
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
        .bind(turn.map(|turn| &turn.turn_id))
        .bind(turn.map_or(0, |turn| turn.sequence))
        .bind(wait.is_some())
        .bind(wait.and_then(|wait| wait.wake_at).map(Stamp::micros))
        .bind(serde_json::to_string(&head.queue).unwrap_or_default())
        .bind(head.open_calls)
        .bind(head.message_count)
        .bind(head.last_position)
        .bind(head.history_floor)
        .bind(head.ready_at.map(Stamp::micros))
        .bind(head.updated_at.micros())
        .bind(write_last_append(head.last_append.as_ref()))
        .bind(head.marks)
        .bind(head.shared);
}

fn bind_moved_head(script: &mut Script, head: &SessionHead) {
    script
        .bind(head.session.0)
        .bind(head.head)
        .bind(head.last_command)
        .bind(head.consumed)
        .bind(write_pending(&head.pending))
        .bind(serde_json::to_string(&head.queue).unwrap_or_default())
        .bind(head.open_calls)
        .bind(head.message_count)
        .bind(head.last_position)
        .bind(head.updated_at.micros())
        .bind(write_last_append(head.last_append.as_ref()))
        .bind(head.marks);
}

impl Writes {
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
}
