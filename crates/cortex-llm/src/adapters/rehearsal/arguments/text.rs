//! Reads values out of the words: by a parameter's name, as a quotation, or as the rest of a sentence.

use std::ops::Range;

use super::{
    Segment,
    schema::{self, Parameter, Shape},
};
use crate::adapters::rehearsal::{
    vocabulary,
    words::{Kind, Token, json_number, name_words},
};

/// A value that stands after a parameter's name.
pub(super) struct Named {
    /// As JSON.
    pub(super) value: String,
    /// The tokens of the name and of the value.
    pub(super) tokens: Range<usize>,
}

/// Words that may stand between a parameter's name and its value.
const LINKS: [&str; 5] = ["is", "of", "to", "as", "set"];
/// Words at the start of a text that do not belong to it.
const LEAD: [&str; 19] = [
    "to", "and", "please", "that", "with", "the", "a", "an", "in", "on", "of", "tool", "agent",
    "now", "use", "using", "ask", "call", "run",
];
/// Words at the end of a text that lead to the next tool's name.
const TRAIL: [&str; 20] = [
    "and", "then", "use", "using", "the", "a", "an", "with", "by", "also", "ask", "call", "run",
    "to", "via", "in", "through", "my", "your", "please",
];
/// Words after which the text begins, wherever they stand.
const TOPIC: [&str; 2] = ["about", "for"];

/// Text as JSON.
pub(super) fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The value that stands after the name of parameter `at`.
pub(super) fn named(parameters: &[Parameter], at: usize, segment: &Segment<'_>) -> Option<Named> {
    let parameter = &parameters[at];
    let words = name_words(&parameter.name);
    let tokens = segment.tokens;
    (0..tokens.len()).find_map(|start| {
        let after = name_ends(tokens, start, &words)?;
        let assigned = tokens.get(after).filter(|token| token.is_symbol(":="));
        let (value, from) = match assigned {
            Some(mark) => (read(parameters, parameter, segment, after + 1, Some(mark))?, after + 1),
            // A single letter is too often an article or a variable of something else.
            None if parameter.name.len() < 3 => return None,
            None => {
                let linked = tokens.get(after).is_some_and(|t| LINKS.iter().any(|w| t.is_word(w)));
                let from = after + usize::from(linked);
                (read(parameters, parameter, segment, from, None)?, from)
            }
        };
        let (value, end) = value;
        Some(Named { value, tokens: start..end.max(from) })
    })
}

/// The token after the name that begins at `start`.
fn name_ends(tokens: &[Token<'_>], start: usize, words: &[String]) -> Option<usize> {
    let mut at = start;
    for (n, word) in words.iter().enumerate() {
        if n > 0 && tokens.get(at)?.is_symbol("_-") {
            at += 1;
        }
        if !tokens.get(at)?.is_word(word) {
            return None;
        }
        at += 1;
    }
    Some(at)
}

/// The value at token `from`, as JSON, and the token after it.
fn read(
    parameters: &[Parameter],
    parameter: &Parameter,
    segment: &Segment<'_>,
    from: usize,
    mark: Option<&Token<'_>>,
) -> Option<(String, usize)> {
    let token = segment.tokens.get(from)?;
    let one = |value: String| Some((value, from + 1));
    match &parameter.shape {
        Shape::Integer if token.kind == Kind::Number && schema::is_whole(token.text) => {
            one(json_number(token.text))
        }
        Shape::Number if token.kind == Kind::Number => one(json_number(token.text)),
        Shape::Boolean => match token.text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => one("true".to_owned()),
            "false" | "no" | "off" => one("false".to_owned()),
            _ => None,
        },
        Shape::Enum(choices) if mark.is_some() || token.kind == Kind::Quote => {
            one(schema::choose(choices, token.text)?.to_owned())
        }
        Shape::Text if token.kind == Kind::Quote => one(json(token.text)),
        Shape::Text => assigned_text(parameters, segment, from, mark?),
        _ => None,
    }
}

