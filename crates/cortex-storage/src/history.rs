//! The history of a session: its messages, as the journal projects them.

use cortex_core::{CallId, MessageId, PageSize, SessionId, TurnId};

use crate::{entry_text::Text, time::Stamp};

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The user.
    User,
    /// The agent's model.
    Assistant,
    /// The runtime or its operator.
    System,
    /// The result of a tool call.
    Tool,
}

impl Role {
    /// The number under which it is stored.
    pub fn number(self) -> i64 {
        match self {
            Self::User => 1,
            Self::Assistant => 2,
            Self::System => 3,
            Self::Tool => 4,
        }
    }

    /// The role stored as `number`.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::User, Self::Assistant, Self::System, Self::Tool]
            .into_iter()
            .find(|role| role.number() == number)
    }
}

/// A call of a tool, as the history keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The call.
    pub call_id: CallId,
    /// The tool's name.
    pub name: String,
    /// The arguments: one JSON object, verbatim from the model.
    pub arguments: String,
    /// What the provider wants to see again; may be empty.
    pub provider_data: String,
}

/// A message that joins the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// Its id, new.
    pub message_id: MessageId,
    /// Who says it.
    pub role: Role,
    /// The text, or where it stands.
    pub content: Text,
    /// A JSON object, or nothing.
    pub metadata: String,
    /// Calls of tools that an assistant's message makes.
    pub tool_calls: Vec<ToolCall>,
    /// For a tool's message: the call that it is the result of.
    pub call_id: Option<CallId>,
    /// The turn that it belongs to.
    pub turn_id: Option<TurnId>,
}

impl NewMessage {
    /// The message with its content, at its place.
    pub(crate) fn at(
        &self,
        position: i64,
        session_id: &str,
        content: String,
        now: Stamp,
    ) -> Message {
        Message {
            message_id: self.message_id.clone(),
            session_id: session_id.to_owned(),
            role: self.role,
            content,
            timestamp: now,
            metadata: self.metadata.clone(),
            tool_calls: self.tool_calls.clone(),
            call_id: self.call_id.clone(),
            turn_id: self.turn_id.clone(),
            position,
        }
    }
}

/// A message of a session's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub message_id: MessageId,
    /// The session.
    pub session_id: String,
    /// Who says it.
    pub role: Role,
    /// The text.
    pub content: String,
    /// When it was committed.
    pub timestamp: Stamp,
    /// A JSON object, or nothing.
    pub metadata: String,
    /// Calls of tools that an assistant's message makes.
    pub tool_calls: Vec<ToolCall>,
    /// For a tool's message: the call that it is the result of.
    pub call_id: Option<CallId>,
    /// The turn that it belongs to.
    pub turn_id: Option<TurnId>,
    /// Where it stands in the history.
    pub position: i64,
}

impl Message {
    /// Bytes of its text and of what is attached to it.
    pub fn size(&self) -> usize {
        let call = |call: &ToolCall| call.arguments.len() + call.provider_data.len();
        let calls: usize = self.tool_calls.iter().map(call).sum();
        self.content.len() + self.metadata.len() + calls
    }
}

/// Which messages to read. A page is oldest first in either direction.
#[derive(Debug, Clone)]
pub struct MessageQuery {
    /// The session.
    pub session_id: SessionId,
    /// Only of this role.
    pub role: Option<Role>,
    /// Messages at most.
    pub page_size: PageSize,
    /// Read back from the end.
    pub latest: bool,
    /// Only messages after this position, or before it when reading back.
    pub from: Option<i64>,
    /// Messages to skip.
    pub offset: u32,
}
