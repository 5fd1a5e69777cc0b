//! Reads, each on a connection of the pool and on one snapshot of the database.

mod artifacts;
mod cached;
mod contents;
mod executions;
mod housekeeping;
mod journal;
mod log;
mod messages;
mod metrics;
mod records;
mod sessions;
mod texts;

pub(super) use contents::contents_on;
pub(super) use housekeeping::OldRequests;
pub(super) use log::{log_parts, marks_on};

use std::sync::Arc;

use cortex_core::PageSize;
use futures::TryStreamExt;

use super::{database::Pool, lately::Lately, query::Query, row::Row};
use crate::{error::Result, ports::Page};

/// The tenant's number, in a query whose next value is its name.
pub(super) const TENANT: &str = "(SELECT tenant FROM tenants WHERE name = ?)";

/// The readers.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) pool: Pool,
    /// Sessions that were read lately, of a database that nobody else writes.
    pub(super) lately: Option<Arc<Lately>>,
    /// Entries of one page of a replay.
    pub(super) replay_entries: usize,
    /// Bytes of one page of entries, nearly.
    pub(super) page_bytes: usize,
}

/// Bytes of one page, nearly, of items that may be large: small enough for the HTTP interface.
const SMALL_PAGE: usize = 4 * 1024 * 1024;

impl Reader {
    /// A page of at most `size` items, and of few enough that it stays small. `query` asks for one item
    /// more than `size`; `read` answers an item's place, its bytes and the item.
    async fn small_page<T>(
        &self,
        query: Query,
        size: PageSize,
        read: impl Fn(&Row) -> Result<(String, usize, T)>,
    ) -> Result<Page<T>> {
        let mut conn = self.pool.acquire().await?;
        let mut found = query.stream(conn.target())?;
        let (mut items, mut next, mut bytes) = (Vec::new(), None, 0);
        while let Some(row) = found.try_next().await? {
            if items.len() == size.get() as usize || bytes >= SMALL_PAGE {
                return Ok(Page { items, next });
            }
            let (place, item_bytes, item) = read(&row)?;
            bytes += item_bytes;
            items.push(item);
            next = Some(place);
        }
        Ok(Page { items, next: None })
    }
}
