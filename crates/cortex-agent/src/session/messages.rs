//! Messages of the history, as a turn's appends carry them.

use cortex_core::MessageId;
use cortex_proto::cortex::storage::v1::{
    HistoryMessage, HistoryToolCall, MessageRole, NewHistoryMessage,
};

use crate::turn::{Call, Outcome, TurnView, UserMessage};

pub(super) fn users_message(turn_id: &str, message: &UserMessage) -> NewHistoryMessage {
    NewHistoryMessage {
        message_id: message.message_id.clone(),
        role: MessageRole::User.into(),
        content: message.content.clone(),
        metadata: message.metadata.clone(),
        turn_id: turn_id.to_owned(),
        ..Default::default()
    }
}

pub(super) fn answer_message(
    turn: &TurnView,
    message_id: &str,
    content: &str,
    calls: &[&Call],
) -> NewHistoryMessage {
    let tool_calls = calls
        .iter()
        .map(|call| HistoryToolCall {
            call_id: call.call_id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.clone(),
            provider_data: call.provider_data.clone(),
        })
        .collect();
    NewHistoryMessage {
        message_id: message_id.to_owned(),
        role: MessageRole::Assistant.into(),
        content: content.to_owned(),
        tool_calls,
        turn_id: turn.turn_id.clone(),
        ..Default::default()
    }
}

pub(super) fn tool_message(turn: &TurnView, call: &Call, outcome: &Outcome) -> NewHistoryMessage {
    NewHistoryMessage {
        message_id: MessageId::generate().into(),
        role: MessageRole::Tool.into(),
        content: outcome.content(),
        call_id: call.call_id.clone(),
        turn_id: turn.turn_id.clone(),
        ..Default::default()
    }
}

/// A message as it will be read back.
pub(super) fn as_history(session_id: &str, message: &NewHistoryMessage) -> HistoryMessage {
    HistoryMessage {
        id: message.message_id.clone(),
        session_id: session_id.to_owned(),
        role: message.role,
        content: message.content.clone(),
        metadata: message.metadata.clone(),
        tool_calls: message.tool_calls.clone(),
        call_id: message.call_id.clone(),
        turn_id: message.turn_id.clone(),
        ..Default::default()
    }
}
