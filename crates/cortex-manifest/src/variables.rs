//! Variables in manifests: what is resolved when a manifest is loaded, and what waits until it runs.
//!
//! Written `$NAME`, `${NAME}`, `${NAME:-default}`, `$(NAME)` or `${{NAME}}`; `$$` is a dollar sign.
//! Names are in upper case. References such as `$(steps.a.b)` and variables of a session, of a task
//! or of time stay as they are until execution, and so does `$$` in front of one of them, so that
//! the second pass knows that it is escaped. Of the environment, only what the configuration allows
//! can be seen: a manifest is readable through the API, a secret must not be.

use std::collections::BTreeMap;

use cortex_config::{
    KeyPath,
    yaml::{Content, Node},
};

use crate::{
    diagnostic::{Report, code},
    kind::ManifestKind,
};

/// Known only while something runs.
const RUN_TIME: &[&str] = &[
    "TIMESTAMP",
    "TIMESTAMP_UNIX",
    "DATE",
    "TIME",
    "DATETIME",
    "YEAR",
    "MONTH",
    "DAY",
    "SESSION_ID",
    "USER_ID",
    "USER_INTENT",
    "ITERATION_COUNT",
    "LAST_RESULT",
    "CONFIDENCE",
    "ERROR_COUNT",
    "TASK_ID",
    "TASK_STATUS",
    "TASK_PRIORITY",
    "WORKFLOW_ID",
    "EXECUTION_ID",
    "TURN_ID",
];

/// Known to every manifest, unless the environment is allowed to say otherwise.
const DEFAULTS: &[(&str, &str)] =
    &[("HOME", "/home/cortex"), ("USER", "cortex"), ("PWD", "/"), ("HOSTNAME", "cortex-prime")];

/// Defaults within defaults are resolved this deep.
const MAX_DEPTH: usize = 8;

/// What variables stand for when a manifest is loaded.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    values: BTreeMap<String, String>,
}

impl Variables {
    /// The built-in ones, and those of `environment` whose names are `allowed`.
    pub fn new(
        environment: impl IntoIterator<Item = (String, String)>,
        allowed: &[String],
    ) -> Self {
        let mut values: BTreeMap<String, String> =
            DEFAULTS.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        values.extend(environment.into_iter().filter(|(name, _)| allowed.contains(name)));
        Self { values }
    }

    /// These, and what a manifest says about itself.
    #[must_use]
    pub fn for_manifest(&self, kind: ManifestKind, name: &str, version: &str) -> Self {
        let mut values = self.values.clone();
        let own = kind.as_str().to_uppercase();
        for (variable, value) in [
            ("AGENT_ID".to_owned(), name),
            ("AGENT_NAME".to_owned(), name),
            ("AGENT_VERSION".to_owned(), version),
            (format!("{own}_NAME"), name),
            (format!("{own}_VERSION"), version),
        ] {
            values.insert(variable, value.to_owned());
        }
        if kind != ManifestKind::Workflow {
            values.insert(format!("{own}_ID"), name.to_owned());
        }
        Self { values }
    }

    /// Resolves a text. Names that are not known are told to `unknown` and stay as they are.
    pub fn resolve(&self, text: &str, unknown: &mut dyn FnMut(&str)) -> String {
        self.resolve_within(text, unknown, 0)
    }

