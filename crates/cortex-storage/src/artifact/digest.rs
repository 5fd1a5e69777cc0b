//! What bytes are called by what they are: BLAKE3, written `b3_` and 64 hex digits.

use std::fmt;

use crate::error::{Result, StorageError};

/// The BLAKE3 digest of an artifact's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// What every digest starts with.
    pub const PREFIX: &'static str = "b3_";

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        blake3::hash(bytes).into()
    }

    /// Reads a digest in `field`.
    ///
    /// # Errors
    /// [`StorageError::Invalid`].
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let wrong = || StorageError::invalid(field, "must be 'b3_' and 64 lower-case hex digits");
        let digits = text.strip_prefix(Self::PREFIX).ok_or_else(wrong)?;
        if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(wrong());
        }
        Ok(blake3::Hash::from_hex(digits).map_err(|_| wrong())?.into())
    }

    /// The digest as bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digits without the prefix.
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(hash.into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, self.hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_survives_its_text() -> Result<()> {
        let digest = Digest::of(b"abc");
        assert_eq!(
            digest.to_string(),
            "b3_6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
        );
        assert_eq!(Digest::parse("digest", &digest.to_string())?, digest);
        Ok(())
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let text = Digest::of(b"abc").to_string();
        for wrong in ["", "b3_", &text[3..], &text[..66], &text.to_uppercase(), "b3_zz"] {
            assert!(Digest::parse("digest", wrong).is_err(), "{wrong}");
        }
    }
}
