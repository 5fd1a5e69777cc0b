//! Identifiers: a prefix that says of what, and time-ordered hex digits.

use std::{fmt, str::FromStr};

/// Why a text is not an identifier of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The prefix is another one.
    #[error("'{text}' does not start with '{prefix}'")]
    Prefix {
        /// What was given.
        text: String,
        /// What it must start with.
        prefix: &'static str,
    },
    /// What follows the prefix is not 16 to 64 lower-case hex digits.
    #[error("'{text}' needs 16 to 64 lower-case hex digits after '{prefix}'")]
    Digits {
        /// What was given.
        text: String,
        /// What it starts with.
        prefix: &'static str,
    },
}

/// Fewest hex digits of an identifier: what the predecessor's clients know.
const MIN_DIGITS: usize = 16;
/// Most hex digits of an identifier.
const MAX_DIGITS: usize = 64;

fn check(text: &str, prefix: &'static str) -> Result<(), IdError> {
    let shown = || text.chars().take(80).collect::<String>();
    let Some(digits) = text.strip_prefix(prefix) else {
        return Err(IdError::Prefix { text: shown(), prefix });
    };
    let hex = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !hex || !(MIN_DIGITS..=MAX_DIGITS).contains(&digits.len()) {
        return Err(IdError::Digits { text: shown(), prefix });
    }
    Ok(())
}

/// Bytes of the longest even number of digits.
const MAX_PACKED: usize = MAX_DIGITS / 2;

/// The digits as bytes. An odd number of them is filled up to more bytes than any even one takes, of which
/// the last is the number of digits.
fn pack(digits: &str) -> Vec<u8> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit - b'a' + 10,
    };
    let pairs = digits.as_bytes().chunks(2);
    let pair = |pair: &[u8]| (nibble(pair[0]) << 4) | pair.get(1).map_or(0, |low| nibble(*low));
    let mut packed: Vec<u8> = pairs.map(pair).collect();
    if digits.len() % 2 == 1 {
        packed.resize(MAX_PACKED, 0);
        packed.push(digits.len() as u8);
    }
    packed
}

/// The digits that were packed; nothing if these bytes are not what [`pack`] makes.
fn unpack(packed: &[u8]) -> Option<String> {
    let odd = (packed.len() == MAX_PACKED + 1).then(|| packed.split_last()).flatten();
    let (count, bytes) = match odd {
        Some((count, bytes)) => (usize::from(*count), bytes),
        None => (2 * packed.len(), packed),
    };
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            digits.push(char::from_digit(u32::from(nibble), 16)?);
        }
    }
    digits.truncate(count);
    (pack(&digits) == packed).then_some(digits)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// What every identifier of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// A new identifier: 32 hex digits of a UUIDv7, so that text order is time order.
            pub fn generate() -> Self {
                Self(format!(concat!($prefix, "{}"), uuid::Uuid::now_v7().simple()))
            }

            /// Reads an identifier.
            ///
            /// # Errors
            /// [`IdError`] when the prefix or the digits are wrong.
            pub fn parse(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                check(&text, $prefix)?;
                Ok(Self(text))
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The digits as bytes: less than half of the text, for storage.
            pub fn to_bytes(&self) -> Vec<u8> {
                pack(&self.0[$prefix.len()..])
            }

            /// The identifier whose [`to_bytes`](Self::to_bytes) these are.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                Self::parse(format!(concat!($prefix, "{}"), unpack(bytes)?)).ok()
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Self::parse(String::deserialize(from)?).map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

id!(/// A session: one conversation with one agent.
    SessionId, "session_");
id!(/// A message in a session's history.
    MessageId, "msg_");
id!(/// A file that a session keeps.
    ArtifactId, "artifact_");
id!(/// One measured value.
    MetricId, "metric_");
id!(/// One try to run a tool, relic operation, child session or completion.
    ExecutionId, "exec_");
id!(/// A running relic.
    RelicId, "relic_");
id!(/// A tool call of the model. It may have several executions.
    CallId, "call_");
id!(/// One turn of a session.
    TurnId, "turn_");
id!(/// One incarnation of an agent service: a fresh one per start.
    HolderId, "holder_");
id!(/// One incarnation of a container service: a fresh one per start.
    ClaimantId, "claimant_");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn generated_ids_are_ordered_and_parse() {
        let ids: Vec<SessionId> = (0..100).map(|_| SessionId::generate()).collect();
        assert!(ids.is_sorted());
        for id in &ids {
            assert_eq!(SessionId::parse(id.as_str()), Ok(id.clone()));
        }
    }

    #[test]
    fn sixteen_digits_of_the_predecessor_parse() {
        assert!(ExecutionId::parse("exec_0123456789abcdef").is_ok());
    }

    proptest! {
        #[test]
        fn any_id_survives_in_bytes(digits in "[0-9a-f]{16,64}") {
            let id = SessionId(format!("session_{digits}"));
            prop_assert_eq!(SessionId::from_bytes(&id.to_bytes()), Some(id));
        }

        #[test]
        fn bytes_are_of_one_id(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(id) = TurnId::from_bytes(&bytes) {
                prop_assert_eq!(id.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn another_prefix_and_bad_digits_are_told_apart() {
        assert!(matches!(SessionId::parse("msg_0123456789abcdef"), Err(IdError::Prefix { .. })));
        for bad in
            ["session_", "session_123", "session_0123456789ABCDEF", "session_0123456789abcde/"]
        {
            assert!(matches!(SessionId::parse(bad), Err(IdError::Digits { .. })), "{bad}");
        }
    }
}
