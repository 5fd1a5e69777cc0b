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
