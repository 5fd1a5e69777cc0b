//! YAML text to values that know where they stand: the one module around serde-saphyr.
//!
//! YAML 1.2 booleans only (`yes` and `y` are text), so that a parameter may be called `y`; numbers
//! keep their spelling; a number with leading zeros or underscores is text; a repeated key, a number
//! that does not fit 64 bits, and a document beyond [`Limits`] are refused.

use std::{cell::Cell, fmt};

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Error, Options, Spanned, budget::BudgetBreach, options::NonFiniteFloatPolicy};

use crate::path::Step;

/// A place in a text, both from 1. Zero: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub content: Content,
    /// Where it starts.
    pub at: Position,
}

/// A value of YAML's core schema.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Nothing: `null`, `~`, or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number {
        /// Its value.
        value: Number,
        /// Its spelling.
        text: String,
    },
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order in which it is written, without repeated keys.
    Map(Vec<Entry>),
}

/// A key of a map and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key. One that is a number or a boolean is its spelling.
    pub key: String,
    /// Where the key starts.
    pub key_at: Position,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The value of `key`, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry of `key`, if this is a map that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value behind `steps`.
    pub fn find(&self, steps: &[Step]) -> Option<&Node> {
        steps.iter().try_fold(self, |node, step| match (step, &node.content) {
            (Step::Key(key), Content::Map(_)) => node.get(key),
            (Step::Index(index), Content::List(items)) => items.get(*index),
            _ => None,
        })
    }

    /// The text, if this is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What kind of value this is, for messages: `a number`.
    pub fn kind(&self) -> &'static str {
        match self.content {
            Content::Null => "nothing",
            Content::Bool(_) => "a boolean",
            Content::Number { .. } => "a number",
            Content::Text(_) => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }

    /// The value as JSON, keys in the order in which they are written.
    pub fn to_json(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number { value, .. } => Value::Number(value.clone()),
            Content::Text(text) => Value::String(text.clone()),
            Content::List(items) => items.iter().map(Self::to_json).collect(),
            Content::Map(entries) => Value::Object(
                entries.iter().map(|e| (e.key.clone(), e.value.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }
}

/// Why a text is not YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub at: Position,
}

/// How much YAML is accepted in one text. Above it, reading stops with a [`SyntaxError`].
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of text, and of what it says when aliases are written out. 1 MiB by default.
    pub bytes: usize,
    /// Nested values. 64 by default.
    pub depth: usize,
    /// Values, aliases counted each time they are used. 100,000 by default.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 20, depth: 64, nodes: 100_000 }
    }
}

/// The documents of a text, without empty ones.
///
/// # Errors
/// [`SyntaxError`] for text that is not YAML or exceeds `limits`.
pub fn parse_documents(text: &str, limits: Limits) -> Result<Vec<Node>, SyntaxError> {
    if text.len() > limits.bytes {
        let message =
            format!("the text has {} bytes; at most {} are read", text.len(), limits.bytes);
        return Err(SyntaxError { message, at: Position { line: 1, column: 1 } });
    }
    LEFT.set(limits.bytes);
    serde_saphyr::from_multiple_with_options::<Spanned<Raw>>(text, options(limits))
        .map_err(|error| syntax_error(&error))?
        .into_iter()
        .map(|raw| node(raw, text))
        .collect()
}

/// The one value of a text; an empty text is [`Content::Null`].
///
/// # Errors
/// [`SyntaxError`] for text that is not one YAML document.
pub fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut documents = parse_documents(text, Limits::default())?;
    if let Some(second) = documents.get(1) {
        let message = "only one document is expected here".to_owned();
        return Err(SyntaxError { message, at: second.at });
    }
    let empty = Node { content: Content::Null, at: Position { line: 1, column: 1 } };
    Ok(documents.pop().unwrap_or(empty))
}

/// A value as YAML text, ending in a line break.
pub fn to_text(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|_| format!("{value}\n"))
}

fn options(limits: Limits) -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: limits.depth,
            max_nodes: limits.nodes,
            max_events: limits.nodes.saturating_mul(4),
            max_documents: 64,
        },
        emit_comments: false,
        with_snippet: false,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
    }
}

