//! What the model sees: persona, tools in canonical order, history from a cut point, then the state.

use std::collections::HashMap;

use cortex_proto::cortex::{
    llm::v1::{Message, Role, Tool, ToolCall},
    manifest::v1::AgentClosure,
    storage::v1::{HistoryMessage, MessageRole},
};

/// How much history the model sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContextLimits {
    /// Messages at most. On overflow the cut jumps to half of it, so that the prefix stays the same
    /// for many turns and provider caches hit.
    pub(crate) max_messages: usize,
}

/// Everything that a model call is made from.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) closure: &'a AgentClosure,
    /// Oldest first.
    pub(crate) history: &'a [HistoryMessage],
    /// The session's state: a JSON object.
    pub(crate) state: &'a str,
}

/// The conversation of a model call, oldest first.
pub(crate) fn prompt_messages(context: &Context<'_>, limits: ContextLimits) -> Vec<Message> {
    let mut messages = Vec::new();
    if let Some(persona) = persona(context.closure) {
        messages.push(text(Role::System, persona));
    }
    let history = &context.history[cut_point(context.history, limits)..];
    messages.extend(in_call_order(history));
    if !matches!(context.state.trim(), "" | "{}") {
        messages.push(text(
            Role::System,
            format!("State of this session, as JSON:\n{}", context.state),
        ));
    }
    messages
}

/// The tools that the model may call, by name: the same bytes for the same closure.
pub(crate) fn tool_definitions(closure: &AgentClosure) -> Vec<Tool> {
    let mut tools: Vec<Tool> = closure
        .tools
        .iter()
        .map(|tool| Tool {
            name: tool.name.clone(),
            description: tool.description.clone(),
            parameters: tool.parameters.clone(),
        })
        .collect();
    tools.sort_by(|a, b| a.name.cmp(&b.name));
    tools
}

fn persona(closure: &AgentClosure) -> Option<String> {
    let agent = closure.agent.as_ref()?;
    let parts: Vec<&str> = [agent.system_prompt.trim(), agent.user_prompt.trim()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    if parts.is_empty() {
        let about = agent.summary.trim();
        return Some(format!("You are {}. {about}", agent.name).trim_end().to_owned());
    }
    Some(parts.join("\n\n"))
}

/// Where the visible history begins: always at a user's message, so that no call loses its result.
///
/// With `n` messages over the limit the cut lies at a multiple of half the limit: it moves in jumps.
fn cut_point(history: &[HistoryMessage], limits: ContextLimits) -> usize {
    let max = limits.max_messages.max(2);
    if history.len() <= max {
        return 0;
    }
    let half = max / 2;
    let overflow = history.len() - max;
    let wanted = overflow.div_ceil(half) * half;
    (wanted..history.len())
        .find(|&i| history[i].role() == MessageRole::User)
        .unwrap_or_else(|| last_user(history))
}

fn last_user(history: &[HistoryMessage]) -> usize {
    history.iter().rposition(|message| message.role() == MessageRole::User).unwrap_or(0)
}

/// History as the model's messages; results stand in the order of their calls, each directly after
/// the message that called, and a call without a result (there should be none) gets one that says so.
fn in_call_order(history: &[HistoryMessage]) -> Vec<Message> {
    let mut results: HashMap<&str, &HistoryMessage> = history
        .iter()
        .filter(|message| message.role() == MessageRole::Tool)
        .map(|message| (message.call_id.as_str(), message))
        .collect();
    let mut messages = Vec::with_capacity(history.len());
    for message in history {
        match message.role() {
            MessageRole::Tool => {}
            MessageRole::Assistant => {
                messages.push(assistant(message));
                for call in &message.tool_calls {
                    let content = results
                        .remove(call.call_id.as_str())
                        .map_or_else(|| MISSING_RESULT.to_owned(), |result| result.content.clone());
                    messages.push(tool(&call.call_id, &call.name, content));
                }
            }
            MessageRole::System => messages.push(text(Role::System, message.content.clone())),
            MessageRole::User | MessageRole::Unspecified => {
                messages.push(text(Role::User, message.content.clone()));
            }
        }
    }
    messages
}

const MISSING_RESULT: &str = r#"{"error":"the result of this call was removed from the history"}"#;

fn text(role: Role, content: String) -> Message {
    Message { role: role.into(), content, ..Default::default() }
}

fn tool(call_id: &str, name: &str, content: String) -> Message {
    Message {
        role: Role::Tool.into(),
        content,
        call_id: call_id.to_owned(),
        name: name.to_owned(),
        ..Default::default()
    }
}

fn assistant(message: &HistoryMessage) -> Message {
    let tool_calls = message
        .tool_calls
        .iter()
        .zip(0..)
        .map(|(call, index)| ToolCall {
            index,
            call_id: call.call_id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.clone(),
            provider_data: call.provider_data.clone(),
        })
        .collect();
    Message {
        role: Role::Assistant.into(),
        content: message.content.clone(),
        tool_calls,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use cortex_proto::cortex::{manifest::v1::AgentSpec, storage::v1::HistoryToolCall};

    use super::*;

    fn message(role: MessageRole, content: &str) -> HistoryMessage {
        HistoryMessage { role: role.into(), content: content.to_owned(), ..Default::default() }
    }

    fn closure() -> AgentClosure {
        let agent = AgentSpec { system_prompt: "Be brief.".into(), ..Default::default() };
        AgentClosure { agent: Some(agent), ..Default::default() }
    }

    fn prompt(history: &[HistoryMessage], max_messages: usize) -> Vec<Message> {
        let closure = closure();
        let context = Context { closure: &closure, history, state: "{}" };
        prompt_messages(&context, ContextLimits { max_messages })
    }

    #[test]
    fn results_follow_their_calls_in_call_order() {
        let call = |id: &str| HistoryToolCall {
            call_id: id.into(),
            name: "t".into(),
            ..Default::default()
        };
        let result = |id: &str, content: &str| HistoryMessage {
            call_id: id.into(),
            ..message(MessageRole::Tool, content)
        };
        let asked = HistoryMessage {
            tool_calls: vec![call("a"), call("b")],
            ..message(MessageRole::Assistant, "")
        };
        let history = [message(MessageRole::User, "q"), asked, result("b", "2"), result("a", "1")];
        let seen: Vec<String> = prompt(&history, 100).iter().map(|m| m.content.clone()).collect();
        assert_eq!(seen, ["Be brief.", "q", "", "1", "2"]);
    }

    #[test]
    fn the_cut_moves_in_jumps_and_stands_at_a_users_message() {
        let history: Vec<HistoryMessage> = (0..40)
            .map(|i| {
                let role = if i % 2 == 0 { MessageRole::User } else { MessageRole::Assistant };
                message(role, &i.to_string())
            })
            .collect();
        let firsts: Vec<String> =
            (10..=40).map(|n| prompt(&history[..n], 10)[1].content.clone()).collect();
        let mut distinct = firsts.clone();
        distinct.dedup();
        assert_eq!(distinct, ["0", "6", "10", "16", "20", "26", "30"]);
        for n in 10..=40 {
            assert!(prompt(&history[..n], 10).len() <= 11);
        }
    }

    #[test]
    fn the_state_stands_at_the_tail_unless_it_is_empty() {
        let closure = closure();
        let history = [message(MessageRole::User, "q")];
        let context = Context { closure: &closure, history: &history, state: r#"{"a":1}"# };
        let messages = prompt_messages(&context, ContextLimits { max_messages: 10 });
        assert_eq!(messages.len(), 3);
        assert!(messages[2].content.ends_with(r#"{"a":1}"#));
    }
}