/// After `=` up to the next white space; after `:` up to the next parameter or the end.
fn assigned_text(
    parameters: &[Parameter],
    segment: &Segment<'_>,
    from: usize,
    mark: &Token<'_>,
) -> Option<(String, usize)> {
    let tokens = segment.tokens;
    let start = tokens[from].start;
    let is_next = |at: &usize| {
        let ends = |p: &Parameter| name_ends(tokens, *at, &name_words(&p.name));
        parameters
            .iter()
            .filter_map(ends)
            .any(|end| tokens.get(end).is_some_and(|token| token.is_symbol(":=")))
    };
    let next = (from..tokens.len()).find(is_next);
    let end = next.map_or(segment.end, |at| tokens[at].start);
    let text = &segment.message[start..end];
    let text = match mark.text {
        "=" => text.split_whitespace().next()?,
        _ => text,
    };
    let more = next.is_some() || mark.text == "=";
    let text = if more { text.trim().trim_end_matches([',', ';']) } else { text };
    let text = text.trim();
    let last = start + text.len();
    let after = tokens.iter().position(|token| token.start >= last).unwrap_or(tokens.len());
    (!text.is_empty()).then(|| (json(text), after))
}

/// Whether a token may be the value of an enum. An operator counts between two numbers only.
pub(super) fn can_be_choice(tokens: &[Token<'_>], at: usize) -> bool {
    let number = |at: Option<usize>| {
        at.and_then(|at| tokens.get(at)).is_some_and(|token| token.kind == Kind::Number)
    };
    match tokens[at].kind {
        Kind::Word | Kind::Symbol if vocabulary::is_operator(tokens[at].text) => {
            number(at.checked_sub(1)) && number(Some(at + 1))
        }
        Kind::Word | Kind::Quote => true,
        _ => false,
    }
}

/// "subtract 3 from 10" is 10 minus 3.
pub(super) fn swap_subtrahend(tokens: &[Token<'_>], numbers: &mut [usize]) {
    let [first, second, ..] = numbers else { return };
    let taken = tokens[..*first].iter().any(|token| {
        ["subtract", "subtracting", "take", "deduct"].iter().any(|word| token.is_word(word))
    });
    if taken && tokens[*first..*second].iter().any(|token| token.is_word("from")) {
        std::mem::swap(first, second);
    }
}

/// The words that are left, as one text: after a colon, after "about" or "for", or all of them.
pub(super) fn rest(segment: &Segment<'_>, used: &[bool]) -> Option<String> {
    let tokens = segment.tokens;
    let free = |at: &usize| !used[*at];
    let starts =
        |token: &Token<'_>| token.is_symbol(":") || TOPIC.iter().any(|word| token.is_word(word));
    let colon = (0..tokens.len()).filter(free).find(|at| tokens[*at].is_symbol(":"));
    let topic = (0..tokens.len()).filter(free).find(|at| starts(&tokens[*at]));
    let after = colon.or(topic).map(|at| tokens[at].end);
    if let Some(text) = after.and_then(|from| clean(segment, from)) {
        return Some(text);
    }
    let lead = |token: &Token<'_>| {
        token.kind == Kind::Symbol || LEAD.iter().any(|word| token.is_word(word))
    };
    let first = (0..tokens.len()).filter(free).find(|at| !lead(&tokens[*at]))?;
    clean(segment, tokens[first].start)
}

/// The text from `from` to the end of the segment, without the punctuation of a sentence's end and
/// without words that lead to the next tool.
fn clean(segment: &Segment<'_>, from: usize) -> Option<String> {
    let punctuation = |c: char| c.is_whitespace() || matches!(c, '.' | '?' | '!' | ',' | ';' | ':');
    let text = segment.message.get(from..segment.end)?.trim().trim_end_matches(punctuation);
    let text = if segment.is_cut { without_trail(text, punctuation) } else { text };
    (!text.is_empty()).then(|| text.to_owned())
}

fn without_trail(mut text: &str, punctuation: impl Fn(char) -> bool + Copy) -> &str {
    loop {
        let start = text.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        if !TRAIL.iter().any(|word| word.eq_ignore_ascii_case(&text[start..])) {
            return text;
        }
        text = text[..start].trim_end_matches(punctuation);
    }
}

/// The items of an enumeration: "a, b and c".
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ';'])
        .flat_map(|part| part.split(" and "))
        .map(str::trim)
        .filter(|s| !s.is_empty())
}
