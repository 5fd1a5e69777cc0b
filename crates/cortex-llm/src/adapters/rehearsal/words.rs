//! Splits a message into words, numbers, quotations, JSON objects and symbols.

use serde_json::value::RawValue;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Number,
    Quote,
    Json,
    Symbol,
}

/// A piece of a message. White space lies between tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// The text; of a quotation, what stands between the marks.
    pub(super) text: &'a str,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Token<'_> {
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    pub(super) fn is_symbol(&self, symbols: &str) -> bool {
        self.kind == Kind::Symbol && symbols.contains(self.text)
    }
}

/// The tokens of `text`, in order.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut at, mut before) = (0, None);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (length, token) = if first.is_whitespace() {
            (first.len_utf8(), None)
        } else {
            let (kind, inner, length) = next(rest, first, before);
            (length, Some(Token { kind, text: inner, start: at, end: at + length }))
        };
        tokens.extend(token);
        before = text[..at + length].chars().next_back();
        at += length;
    }
    tokens
}

fn next(rest: &str, first: char, before: Option<char>) -> (Kind, &str, usize) {
    if let Some(length) = json_object(rest) {
        return (Kind::Json, &rest[..length], length);
    }
    if let Some((inner, length)) = quotation(rest, first, before) {
        return (Kind::Quote, inner, length);
    }
    if let Some(length) = number(rest, before) {
        return (Kind::Number, &rest[..length], length);
    }
    let word = |c: char| c.is_alphanumeric();
    let length = if first.is_ascii_digit() {
        rest.find(|c: char| !word(c) && c != '.').unwrap_or(rest.len())
    } else if is_times(rest, before) {
        first.len_utf8()
    } else if word(first) {
        rest.find(|c: char| !word(c)).unwrap_or(rest.len())
    } else {
        return (Kind::Symbol, &rest[..first.len_utf8()], first.len_utf8());
    };
    (Kind::Word, &rest[..length], length)
}

/// Whether `rest` begins with the x of `6x7`.
fn is_times(rest: &str, before: Option<char>) -> bool {
    let digit = rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    rest.starts_with(['x', 'X']) && digit && before.is_some_and(|c| c.is_ascii_digit())
}

/// The length of the JSON object that `rest` begins with.
fn json_object(rest: &str) -> Option<usize> {
    if !rest.starts_with('{') {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
    let value = values.next()?.ok()?;
    Some(value.get().len())
}

/// What `rest` quotes, and the length with the marks. An apostrophe is a mark only where no letter
/// stands on its outer side.
fn quotation(rest: &str, first: char, before: Option<char>) -> Option<(&str, usize)> {
    let closing = match first {
        '"' => '"',
        '“' => '”',
        '«' => '»',
        '`' => '`',
        '\'' if !before.is_some_and(char::is_alphanumeric) => '\'',
        _ => return None,
    };
    let inner = &rest[first.len_utf8()..];
    let ends = |(at, mark): &(usize, &str)| {
        let after = inner[at + mark.len()..].chars().next();
        closing != '\'' || !after.is_some_and(char::is_alphanumeric)
    };
    let (end, mark) = inner.match_indices(closing).find(ends)?;
    Some((&inner[..end], first.len_utf8() + end + mark.len()))
}

/// The length of the number that `rest` begins with.
fn number(rest: &str, before: Option<char>) -> Option<usize> {
    let signed = rest.starts_with('-');
    if signed && before.is_some_and(|c| c.is_alphanumeric() || c == ')') {
        return None;
    }
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut at = usize::from(signed);
    let whole = digits(at);
    if whole == 0 {
        return None;
    }
    at += whole;
    while whole <= 3 && bytes.get(at) == Some(&b',') && digits(at + 1) == 3 {
        at += 4;
    }
    if bytes.get(at) == Some(&b'.') && digits(at + 1) > 0 {
        at += 1 + digits(at + 1);
        if bytes.get(at) == Some(&b'.') && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
            return None;
        }
    }
    at += exponent(&bytes[at..]);
    let after = rest[at..].chars().next();
    let times = matches!(after, Some('x' | 'X')) && digits(at + 1) > 0;
    let ends = times || !after.is_some_and(|c| c.is_alphanumeric() || c == '_');
    ends.then_some(at)
}

/// The length of the exponent that `rest` begins with, or 0.
fn exponent(rest: &[u8]) -> usize {
    if !matches!(rest.first(), Some(b'e' | b'E')) {
        return 0;
    }
    let sign = usize::from(matches!(rest.get(1), Some(b'+' | b'-')));
    match rest[1 + sign..].iter().take_while(|b| b.is_ascii_digit()).count() {
        0 => 0,
        digits => 1 + sign + digits,
    }
}

