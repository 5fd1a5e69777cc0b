//! `Range` of a download: RFC 9110, section 14, one range at a time.

use std::ops::Range;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tonic::Code;

use crate::problem::Problem;

/// What part of `length` bytes is asked for; `None` is all of them.
///
/// A header that is not understood, several ranges at once, and an `If-Range` that does not name
/// `etag` mean all of it, as the RFC allows. A range that begins behind the end is 416.
pub(crate) fn requested(
    method: &Method,
    headers: &HeaderMap,
    length: u64,
    etag: Option<&HeaderValue>,
) -> Result<Option<Range<u64>>, Problem> {
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let (Some(range), &Method::GET) = (range, method) else { return Ok(None) };
    if headers.get(header::IF_RANGE).is_some_and(|seen| Some(seen) != etag) {
        return Ok(None);
    }
    let Some((first, last)) = parse(range) else { return Ok(None) };
    match resolve(first, last, length) {
        Some(range) => Ok(Some(range)),
        None => Err(unsatisfiable(range, length)),
    }
}

/// The two ends of `bytes=a-b`, of which one may be missing.
fn parse(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |text: &str| match text.trim() {
        "" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok().map(Some),
        _ => None,
    };
    match (number(first)?, number(last)?) {
        (None, None) => None,
        (Some(first), Some(last)) if first > last => None,
        ends => Some(ends),
    }
}

fn resolve(first: Option<u64>, last: Option<u64>, length: u64) -> Option<Range<u64>> {
    let range = match (first, last) {
        (Some(first), last) => {
            first..last.map_or(length, |last| last.saturating_add(1)).min(length)
        }
        (None, Some(suffix)) => length.saturating_sub(suffix)..length,
        (None, None) => return None,
    };
    (range.start < range.end).then_some(range)
}

/// The value of `content-range` for a part.
pub(crate) fn content_range(range: &Range<u64>, length: u64) -> Option<HeaderValue> {
    let last = range.end.saturating_sub(1);
    HeaderValue::from_str(&format!("bytes {}-{last}/{length}", range.start)).ok()
}

fn unsatisfiable(range: &str, length: u64) -> Problem {
    let message = format!("range {range:?} lies outside of the {length} bytes that there are");
    let http = StatusCode::RANGE_NOT_SATISFIABLE;
    let mut problem = Problem::new(http, Code::OutOfRange, "RANGE_NOT_SATISFIABLE", message);
    problem.content_range = HeaderValue::from_str(&format!("bytes */{length}")).ok();
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(range: &'static str, length: u64) -> Result<Option<Range<u64>>, StatusCode> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static(range));
        requested(&Method::GET, &headers, length, None).map_err(|problem| problem.http)
    }

    #[test]
    fn one_range_is_understood() {
        assert_eq!(ask("bytes=0-0", 10), Ok(Some(0..1)));
        assert_eq!(ask("bytes=2-", 10), Ok(Some(2..10)));
        assert_eq!(ask("bytes=-3", 10), Ok(Some(7..10)));
        assert_eq!(ask("bytes=-30", 10), Ok(Some(0..10)));
        assert_eq!(ask("bytes=5-500", 10), Ok(Some(5..10)));
        for all in ["bytes=5-4", "bytes=0-1,3-4", "bytes=-", "bytes=a-b", "lines=1-2"] {
            assert_eq!(ask(all, 10), Ok(None), "{all}");
        }
        for outside in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            assert_eq!(ask(outside, 10), Err(StatusCode::RANGE_NOT_SATISFIABLE), "{outside}");
        }
        assert_eq!(ask("bytes=0-", 0), Err(StatusCode::RANGE_NOT_SATISFIABLE));
    }
}
