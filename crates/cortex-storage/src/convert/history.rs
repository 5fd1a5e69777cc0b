//! The history.

use cortex_core::MessageId;

use super::{
    PageRequest,
    field::{
        entry_type, fingerprint, fits, id, name, not_negative, object, optional_id,
        optional_object, own_payload, session_id,
    },
    proto,
};
use crate::{
    config::Limits,
    entry_text::{EntryText, Text},
    error::{Result, StorageError},
    history::{Message, MessageQuery, NewMessage, Role, ToolCall},
    journal::{Command, CommandKind, Direct, DirectEffect, Fingerprint, RequestId},
    json,
    wire::LAST_FIELD,
};

/// The field of a request that has the text of the message.
const CONTENT_FIELD: u32 = 3;
/// A shorter text takes as much room as the place where it stands.
const LEAST_PLACED: usize = 64;

/// A message that joins by the history service.
pub(crate) fn add_message(
    mut request: proto::AddMessageRequest,
    limits: &Limits,
) -> Result<Direct> {
    let session_id = session_id(&std::mem::take(&mut request.session_id))?;
    let role = need_role("role", request.role)?;
    fits("content", request.content.len(), limits.message.get())?;
    let metadata = optional_object("metadata", request.metadata.clone(), limits.metadata.get())?;
    let command = Command {
        kind: CommandKind::History,
        name: entry_type("type", "add_message")?,
        payload: own_payload("type.googleapis.com/cortex.storage.v1.AddMessageRequest", &request),
    };
    let fingerprint = fingerprint(&request);
    let content = in_command(&command, request.content);
    let new = NewMessage {
        message_id: MessageId::generate(),
        role,
        content,
        metadata: metadata.unwrap_or_default(),
        tool_calls: Vec::new(),
        call_id: None,
        turn_id: None,
    };
    Ok(Direct {
        session_id,
        command,
        effect: DirectEffect::AddMessage(new),
        request_id: RequestId::parse(request.request_id)?,
        fingerprint,
        max_pending: limits.pending_commands,
        max_state: limits.state.get(),
    })
}

/// The text of a message that joins by `command`: where it stands in it, if that takes less room.
fn in_command(command: &Command, content: String) -> Text {
    if content.len() < LEAST_PLACED {
        return Text::Given(content);
    }
    let (name, path) = (command.name.clone(), vec![CONTENT_FIELD]);
    let place = EntryText { first: 0, last: 0, name, path, bytes: content.len() as u64 };
    Text::InEntries { place, found: 0 }
}

/// Every message leaves.
pub(crate) fn clear_history(
    request: &proto::ClearHistoryRequest,
    limits: &Limits,
) -> Result<Direct> {
    let command = Command {
        kind: CommandKind::History,
        name: entry_type("type", "clear_history")?,
        payload: own_payload(
            "type.googleapis.com/cortex.storage.v1.ClearHistoryRequest",
            &proto::ClearHistoryRequest::default(),
        ),
    };
    Ok(Direct {
        session_id: session_id(&request.session_id)?,
        command,
        effect: DirectEffect::ClearHistory,
        request_id: None,
        fingerprint: Fingerprint::default(),
        max_pending: limits.pending_commands,
        max_state: limits.state.get(),
    })
}

/// Which messages to list.
pub(crate) fn message_query(
    request: &proto::ListMessagesRequest,
) -> Result<(MessageQuery, PageRequest)> {
    let bound = (&request.session_id, request.role, request.latest);
    let sizes = (request.page_size, request.limit, request.offset);
    let page = PageRequest::parse_with_offset(sizes, &request.page_token, &bound)?;
    let query = MessageQuery {
        session_id: session_id(&request.session_id)?,
        role: role("role", request.role)?,
        page_size: page.size,
        latest: request.latest,
        from: page.number()?,
        offset: page.offset,
    };
    Ok((query, page))
}

/// A message that joins by an append.
pub(super) fn new_message(
    message: proto::NewHistoryMessage,
    limits: &Limits,
) -> Result<NewMessage> {
    const FIELDS: TextFields =
        TextFields { content: "effects.messages.content", place: "effects.messages.entry_text" };
    let content = text(FIELDS, message.content, message.entry_text, limits)?;
    let metadata =
        optional_object("effects.messages.metadata", message.metadata, limits.metadata.get())?;
    let tool_calls = message
        .tool_calls
        .into_iter()
        .map(|call| tool_call(call, limits))
        .collect::<Result<_>>()?;
    Ok(NewMessage {
        message_id: id("effects.messages.message_id", &message.message_id)?,
        role: need_role("effects.messages.role", message.role)?,
        content,
        metadata: metadata.unwrap_or_default(),
        tool_calls,
        call_id: optional_id("effects.messages.call_id", &message.call_id)?,
        turn_id: optional_id("effects.messages.turn_id", &message.turn_id)?,
    })
}

