//! Which tools a message asks for.

use serde_json::value::RawValue;

use super::{
    arguments::{Filled, Segment, fill},
    words::{Kind, Token, name_words, tokens},
};
use crate::completion::{Tool, ToolChoice};

/// A tool that shall be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) tool: String,
    /// A JSON object.
    pub(super) arguments: String,
}

/// What a message asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Intent {
    /// To call these tools, in order.
    Call(Vec<Wanted>),
    /// To call this tool, without saying what it needs.
    Unclear { tool: String, missing: Vec<String> },
    /// To talk.
    Talk,
}

/// A tool's name in a message: the tokens from `start` to before `end`.
#[derive(Debug, Clone, Copy)]
struct Mention<'a> {
    tool: &'a Tool,
    start: usize,
    end: usize,
}

/// What `text` asks for.
pub(super) fn wanted(text: &str, tools: &[Tool], choice: &ToolChoice) -> Intent {
    let (offered, forced): (Vec<&Tool>, bool) = match choice {
        ToolChoice::None => return Intent::Talk,
        ToolChoice::Auto => (tools.iter().collect(), false),
        ToolChoice::Required => (tools.iter().collect(), true),
        ToolChoice::Tool(name) => (tools.iter().filter(|tool| tool.name == *name).collect(), true),
    };
    let tokens = tokens(text);
    let mentions = mentions(&tokens, &offered);
    let intent = if mentions.is_empty() {
        by_operation(text, &tokens, &offered)
    } else {
        by_name(text, &tokens, &mentions)
    };
    match (
        intent,
        forced,
        mentions.first().map(|mention| mention.tool).or(offered.first().copied()),
    ) {
        (Intent::Call(calls), _, _) => Intent::Call(calls),
        (_, true, Some(tool)) => {
            let filled = fill(schema(tool), &Segment::whole(text, &tokens));
            Intent::Call(vec![Wanted { tool: tool.name.clone(), arguments: filled.json }])
        }
        (intent, _, _) => intent,
    }
}

fn schema(tool: &Tool) -> Option<&RawValue> {
    tool.parameters.as_deref()
}

/// The tool that does what the message says, without being named: "multiply 6 by 7".
fn by_operation(text: &str, tokens: &[Token<'_>], tools: &[&Tool]) -> Intent {
    let segment = Segment::whole(text, tokens);
    let does = |tool: &&Tool| {
        let filled = fill(schema(tool), &segment);
        let fits = filled.has_operation && filled.missing.is_empty();
        fits.then(|| Wanted { tool: tool.name.clone(), arguments: filled.json })
    };
    tools.iter().find_map(does).map_or(Intent::Talk, |wanted| Intent::Call(vec![wanted]))
}

fn by_name(text: &str, tokens: &[Token<'_>], mentions: &[Mention<'_>]) -> Intent {
    let mut calls = Vec::new();
    let mut unclear = None;
    for (at, mention) in mentions.iter().enumerate() {
        let repeated = mentions[..at].iter().any(|earlier| earlier.tool.name == mention.tool.name);
        let filled = fill_mention(text, tokens, mentions, at, repeated);
        if filled.missing.is_empty() {
            calls.push(Wanted { tool: mention.tool.name.clone(), arguments: filled.json });
        } else if !repeated && unclear.is_none() {
            let tool = mention.tool.name.clone();
            unclear = Some(Intent::Unclear { tool, missing: filled.missing });
        }
    }
    if calls.is_empty() { unclear.unwrap_or(Intent::Talk) } else { Intent::Call(calls) }
}

/// The arguments stand after the name, or before it, or around it. A tool that is named again is
/// called again only when its arguments are given again.
fn fill_mention(
    text: &str,
    tokens: &[Token<'_>],
    mentions: &[Mention<'_>],
    at: usize,
    repeated: bool,
) -> Filled {
    let mention = mentions[at];
    let schema = schema(mention.tool);
    let before = at.checked_sub(1).map_or(0, |at| mentions[at].end);
    let after = mentions.get(at + 1).map_or(tokens.len(), |next| next.start);
    let own = Segment::part(text, tokens, mention.end, after);
    let filled = fill(schema, &own);
    if filled.missing.is_empty() && !repeated {
        return filled;
    }
    if repeated {
        let nothing_new = own.tokens.is_empty() || filled.is_empty();
        let missing = if nothing_new { vec![String::new()] } else { filled.missing };
        return Filled { missing, ..filled };
    }
    let earlier = fill(schema, &Segment::part(text, tokens, before, mention.start));
    if earlier.missing.is_empty() {
        return earlier;
    }
    let around = [&tokens[before..mention.start], &tokens[mention.end..after]].concat();
    let both =
        fill(schema, &Segment { end: own.end, is_cut: own.is_cut, message: text, tokens: &around });
    if both.missing.is_empty() { both } else { filled }
}

/// The tools that are named, in order. Where two names overlap, the longer one counts.
fn mentions<'a>(tokens: &[Token<'_>], tools: &[&'a Tool]) -> Vec<Mention<'a>> {
    let names: Vec<(&Tool, Vec<String>)> =
        tools.iter().map(|tool| (*tool, name_words(&tool.name))).collect();
    let mut mentions = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let longest = names
            .iter()
            .filter_map(|(tool, words)| Some((*tool, named_at(&tokens[at..], words)?)))
            .max_by_key(|(tool, length)| (*length, tool.name.len()));
        match longest {
            Some((tool, length)) => {
                if !is_negated(&tokens[..at]) {
                    mentions.push(Mention { tool, start: at, end: at + length });
                }
                at += length;
            }
            None => at += 1,
        }
    }
    mentions
}

/// How many tokens at the start of `tokens` are the name: word by word, in one word, or quoted.
fn named_at(tokens: &[Token<'_>], words: &[String]) -> Option<usize> {
    let first = tokens.first()?;
    let joined = words.concat();
    match first.kind {
        Kind::Quote => (name_words(first.text) == words).then_some(1),
        Kind::Word if is_form(first.text, &joined) => Some(1),
        Kind::Word => {
            // `text_analyzer` and `text-analyzer` are two words with a symbol between them.
            let mut at = 0;
            for (n, word) in words.iter().enumerate() {
                if n > 0 && tokens.get(at)?.is_symbol("_-") {
                    at += 1;
                }
                let token = tokens.get(at).filter(|token| token.kind == Kind::Word)?;
                let last = n + 1 == words.len();
                let same = token.text.to_lowercase() == *word;
                if !(same || last && is_form(token.text, word)) {
                    return None;
                }
                at += 1;
            }
            (at > 0).then_some(at)
        }
        _ => None,
    }
}

/// Whether the word is the name, or more than one of it.
fn is_form(word: &str, name: &str) -> bool {
    let word = word.to_lowercase();
    word == name || word.strip_suffix('s') == Some(name)
}

/// Whether what follows is not wanted: "do not use the clock", "without the clock".
fn is_negated(before: &[Token<'_>]) -> bool {
    let near = &before[before.len().saturating_sub(4)..];
    let ends = near.iter().rposition(|token| token.is_symbol(".,;:!?")).map_or(0, |at| at + 1);
    near[ends..].iter().any(|token| {
        ["not", "don", "dont", "never", "without", "avoid"].iter().any(|word| token.is_word(word))
    })
}