/// A number of a message as JSON, spelled as it was: only the separators of thousands and leading
/// zeros, which JSON does not know, are gone.
pub(super) fn json_number(text: &str) -> String {
    let text = text.replace(',', "");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let zeros = digits.bytes().take_while(|b| *b == b'0').count();
    let followed = digits.as_bytes().get(zeros).is_some_and(u8::is_ascii_digit);
    let skipped = if followed { zeros } else { zeros.saturating_sub(1) };
    format!("{sign}{}", &digits[skipped..])
}

/// The N of `rehearse N tokens`.
pub(super) fn rehearsed_tokens(text: &str) -> Option<usize> {
    let tokens = tokens(text);
    tokens.windows(3).find_map(|window| {
        let [verb, count, unit] = window else { return None };
        let asked = verb.is_word("rehearse") && (unit.is_word("tokens") || unit.is_word("token"));
        if asked { json_number(count.text).parse().ok() } else { None }
    })
}

/// The words of a tool's or parameter's name, in lower case: `text_analyzer`, `text-analyzer` and
/// `textAnalyzer` are `text`, `analyzer`.
pub(super) fn name_words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = None::<char>;
    for c in name.chars() {
        let starts = c.is_uppercase() && before.is_some_and(|b| !b.is_uppercase());
        if starts || !c.is_alphanumeric() {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before = Some(c);
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, &str)> {
        tokens(text).into_iter().map(|token| (token.kind, token.text)).collect()
    }

    #[test]
    fn numbers_are_told_from_words_signs_and_ends_of_sentences() {
        let numbers = |text| {
            let is_number = |(kind, text)| (kind == Kind::Number).then_some(text);
            kinds(text).into_iter().filter_map(is_number).collect::<Vec<_>>()
        };
        assert_eq!(numbers("6 by 7."), ["6", "7"]);
        assert_eq!(numbers("add -1.50 and 2e3, 1,200"), ["-1.50", "2e3", "1,200"]);
        assert_eq!(numbers("3-2 and 3 - 2 and 3*-2"), ["3", "2", "3", "2", "3", "-2"]);
        assert_eq!(numbers("6x7 7th tool2 10.0.0.1 1e"), ["6", "7"]);
        assert_eq!(numbers("9007199254740993"), ["9007199254740993"]);
    }

    #[test]
    fn numbers_keep_their_spelling() {
        for (text, json) in [
            ("6", "6"),
            ("1.50", "1.50"),
            ("1,200", "1200"),
            ("007", "7"),
            ("-0.5", "-0.5"),
            ("0", "0"),
            ("00", "0"),
        ] {
            assert_eq!(json_number(text), json);
        }
    }

    #[test]
    fn quotations_and_json_are_one_token() {
        assert_eq!(
            kinds(r#"don't say "a b" or 'c d' {"x": "}"} it's"#)
                .into_iter()
                .filter(|(kind, _)| matches!(kind, Kind::Quote | Kind::Json))
                .collect::<Vec<_>>(),
            [(Kind::Quote, "a b"), (Kind::Quote, "c d"), (Kind::Json, r#"{"x": "}"}"#)]
        );
    }

    #[test]
    fn names_are_words() {
        for name in ["text_analyzer", "text-analyzer", "textAnalyzer", "Text__Analyzer"] {
            assert_eq!(name_words(name), ["text", "analyzer"], "{name}");
        }
        assert_eq!(name_words("HTTPGet2"), ["httpget2"]);
    }

    #[test]
    fn a_number_of_tokens_can_be_asked_for() {
        assert_eq!(rehearsed_tokens("Please rehearse 1,000 tokens"), Some(1000));
        assert_eq!(rehearsed_tokens("rehearse some tokens"), None);
        assert_eq!(rehearsed_tokens("rehearse -3 tokens"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_split_without_loss(text in "[a-z0-9 .,'\"{}:*x-]{0,60}|.{0,40}") {
            let mut end = 0;
            for token in tokens(&text) {
                prop_assert!(text[end..token.start].trim().is_empty());
                prop_assert!(token.end > token.start);
                end = token.end;
            }
            prop_assert!(text[end..].trim().is_empty());
        }

        #[test]
        fn a_number_of_a_message_is_a_number_of_json(text in "-?[0-9]{1,4}(,[0-9]{3})?(\\.[0-9]{1,3})?(e[0-9])?") {
            for token in tokens(&text).into_iter().filter(|token| token.kind == Kind::Number) {
                let json = json_number(token.text);
                prop_assert!(serde_json::from_str::<serde_json::Number>(&json).is_ok(), "{}", json);
            }
        }
    }
}
