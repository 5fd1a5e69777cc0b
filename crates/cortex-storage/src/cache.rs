//! The cache: JSON objects by key, which may go away.
//!
//! Each tenant's cache has bounds of its own in entries and in bytes, so that no tenant pushes out
//! another's. Reading an entry is a use of it; times of use wait in memory and are written together
//! (see [`Uses`]), since a commit for every read would make reads as dear as writes.

use std::{collections::HashMap, time::Duration};

use cortex_core::PageSize;

use crate::{
    error::{Result, StorageError},
    key::key,
    tenant::Tenant,
    time::Stamp,
};

key!(/// A key: 1 to 512 characters, any but NUL.
    CacheKey, wrong_character);

fn wrong_character(text: &str) -> Option<&'static str> {
    text.contains('\0').then_some("may not have the character NUL")
}

impl CacheKey {
    /// The first text after every key that starts with this one, in the order of code points; none
    /// when nothing can come after them.
    pub(crate) fn end_of_prefix(&self) -> Option<String> {
        let mut end: Vec<char> = self.0.chars().collect();
        while let Some(last) = end.pop() {
            // What follows U+D7FF in that order is U+E000: between them are no characters.
            let next = if last == '\u{d7ff}' {
                Some('\u{e000}')
            } else {
                char::from_u32(u32::from(last) + 1)
            };
            if let Some(next) = next {
                end.push(next);
                return Some(end.into_iter().collect());
            }
        }
        None
    }
}

/// A JSON object that may go away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// The key.
    pub key: CacheKey,
    /// The value: a JSON object.
    pub value: String,
    /// How long it stays after it was written; absent: until the cache is full.
    pub ttl: Option<Duration>,
    /// When it was written.
    pub created_at: Stamp,
    /// When it was last read, or else written.
    pub accessed_at: Stamp,
    /// When it goes away by itself.
    pub expires_at: Option<Stamp>,
    /// Rises with every writing of the key.
    pub revision: i64,
}

/// An entry to write.
#[derive(Debug, Clone)]
pub struct PutCacheEntry {
    /// The key.
    pub key: CacheKey,
    /// The value: a JSON object.
    pub value: String,
    /// How long it stays; absent: until the cache is full.
    pub ttl: Option<Duration>,
    /// Only if the entry has this revision; 0: only if there is none.
    pub expected: Option<i64>,
}

impl PutCacheEntry {
    /// Bytes of an entry that count, beside its key and its value: its row and its places in indexes,
    /// nearly.
    pub const OVERHEAD: usize = 128;

    /// Bytes that the entry counts for.
    pub fn size(&self) -> usize {
        self.key.as_str().len() + self.value.len() + Self::OVERHEAD
    }
}

/// An entry to delete.
#[derive(Debug, Clone)]
pub struct DeleteCacheEntry {
    /// The key.
    pub key: CacheKey,
    /// Only if the entry has this revision.
    pub expected: Option<i64>,
}

/// Which entries to list, by key.
#[derive(Debug, Clone)]
pub struct CacheQuery {
    /// What the keys start with.
    pub prefix: CacheKey,
    /// Entries at most.
    pub page_size: PageSize,
    /// Only keys after this one.
    pub after: Option<String>,
}

/// Refuses a change of `key` that expects another revision than `current`; 0: no entry.
///
/// # Errors
/// [`StorageError::RevisionMismatch`].
pub(crate) fn check_revision(key: &CacheKey, expected: Option<i64>, current: i64) -> Result<()> {
    match expected {
        Some(expected) if expected != current => {
            let (what, key) = ("cache entry", key.to_string());
            Err(StorageError::RevisionMismatch { what, key, expected, current })
        }
        _ => Ok(()),
    }
}

/// One entry of one tenant.
pub(crate) type Used = (Tenant, CacheKey);

/// Times of use that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Uses(HashMap<Used, Stamp>);

impl Uses {
    /// Notes a use.
    pub(crate) fn note(&mut self, tenant: &Tenant, key: &CacheKey, now: Stamp) {
        let last = self.0.entry((tenant.clone(), key.clone())).or_default();
        *last = now.max(*last);
    }

    /// The last use, if it is not written yet.
    pub(crate) fn last(&self, tenant: &Tenant, key: &CacheKey) -> Option<Stamp> {
        self.0.get(&(tenant.clone(), key.clone())).copied()
    }

    /// How many entries were used.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, to be written. They stay until [`Uses::written`], so that nobody is told an older
    /// time meanwhile.
    pub(crate) fn waiting(&self) -> Vec<(Used, Stamp)> {
        self.0.iter().map(|(used, at)| (used.clone(), *at)).collect()
    }

    /// Forgets what was written, unless there was a later use.
    pub(crate) fn written(&mut self, uses: &[(Used, Stamp)]) {
        for (used, at) in uses {
            if self.0.get(used).is_some_and(|last| last <= at) {
                self.0.remove(used);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_may_have_any_character_but_nul() {
        for good in ["a", "a/b c%2F", "ключ", "\u{10ffff}", &"ä".repeat(512)] {
            assert!(CacheKey::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a\0", &"x".repeat(513)] {
            assert!(CacheKey::parse(bad).is_err(), "{bad:?}");
        }
        assert!(CacheKey::parse_prefix("").is_ok());
    }

    proptest! {
        #[test]
        fn a_prefix_ends_where_its_keys_end(prefix in "\\PC{0,4}", key in "\\PC{0,6}") {
            let end = CacheKey::parse_prefix(&prefix).expect("a prefix").end_of_prefix();
            // As databases compare: byte by byte.
            let within = key.as_bytes() >= prefix.as_bytes()
                && end.as_ref().is_none_or(|end| key.as_bytes() < end.as_bytes());
            prop_assert_eq!(within, key.starts_with(&prefix));
        }
    }

    #[test]
    fn the_last_character_has_no_next_one() {
        let end =
            |prefix: &str| CacheKey::parse_prefix(prefix).ok().and_then(|p| p.end_of_prefix());
        assert_eq!(end("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(end("\u{10ffff}"), None);
        assert_eq!(end(""), None);
        assert_eq!(end("\u{d7ff}").as_deref(), Some("\u{e000}"));
    }

    #[test]
    fn a_use_stays_until_it_is_written_or_overtaken() {
        let (tenant, mut uses) = (Tenant::default(), Uses::default());
        let key = |text: &str| CacheKey::parse(text).unwrap_or_else(|_| CacheKey("".into()));
        let at = Stamp::from_micros;
        uses.note(&tenant, &key("a"), at(5));
        uses.note(&tenant, &key("b"), at(6));
        let first = uses.waiting();
        assert_eq!((first.len(), uses.last(&tenant, &key("a"))), (2, Some(at(5))));
        uses.note(&tenant, &key("a"), at(7));
        uses.written(&first);
        assert_eq!((uses.last(&tenant, &key("a")), uses.len()), (Some(at(7)), 1));
        assert_eq!(uses.last(&Tenant::new("acme"), &key("a")), None);
    }
}
