//! Reads the fields of a map, and says what is wrong with them.

use std::collections::BTreeMap;

use cortex_config::{
    KeyPath, closest,
    yaml::{Content, Node},
};

use crate::diagnostic::{Report, code};

/// The fields of one map of a manifest. A field that is `null` is not there.
#[derive(Clone)]
pub struct Fields<'m> {
    node: &'m Node,
    path: KeyPath,
    report: &'m Report,
}

impl<'m> Fields<'m> {
    /// The fields of `node`, which stands at `path`.
    pub fn new(node: &'m Node, path: KeyPath, report: &'m Report) -> Self {
        Self { node, path, report }
    }

    /// The map itself.
    pub fn node(&self) -> &'m Node {
        self.node
    }

    /// The path of the map.
    pub fn path(&self) -> &KeyPath {
        &self.path
    }

    /// Where to report what is wrong.
    pub fn report(&self) -> &'m Report {
        self.report
    }

    /// The value of `key`, whatever it is.
    pub fn value(&self, key: &str) -> Option<&'m Node> {
        self.node.get(key).filter(|node| node.content != Content::Null)
    }

    /// Whether there is a value.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Reports that `key` must be there.
    pub fn missing(&self, key: &str) {
        let message = format!("Missing required field: {key}");
        self.report.error(code::MISSING_FIELD, self.node.at, &self.path.key(key), message);
    }

    /// Reports that the value of `key` is wrong.
    pub fn error(&self, code: &'static str, key: &str, message: impl Into<String>, hint: &str) {
        let at = self.node.get(key).map_or(self.node.at, |node| node.at);
        self.report.error_with_hint(code, at, &self.path.key(key), message, hint);
    }

    /// Reports that the value of `key` is doubtful.
    pub fn warning(&self, code: &'static str, key: &str, message: impl Into<String>) {
        let at = self.node.get(key).map_or(self.node.at, |node| node.at);
        self.report.warning(code, at, &self.path.key(key), message);
    }

    /// A text.
    pub fn text(&self, key: &str) -> Option<&'m str> {
        let value = self.value(key)?;
        if value.as_text().is_none() {
            self.wrong_type(key, value, "a text", "put it in quotes");
        }
        value.as_text()
    }

    /// A text that must be there and not be empty.
    pub fn required_text(&self, key: &str) -> Option<&'m str> {
        if !self.has(key) {
            self.missing(key);
            return None;
        }
        let text = self.text(key)?;
        if text.trim().is_empty() {
            self.error(code::INVALID_VALUE, key, format!("'{key}' is empty"), "");
            return None;
        }
        Some(text)
    }

    /// A text, or the spelling of a number or a boolean.
    pub fn spelled(&self, key: &str) -> Option<String> {
        let value = self.value(key)?;
        let text = spelling(value);
        if text.is_none() {
            self.wrong_type(key, value, "a text", "");
        }
        text
    }

    /// One of some texts.
    pub fn one_of(&self, key: &str, allowed: &[&'static str]) -> Option<&'static str> {
        let text = self.spelled(key)?;
        let found = allowed.iter().copied().find(|name| *name == text);
        if found.is_none() {
            let near = closest(&text, allowed.iter().copied());
            let hint = near.map(|near| format!("did you mean '{near}'?")).unwrap_or_default();
            let message = format!("'{text}' is not one of {}", allowed.join(", "));
            self.error(code::INVALID_VALUE, key, message, &hint);
        }
        found
    }

    /// A number from `least` to `most`. A text that spells one will do.
    pub fn number(&self, key: &str, least: f64, most: f64) -> Option<f64> {
        let value = self.value(key)?;
        let number = match &value.content {
            Content::Number { value, .. } => value.as_f64(),
            Content::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        let Some(number) = number.filter(|number: &f64| number.is_finite()) else {
            self.wrong_type(key, value, "a number", "");
            return None;
        };
        if !(least..=most).contains(&number) {
            let message = format!("{number} is out of range; it must be from {least} to {most}");
            self.error(code::OUT_OF_RANGE, key, message, "");
            return None;
        }
        Some(number)
    }

    /// A whole number from `least` to `most`. A text that spells one will do.
    pub fn integer(&self, key: &str, least: i64, most: i64) -> Option<i64> {
        let value = self.value(key)?;
        let number = match &value.content {
            Content::Number { value, .. } => value.as_i64().or_else(|| whole(value.as_f64()?)),
            Content::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.wrong_type(key, value, "a whole number", "");
            return None;
        };
        if !(least..=most).contains(&number) {
            let range = if most == i64::MAX || most == i64::from(i32::MAX) {
                format!("{least} or more")
            } else {
                format!("from {least} to {most}")
            };
            let message = format!("{number} is out of range; it must be {range}");
            self.error(code::OUT_OF_RANGE, key, message, "");
            return None;
        }
        Some(number)
    }

    /// A boolean. `yes`, `no`, `on` and `off` will do.
    pub fn boolean(&self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        let found = match &value.content {
            Content::Bool(value) => Some(*value),
            Content::Text(text) => match text.to_lowercase().as_str() {
                "true" | "yes" | "on" => Some(true),
                "false" | "no" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        };
        if found.is_none() {
            self.wrong_type(key, value, "true or false", "");
        }
        found
    }

    /// A map.
    pub fn section(&self, key: &str) -> Option<Fields<'m>> {
        let value = self.value(key)?;
        if !matches!(value.content, Content::Map(_)) {
            self.wrong_type(key, value, "a map", "");
            return None;
        }
        Some(Fields::new(value, self.path.key(key), self.report))
    }

    /// The items of a list, each with its path. A single value counts as a list of one.
    pub fn items(&self, key: &str) -> Vec<(&'m Node, KeyPath)> {
        let path = self.path.key(key);
        match self.value(key) {
            None => Vec::new(),
            Some(Node { content: Content::List(items), .. }) => {
                items.iter().enumerate().map(|(index, item)| (item, path.index(index))).collect()
            }
            Some(single) => vec![(single, path)],
        }
    }

    /// A list of maps.
    pub fn sections(&self, key: &str) -> Vec<Fields<'m>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        if !matches!(value.content, Content::List(_)) {
            self.wrong_type(key, value, "a list", "");
            return Vec::new();
        }
        let items = self.items(key).into_iter();
        items.filter_map(|(item, path)| self.as_section(item, path)).collect()
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Vec<String> {
        let items = self.items(key).into_iter();
        items
            .filter_map(|(item, path)| {
                let text = spelling(item);
                if text.is_none() {
                    let message = format!("expected a text, found {}", item.kind());
                    self.report.error(code::WRONG_TYPE, item.at, &path, message);
                }
                text
            })
            .collect()
    }

    /// A map of texts; numbers and booleans as they are spelled.
    pub fn text_map(&self, key: &str) -> BTreeMap<String, String> {
        let Some(section) = self.section(key) else { return BTreeMap::new() };
        let entries = section.node.entries().iter();
        entries
            .filter_map(|entry| {
                let text = section
                    .spelled(&entry.key)
                    .or_else(|| (entry.value.content == Content::Null).then(String::new))?;
                Some((entry.key.clone(), text))
            })
            .collect()
    }

    /// The keys and values of this map.
    pub fn entries(&self) -> impl Iterator<Item = (&'m str, &'m Node, KeyPath)> + '_ {
        let entries = self.node.entries().iter();
        entries.map(|entry| (entry.key.as_str(), &entry.value, self.path.key(&entry.key)))
    }

    /// `item` as fields, or a complaint that it is no map.
    pub fn as_section(&self, item: &'m Node, path: KeyPath) -> Option<Fields<'m>> {
        if !matches!(item.content, Content::Map(_)) {
            let message = format!("expected a map, found {}", item.kind());
            self.report.error(code::WRONG_TYPE, item.at, &path, message);
            return None;
        }
        Some(Fields::new(item, path, self.report))
    }

    /// Warns of keys that are not `known` but nearly: what is simply not known is kept as it is.
    pub fn suspect_typos(&self, known: &[&str]) {
        for entry in self.node.entries() {
            if known.contains(&entry.key.as_str()) {
                continue;
            }
            let taken = |name: &&str| !self.has(name);
            if let Some(near) = closest(&entry.key, known.iter().copied().filter(taken)) {
                let message =
                    format!("'{}' is not a known field; did you mean '{near}'?", entry.key);
                let path = self.path.key(&entry.key);
                self.report.warning(code::UNKNOWN_FIELD, entry.key_at, &path, message);
            }
        }
    }

    fn wrong_type(&self, key: &str, value: &Node, expected: &str, hint: &str) {
        let message = format!("expected {expected}, found {}", value.kind());
        self.error(code::WRONG_TYPE, key, message, hint);
    }
}

/// A scalar as it is spelled.
pub(super) fn spelling(node: &Node) -> Option<String> {
    match &node.content {
        Content::Text(text) => Some(text.clone()),
        Content::Number { text, .. } => Some(text.clone()),
        Content::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

fn whole(number: f64) -> Option<i64> {
    let fits = number.fract() == 0.0 && number.abs() < 9e15;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 53 bits")]
    fits.then_some(number as i64)
}
