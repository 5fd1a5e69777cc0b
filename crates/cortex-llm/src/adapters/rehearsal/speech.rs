//! What the rehearsal says.

use serde_json::value::RawValue;

use crate::{
    completion::{Message, Tool},
    json::RawObject,
};

/// A tool's result in the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ToolResult<'a> {
    pub(super) tool: &'a str,
    pub(super) content: &'a str,
}

/// The results from message `after` on.
pub(super) fn results<'a>(messages: &'a [Message], after: usize) -> Vec<ToolResult<'a>> {
    let later = messages.get(after..).unwrap_or_default();
    let result = |message: &'a Message| match message {
        Message::Tool { call_id, name, content } => {
            let tool = if name.is_empty() { called(messages, call_id) } else { name };
            Some(ToolResult { tool, content })
        }
        _ => None,
    };
    later.iter().filter_map(result).collect()
}

/// The name of the tool that a call called.
fn called<'a>(messages: &'a [Message], call_id: &str) -> &'a str {
    let calls = messages.iter().filter_map(|message| match message {
        Message::Assistant { tool_calls, .. } => Some(tool_calls),
        _ => None,
    });
    calls.flatten().find(|call| call.call_id == call_id).map_or("tool", |call| &call.name)
}

/// How a real model comes in the place of this one.
const HOW: &str = "Set OPENAI_API_KEY or GROQ_API_KEY, or OPENAI_BASE_URL for any server that speaks \
                   OpenAI's API, or start Ollama, to get answers from a real model.";

/// The answer from the results of tools.
pub(super) fn report(results: &[ToolResult<'_>]) -> String {
    let said: Vec<String> = results.iter().map(sentence).collect();
    format!(
        "{}\n\nThis is a rehearsal: the built-in model repeats what tools say. {HOW}",
        said.join(" ")
    )
}

fn sentence(result: &ToolResult<'_>) -> String {
    let name = result.tool.replace(['_', '-'], " ");
    let (verb, text) = match said(result.content, DEPTH) {
        Said::Result(text) => ("says", text),
        Said::Error(text) => ("failed:", text),
    };
    let end = if text.ends_with(['.', '!', '?', '\n']) { "" } else { "." };
    format!("The {name} {verb} {text}{end}")
}

enum Said {
    Result(String),
    Error(String),
}

/// Fields that hold what a tool has to say, the most telling first.
const TELLING: [&str; 14] = [
    "result", "answer", "output", "text", "value", "content", "summary", "message", "response",
    "time", "now", "datetime", "iso", "data",
];
/// Objects within objects that are looked into.
const DEPTH: usize = 4;
/// Characters of a result that are repeated.
const LONGEST: usize = 2000;

/// What a tool's result says. Numbers keep their spelling.
fn said(content: &str, depth: usize) -> Said {
    let content = content.trim();
    if let Ok(text) = serde_json::from_str::<String>(content) {
        return Said::Result(cut(&text));
    }
    let object = RawObject::parse(content).ok().filter(|_| depth > 0);
    let Some(object) = object else { return Said::Result(cut(content)) };
    let given = |value: &&RawValue| !matches!(value.get(), "null" | "false" | "\"\"");
    if let Some(error) = object.get("error").filter(given) {
        let (Said::Result(text) | Said::Error(text)) = said(error.get(), depth - 1);
        return Said::Error(text);
    }
    let telling = TELLING.iter().find_map(|key| object.get(key).filter(given));
    let mut values = object.iter().map(|(_, value)| value);
    let only = values.next().filter(|_| values.next().is_none());
    match telling.or(only) {
        Some(value) => said(value.get(), depth - 1),
        None => Said::Result(cut(content)),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The answer to a message that asks for no tool.
pub(super) fn help(asked: &str, tools: &[Tool]) -> String {
    let mut text =
        "This is a rehearsal: no language model is connected, so this answer comes from \
                    the built-in model, which shows how answers stream and how tools are called."
            .to_owned();
    let asked = asked.trim();
    if !asked.is_empty() {
        let quoted: String = asked.chars().take(200).collect();
        text.push_str(&format!(" You said: \"{quoted}\"."));
    }
    if !tools.is_empty() {
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        text.push_str(&format!(
            " I call a tool when you name it. There are: {}.",
            names.join(", ")
        ));
        if names.contains(&"calculator") {
            text.push_str(" For example: use the calculator to multiply 6 by 7.");
        }
    }
    format!("{text} {HOW}")
}

/// The answer when a tool is named and what it needs is not said.
pub(super) fn unclear(tool: &str, missing: &[String]) -> String {
    format!(
        "To call {tool} I need {}. This is a rehearsal: the built-in model only understands plain \
         sentences such as \"use the calculator to multiply 6 by 7\", or the arguments as a JSON \
         object. {HOW}",
        missing.join(" and ")
    )
}

/// Tokens of four characters, without end.
pub(super) fn tokens() -> impl Iterator<Item = String> + Send {
    const TEXT: [&str; 5] = ["This", " is ", "a re", "hear", "sal "];
    TEXT.iter().cycle().map(|token| (*token).to_owned())
}
