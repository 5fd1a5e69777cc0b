//! The cache.

use std::time::Duration;

use super::{
    PageRequest,
    field::{not_negative, object},
    proto,
};
use crate::{
    cache::{CacheEntry, CacheKey, CacheQuery, DeleteCacheEntry, PutCacheEntry},
    config::Limits,
    error::{Result, StorageError},
};

/// The longest time that an entry stays, in seconds: a year.
const MAX_TTL: i64 = 31_536_000;

/// An entry to write.
pub(crate) fn put_cache_entry(
    request: proto::PutCacheEntryRequest,
    limits: &Limits,
) -> Result<PutCacheEntry> {
    Ok(PutCacheEntry {
        key: CacheKey::parse(&request.key)?,
        value: object("value", request.value, limits.cache_value.get())?,
        ttl: request.ttl.map(ttl).transpose()?,
        expected: expected(request.expected_revision)?,
    })
}

fn ttl(seconds: i64) -> Result<Duration> {
    let range = 1..=MAX_TTL;
    let number = u64::try_from(seconds).ok().filter(|_| range.contains(&seconds));
    number.map(Duration::from_secs).ok_or_else(|| {
        StorageError::invalid("ttl", format!("must be 1 to {MAX_TTL} seconds, and is {seconds}"))
    })
}

/// An entry to delete.
pub(crate) fn delete_cache_entry(
    request: &proto::DeleteCacheEntryRequest,
) -> Result<DeleteCacheEntry> {
    let key = CacheKey::parse(&request.key)?;
    Ok(DeleteCacheEntry { key, expected: expected(request.expected_revision)? })
}

fn expected(revision: Option<i64>) -> Result<Option<i64>> {
    revision.map(|number| not_negative("expected_revision", number)).transpose()
}

/// Which entries to list.
pub(crate) fn cache_query(
    request: &proto::ListCacheEntriesRequest,
) -> Result<(CacheQuery, PageRequest)> {
    let prefix = CacheKey::parse_prefix(&request.prefix)?;
    let page = PageRequest::parse(request.page_size, &request.page_token, &prefix)?;
    let query = CacheQuery { prefix, page_size: page.size, after: page.from.clone() };
    Ok((query, page))
}

/// An entry as the contract has it.
pub(crate) fn cache_entry_to_proto(entry: CacheEntry) -> proto::CacheEntry {
    proto::CacheEntry {
        key: entry.key.to_string(),
        value: entry.value,
        ttl: entry.ttl.map(|ttl| i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)),
        created_at: Some(entry.created_at.into()),
        accessed_at: Some(entry.accessed_at.into()),
        expires_at: entry.expires_at.map(Into::into),
        revision: entry.revision,
    }
}
