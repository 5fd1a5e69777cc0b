//! Requests as domain values, and stored things as clients see them. All validation is here.

use std::time::Duration;

use cortex_core::{MessageId, SessionId};
use cortex_proto::cortex::{
    agent::v1::{self as api, BusyPolicy, MessageCommand, SessionInfo},
    storage::v1 as stored,
};

use crate::{config::AgentConfig, error::AgentError};

/// Longest reason of a cancel or an end, in characters.
const MAX_REASON: usize = 1024;
/// Longest turn that a message may ask for.
const MAX_TURN: Duration = Duration::from_secs(24 * 3600);

/// A message to send, checked.
#[derive(Debug, Clone)]
pub(crate) struct OutgoingMessage {
    pub(crate) session_id: String,
    pub(crate) command: MessageCommand,
    pub(crate) request_id: String,
    pub(crate) policy: BusyPolicy,
    pub(crate) after_sequence: i64,
}

fn field(field: &'static str, problem: impl Into<String>) -> AgentError {
    AgentError::Field { field, problem: problem.into() }
}

/// Checks a session's id.
pub(crate) fn session_id(text: &str) -> Result<String, AgentError> {
    match SessionId::parse(text) {
        Ok(id) => Ok(id.into()),
        Err(error) => Err(field("session_id", error.to_string())),
    }
}

/// Checks a request id; empty is none.
pub(crate) fn request_id(text: &str) -> Result<(), AgentError> {
    if text.len() > 128 || text.chars().any(char::is_control) {
        return Err(field("request_id", "must be 1 to 128 characters without control characters"));
    }
    Ok(())
}

/// Checks a reason.
pub(crate) fn reason(text: &str) -> Result<(), AgentError> {
    if text.chars().count() > MAX_REASON {
        return Err(field("reason", format!("must be at most {MAX_REASON} characters")));
    }
    Ok(())
}

/// Checks a JSON object of at most `max` bytes; empty is absent.
pub(crate) fn json_object(name: &'static str, text: &str, max: usize) -> Result<(), AgentError> {
    if text.len() > max {
        return Err(field(name, format!("is {} bytes; at most {max} are allowed", text.len())));
    }
    if text.is_empty() {
        return Ok(());
    }
    let parsed: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(text);
    parsed.map(drop).map_err(|error| field(name, format!("must be a JSON object: {error}")))
}

/// Checks a message to send.
pub(crate) fn message(
    request: api::SendMessageRequest,
    config: &AgentConfig,
) -> Result<OutgoingMessage, AgentError> {
    let session = session_id(&request.session_id)?;
    request_id(&request.request_id)?;
    json_object("metadata", &request.metadata, config.max_metadata.as_usize())?;
    content(&request.content, config.max_message.as_usize())?;
    let policy = BusyPolicy::try_from(request.busy_policy)
        .map_err(|_| field("busy_policy", "must be enqueue, reject, interrupt or steer"))?;
    if request.after_sequence < 0 {
        return Err(field("after_sequence", "must not be negative"));
    }
    if request.after_sequence > 0 && request.request_id.is_empty() {
        return Err(field("after_sequence", "needs the request_id of the message that it resumes"));
    }
    let turn_timeout = turn_timeout(request.turn_timeout.as_ref())?;
    Ok(OutgoingMessage {
        command: MessageCommand {
            message_id: message_id(&session, &request.request_id),
            content: request.content,
            metadata: request.metadata,
            turn_timeout,
        },
        session_id: session,
        request_id: request.request_id,
        policy,
        after_sequence: request.after_sequence,
    })
}

fn content(text: &str, max: usize) -> Result<(), AgentError> {
    if text.is_empty() {
        return Err(field("content", "must not be empty"));
    }
    if text.len() > max {
        return Err(field(
            "content",
            format!("is {} bytes; at most {max} are allowed", text.len()),
        ));
    }
    Ok(())
}

fn turn_timeout(
    asked: Option<&prost_types::Duration>,
) -> Result<Option<prost_types::Duration>, AgentError> {
    let Some(asked) = asked else { return Ok(None) };
    let timeout = Duration::try_from(*asked).unwrap_or_default();
    if !(Duration::from_secs(1)..=MAX_TURN).contains(&timeout) {
        return Err(field("turn_timeout", "must be 1 s to 24 h"));
    }
    Ok(Some(*asked))
}

