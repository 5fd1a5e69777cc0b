//! `text_analyzer`: counts what a text is made of.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::contract::{self, Answer, ToolError};

/// Words of the list of most frequent words when the caller does not say.
const DEFAULT_TOP: usize = 10;
/// Words of that list at most.
const MAX_TOP: usize = 100;
/// Words that an adult reads in a minute, silently: Brysbaert 2019, 238 for English non-fiction.
const WORDS_PER_MINUTE: usize = 238;

#[derive(Deserialize)]
struct Parameters {
    text: String,
    top: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Analysis {
    characters: usize,
    characters_without_spaces: usize,
    words: usize,
    unique_words: usize,
    sentences: usize,
    lines: usize,
    paragraphs: usize,
    longest_word: String,
    top_words: Vec<WordCount>,
    reading_time_seconds: usize,
}

#[derive(Debug, Serialize, PartialEq, Eq)]
struct WordCount {
    word: String,
    count: usize,
}

/// Analyses `text` and lists its `top` most frequent words.
pub(crate) fn run(parameters: &str) -> Result<Answer, ToolError> {
    let parameters: Parameters = contract::parse(parameters)?;
    let top = parameters.top.unwrap_or(DEFAULT_TOP);
    if top > MAX_TOP {
        return Err(ToolError(format!("'top' is {top}; at most {MAX_TOP} words can be listed")));
    }
    Ok(Answer::new(analyse(&parameters.text, top)))
}

fn analyse(text: &str, top: usize) -> Analysis {
    let words: Vec<&str> = words(text).collect();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for word in &words {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    let unique_words = counts.len();
    Analysis {
        characters: text.chars().count(),
        characters_without_spaces: text.chars().filter(|c| !c.is_whitespace()).count(),
        words: words.len(),
        unique_words,
        sentences: sentences(text),
        lines: text.lines().count(),
        paragraphs: paragraphs(text),
        longest_word: longest(&words),
        top_words: most_frequent(counts, top),
        reading_time_seconds: (words.len() * 60).div_ceil(WORDS_PER_MINUTE),
    }
}

/// Runs of characters between blanks, without the punctuation around them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
        .filter(|word| !word.is_empty())
}

fn longest(words: &[&str]) -> String {
    let mut longest = "";
    for word in words {
        if word.chars().count() > longest.chars().count() {
            longest = word;
        }
    }
    longest.to_owned()
}

/// Stretches of text that end with `.`, `!`, `?` or `…` before a blank, or with the text. The point
/// of `3.14` ends nothing.
fn sentences(text: &str) -> usize {
    let mut count = 0;
    let mut has_words = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        has_words |= character.is_alphanumeric();
        let ends = matches!(character, '.' | '!' | '?' | '…' | '。' | '！' | '？');
        let closes = |c: &char| c.is_whitespace() || matches!(c, '"' | '\'' | ')' | '”' | '’');
        if ends && has_words && characters.peek().is_none_or(closes) {
            count += 1;
            has_words = false;
        }
    }
    count + usize::from(has_words)
}

fn paragraphs(text: &str) -> usize {
    let mut count = 0;
    let mut inside = false;
    for line in text.lines() {
        let blank = line.trim().is_empty();
        count += usize::from(!blank && !inside);
        inside = !blank;
    }
    count
}

/// Most frequent first; the alphabet decides between equals.
fn most_frequent(counts: HashMap<String, usize>, top: usize) -> Vec<WordCount> {
    let mut counts: Vec<WordCount> =
        counts.into_iter().map(|(word, count)| WordCount { word, count }).collect();
    counts.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.word.cmp(&b.word)));
    counts.truncate(top);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_counted() {
        let text = "The cat sat. The \"cat\" ran!\n\nPi is 3.14, isn't it?  Yes";
        let analysis = analyse(text, 2);
        assert_eq!(analysis.words, 12);
        assert_eq!(analysis.unique_words, 10);
        assert_eq!(analysis.sentences, 4);
        assert_eq!(analysis.lines, 3);
        assert_eq!(analysis.paragraphs, 2);
        assert_eq!(analysis.longest_word, "isn't");
        assert_eq!(analysis.reading_time_seconds, 4);
        let top: Vec<_> = analysis.top_words.iter().map(|w| (w.word.as_str(), w.count)).collect();
        assert_eq!(top, [("cat", 2), ("the", 2)]);
    }

    #[test]
    fn characters_are_not_bytes() {
        let analysis = analyse("Größe ist 大", 10);
        assert_eq!(analysis.characters, 11);
        assert_eq!(analysis.characters_without_spaces, 9);
        assert_eq!(analysis.words, 3);
    }

    #[test]
    fn an_empty_text_has_nothing() {
        let analysis = analyse(" \n", 10);
        assert_eq!((analysis.words, analysis.sentences, analysis.paragraphs), (0, 0, 0));
        assert_eq!(analysis.reading_time_seconds, 0);
    }

    #[test]
    fn too_long_a_list_is_refused() {
        assert!(run(r#"{"text":"a","top":101}"#).is_err());
        assert!(run("{}").is_err());
    }
}
