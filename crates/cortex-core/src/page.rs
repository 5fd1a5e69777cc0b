//! Pages of a list: bounded sizes, and tokens that fit only the query that made them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// How many items a page holds at most, by AIP-158: zero asks for the default, more than the
/// maximum is cut to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    /// Items per page when the caller does not say.
    pub const DEFAULT: u32 = 100;
    /// Items per page at most.
    pub const MAX: u32 = 1000;

    /// Reads the `page_size` of a request.
    ///
    /// # Errors
    /// [`PageError::NegativeSize`] for a negative number.
    pub fn parse(requested: i32) -> Result<Self, PageError> {
        match u32::try_from(requested) {
            Err(_) => Err(PageError::NegativeSize(requested)),
            Ok(0) => Ok(Self(Self::DEFAULT)),
            Ok(n) => Ok(Self(n.min(Self::MAX))),
        }
    }

    /// The number of items.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(Self::DEFAULT)
    }
}

/// Why a page cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The size is below zero.
    #[error("page_size {0} is negative; 0 asks for the default")]
    NegativeSize(i32),
    /// The token is not one of ours.
    #[error("the page token is not one that this service gave")]
    Malformed,
    /// The token belongs to a query with other arguments.
    #[error(
        "the page token belongs to a query with other arguments; repeat the query it came from"
    )]
    OtherQuery,
}

/// Where the next page starts, bound to the query it belongs to.
///
/// The text is URL-safe base64 of a version, eight bytes of a BLAKE3 hash of the query, and the
/// position. It is opaque to clients; it is not secret and not a permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageToken {
    position: String,
}

const VERSION: u8 = 1;
const HASH_LEN: usize = 8;

impl PageToken {
    /// A token for the page that starts after `position`.
    pub fn after(position: impl Into<String>) -> Self {
        Self { position: position.into() }
    }

    /// The position that [`PageToken::after`] was given.
    pub fn position(&self) -> &str {
        &self.position
    }

    /// The token as text, for the query that `query` describes (every argument but the page's).
    pub fn encode(&self, query: &str) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&hash(query));
        bytes.extend_from_slice(self.position.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token; an empty text is the first page.
    ///
    /// # Errors
    /// [`PageError::Malformed`], or [`PageError::OtherQuery`] when `query` is not the one the token
    /// was made for.
    pub fn decode(text: &str, query: &str) -> Result<Option<Self>, PageError> {
        if text.is_empty() {
            return Ok(None);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| PageError::Malformed)?;
        let [VERSION, rest @ ..] = bytes.as_slice() else {
            return Err(PageError::Malformed);
        };
        let (bound, position) = rest.split_at_checked(HASH_LEN).ok_or(PageError::Malformed)?;
        if bound != hash(query) {
            return Err(PageError::OtherQuery);
        }
        let position = std::str::from_utf8(position).map_err(|_| PageError::Malformed)?;
        Ok(Some(Self::after(position)))
    }
}

fn hash(query: &str) -> [u8; HASH_LEN] {
    let mut out = [0; HASH_LEN];
    out.copy_from_slice(&blake3::hash(query.as_bytes()).as_bytes()[..HASH_LEN]);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_fits_its_own_query_only(position in ".{0,40}", query in ".{0,40}", other in ".{0,40}") {
            let text = PageToken::after(position.clone()).encode(&query);
            let back = PageToken::decode(&text, &query);
            prop_assert_eq!(back, Ok(Some(PageToken::after(position))));
            if other != query {
                prop_assert_eq!(PageToken::decode(&text, &other), Err(PageError::OtherQuery));
            }
        }

        #[test]
        fn any_text_is_refused_or_read_but_never_panics(text in ".{0,60}") {
            let _ = PageToken::decode(&text, "q");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(PageSize::parse(0).map(PageSize::get), Ok(100));
        assert_eq!(PageSize::parse(7).map(PageSize::get), Ok(7));
        assert_eq!(PageSize::parse(5000).map(PageSize::get), Ok(1000));
        assert_eq!(PageSize::parse(-1), Err(PageError::NegativeSize(-1)));
    }
}
