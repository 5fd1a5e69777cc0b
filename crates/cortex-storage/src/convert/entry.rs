//! Entries of the log.

use super::proto;
use crate::journal::{CommandKind, Entry, EntryKind, Payload};

/// An entry as the contract has it.
pub(crate) fn entry_to_proto(entry: Entry) -> proto::JournalEntry {
    let kind = match entry.kind {
        EntryKind::Command(_) => proto::JournalEntryKind::Command,
        EntryKind::Event => proto::JournalEntryKind::Event,
    };
    proto::JournalEntry {
        sequence: entry.sequence,
        kind: kind.into(),
        r#type: entry.name.to_string(),
        payload: Some(payload_to_proto(entry.payload)),
        created_at: Some(entry.created_at.into()),
        epoch: entry.epoch,
    }
}

/// A typed body as the contract has it.
pub(super) fn payload_to_proto(payload: Payload) -> prost_types::Any {
    prost_types::Any { type_url: payload.type_url.to_string(), value: payload.value.into() }
}

/// A kind of command, unless it is none.
pub(super) fn command_kind(kind: proto::CommandKind) -> Option<CommandKind> {
    Some(match kind {
        proto::CommandKind::Unspecified => return None,
        proto::CommandKind::Message => CommandKind::Message,
        proto::CommandKind::Cancel => CommandKind::Cancel,
        proto::CommandKind::Steer => CommandKind::Steer,
        proto::CommandKind::Approval => CommandKind::Approval,
        proto::CommandKind::Lifecycle => CommandKind::Lifecycle,
        proto::CommandKind::State => CommandKind::State,
        proto::CommandKind::History => CommandKind::History,
    })
}
