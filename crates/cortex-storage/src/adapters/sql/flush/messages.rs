//! Messages of histories.

use std::collections::HashMap;

use bytes::Bytes;
use cortex_core::MessageId;

use crate::{
    adapters::sql::{
        contents::ContentChanges,
        encoded::{encode_calls, encode_place},
        rows::clustered,
        script::Script,
        stored::message_column,
        work::Work,
    },
    content::Pieces,
    journal::{NewContent, SessionNo},
};

const MESSAGES: &str = "messages (message, tenant, session, message_id, role, content, entry_text, \
    metadata, tool_calls, call_id, turn_id, created_at, pieces)";

/// What is cut out of the messages that a batch touches, at each moment of it.
type Current<'w> = HashMap<(SessionNo, &'w MessageId), Pieces>;

impl Work {
    /// Messages that join, then those that change, then those that leave.
    pub(super) fn write_messages(&self, script: &mut Script, contents: &mut ContentChanges) {
        let stored = self.read.message_pieces.iter();
        let mut current: Current<'_> =
            stored.map(|((session, id), pieces)| ((*session, id), pieces.clone())).collect();
        self.insert_messages(script, contents, &mut current);
        self.update_messages(script, contents, &mut current);
        for (tenant, session, id) in &self.writes.removals {
            if let Some(pieces) = current.remove(&(*session, id)) {
                contents.release(*tenant, &pieces);
            }
            script.push("DELETE FROM messages WHERE session = ? AND message_id = ?;");
            script.bind(session.0).bind(id);
        }
    }

    fn insert_messages<'w>(
        &'w self,
        script: &mut Script,
        contents: &mut ContentChanges,
        current: &mut Current<'w>,
    ) {
        let calls: Vec<Bytes> = self
            .writes
            .messages
            .iter()
            .map(|(_, _, message, _)| encode_calls(&message.tool_calls).into())
            .collect();
        let mut rows = Vec::with_capacity(calls.len());
        for ((tenant, session, message, place), calls) in self.writes.messages.iter().zip(&calls) {
            let mut cutter = contents.cutter();
            let content = cutter.text(message_column::CONTENT, &message.content);
            let calls = cutter.bytes(message_column::CALLS, calls);
            let pieces = contents.keep(*tenant, cutter);
            if !pieces.is_empty() {
                current.insert((*session, &message.message_id), pieces.clone());
            }
            let place = place.as_ref().map(encode_place);
            rows.push(((*tenant, *session), message, (content, place, calls), pieces));
        }
        script.insert((MESSAGES, 13, ""), &rows, |script, row| {
            let ((tenant, session), message, (content, place, calls), pieces) = row;
            script
                .bind(clustered(*session, message.position))
                .bind(tenant.0)
                .bind(session.0)
                .bind(&message.message_id)
                .bind(message.role.number())
                .bind(content.to_string())
                .bind(place.clone())
                .bind(message.metadata.clone())
                .bind(calls.to_vec())
                .bind(message.call_id.as_ref())
                .bind(message.turn_id.as_ref())
                .bind(message.timestamp.micros())
                .bind(pieces.encode());
        });
    }

    fn update_messages<'w>(
        &'w self,
        script: &mut Script,
        contents: &mut ContentChanges,
        current: &mut Current<'w>,
    ) {
        for ((session, id), (tenant, content)) in &self.writes.contents {
            let mut cutter = contents.cutter();
            let (text, place) = match content {
                NewContent::Text(text) => (cutter.text(message_column::CONTENT, text), None),
                NewContent::InEntries(place) => ("".into(), Some(encode_place(place))),
            };
            let new = contents.keep(*tenant, cutter);
            let former = current.remove(&(*session, id)).unwrap_or_default();
            contents.release(*tenant, &former.of(message_column::CONTENT));
            let pieces = former.replaced(message_column::CONTENT, &new);
            script.push(
                "UPDATE messages SET content = ?, entry_text = ?, pieces = ? \
                 WHERE session = ? AND message_id = ?;",
            );
            script.bind(text.to_string()).bind(place).bind(pieces.encode());
            script.bind(session.0).bind(id);
            current.insert((*session, id), pieces);
        }
    }
}
