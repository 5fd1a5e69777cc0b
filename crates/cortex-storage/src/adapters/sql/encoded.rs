//! What stands encoded in a column: calls of messages, places of texts, and what marks changed.
//!
//! They are protobuf, so that what is large in them is cut out like that of events.

use cortex_core::{CallId, MessageId, TurnId};
use prost::Message as _;

use super::error::damaged;
use crate::{
    entry_text::EntryText,
    error::Result,
    history::{Role, ToolCall},
    journal::{AddedCall, AddedMessage, ChangedMessage, Delta, ObjectText, StateDelta},
};

#[derive(Clone, PartialEq, prost::Message)]
struct StoredCalls {
    #[prost(message, repeated, tag = "1")]
    calls: Vec<StoredCall>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredCall {
    #[prost(bytes = "vec", tag = "1")]
    call_id: Vec<u8>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    arguments: String,
    #[prost(string, tag = "4")]
    provider_data: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredPlace {
    #[prost(int64, tag = "1")]
    first: i64,
    #[prost(int64, tag = "2")]
    last: i64,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(uint32, repeated, tag = "4")]
    path: Vec<u32>,
    #[prost(uint64, tag = "5")]
    bytes: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredDelta {
    #[prost(bool, tag = "1")]
    cleared: bool,
    #[prost(message, repeated, tag = "2")]
    messages: Vec<StoredMessage>,
    #[prost(message, repeated, tag = "3")]
    updates: Vec<StoredUpdate>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    deleted: Vec<Vec<u8>>,
    #[prost(string, optional, tag = "5")]
    replaced: Option<String>,
    #[prost(string, optional, tag = "6")]
    merged: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredMessage {
    #[prost(bytes = "vec", tag = "1")]
    message_id: Vec<u8>,
    #[prost(int64, tag = "2")]
    role: i64,
    #[prost(string, tag = "3")]
    content: String,
    #[prost(message, optional, tag = "4")]
    entry_text: Option<StoredPlace>,
    #[prost(string, tag = "5")]
    metadata: String,
    #[prost(message, repeated, tag = "6")]
    tool_calls: Vec<StoredCall>,
    #[prost(bytes = "vec", optional, tag = "7")]
    call_id: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "8")]
    turn_id: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredUpdate {
    #[prost(bytes = "vec", tag = "1")]
    message_id: Vec<u8>,
    #[prost(string, tag = "2")]
    content: String,
    #[prost(message, optional, tag = "3")]
    entry_text: Option<StoredPlace>,
}

/// The calls of a message; empty without calls.
pub(super) fn encode_calls(calls: &[ToolCall]) -> Vec<u8> {
    let calls = calls.iter().map(|call| StoredCall {
        call_id: call.call_id.to_bytes(),
        name: call.name.clone(),
        arguments: call.arguments.clone(),
        provider_data: call.provider_data.clone(),
    });
    StoredCalls { calls: calls.collect() }.encode_to_vec()
}

/// The calls encoded as `bytes`.
pub(super) fn decode_calls(bytes: &[u8]) -> Result<Vec<ToolCall>> {
    let stored = StoredCalls::decode(bytes).map_err(|_| damaged("list of tool calls"))?;
    let calls = stored.calls.into_iter().map(|call| {
        Ok(ToolCall {
            call_id: CallId::from_bytes(&call.call_id).ok_or_else(|| damaged("call id"))?,
            name: call.name,
            arguments: call.arguments,
            provider_data: call.provider_data,
        })
    });
    calls.collect()
}

/// Where a text stands.
pub(super) fn encode_place(place: &EntryText) -> Vec<u8> {
    StoredPlace::from(place).encode_to_vec()
}

/// The place encoded as `bytes`.
pub(super) fn decode_place(bytes: &[u8]) -> Result<EntryText> {
    let stored = StoredPlace::decode(bytes).map_err(|_| damaged("place of a text"))?;
    Ok(stored.into())
}

impl From<&EntryText> for StoredPlace {
    fn from(place: &EntryText) -> Self {
        Self {
            first: place.first,
            last: place.last,
            name: place.name.to_string(),
            path: place.path.clone(),
            bytes: place.bytes,
        }
    }
}

impl From<StoredPlace> for EntryText {
    fn from(stored: StoredPlace) -> Self {
        let StoredPlace { first, last, name, path, bytes } = stored;
        Self { first, last, name: name.into(), path, bytes }
    }
}

/// What a commit changed.
pub(super) fn encode_delta(delta: &Delta) -> Vec<u8> {
    let (replaced, merged) = match &delta.state {
        None => (None, None),
        Some(StateDelta::Replace(data)) => (Some(data.0.clone()), None),
        Some(StateDelta::Merge(patch)) => (None, Some(patch.0.clone())),
    };
    let updates = delta.updates.iter().map(|update| StoredUpdate {
        message_id: update.message_id.to_bytes(),
        content: update.content.clone(),
        entry_text: update.entry_text.as_ref().map(StoredPlace::from),
    });
    let stored = StoredDelta {
        cleared: delta.cleared,
        messages: delta.messages.iter().map(StoredMessage::from).collect(),
        updates: updates.collect(),
        deleted: delta.deleted.iter().map(MessageId::to_bytes).collect(),
        replaced,
        merged,
    };
    stored.encode_to_vec()
}

/// The change encoded as `bytes`.
pub(super) fn decode_delta(bytes: &[u8]) -> Result<Delta> {
    StoredDelta::decode(bytes).ok().and_then(to_delta).ok_or_else(|| damaged("mark"))
}

fn to_delta(stored: StoredDelta) -> Option<Delta> {
    let updates = stored.updates.into_iter().map(|update| {
        Some(ChangedMessage {
            message_id: MessageId::from_bytes(&update.message_id)?,
            content: update.content,
            entry_text: update.entry_text.map(EntryText::from),
        })
    });
    let deleted = stored.deleted.iter().map(|id| MessageId::from_bytes(id));
    let replaced = stored.replaced.map(|data| StateDelta::Replace(ObjectText(data)));
    let merged = stored.merged.map(|patch| StateDelta::Merge(ObjectText(patch)));
    Some(Delta {
        cleared: stored.cleared,
        messages: stored.messages.into_iter().map(to_message).collect::<Option<_>>()?,
        updates: updates.collect::<Option<_>>()?,
        deleted: deleted.collect::<Option<_>>()?,
        state: replaced.or(merged),
    })
}

impl From<&AddedMessage> for StoredMessage {
    fn from(message: &AddedMessage) -> Self {
        let tool_calls = message.tool_calls.iter().map(|call| StoredCall {
            call_id: call.call_id.to_bytes(),
            name: call.name.clone(),
            arguments: call.arguments.0.clone(),
            provider_data: call.provider_data.clone(),
        });
        Self {
            message_id: message.message_id.to_bytes(),
            role: message.role.number(),
            content: message.content.clone(),
            entry_text: message.entry_text.as_ref().map(StoredPlace::from),
            metadata: message.metadata.0.clone(),
            tool_calls: tool_calls.collect(),
            call_id: message.call_id.as_ref().map(CallId::to_bytes),
            turn_id: message.turn_id.as_ref().map(TurnId::to_bytes),
        }
    }
}

fn to_message(stored: StoredMessage) -> Option<AddedMessage> {
    let tool_calls = stored.tool_calls.into_iter().map(|call| {
        Some(AddedCall {
            call_id: CallId::from_bytes(&call.call_id)?,
            name: call.name,
            arguments: ObjectText(call.arguments),
            provider_data: call.provider_data,
        })
    });
    let (call_id, turn_id) = (stored.call_id.as_deref(), stored.turn_id.as_deref());
    Some(AddedMessage {
        message_id: MessageId::from_bytes(&stored.message_id)?,
        role: Role::from_number(stored.role)?,
        content: stored.content,
        entry_text: stored.entry_text.map(EntryText::from),
        metadata: ObjectText(stored.metadata),
        tool_calls: tool_calls.collect::<Option<_>>()?,
        call_id: call_id.map_or(Some(None), |id| CallId::from_bytes(id).map(Some))?,
        turn_id: turn_id.map_or(Some(None), |id| TurnId::from_bytes(id).map(Some))?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = Option<EntryText>> {
        let path = prop::collection::vec(1_u32..20, 1..4);
        let place = (any::<i64>(), any::<i64>(), "[a-z.]{1,20}", path, any::<u64>());
        prop::option::of(place.prop_map(|(first, last, name, path, bytes)| EntryText {
            first,
            last,
            name: name.into(),
            path,
            bytes,
        }))
    }

    fn object() -> impl Strategy<Value = ObjectText> {
        prop_oneof![Just(String::new()), "\\{\"[a-z]{1,5}\": *[0-9]{1,20}\\}"].prop_map(ObjectText)
    }

    fn id() -> impl Strategy<Value = String> {
        "[0-9a-f]{16,64}"
    }

    fn call() -> impl Strategy<Value = AddedCall> {
        (id(), "[a-z]{1,9}", object(), ".{0,9}").prop_map(|(id, name, arguments, data)| AddedCall {
            call_id: CallId::parse(format!("call_{id}")).expect("an id"),
            name,
            arguments,
            provider_data: data,
        })
    }

    fn message() -> impl Strategy<Value = AddedMessage> {
        let calls = prop::collection::vec(call(), 0..3);
        let ids = (id(), prop::option::of(id()), prop::option::of(id()));
        (ids, 1_i64..=4, ".{0,99}", place(), object(), calls).prop_map(
            |((id, call_id, turn_id), role, content, entry_text, metadata, tool_calls)| {
                AddedMessage {
                    message_id: MessageId::parse(format!("msg_{id}")).expect("an id"),
                    role: Role::from_number(role).expect("a role"),
                    content,
                    entry_text,
                    metadata,
                    tool_calls,
                    call_id: call_id.map(|id| CallId::parse(format!("call_{id}")).expect("an id")),
                    turn_id: turn_id.map(|id| TurnId::parse(format!("turn_{id}")).expect("an id")),
                }
            },
        )
    }

    fn delta() -> impl Strategy<Value = Delta> {
        let update = (id(), ".{0,9}", place()).prop_map(|(id, content, entry_text)| {
            let message_id = MessageId::parse(format!("msg_{id}")).expect("an id");
            ChangedMessage { message_id, content, entry_text }
        });
        let deleted = id().prop_map(|id| MessageId::parse(format!("msg_{id}")).expect("an id"));
        let state = prop_oneof![
            Just(None),
            object().prop_map(|data| Some(StateDelta::Replace(data))),
            object().prop_map(|patch| Some(StateDelta::Merge(patch))),
        ];
        (
            any::<bool>(),
            prop::collection::vec(message(), 0..3),
            prop::collection::vec(update, 0..3),
            prop::collection::vec(deleted, 0..3),
            state,
        )
            .prop_map(|(cleared, messages, updates, deleted, state)| Delta {
                cleared,
                messages,
                updates,
                deleted,
                state,
            })
    }

    proptest! {
        #[test]
        fn any_delta_survives(delta in delta()) {
            prop_assert_eq!(decode_delta(&encode_delta(&delta)).ok(), Some(delta));
        }

        #[test]
        fn damaged_bytes_are_told(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            // Whatever is read is read from these bytes alone; nothing panics.
            if let Ok(delta) = decode_delta(&bytes) {
                prop_assert_eq!(decode_delta(&encode_delta(&delta)).ok(), Some(delta));
            }
        }
    }
}
