//! What one commit changed of a session's history and state, and the form in which it is exported.
//!
//! The form is one JSON object. A JSON object inside it stands as it is, unless that would bring a
//! line end into it: then it stands as a string, so that the text survives byte for byte on one line.

use cortex_core::{CallId, MessageId, TurnId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;

use super::NewContent;
use crate::{
    entry_text::EntryText,
    history::{Message, Role, ToolCall},
    json,
    state::StateChange,
    time::Stamp,
};

/// What one commit changed of history and state. Applied in the order of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delta {
    /// Every message left the history.
    #[serde(skip_serializing_if = "is_false")]
    pub cleared: bool,
    /// Messages that joined, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<AddedMessage>,
    /// Messages whose content was replaced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub updates: Vec<ChangedMessage>,
    /// Messages that left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<MessageId>,
    /// The change of the state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StateDelta>,
}

impl Delta {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Bytes of each content that it brings.
    pub fn contents(&self) -> impl Iterator<Item = usize> {
        let updates = self.updates.iter().map(|update| update.content.len());
        self.messages.iter().map(AddedMessage::size).chain(updates)
    }

    /// Where texts of it stand in entries.
    pub fn places(&self) -> impl Iterator<Item = &EntryText> {
        let updates = self.updates.iter().filter_map(|update| update.entry_text.as_ref());
        self.messages.iter().filter_map(|added| added.entry_text.as_ref()).chain(updates)
    }

    /// The form that is exported.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the exported form.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn from_json(text: &str) -> Result<Self, String> {
        json::check_object(text).map_err(|error| error.to_string())?;
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A message that joined the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddedMessage {
    pub(crate) message_id: MessageId,
    #[serde(with = "role")]
    pub(crate) role: Role,
    /// Empty when `entry_text` says where it stands.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) entry_text: Option<EntryText>,
    #[serde(default, skip_serializing_if = "ObjectText::is_empty")]
    pub(crate) metadata: ObjectText,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tool_calls: Vec<AddedCall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) call_id: Option<CallId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) turn_id: Option<TurnId>,
}

/// A call that a message makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddedCall {
    pub(crate) call_id: CallId,
    pub(crate) name: String,
    pub(crate) arguments: ObjectText,
    /// Any JSON value, as text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) provider_data: String,
}

/// A message whose content was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangedMessage {
    /// The message.
    pub message_id: MessageId,
    /// The new text. Empty when `entry_text` says where it stands.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub content: String,
    /// Where the new text stands in entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_text: Option<EntryText>,
}

impl ChangedMessage {
    /// The change that `content` is.
    pub(crate) fn new(id: &MessageId, content: &NewContent) -> Self {
        let (content, entry_text) = match content {
            NewContent::Text(text) => (text.clone(), None),
            NewContent::InEntries(place) => (String::new(), Some(place.clone())),
        };
        Self { message_id: id.clone(), content, entry_text }
    }
}

/// A change of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateDelta {
    /// The whole new state.
    Replace(ObjectText),
    /// A JSON merge patch (RFC 7396).
    Merge(ObjectText),
}

impl From<&StateChange> for StateDelta {
    fn from(change: &StateChange) -> Self {
        match change {
            StateChange::Replace(data) => Self::Replace(ObjectText(data.clone())),
            StateChange::Merge(data) => Self::Merge(ObjectText(data.clone())),
        }
    }
}

impl From<StateDelta> for StateChange {
    fn from(change: StateDelta) -> Self {
        match change {
            StateDelta::Replace(data) => Self::Replace(data.0),
            StateDelta::Merge(data) => Self::Merge(data.0),
        }
    }
}

impl AddedMessage {
    /// What the log keeps of a message, whose text may stand in entries.
    pub(crate) fn new(message: &Message, entry_text: Option<&EntryText>) -> Self {
        let tool_calls = message.tool_calls.iter().map(|call| AddedCall {
            call_id: call.call_id.clone(),
            name: call.name.clone(),
            arguments: ObjectText(call.arguments.clone()),
            provider_data: call.provider_data.clone(),
        });
        Self {
            message_id: message.message_id.clone(),
            role: message.role,
            content: message.content.clone(),
            entry_text: entry_text.cloned(),
            metadata: ObjectText(message.metadata.clone()),
            tool_calls: tool_calls.collect(),
            call_id: message.call_id.clone(),
            turn_id: message.turn_id.clone(),
        }
    }

    /// Its bytes, nearly.
    pub(super) fn size(&self) -> usize {
        let calls =
            self.tool_calls.iter().map(|call| call.arguments.0.len() + call.provider_data.len());
        self.content.len() + self.metadata.0.len() + calls.sum::<usize>()
    }