fn position(location: serde_saphyr::Location) -> Position {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Position { line: number(location.line()), column: number(location.column()) }
}

fn syntax_error(error: &Error) -> SyntaxError {
    let at = error.location().map(position).unwrap_or_default();
    if let Error::DuplicateMappingKey { key: Some(key), .. } = error.without_snippet() {
        return SyntaxError { message: format!("the key '{key}' is written twice"), at };
    }
    if let Error::Budget { breach, .. } = error.without_snippet() {
        let message = match breach {
            BudgetBreach::Depth { .. } => "the values are nested too deeply",
            _ => "the text holds too many values",
        };
        return SyntaxError { message: message.to_owned(), at };
    }
    let shown = error.without_snippet().to_string();
    // The library appends its own "at line 3, column 5" to the first line; ours is in `at`.
    let first = shown.lines().next().unwrap_or_default();
    let message = first.rsplit_once(" at line ").map_or(first, |(message, _)| message);
    SyntaxError { message: message.trim_end_matches([',', ':']).to_owned(), at }
}

thread_local! {
    /// Bytes of text that the document being read on this thread may still say. The parser counts
    /// what is written, not what aliases repeat; and serde gives a visitor no other place for it.
    static LEFT: Cell<usize> = const { Cell::new(0) };
}

/// Takes the bytes of a text from what may still be said.
fn take<E: de::Error>(text: &str) -> Result<(), E> {
    let left = LEFT.get().checked_sub(text.len());
    LEFT.set(left.ok_or_else(|| E::custom("aliases repeat more text than is read"))?);
    Ok(())
}

/// A key, which counts like a text.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = String::deserialize(deserializer)?;
        take(&key)?;
        Ok(Self(key))
    }
}

/// A value as the parser gives it, before numbers get their spelling back.
enum Raw {
    Null,
    Bool(bool),
    Number(Option<Number>),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Key>, Spanned<Raw>)>),
}

fn node(raw: Spanned<Raw>, source: &str) -> Result<Node, SyntaxError> {
    let at = position(raw.referenced);
    let content = match raw.value {
        Raw::Null => Content::Null,
        Raw::Bool(value) => Content::Bool(value),
        Raw::Number(value) => number(value, spelling(raw.defined, source), at)?,
        Raw::Text(text) => Content::Text(text),
        Raw::List(items) => Content::List(
            items.into_iter().map(|item| node(item, source)).collect::<Result<_, _>>()?,
        ),
        Raw::Map(entries) => Content::Map(
            entries
                .into_iter()
                .map(|(key, value)| entry(key, value, source))
                .collect::<Result<_, _>>()?,
        ),
    };
    Ok(Node { content, at })
}

fn entry(key: Spanned<Key>, value: Spanned<Raw>, source: &str) -> Result<Entry, SyntaxError> {
    let key_at = position(key.referenced);
    Ok(Entry { key: key.value.0, key_at, value: node(value, source)? })
}

fn spelling(location: serde_saphyr::Location, source: &str) -> Option<&str> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
    source.get(start..end).map(str::trim)
}

fn number(value: Option<Number>, text: Option<&str>, at: Position) -> Result<Content, SyntaxError> {
    let digits = |t: &str| t.trim_start_matches(['-', '+']).bytes().all(|b| b.is_ascii_digit());
    match (value, text) {
        (Some(value), Some(text)) if value.is_f64() && digits(text) => Err(SyntaxError {
            message: format!("the number {text} does not fit 64 bits; write it in quotes"),
            at,
        }),
        (Some(value), text) => {
            let text = text.map_or_else(|| value.to_string(), str::to_owned);
            Ok(Content::Number { value, text })
        }
        (None, _) => Err(SyntaxError { message: "this is not a finite number".to_owned(), at }),
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> de::Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(Some(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(Some(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(Number::from_f64(value)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Raw, E> {
        take(text)?;
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Raw, E> {
        take(&text)?;
        Ok(Raw::Text(text))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
