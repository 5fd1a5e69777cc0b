//! Keys that clients choose: texts of 1 to 512 characters, of which a prefix selects many.

/// Characters at most.
pub(crate) const MAX_CHARS: usize = 512;

/// A key whose characters `check` tells right from wrong: it answers what is wrong with a text, if anything.
macro_rules! key {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Reads a key.
            ///
            /// # Errors
            /// [`StorageError::Invalid`](crate::error::StorageError::Invalid).
            pub fn parse(text: &str) -> crate::error::Result<Self> {
                if text.is_empty() {
                    return Err(crate::error::StorageError::invalid("key", "is empty"));
                }
                Self::read("key", text)
            }

            /// Reads what keys start with; may be empty.
            ///
            /// # Errors
            /// [`StorageError::Invalid`](crate::error::StorageError::Invalid).
            pub fn parse_prefix(text: &str) -> crate::error::Result<Self> {
                Self::read("prefix", text)
            }

            fn read(field: &str, text: &str) -> crate::error::Result<Self> {
                use crate::{error::StorageError, key::MAX_CHARS};
                if text.chars().count() > MAX_CHARS {
                    let problem = format!("must have at most {MAX_CHARS} characters");
                    return Err(StorageError::invalid(field, problem));
                }
                match $check(text) {
                    Some(problem) => Err(StorageError::invalid(field, problem)),
                    None => Ok(Self(text.into())),
                }
            }

            /// The key as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(crate) use key;