    /// The message as it joined at `position`.
    pub(crate) fn to_message(
        &self,
        position: i64,
        session_id: &str,
        timestamp: Stamp,
    ) -> (Message, Option<EntryText>) {
        let tool_calls = self.tool_calls.iter().map(|call| ToolCall {
            call_id: call.call_id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.0.clone(),
            provider_data: call.provider_data.clone(),
        });
        let message = Message {
            message_id: self.message_id.clone(),
            session_id: session_id.to_owned(),
            role: self.role,
            content: self.content.clone(),
            timestamp,
            metadata: self.metadata.0.clone(),
            tool_calls: tool_calls.collect(),
            call_id: self.call_id.clone(),
            turn_id: self.turn_id.clone(),
            position,
        };
        (message, self.entry_text.clone())
    }
}

/// Roles by name.
mod role {
    use super::{Deserialize, Deserializer, Role, Serializer, de};

    const NAMES: [(Role, &str); 4] = [
        (Role::User, "user"),
        (Role::Assistant, "assistant"),
        (Role::System, "system"),
        (Role::Tool, "tool"),
    ];

    pub(super) fn serialize<S: Serializer>(role: &Role, to: S) -> Result<S::Ok, S::Error> {
        let name = NAMES.iter().find(|(known, _)| known == role).map_or("", |(_, name)| name);
        to.serialize_str(name)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Role, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        let found = NAMES.iter().find(|(_, name)| *name == text).map(|(role, _)| *role);
        found.ok_or_else(|| de::Error::custom("the role must be user, assistant, system or tool"))
    }
}

/// The text of a JSON object, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectText(pub String);

impl ObjectText {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the text may stand as it is.
    fn stands(&self) -> bool {
        self.0.starts_with('{') && self.0.ends_with('}') && !self.0.contains(['\n', '\r'])
    }
}

impl Serialize for ObjectText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.stands() {
            return serializer.serialize_str(&self.0);
        }
        serde_json::from_str::<&RawValue>(&self.0)
            .map_err(ser::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ObjectText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = if raw.get().starts_with('"') {
            serde_json::from_str(raw.get()).map_err(de::Error::custom)?
        } else {
            raw.get().to_owned()
        };
        json::check_object(&text).map_err(de::Error::custom)?;
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(metadata: &str, arguments: &str) -> Message {
        Message {
            position: 1,
            session_id: "session_1".to_owned(),
            timestamp: Stamp::default(),
            message_id: MessageId::generate(),
            role: Role::Assistant,
            content: "hi\n".to_owned(),
            metadata: metadata.to_owned(),
            tool_calls: vec![ToolCall {
                call_id: CallId::generate(),
                name: "calculator".to_owned(),
                arguments: arguments.to_owned(),
                provider_data: "\"signature\"".to_owned(),
            }],
            call_id: None,
            turn_id: Some(TurnId::generate()),
        }
    }

    #[test]
    fn objects_stand_as_they_are_unless_they_hold_line_ends() -> Result<(), String> {
        let new = message(r#"{"n":9007199254740993, "x":1e400}"#, "{\n\"a\": 1}");
        let state = StateDelta::Merge(ObjectText(" {\"a\":1} ".to_owned()));
        let delta = Delta {
            messages: vec![AddedMessage::new(&new, None)],
            state: Some(state),
            ..Delta::default()
        };
        let text = delta.to_json();
        assert!(text.contains(r#""metadata":{"n":9007199254740993, "x":1e400}"#), "{text}");
        assert!(text.contains(r#""arguments":"{\n\"a\": 1}""#), "{text}");
        assert!(!text.contains('\n'));
        let read = Delta::from_json(&text)?;
        assert_eq!(read, delta);
        let back = read.messages[0].to_message(1, "session_1", Stamp::default());
        assert_eq!(back, (new, None));
        Ok(())
    }

    #[test]
    fn what_is_no_delta_is_refused() {
        for text in [
            "[]",
            r#"{"other":1}"#,
            r#"{"state":{"replace":7}}"#,
            r#"{"state":{"merge":"no object"}}"#,
            r#"{"messages":[{"message_id":"msg_1","role":"nobody","content":""}]}"#,
        ] {
            assert!(Delta::from_json(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_delta_survives(cleared: bool, content in ".*", key in ".*", deleted in prop::collection::vec("[0-9a-f]{16}", 0..3)) {
            let object = serde_json::json!({ key: content.clone() });
            let state = StateDelta::Replace(ObjectText(serde_json::to_string_pretty(&object).unwrap_or_default()));
            let updates = vec![ChangedMessage { message_id: MessageId::generate(), content, entry_text: None }];
            let deleted = deleted.iter().map(|digits| MessageId::parse(format!("msg_{digits}")).expect("an id")).collect();
            let delta = Delta { cleared, messages: Vec::new(), updates, deleted, state: Some(state) };
            prop_assert_eq!(Delta::from_json(&delta.to_json()), Ok(delta));
        }
    }
}
