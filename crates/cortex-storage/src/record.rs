//! Records: durable keys with compare-and-set, where services keep what is theirs.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    error::{Result, StorageError},
    key::key,
    time::Stamp,
};

key!(/// A key: 1 to 512 characters of `a-z A-Z 0-9 . _ - : /`.
    RecordKey, wrong_character);

fn wrong_character(text: &str) -> Option<&'static str> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-:/".contains(&b);
    (!text.bytes().all(allowed)).then_some("may have the characters a-z A-Z 0-9 . _ - : / only")
}

impl RecordKey {
    /// The first text after every key that starts with this one.
    pub(crate) fn end_of_prefix(&self) -> String {
        // Above every character that a key may have.
        format!("{}\u{7f}", self.0)
    }
}

/// A durable key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: RecordKey,
    /// The value.
    pub value: Bytes,
    /// The revision of its last change.
    pub revision: i64,
    /// When it was first written.
    pub created_at: Stamp,
    /// When it was last written.
    pub updated_at: Stamp,
    /// When it goes away by itself.
    pub expires_at: Option<Stamp>,
}

/// A record to write.
#[derive(Debug, Clone)]
pub struct PutRecord {
    /// The key.
    pub key: RecordKey,
    /// The value.
    pub value: Bytes,
    /// Only if the record has this revision; 0: only if there is none.
    pub expected: Option<i64>,
    /// After which time it goes away by itself.
    pub ttl: Option<Duration>,
}

/// A record to delete.
#[derive(Debug, Clone)]
pub struct DeleteRecord {
    /// The key.
    pub key: RecordKey,
    /// Only if the record has this revision.
    pub expected: Option<i64>,
}

/// One change of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordChange {
    /// Its revision.
    pub revision: i64,
    /// What was changed.
    pub key: RecordKey,
    /// The record as written; absent: it is gone.
    pub record: Option<Record>,
}

/// A page of records.
#[derive(Debug, Clone)]
pub struct RecordPage {
    /// The records, by key.
    pub records: Vec<Record>,
    /// The key after which the next page starts.
    pub next: Option<String>,
    /// The tenant's last revision when the page was read.
    pub revision: i64,
}

/// Refuses a change of `key` that expects another revision than `current`.
///
/// # Errors
/// [`StorageError::RevisionMismatch`].
pub(crate) fn check_revision(key: &RecordKey, expected: Option<i64>, current: i64) -> Result<()> {
    match expected {
        Some(expected) if expected != current => {
            let (what, key) = ("record", key.to_string());
            Err(StorageError::RevisionMismatch { what, key, expected, current })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_paths() {
        assert!(RecordKey::parse("container/intents/exec_01.a:b-c").is_ok());
        for bad in ["", "a b", "a%", "ä", &"x".repeat(513)] {
            assert!(RecordKey::parse(bad).is_err(), "{bad}");
        }
    }
}
