//! `Range` of a download: RFC 9110, section 14, one range at a time.

use std::ops::Range;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tonic::Code;

use crate::problem::Problem;

/// The ends of `bytes=a-b`, of which one may be missing. What is not understood, and several ranges
/// at once, mean all of the bytes, as the RFC allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    first: Option<u64>,
    last: Option<u64>,
}

/// The range that a request asks for.
pub(crate) fn requested(method: &Method, headers: &HeaderMap) -> Option<Ends> {
    let range = headers.get(header::RANGE)?.to_str().ok()?;
    if method == Method::GET { Ends::parse(range) } else { None }
}

/// Whether the range may be served of what `etag` names: `If-Range` says of what it was meant.
pub(crate) fn applies(headers: &HeaderMap, etag: Option<&HeaderValue>) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|meant| Some(meant) == etag)
}

impl Ends {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
        let (first, last) = (position(first)?, position(last)?);
        match (first, last) {
            (None, None) => None,
            (Some(first), Some(last)) if first > last => None,
            _ => Some(Self { first, last }),
        }
    }

    /// Where the range lies within `length` bytes; `None` if it holds none of them.
    pub(crate) fn resolve(self, length: u64) -> Option<Range<u64>> {
        let range = match (self.first, self.last) {
            (Some(first), last) => {
                first..last.map_or(length, |last| last.saturating_add(1)).min(length)
            }
            (None, Some(suffix)) => length.saturating_sub(suffix)..length,
            (None, None) => return None,
        };
        (range.start < range.end).then_some(range)
    }

    /// The range as a service is asked for it: a negative offset counts from the end, a length of 0
    /// goes to the end. `None` if it holds nothing or cannot be said.
    pub(crate) fn offset_and_length(self) -> Option<(i64, i64)> {
        let number = |value: u64| i64::try_from(value).ok();
        match (self.first, self.last) {
            (Some(first), Some(last)) => {
                Some((number(first)?, number((last - first).saturating_add(1))?))
            }
            (Some(first), None) => Some((number(first)?, 0)),
            (None, Some(0)) | (None, None) => None,
            (None, Some(suffix)) => Some((-number(suffix)?, 0)),
        }
    }
}

/// `Some(None)` for nothing at all, `None` for what is no number.
fn position(text: &str) -> Option<Option<u64>> {
    match text.trim() {
        "" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok().map(Some),
        _ => None,
    }
}

/// The value of `content-range` for a part.
pub(crate) fn content_range(range: &Range<u64>, length: u64) -> Option<HeaderValue> {
    let last = range.end.saturating_sub(1);
    HeaderValue::from_str(&format!("bytes {}-{last}/{length}", range.start)).ok()
}

/// 416. `length` is how many bytes there are, if that is known.
pub(crate) fn unsatisfiable(length: Option<u64>) -> Problem {
    let message = match length {
        Some(length) => format!("the range lies outside of the {length} bytes that there are"),
        None => "the range lies outside of the bytes that there are".to_owned(),
    };
    let http = StatusCode::RANGE_NOT_SATISFIABLE;
    let mut problem = Problem::new(http, Code::OutOfRange, "RANGE_NOT_SATISFIABLE", message);
    problem.content_range =
        length.and_then(|length| HeaderValue::from_str(&format!("bytes */{length}")).ok());
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(range: &'static str) -> Option<Ends> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static(range));
        requested(&Method::GET, &headers)
    }

    #[test]
    fn one_range_is_understood() {
        for (range, within, asked) in [
            ("bytes=0-0", Some(0..1), Some((0, 1))),
            ("bytes=2-", Some(2..10), Some((2, 0))),
            ("bytes=-3", Some(7..10), Some((-3, 0))),
            ("bytes=-30", Some(0..10), Some((-30, 0))),
            ("bytes=5-500", Some(5..10), Some((5, 496))),
            ("bytes=10-", None, Some((10, 0))),
            ("bytes=10-20", None, Some((10, 11))),
            ("bytes=-0", None, None),
            ("bytes=0-18446744073709551615", Some(0..10), None),
        ] {
            let ends = ask(range).expect(range);
            assert_eq!(ends.resolve(10), within, "{range}");
            assert_eq!(ends.offset_and_length(), asked, "{range}");
        }
        assert_eq!(ask("bytes=0-").expect("a range").resolve(0), None);
        for all in ["bytes=5-4", "bytes=0-1,3-4", "bytes=-", "bytes=a-b", "lines=1-2"] {
            assert_eq!(ask(all), None, "{all}");
        }
    }
}
