//! Messages of the history, as a turn's appends carry them.

use cortex_core::MessageId;
use cortex_proto::cortex::storage::v1::{
    EntryText, HistoryMessage, HistoryToolCall, JournalEffects, MessageRole, NewHistoryMessage,
};

use crate::turn::{Call, Outcome, StreamedText, TextRange, TurnView, UserMessage};

/// The type of events that bring text of an answer.
const CONTENT_DELTA: &str = "content_delta";
/// Where the text stands in such an event: SessionEvent.content_delta, ContentDelta.text.
const TEXT_IN_EVENT: [i32; 2] = [16, 1];

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
    text: &StreamedText,
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
        content: text.as_str().to_owned(),
        tool_calls,
        turn_id: turn.turn_id.clone(),
        entry_text: text.place().map(|range| entry_text(range, text)),
        ..Default::default()
    }
}

/// Where the journal holds a streamed text. Storage is sent that instead of the text.
fn entry_text(range: TextRange, text: &StreamedText) -> EntryText {
    EntryText {
        first_sequence: range.first,
        last_sequence: range.last,
        r#type: CONTENT_DELTA.to_owned(),
        path: TEXT_IN_EVENT.to_vec(),
        size_bytes: i64::try_from(text.as_str().len()).unwrap_or(i64::MAX),
    }
}

/// Leaves out the texts that the journal holds already.
pub(super) fn without_streamed_texts(mut effects: JournalEffects) -> JournalEffects {
    for message in effects.messages.iter_mut().filter(|message| message.entry_text.is_some()) {
        message.content.clear();
    }
    effects
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::{content_delta, type_name};

    #[test]
    fn the_text_of_an_answer_is_where_storage_looks_for_it() {
        assert_eq!(type_name(&content_delta(1, "x".into())), CONTENT_DELTA);
        let pool = cortex_proto::descriptor_pool();
        let mut message = pool.get_message_by_name("cortex.agent.v1.SessionEvent");
        let names = ["content_delta", "text"];
        let path: Vec<i32> = names
            .into_iter()
            .map(|name| {
                let field = message.as_ref().and_then(|m| m.get_field_by_name(name)).expect(name);
                message = field.kind().as_message().cloned();
                i32::try_from(field.number()).expect("small")
            })
            .collect();
        assert_eq!(path, TEXT_IN_EVENT);
    }

    #[test]
    fn a_streamed_text_is_not_sent_again() {
        let turn = TurnView::open("turn_1", &Default::default());
        let mut long = StreamedText::default();
        long.push(5, &"ä".repeat(300));
        let mut short = StreamedText::default();
        short.push(0, "short");
        let messages =
            [&long, &short].map(|text| answer_message(&turn, "msg_1", text, &[])).to_vec();
        let effects = JournalEffects { messages, ..Default::default() };
        let sent = without_streamed_texts(effects.clone());
        assert_eq!(effects.messages[0].content.len(), 600, "the history in memory has it");
        assert_eq!(sent.messages[0].content, "");
        let place = sent.messages[0].entry_text.clone().expect("a place");
        assert_eq!((place.first_sequence, place.last_sequence, place.size_bytes), (5, 5, 600));
        assert_eq!(
            (sent.messages[1].content.as_str(), &sent.messages[1].entry_text),
            ("short", &None)
        );
    }
}
