//! Labels of a number, and the text under which they are stored.
//!
//! Stored labels are one text, by key: each key and value between the separators that ASCII has for
//! records and units. Neither may be part of a key or a value, so a label is a piece of that text
//! that can be looked for.

use std::collections::BTreeMap;

use crate::error::{Result, StorageError};

/// Begins and ends a label.
const RECORD: char = '\u{1e}';
/// Stands between a key and its value.
const UNIT: char = '\u{1f}';

/// What else is said about a number: at most 32 keys with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Labels at most.
    pub const MAX: usize = 32;
    /// Characters of a key at most.
    pub const MAX_KEY: usize = 64;
    /// Characters of a value at most.
    pub const MAX_VALUE: usize = 256;

    /// Reads the labels of a number in `field`.
    ///
    /// # Errors
    /// [`StorageError::TooManyLabels`], [`StorageError::Invalid`].
    pub fn parse(field: &str, labels: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut checked = BTreeMap::new();
        let mut given = 0;
        for (key, value) in labels {
            given += 1;
            if given <= Self::MAX {
                check_key(field, &key)?;
                check_value(field, &key, &value)?;
                checked.insert(key, value);
            }
        }
        if given > Self::MAX {
            let field = field.to_owned();
            return Err(StorageError::TooManyLabels { field, given, limit: Self::MAX });
        }
        Ok(Self(checked))
    }

    /// Reads the labels of a filter in `labels`, each as `key=value`.
    ///
    /// # Errors
    /// [`StorageError::TooManyLabels`], [`StorageError::Invalid`].
    pub fn parse_filter(labels: &[String]) -> Result<Self> {
        let mut checked = BTreeMap::new();
        for (index, label) in labels.iter().take(Self::MAX).enumerate() {
            let field = || format!("labels[{index}]");
            let Some((key, value)) = label.split_once('=') else {
                return Err(StorageError::invalid(field(), "must be key=value"));
            };
            check_key(&field(), key)?;
            check_value(&field(), key, value)?;
            if checked.insert(key.to_owned(), value.to_owned()).is_some_and(|other| other != value)
            {
                let problem = format!("asks for a second value of '{key}'; a number has one");
                return Err(StorageError::invalid(field(), problem));
            }
        }
        if labels.len() > Self::MAX {
            let (field, given) = ("labels".to_owned(), labels.len());
            return Err(StorageError::TooManyLabels { field, given, limit: Self::MAX });
        }
        Ok(Self(checked))
    }

    /// The text under which they are stored.
    pub(crate) fn encode(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.0 {
            text.extend([RECORD]);
            text.push_str(key);
            text.extend([UNIT]);
            text.push_str(value);
        }
        if !text.is_empty() {
            text.extend([RECORD]);
        }
        text
    }

    /// The labels of a stored text.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let inner = text.strip_prefix(RECORD)?.strip_suffix(RECORD)?;
        let pair = |label: &str| {
            let (key, value) = label.split_once(UNIT)?;
            Some((key.to_owned(), value.to_owned()))
        };
        inner.split(RECORD).map(pair).collect::<Option<_>>().map(Self)
    }

    /// What a stored text holds if it has each of these labels.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(key, value)| format!("{RECORD}{key}{UNIT}{value}{RECORD}"))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Bytes that they take, nearly.
    pub fn size(&self) -> usize {
        self.0.iter().map(|(key, value)| key.len() + value.len() + 2).sum()
    }
}

impl IntoIterator for Labels {
    type Item = (String, String);
    type IntoIter = std::collections::btree_map::IntoIter<String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Checks the key of a label in `field`.
///
/// # Errors
/// [`StorageError::Invalid`].
pub(crate) fn check_key(field: &str, key: &str) -> Result<()> {
    if key.is_empty() || key.chars().count() > Labels::MAX_KEY {
        let problem = format!("a label's key must have 1 to {} characters", Labels::MAX_KEY);
        return Err(StorageError::invalid(field, problem));
    }
    if key.chars().any(|c| c == '=' || c.is_control()) {
        let problem = format!("a label's key has no '=' and no control characters: {key:?} does");
        return Err(StorageError::invalid(field, problem));
    }
    Ok(())
}

fn check_value(field: &str, key: &str, value: &str) -> Result<()> {
    if value.chars().count() > Labels::MAX_VALUE {
        let problem = format!(
            "the value of label '{key}' must have at most {} characters",
            Labels::MAX_VALUE
        );
        return Err(StorageError::invalid(field, problem));
    }
    if value.chars().any(char::is_control) {
        let problem = format!("the value of label '{key}' may have no control characters");
        return Err(StorageError::invalid(field, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Result<Labels> {
        Labels::parse("labels", pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    fn any_labels() -> impl Strategy<Value = BTreeMap<String, String>> {
        proptest::collection::btree_map("[^=\\pC]{1,8}", "[^\\pC]{0,8}", 0..5)
    }

    proptest! {
        #[test]
        fn stored_labels_come_back(pairs in any_labels()) {
            let labels = Labels::parse("labels", pairs).expect("allowed");
            prop_assert_eq!(Labels::decode(&labels.encode()), Some(labels));
        }

        #[test]
        fn a_piece_is_found_just_where_its_label_is(pairs in any_labels(), other in any_labels()) {
            let stored = Labels::parse("labels", pairs.clone()).expect("allowed");
            let asked = Labels::parse("labels", other.clone()).expect("allowed");
            let text = stored.encode();
            let found = asked.pieces().all(|piece| text.contains(&piece));
            let has = other.iter().all(|(key, value)| pairs.get(key) == Some(value));
            prop_assert_eq!(found, has);
        }

        #[test]
        fn a_filter_is_read_or_refused(labels in proptest::collection::vec(".{0,20}", 0..4)) {
            let _ = Labels::parse_filter(&labels);
        }
    }

    #[test]
    fn what_is_wrong_with_labels_is_named() {
        let long_key = "k".repeat(65);
        let long_value = "v".repeat(257);
        for (key, value) in [
            ("", "x"),
            ("a=b", "x"),
            ("a\n", "x"),
            (&long_key, "x"),
            ("a", &long_value),
            ("a", "\0"),
        ] {
            assert!(
                matches!(labels(&[(key, value)]), Err(StorageError::Invalid { .. })),
                "{key:?}"
            );
        }
        let many = (0..33).map(|n| (n.to_string(), String::new()));
        let error = Labels::parse("metrics[3].labels", many);
        assert_eq!(
            error,
            Err(StorageError::TooManyLabels {
                field: "metrics[3].labels".into(),
                given: 33,
                limit: 32
            })
        );
    }

    #[test]
    fn a_filter_has_keys_and_values() {
        let filter = |labels: &[&str]| {
            Labels::parse_filter(&labels.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(filter(&["a=b", "c=d=e", "f="]), labels(&[("a", "b"), ("c", "d=e"), ("f", "")]));
        assert_eq!(filter(&["a=b", "a=b"]), labels(&[("a", "b")]));
        for bad in [&["a"][..], &["=b"], &["a=1", "a=2"]] {
            assert!(matches!(filter(bad), Err(StorageError::Invalid { .. })), "{bad:?}");
        }
    }
}