    /// Resolves only `${{NAME}}`, for prose in which a dollar sign usually is one.
    pub fn resolve_prose(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${{") {
            out.push_str(&rest[..start]);
            let reference = Reference::at_start(&rest[start..]);
            let known = reference.as_ref().and_then(|r| Some((r, self.values.get(r.name)?)));
            match known {
                Some((reference, value)) => {
                    out.push_str(value);
                    rest = &rest[start + reference.length..];
                }
                None => {
                    out.push_str("${{");
                    rest = &rest[start + 3..];
                }
            }
        }
        out.push_str(rest);
        out
    }

    /// Resolves every text below `node`, but no key. What is not known is a warning.
    pub fn resolve_node(&self, node: &mut Node, path: &KeyPath, report: &Report) {
        let at = node.at;
        match &mut node.content {
            Content::Text(text) if text.contains('$') => {
                let resolved = self.resolve(text, &mut |name| {
                    let message = format!(
                        "'{name}' is not a variable that manifests can see; it stays as it is \
                         (the environment needs an entry in manifest.environment)"
                    );
                    report.warning(code::UNRESOLVED_VARIABLE, at, path, message);
                });
                *text = resolved;
            }
            Content::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.resolve_node(item, &path.index(index), report);
                }
            }
            Content::Map(entries) => {
                for entry in entries {
                    self.resolve_node(&mut entry.value, &path.key(&entry.key), report);
                }
            }
            _ => {}
        }
    }

    fn resolve_within(&self, text: &str, unknown: &mut dyn FnMut(&str), depth: usize) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find('$') {
            out.push_str(&rest[..start]);
            rest = &rest[start..];
            let length = if rest.starts_with("$$") {
                self.escape(rest, &mut out)
            } else {
                self.reference(rest, &mut out, unknown, depth)
            };
            rest = &rest[length..];
        }
        out.push_str(rest);
        out
    }

    /// Writes what `$$…` stands for; says how much of it was read.
    fn escape(&self, rest: &str, out: &mut String) -> usize {
        match Reference::at_start(&rest[1..]) {
            Some(reference) if reference.is_run_time() => {
                let length = 1 + reference.length;
                out.push_str(&rest[..length]);
                length
            }
            _ => {
                out.push('$');
                2
            }
        }
    }

    /// Writes what `$…` stands for; says how much of it was read.
    fn reference(
        &self,
        rest: &str,
        out: &mut String,
        unknown: &mut dyn FnMut(&str),
        depth: usize,
    ) -> usize {
        let Some(reference) = Reference::at_start(rest) else {
            out.push('$');
            return 1;
        };
        if reference.is_run_time() {
            out.push_str(&rest[..reference.length]);
        } else if let Some(value) = self.values.get(reference.name) {
            out.push_str(value);
        } else if let Some(default) = reference.default {
            let text = if depth < MAX_DEPTH {
                self.resolve_within(default, unknown, depth + 1)
            } else {
                default.to_owned()
            };
            out.push_str(&text);
        } else {
            unknown(reference.name);
            out.push_str(&rest[..reference.length]);
        }
        reference.length
    }
}

/// A variable as it is written.
struct Reference<'t> {
    /// Its name, or an expression such as `steps.a.b`.
    name: &'t str,
    default: Option<&'t str>,
    /// Bytes, the dollar sign included.
    length: usize,
}

impl<'t> Reference<'t> {
    /// Reads the reference that `text`, which starts with a dollar sign, starts with.
    fn at_start(text: &'t str) -> Option<Self> {
        let after = text.strip_prefix('$')?;
        if let Some(inner) = after.strip_prefix("{{") {
            let end = inner.find("}}")?;
            let name = inner[..end].trim();
            return is_variable(name).then_some(Self { name, default: None, length: end + 5 });
        }
        if let Some(inner) = after.strip_prefix('{') {
            return Self::in_braces(inner);
        }
        if let Some(inner) = after.strip_prefix('(') {
            let end = inner.find(')')?;
            let name = inner[..end].trim();
            let known = is_variable(name) || is_expression(name);
            return known.then_some(Self { name, default: None, length: end + 3 });
        }
        let end = after.find(|c: char| !is_name_char(c)).unwrap_or(after.len());
        let name = &after[..end];
        is_variable(name).then_some(Self { name, default: None, length: end + 1 })
    }

    fn in_braces(inner: &'t str) -> Option<Self> {
        let end = closing_brace(inner)?;
        let content = &inner[..end];
        let (name, default) = match content.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (content, None),
        };
        is_variable(name).then_some(Self { name, default, length: end + 3 })
    }

    fn is_run_time(&self) -> bool {
        RUN_TIME.contains(&self.name) || is_expression(self.name)
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.chars().all(is_name_char)
        && name.contains(|c: char| c.is_ascii_uppercase())
}

/// `trigger.x`, `input.f`, `steps.a.b`, `var.path`: resolved by what runs the workflow.
fn is_expression(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-[]".contains(c))
}

/// Where the brace closes that was opened before `inner`.
fn closing_brace(inner: &str) -> Option<usize> {
    let mut open = 1;
    for (position, c) in inner.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(position);
        }
    }
    None
}

#[cfg(test)]
#[path = "variables_tests.rs"]
mod tests;
