//! A secret in a configuration: read like a string, never written.

use std::fmt;

use cortex_core::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What stands in place of a secret wherever a configuration is written.
pub(crate) const REDACTED: &str = "[redacted]";
/// The newtype name by which the loader knows not to show the value in a message.
pub(crate) const NEWTYPE: &str = "SecretString";

/// A string that prints and serialises as `[redacted]` (as an empty string if it is empty).
///
/// The text `[redacted]` is refused on reading, so that a printed configuration which is used as
/// one is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretString(Secret<String>);

impl SecretString {
    /// Wraps `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Secret::new(value.into()))
    }

    /// The secret itself. The name makes every use easy to find.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }
}

impl fmt::Display for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<SecretString> for Secret<String> {
    fn from(secret: SecretString) -> Self {
        secret.0
    }
}

impl Serialize for SecretString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { REDACTED })
    }
}

impl<'de> Deserialize<'de> for SecretString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NEWTYPE, SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> de::Visitor<'de> for SecretVisitor {
    type Value = SecretString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret as text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretString, E> {
        if text == REDACTED {
            return Err(E::custom(
                "this is the placeholder of a printed configuration; give the secret itself",
            ));
        }
        Ok(SecretString::new(text))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        inner: D,
    ) -> Result<SecretString, D::Error> {
        inner.deserialize_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_but_never_written() {
        let secret: SecretString = serde_json::from_str("\"hunter2\"").expect("a string is read");
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(serde_json::to_string(&secret).expect("it serialises"), "\"[redacted]\"");
        assert_eq!(format!("{secret} {secret:?}"), "[redacted] SecretString([redacted])");
    }

    #[test]
    fn the_placeholder_is_not_a_secret() {
        let error = serde_json::from_str::<SecretString>("\"[redacted]\"").expect_err("refused");
        assert!(error.to_string().contains("placeholder"), "{error}");
    }
}
