//! Timestamps as RFC 3339 and durations as decimal seconds, as ProtoJSON has them.

use jiff::fmt::temporal::{DateTimeParser, DateTimePrinter};

/// 0001-01-01T00:00:00Z, the first moment of google.protobuf.Timestamp.
const FIRST_SECOND: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z, its last second.
const LAST_SECOND: i64 = 253_402_300_799;
/// The most seconds of a google.protobuf.Duration, in either direction.
const LONGEST: i64 = 315_576_000_000;

/// Seconds and nanoseconds since 1970 of a date and time with an offset.
pub(crate) fn parse_timestamp(text: &str) -> Result<(i64, i32), String> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    let hint = "expected a date and time as in \"2026-01-31T12:00:00Z\"";
    let timestamp = PARSER.parse_timestamp(text).map_err(|_| hint.to_owned())?;
    let (mut seconds, mut nanos) = (timestamp.as_second(), timestamp.subsec_nanosecond());
    if nanos < 0 {
        (seconds, nanos) = (seconds - 1, nanos + 1_000_000_000);
    }
    if !(FIRST_SECOND..=LAST_SECOND).contains(&seconds) {
        return Err("expected a year from 1 to 9999".to_owned());
    }
    Ok((seconds, nanos))
}

/// RFC 3339 in UTC with 0, 3, 6 or 9 digits of a second; `None` if it is out of range.
pub(crate) fn format_timestamp(seconds: i64, nanos: i32) -> Option<String> {
    if !(FIRST_SECOND..=LAST_SECOND).contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return None;
    }
    let timestamp = jiff::Timestamp::new(seconds, nanos).ok()?;
    let digits = match nanos {
        0 => 0,
        _ if nanos % 1_000_000 == 0 => 3,
        _ if nanos % 1_000 == 0 => 6,
        _ => 9,
    };
    let printer = DateTimePrinter::new().precision(Some(digits));
    Some(printer.timestamp_to_string(&timestamp))
}

/// Seconds and nanoseconds, of one sign, of a text such as `1.5s`.
pub(crate) fn parse_duration(text: &str) -> Result<(i64, i32), String> {
    let hint = || "expected seconds as in \"1.5s\"".to_owned();
    let number = text.strip_suffix('s').ok_or_else(hint)?;
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return Err(hint());
    }
    let seconds: i64 = whole.parse().unwrap_or(i64::MAX);
    let nanos: i32 = format!("{fraction:0<9}").parse().map_err(|_| hint())?;
    if seconds > LONGEST || (seconds == LONGEST && nanos > 0) {
        return Err(format!("expected at most {LONGEST} seconds"));
    }
    Ok(if negative { (-seconds, -nanos) } else { (seconds, nanos) })
}

/// `1.5s`; `None` if it is out of range or of two signs.
pub(crate) fn format_duration(seconds: i64, nanos: i32) -> Option<String> {
    let in_range = (-LONGEST..=LONGEST).contains(&seconds) && nanos.abs() < 1_000_000_000;
    let one_sign = seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0);
    if !in_range || !one_sign {
        return None;
    }
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let (whole, fraction) = (seconds.unsigned_abs(), nanos.unsigned_abs());
    if fraction == 0 {
        return Some(format!("{sign}{whole}s"));
    }
    let digits = format!("{fraction:09}");
    Some(format!("{sign}{whole}.{}s", digits.trim_end_matches('0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_survive_in_utc() {
        for (text, seconds, nanos, written) in [
            ("1970-01-01T00:00:00Z", 0, 0, "1970-01-01T00:00:00Z"),
            ("1969-12-31T23:59:59.5Z", -1, 500_000_000, "1969-12-31T23:59:59.500Z"),
            ("2026-01-31T13:00:00+01:00", 1_769_860_800, 0, "2026-01-31T12:00:00Z"),
            ("2026-01-31T12:00:00.000000001Z", 1_769_860_800, 1, "2026-01-31T12:00:00.000000001Z"),
            ("0001-01-01T00:00:00Z", FIRST_SECOND, 0, "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse_timestamp(text), Ok((seconds, nanos)), "{text}");
            assert_eq!(format_timestamp(seconds, nanos).as_deref(), Some(written));
        }
        for text in ["", "now", "2026-01-31", "2026-01-31T12:00:00", "0000-12-31T23:59:59Z"] {
            assert!(parse_timestamp(text).is_err(), "{text}");
        }
        assert_eq!(format_timestamp(LAST_SECOND + 1, 0), None);
        assert_eq!(format_timestamp(0, -1), None);
    }

    #[test]
    fn durations_survive() {
        for (text, seconds, nanos) in [
            ("0s", 0, 0),
            ("1.5s", 1, 500_000_000),
            ("-0.25s", 0, -250_000_000),
            ("-3.000000001s", -3, -1),
            ("315576000000s", LONGEST, 0),
        ] {
            assert_eq!(parse_duration(text), Ok((seconds, nanos)), "{text}");
            assert_eq!(format_duration(seconds, nanos).as_deref(), Some(text));
        }
        for text in ["", "1", "s", "1.s", ".5s", "1.0000000001s", "--1s", "1 s", "315576000001s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(format_duration(1, -1), None);
    }
}
