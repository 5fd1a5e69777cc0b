//! `clock`: the time, in UTC or at an offset from it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use crate::contract::{self, Answer, ToolError};

#[derive(Deserialize)]
struct Parameters {
    timezone_offset: Option<String>,
    format: Option<String>,
}

/// Tells the time. `timezone_offset` is `Z`, `+HH:MM` or `-HH:MM`, up to 14 hours; `format` is
/// `iso8601` (default), `unix`, `date` or `time`.
pub(crate) fn run(parameters: &str) -> Result<Answer, ToolError> {
    let parameters: Parameters = contract::parse(parameters)?;
    let offset = match parameters.timezone_offset.as_deref().map(str::trim) {
        None | Some("") => Offset::UTC,
        Some(text) => Offset::parse(text)?,
    };
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| ToolError::new("the clock of this machine stands before 1970"))?;
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    show(seconds, offset, parameters.format.as_deref().unwrap_or("iso8601"))
}

fn show(unix: i64, offset: Offset, format: &str) -> Result<Answer, ToolError> {
    let local = Civil::from_unix(unix.saturating_add(offset.seconds()));
    let (date, time) = (local.date(), local.time());
    match format {
        "iso8601" => Ok(Answer::new(format!("{date}T{time}{}", offset.suffix()))),
        "date" => Ok(Answer::new(date)),
        "time" => Ok(Answer::new(time)),
        "unix" => Ok(Answer::new(unix)),
        other => {
            Err(ToolError(format!("unknown format '{other}': use iso8601, unix, date or time")))
        }
    }
}

/// An offset from UTC in minutes, east positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offset(i32);

impl Offset {
    const UTC: Self = Self(0);
    /// The largest offset in use anywhere: UTC+14, Kiribati.
    const MAX_MINUTES: i32 = 14 * 60;

    fn parse(text: &str) -> Result<Self, ToolError> {
        let wrong = || {
            ToolError(format!("timezone_offset '{text}' is none: use Z, or +HH:MM up to 14 hours"))
        };
        if text.eq_ignore_ascii_case("z") || text.eq_ignore_ascii_case("utc") {
            return Ok(Self::UTC);
        }
        let (sign, digits) = match text.as_bytes().first() {
            Some(b'+') => (1, &text[1..]),
            Some(b'-') => (-1, &text[1..]),
            _ => return Err(wrong()),
        };
        let (hours, minutes) = match digits.split_once(':') {
            Some(parts) => parts,
            None if digits.len() == 4 && digits.is_ascii() => digits.split_at(2),
            None => (digits, "0"),
        };
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<i32>().ok().filter(|_| text.len() <= 2),
            false => None,
        };
        let (hours, minutes) = number(hours).zip(number(minutes)).ok_or_else(wrong)?;
        let total = hours * 60 + minutes;
        if minutes > 59 || total > Self::MAX_MINUTES {
            return Err(wrong());
        }
        Ok(Self(sign * total))
    }

    fn seconds(self) -> i64 {
        i64::from(self.0) * 60
    }

    fn suffix(self) -> String {
        if self.0 == 0 {
            return "Z".into();
        }
        let sign = if self.0 < 0 { '-' } else { '+' };
        let minutes = self.0.abs();
        format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// A date and time of the Gregorian calendar.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
}

impl Civil {
    /// Howard Hinnant's `civil_from_days`: <https://howardhinnant.github.io/date_algorithms.html>.
    fn from_unix(seconds: i64) -> Self {
        let days = seconds.div_euclid(86_400) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            second_of_day: seconds.rem_euclid(86_400),
        }
    }

    fn date(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    fn time(&self) -> String {
        let second = self.second_of_day;
        format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(unix: i64, offset: &str, format: &str) -> String {
        serde_json::to_string(&show(unix, Offset::parse(offset).unwrap(), format).unwrap()).unwrap()
    }

    #[test]
    fn known_moments() {
        for (unix, offset, format, result) in [
            (0, "Z", "iso8601", "\"1970-01-01T00:00:00Z\""),
            (951_782_400, "Z", "date", "\"2000-02-29\""),
            (1_709_210_096, "+05:30", "iso8601", "\"2024-02-29T18:04:56+05:30\""),
            (1_709_210_096, "-0800", "time", "\"04:34:56\""),
            (1_709_210_096, "+14", "unix", "1709210096"),
            (4_102_444_799, "UTC", "iso8601", "\"2099-12-31T23:59:59Z\""),
            (-1, "Z", "iso8601", "\"1969-12-31T23:59:59Z\""),
        ] {
            assert_eq!(
                shown(unix, offset, format),
                format!(r#"{{"success":true,"result":{result}}}"#)
            );
        }
    }

    #[test]
    fn wrong_offsets_and_formats_are_refused() {
        for text in ["5", "+15:00", "+01:60", "+-1:00", "+1:000", "Europe/Berlin", "+é1"] {
            assert!(Offset::parse(text).is_err(), "{text}");
        }
        assert!(run(r#"{"format":"roman"}"#).is_err());
    }

    #[test]
    fn without_parameters_it_is_now_in_utc() {
        let answer = serde_json::to_string(&run("{}").unwrap()).unwrap();
        assert!(answer.starts_with(r#"{"success":true,"result":"20"#) && answer.ends_with("Z\"}"));
    }
}