/// The fields of a text, and of the place where it stands.
pub(super) struct TextFields {
    pub(super) content: &'static str,
    pub(super) place: &'static str,
}

/// A text, or the place in the log where it stands.
pub(super) fn text(
    fields: TextFields,
    content: String,
    place: Option<proto::EntryText>,
    limits: &Limits,
) -> Result<Text> {
    let limit = limits.message.get();
    let Some(place) = place else {
        fits(fields.content, content.len(), limit)?;
        return Ok(Text::Given(content));
    };
    if !content.is_empty() {
        let problem = format!("cannot be given together with {}", fields.place);
        return Err(StorageError::invalid(fields.content, problem));
    }
    let place = entry_text(fields.place, place)?;
    fits(fields.place, usize::try_from(place.bytes).unwrap_or(usize::MAX), limit)?;
    Ok(Text::InEntries { place, found: 0 })
}

fn entry_text(field: &str, text: proto::EntryText) -> Result<EntryText> {
    let within =
        |name: &str, problem: String| StorageError::invalid(format!("{field}.{name}"), problem);
    let bytes = u64::try_from(text.size_bytes).ok().filter(|bytes| *bytes > 0);
    let bytes = bytes.ok_or_else(|| within("size_bytes", "must be at least 1".to_owned()))?;
    let number =
        |number: &i32| u32::try_from(*number).ok().filter(|n| (1..=LAST_FIELD).contains(n));
    let path: Option<Vec<u32>> = text.path.iter().map(number).collect();
    let path = path.filter(|path| (1..=EntryText::MAX_PATH).contains(&path.len()));
    let path = path.ok_or_else(|| {
        let problem =
            format!("must be 1 to {} field numbers from 1 to {LAST_FIELD}", EntryText::MAX_PATH);
        within("path", problem)
    })?;
    Ok(EntryText {
        first: not_negative(&format!("{field}.first_sequence"), text.first_sequence)?,
        last: not_negative(&format!("{field}.last_sequence"), text.last_sequence)?,
        name: entry_type(&format!("{field}.type"), &text.r#type)?,
        path,
        bytes,
    })
}

fn tool_call(call: proto::HistoryToolCall, limits: &Limits) -> Result<ToolCall> {
    const DATA: &str = "effects.messages.tool_calls.provider_data";
    let limit = limits.message.get();
    fits(DATA, call.provider_data.len(), limit)?;
    if !call.provider_data.is_empty() {
        json::check_value(&call.provider_data)
            .map_err(|error| StorageError::invalid(DATA, error.to_string()))?;
    }
    Ok(ToolCall {
        call_id: id("effects.messages.tool_calls.call_id", &call.call_id)?,
        name: name("effects.messages.tool_calls.name", call.name)?,
        arguments: object("effects.messages.tool_calls.arguments", call.arguments, limit)?,
        provider_data: call.provider_data,
    })
}

fn role(field: &str, number: i32) -> Result<Option<Role>> {
    let role = proto::MessageRole::try_from(number)
        .map_err(|_| StorageError::invalid(field, "is not one of the roles"))?;
    Ok(match role {
        proto::MessageRole::Unspecified => None,
        proto::MessageRole::User => Some(Role::User),
        proto::MessageRole::Assistant => Some(Role::Assistant),
        proto::MessageRole::System => Some(Role::System),
        proto::MessageRole::Tool => Some(Role::Tool),
    })
}

fn need_role(field: &str, number: i32) -> Result<Role> {
    role(field, number)?.ok_or_else(|| {
        StorageError::invalid(field, "is missing; it must be user, assistant, system or tool")
    })
}

/// A message as the contract has it.
pub(crate) fn message_to_proto(message: Message) -> proto::HistoryMessage {
    let role = match message.role {
        Role::User => proto::MessageRole::User,
        Role::Assistant => proto::MessageRole::Assistant,
        Role::System => proto::MessageRole::System,
        Role::Tool => proto::MessageRole::Tool,
    };
    let tool_calls = message.tool_calls.into_iter().map(|call| proto::HistoryToolCall {
        call_id: call.call_id.into(),
        name: call.name,
        arguments: call.arguments,
        provider_data: call.provider_data,
    });
    proto::HistoryMessage {
        id: message.message_id.into(),
        session_id: message.session_id,
        role: role.into(),
        content: message.content,
        timestamp: Some(message.timestamp.into()),
        metadata: if message.metadata.is_empty() { "{}".to_owned() } else { message.metadata },
        tool_calls: tool_calls.collect(),
        call_id: message.call_id.map(String::from).unwrap_or_default(),
        turn_id: message.turn_id.map(String::from).unwrap_or_default(),
        position: message.position,
    }
}
