//! The headers that cross from HTTP to gRPC, and back.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use tonic::metadata::MetadataMap;

use crate::problem::Problem;

/// The header that names a request in logs, in both directions.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is forwarded unless the builder adds to it.
pub(crate) fn forwarded() -> Vec<HeaderName> {
    vec![
        header::AUTHORIZATION,
        REQUEST_ID,
        HeaderName::from_static("traceparent"),
        HeaderName::from_static("tracestate"),
    ]
}

/// The metadata of the call.
pub(crate) fn metadata(headers: &HeaderMap, forwarded: &[HeaderName]) -> MetadataMap {
    let mut metadata = HeaderMap::with_capacity(forwarded.len());
    for name in forwarded {
        for value in headers.get_all(name) {
            metadata.append(name.clone(), value.clone());
        }
    }
    MetadataMap::from_headers(metadata)
}

/// How long the caller is willing to wait: `grpc-timeout: 500m`, or `x-timeout: 1.5` in seconds.
pub(crate) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    for (name, parse) in
        [("grpc-timeout", grpc as fn(&str) -> Option<Duration>), ("x-timeout", seconds)]
    {
        let Some(value) = headers.get(name) else { continue };
        let duration = value.to_str().ok().and_then(parse);
        let hint = || match name {
            "grpc-timeout" => "expected up to 8 digits and a unit of HMSmun, as in \"500m\"",
            _ => "expected seconds, as in \"1.5\"",
        };
        return duration.map(Some).ok_or_else(|| Problem::field(name, hint()));
    }
    Ok(None)
}

/// The wire format of gRPC: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.
fn grpc(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(count * 3600)),
        'M' => Some(Duration::from_secs(count * 60)),
        'S' => Some(Duration::from_secs(count)),
        'm' => Some(Duration::from_millis(count)),
        'u' => Some(Duration::from_micros(count)),
        'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// Decimal seconds, with or without an `s`, up to what fits the wire format in hours.
fn seconds(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s').unwrap_or(text);
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = number.parse().ok().filter(|_| plain)?;
    (seconds <= 99_999_999.0).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_timeout_are_read() {
        assert_eq!(grpc("500m"), Some(Duration::from_millis(500)));
        assert_eq!(grpc("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for text in ["", "m", "5", "5x", "123456789m", "-1S", "5é"] {
            assert_eq!(grpc(text), None, "{text}");
        }
        assert_eq!(seconds("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(seconds("2s"), Some(Duration::from_secs(2)));
        for text in ["", "s", "-1", "1e9", "inf", "nan", "1.2.3"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
