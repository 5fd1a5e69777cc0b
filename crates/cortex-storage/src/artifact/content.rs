//! What stored bytes are called.

use std::fmt;

use super::Digest;
use crate::{
    error::{Result, StorageError},
    time::Stamp,
};

/// What one upload's bytes are called where bytes are kept. No two uploads have the same name.
///
/// Lower-case hex digits and `-`, so that it is a safe name of a file and of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobName(String);

impl BlobName {
    const MIN_CHARS: usize = 32;
    const MAX_CHARS: usize = 97;

    /// A name that nothing has.
    pub fn generate() -> Self {
        Self(unique())
    }

    /// A name that nothing has, and that says what the bytes are.
    pub fn of(digest: &Digest) -> Self {
        Self(format!("{}-{}", digest.hex(), unique()))
    }

    /// Reads a name that was stored.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`].
    pub fn parse(text: &str) -> Result<Self> {
        let allowed = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
        let length = Self::MIN_CHARS..=Self::MAX_CHARS;
        if !length.contains(&text.len()) || !text.bytes().all(allowed) {
            return Err(StorageError::Corrupt { detail: "the name of stored bytes".to_owned() });
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One of 256 directories: the end of a name is random, its beginning may be a digest's.
    pub(crate) fn directory(&self) -> &str {
        &self.0[self.0.len() - 2..]
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which database bytes belong to: they are kept in a place of its own, so that databases that are
/// given the same location never sweep each other's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreId(String);

impl StoreId {
    const CHARS: usize = 32;

    /// An id that nothing has.
    pub fn generate() -> Self {
        Self(unique())
    }

    /// Reads an id that was stored.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`].
    pub fn parse(text: &str) -> Result<Self> {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != Self::CHARS || !text.bytes().all(hex) {
            return Err(StorageError::Corrupt { detail: "the id of the store".to_owned() });
        }
        Ok(Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Bytes that are kept, as a listing tells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobEntry {
    /// What they are called.
    pub name: BlobName,
    /// When they were written, by the clock of where they are kept.
    pub written_at: Stamp,
}

fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_and_unique() -> Result<()> {
        let digest = Digest::of(b"abc");
        for name in [BlobName::generate(), BlobName::of(&digest)] {
            assert_eq!(BlobName::parse(name.as_str())?, name);
            assert_eq!(name.directory().len(), 2);
        }
        assert_ne!(BlobName::of(&digest), BlobName::of(&digest));
        let traversal = format!("../{}", "a".repeat(40));
        for wrong in ["", "ab", traversal.as_str(), &"a".repeat(98), &"A".repeat(32)] {
            assert!(BlobName::parse(wrong).is_err(), "{wrong}");
        }
        assert!(StoreId::parse(StoreId::generate().as_str()).is_ok());
        assert!(StoreId::parse("..").is_err());
        Ok(())
    }
}
