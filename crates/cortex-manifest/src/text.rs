//! The text of a manifest: YAML with one or more documents, or Markdown with YAML front matter.

use cortex_config::yaml::{self, Content, Limits, Node, Position, SyntaxError};

/// How a text is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML, of which JSON is a part.
    Yaml,
    /// Markdown with front matter.
    Markdown,
    /// Whatever it looks like.
    Unknown,
}

impl Format {
    /// The format of files with this extension, in lower case. None: not one of manifests.
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "yml" | "yaml" | "json" => Some(Self::Yaml),
            "md" | "markdown" => Some(Self::Markdown),
            _ => None,
        }
    }
}

/// One document of a text: a map.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its fields.
    pub fields: Node,
    /// The Markdown behind its front matter, without white space around it.
    pub markdown: Option<String>,
}

/// Reads the documents of a text that are maps. Of a text with several documents, those that have a
/// `kind`, else the first.
///
/// # Errors
/// [`SyntaxError`] in the predecessor's words: for text that is not YAML, holds no document, or
/// whose documents are not maps.
pub fn read(text: &str, format: Format, limits: Limits) -> Result<Vec<Document>, SyntaxError> {
    match (format, front_matter(text)) {
        (Format::Markdown, Some(front)) => front.read(limits).map(|document| vec![document]),
        (Format::Markdown, None) => Err(SyntaxError {
            message: "A Markdown manifest starts with YAML between two lines of '---'".into(),
            at: Position { line: 1, column: 1 },
        }),
        (Format::Unknown, Some(front)) if front.is_followed_by_prose() => {
            front.read(limits).map(|document| vec![document])
        }
        _ => read_yaml(text, limits),
    }
}

fn read_yaml(text: &str, limits: Limits) -> Result<Vec<Document>, SyntaxError> {
    let documents = yaml::parse_documents(text, limits)?;
    let start = Position { line: 1, column: 1 };
    let Some(first) = documents.first() else {
        let message = "No valid YAML documents found in content".into();
        return Err(SyntaxError { message, at: start });
    };
    let first_at = first.at;
    let count = documents.len();
    let maps = documents.into_iter().filter(|node| matches!(node.content, Content::Map(_)));
    let (with_kind, without): (Vec<_>, Vec<_>) = maps.partition(|node| node.get("kind").is_some());
    let chosen = match (with_kind.is_empty(), count) {
        (false, _) => with_kind,
        (true, 1) => without,
        (true, _) => without.into_iter().take(1).collect(),
    };
    if chosen.is_empty() {
        let message = "Manifest must be a YAML dictionary".into();
        return Err(SyntaxError { message, at: first_at });
    }
    Ok(chosen.into_iter().map(|fields| Document { fields, markdown: None }).collect())
}

struct FrontMatter<'t> {
    yaml: &'t str,
    body: &'t str,
}

impl FrontMatter<'_> {
    fn read(&self, limits: Limits) -> Result<Document, SyntaxError> {
        // The line of the opening dashes is kept, so that positions are those of the file.
        let node = yaml::parse_documents(&format!("\n{}", self.yaml), limits)?.into_iter().next();
        match node {
            Some(fields) if matches!(fields.content, Content::Map(_)) => {
                Ok(Document { fields, markdown: Some(self.body.trim().to_owned()) })
            }
            _ => Err(SyntaxError {
                message: "Frontmatter must be a YAML dictionary".into(),
                at: Position { line: 2, column: 1 },
            }),
        }
    }

    /// Whether what follows is text rather than another document of YAML.
    fn is_followed_by_prose(&self) -> bool {
        let first = self.body.lines().map(str::trim).find(|line| !line.is_empty());
        let Some(first) = first else { return false };
        let key = first.split_once(':').map(|(key, _)| key);
        let is_key =
            |k: &str| !k.is_empty() && k.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        !first.starts_with("---") && !key.is_some_and(is_key)
    }
}

/// Splits `---`, YAML, `---`, body.
fn front_matter(text: &str) -> Option<FrontMatter<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (first, rest) = text.split_once('\n')?;
    if first.trim_end() != "---" {
        return None;
    }
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return Some(FrontMatter { yaml: &rest[..end], body: &rest[end + line.len()..] });
        }
        end += line.len();
    }
    None
}

/// The top-level `kind` and `name` of a text that may not even be YAML, by looking at its lines.
pub fn sniff(text: &str) -> (Option<&str>, Option<&str>) {
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let rest = line.strip_prefix(key)?.trim_start().strip_prefix(':')?;
            let rest = rest.split(" #").next().unwrap_or(rest).trim();
            let bare = rest.trim_matches(['"', '\'']);
            (!bare.is_empty()).then_some(bare)
        })
    };
    (value("kind"), value("name"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn documents(text: &str, format: Format) -> Result<Vec<Document>, String> {
        read(text, format, Limits::default()).map_err(|e| format!("{}: {}", e.at, e.message))
    }

    #[test]
    fn the_predecessors_words_are_kept() {
        let error = |text, format| documents(text, format).expect_err("refused");
        assert_eq!(error("", Format::Yaml), "1:1: No valid YAML documents found in content");
        assert_eq!(
            error("---\n---\n", Format::Yaml),
            "1:1: No valid YAML documents found in content"
        );
        assert_eq!(error("- a", Format::Yaml), "1:1: Manifest must be a YAML dictionary");
        assert_eq!(
            error("---\n- a\n---\nx", Format::Markdown),
            "2:1: Frontmatter must be a YAML dictionary"
        );
        assert!(error("# Title", Format::Markdown).contains("between two lines"));
    }

    #[test]
    fn front_matter_keeps_its_lines_and_its_body() {
        let text = "---\nkind: Agent\nname: a\n---\n\n# Hello\n\nYou are --- helpful.\n";
        let found = documents(text, Format::Markdown).expect("valid");
        assert_eq!(found[0].fields.entry("name").expect("name").key_at.line, 3);
        assert_eq!(found[0].markdown.as_deref(), Some("# Hello\n\nYou are --- helpful."));
        let unknown = documents(text, Format::Unknown).expect("valid");
        assert!(unknown[0].markdown.is_some());
    }

    #[test]
    fn a_yaml_file_with_separators_is_yaml() {
        let text = "---\nkind: Tool\nname: a\n---\nkind: Tool\nname: b\n---\nother: 1\n";
        for format in [Format::Yaml, Format::Unknown] {
            let found = documents(text, format).expect("valid");
            assert_eq!(found.len(), 2);
            assert!(found.iter().all(|document| document.markdown.is_none()));
        }
    }

    #[test]
    fn broken_text_still_tells_its_name() {
        let text = "kind: Tool\nname: \"x\" # a tool\nparameters: [\n";
        assert_eq!(sniff(text), (Some("Tool"), Some("x")));
        assert_eq!(sniff("kindly: yes\n name: y"), (None, None));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-a-z:{}\\[\\]&*!|>'\"# \\n\\t]{0,200}") {
            for format in [Format::Yaml, Format::Markdown, Format::Unknown] {
                let _ = documents(&text, format);
            }
            let _ = sniff(&text);
        }
    }
}