/// The message's id: the same for the same request, so that a repeated call is the same command.
fn message_id(session_id: &str, request_id: &str) -> String {
    if request_id.is_empty() {
        return MessageId::generate().into();
    }
    let hash = blake3::hash(format!("{session_id}\n{request_id}").as_bytes()).to_hex();
    format!("{}{}", MessageId::PREFIX, &hash.as_str()[..32])
}

/// The two requests are one, for a caller who waits for one answer.
pub(crate) fn as_send(request: api::SubmitMessageRequest) -> api::SendMessageRequest {
    api::SendMessageRequest {
        session_id: request.session_id,
        content: request.content,
        metadata: request.metadata,
        stream: None,
        request_id: request.request_id,
        busy_policy: request.busy_policy,
        turn_timeout: request.turn_timeout,
        after_sequence: 0,
    }
}

/// A session as its clients see it.
pub(crate) fn session_info(
    session: stored::Session,
    journal: Option<&stored::Journal>,
) -> SessionInfo {
    SessionInfo {
        status: session.status,
        session_id: session.id,
        agent_name: session.agent_name,
        user_id: session.user_id,
        created_at: session.created_at,
        updated_at: session.updated_at,
        message_count: session.message_count,
        active_relics: Vec::new(),
        metadata: session.metadata,
        open_turn_id: journal.map(|j| j.open_turn_id.clone()).unwrap_or_default(),
        queued_messages: journal
            .map_or(0, |j| i32::try_from(j.queued_sequences.len()).unwrap_or(i32::MAX)),
        head_sequence: session.head_sequence,
        manifest_digest: session.manifest_digest,
    }
}

/// A message of the history as clients see it.
pub(crate) fn history_message(message: stored::HistoryMessage) -> api::HistoryMessage {
    api::HistoryMessage {
        role: role_name(message.role()).to_owned(),
        content: message.content,
        message_id: message.id,
        timestamp: message.timestamp,
        metadata: message.metadata,
        tool_calls: message
            .tool_calls
            .into_iter()
            .map(|call| api::HistoryToolCall {
                call_id: call.call_id,
                name: call.name,
                arguments: call.arguments,
            })
            .collect(),
        call_id: message.call_id,
        turn_id: message.turn_id,
    }
}

fn role_name(role: stored::MessageRole) -> &'static str {
    match role {
        stored::MessageRole::Assistant => "assistant",
        stored::MessageRole::System => "system",
        stored::MessageRole::Tool => "tool",
        stored::MessageRole::User | stored::MessageRole::Unspecified => "user",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn request() -> api::SendMessageRequest {
        api::SendMessageRequest {
            session_id: "session_0123456789abcdef".into(),
            content: "hello".into(),
            ..Default::default()
        }
    }

    fn refused(change: impl FnOnce(&mut api::SendMessageRequest)) -> String {
        let mut request = request();
        change(&mut request);
        match message(request, &AgentConfig::default()) {
            Ok(_) => "accepted".to_owned(),
            Err(AgentError::Field { field, .. }) => field.to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn each_bad_field_is_named() {
        assert_eq!(refused(|_| {}), "accepted");
        assert_eq!(refused(|r| r.session_id = "nope".into()), "session_id");
        assert_eq!(refused(|r| r.content.clear()), "content");
        assert_eq!(refused(|r| r.content = "x".repeat((4 << 20) + 1)), "content");
        assert_eq!(refused(|r| r.metadata = "[1]".into()), "metadata");
        assert_eq!(refused(|r| r.request_id = "x".repeat(129)), "request_id");
        assert_eq!(refused(|r| r.busy_policy = 77), "busy_policy");
        assert_eq!(refused(|r| r.after_sequence = 5), "after_sequence");
        let day = prost_types::Duration { seconds: 100_000, nanos: 0 };
        assert_eq!(refused(|r| r.turn_timeout = Some(day)), "turn_timeout");
    }

    #[test]
    fn the_same_request_is_the_same_message() {
        let ids: HashSet<String> = [("a", "1"), ("a", "1"), ("a", "2"), ("b", "1")]
            .iter()
            .map(|(session, request)| message_id(session, request))
            .collect();
        assert_eq!(ids.len(), 3);
        assert!(ids.iter().all(|id| MessageId::parse(id.as_str()).is_ok()));
    }
}
