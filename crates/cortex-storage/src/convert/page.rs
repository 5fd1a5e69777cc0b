//! Pages: sizes and tokens.

use std::fmt::Debug;

use cortex_core::{PageError, PageSize, PageToken};

use crate::error::{Result, StorageError};

/// Which page of a query is asked for.
pub(crate) struct PageRequest {
    /// Items at most.
    pub(crate) size: PageSize,
    /// The position after which it starts.
    pub(crate) from: Option<String>,
    /// Items to skip.
    pub(crate) offset: u32,
    /// What its tokens are bound to.
    query: String,
}

impl PageRequest {
    /// Reads `page_size` and `page_token` of the query that `query` describes.
    pub(crate) fn parse(page_size: i32, page_token: &str, query: &impl Debug) -> Result<Self> {
        let query = format!("{query:?}");
        let from = PageToken::decode(page_token, &query)?.map(|token| token.position().to_owned());
        Ok(Self { size: PageSize::parse(page_size)?, from, offset: 0, query })
    }

    /// The same, where the predecessor's `limit` and `offset` are understood.
    pub(crate) fn parse_with_offset(
        (page_size, limit, offset): (i32, i32, i32),
        page_token: &str,
        query: &impl Debug,
    ) -> Result<Self> {
        if page_size != 0 && limit != 0 {
            return Err(StorageError::invalid("limit", "cannot be given together with page_size"));
        }
        if limit < 0 {
            return Err(StorageError::invalid("limit", "must not be negative"));
        }
        if offset != 0 && !page_token.is_empty() {
            return Err(StorageError::invalid(
                "offset",
                "cannot be given together with page_token",
            ));
        }
        let skip = u32::try_from(offset);
        let skip = skip.map_err(|_| StorageError::invalid("offset", "must not be negative"))?;
        let page = Self::parse(page_size.max(limit), page_token, query)?;
        if page_size < 0 {
            return Err(PageError::NegativeSize(page_size).into());
        }
        Ok(Self { offset: skip, ..page })
    }

    /// The position as a number.
    pub(crate) fn number(&self) -> Result<Option<i64>> {
        let malformed = |_| StorageError::Page(PageError::Malformed);
        self.from.as_ref().map(|from| from.parse().map_err(malformed)).transpose()
    }

    /// The token of the page that starts after `next`; empty when there is none.
    pub(crate) fn next(&self, next: Option<String>) -> String {
        encode_next(next, &self.query)
    }
}

/// The token of the page that starts after `next`.
fn encode_next(next: Option<String>, query: &str) -> String {
    next.map(|next| PageToken::after(next).encode(query)).unwrap_or_default()
}
