//! Points in time, as RFC 3339 writes them.

use std::borrow::Cow;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
use super::node::Node;
use super::read::Read;

/// Seconds since the Unix epoch. Fractions of a second are cut off, so that a key expires early rather than late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Parses a date and time such as `2026-01-01T00:00:00Z` (RFC 3339, section 5.6). Returns `None` for any other text, and for a date
    /// that the calendar does not have.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let (year, rest) = number(text, 4)?;
        let (month, rest) = number(rest.strip_prefix('-')?, 2)?;
        let (day, rest) = number(rest.strip_prefix('-')?, 2)?;
        let (hour, rest) = number(rest.strip_prefix(['T', 't', ' '])?, 2)?;
        let (minute, rest) = number(rest.strip_prefix(':')?, 2)?;
        let (second, rest) = number(rest.strip_prefix(':')?, 2)?;
        let rest = without_fraction(rest)?;
        let offset = offset_seconds(rest)?;
        // A leap second (60) counts as the second after it.
        let valid = (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60;
        let time = hour * 3600 + minute * 60 + second;
        valid.then(|| Timestamp(days_from_epoch(year, month, day) * 86_400 + time - offset))
    }
}

/// Parses exactly `length` decimal digits. Returns their number and the rest of the text.
fn number(text: &str, length: usize) -> Option<(i64, &str)> {
    let (digits, rest) = text.split_at_checked(length)?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    Some((digits.parse().ok().filter(|_| plain)?, rest))
}

fn without_fraction(text: &str) -> Option<&str> {
    let Some(fraction) = text.strip_prefix('.') else {
        return Some(text);
    };
    let rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < fraction.len()).then_some(rest)
}

fn offset_seconds(text: &str) -> Option<i64> {
    let sign = match text.chars().next()? {
        'Z' | 'z' if text.len() == 1 => return Some(0),
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let (hours, rest) = number(text.get(1..)?, 2)?;
    let (minutes, rest) = number(rest.strip_prefix(':')?, 2)?;
    (rest.is_empty() && hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;

/// Days since 1970-01-01 in the Gregorian calendar. Years begin in March here, so that the leap day is the last of its year.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + (153 * month_from_march + 2) / 5 + day - 1 - DAYS_TO_EPOCH
}

/// Year, month and day of the date that is `day` days after 1970-01-01.
fn calendar_date(day: i64) -> (i64, i64, i64) {
    let day = day + DAYS_TO_EPOCH;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day + 2) / 153;
    let month = (month_from_march + 2) % 12 + 1;
    let year = 400 * era + year + i64::from(month <= 2);
    (year, month, day - (153 * month_from_march + 2) / 5 + 1)
}

impl<'a> Read<'a> for Timestamp {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = Cow::read(node, path, diagnostics)?;
        let parsed = Timestamp::parse(&text);
        if parsed.is_none() {
            diagnostics.add(path, &Node::Text(text), &InvalidTimestamp);
        }
        parsed
    }
}

struct InvalidTimestamp;

impl DiagnosticKind for InvalidTimestamp {
    fn message(&self) -> Message {
        Message::error(
            "must be a date and time as in RFC 3339",
            r#"write it as "2027-01-01T00:00:00Z""#,
        )
    }
}

#[cfg(feature = "schema")]
super::json_schema::impl_schema!(Timestamp, "Timestamp", _generator => schemars::json_schema!({
    "type": "string",
    "format": "date-time",
    "examples": ["2027-01-01T00:00:00Z"],
}));

/// As in `2026-01-01T00:00:00Z`.
impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = calendar_date(self.0.div_euclid(86_400));
        let time = self.0.rem_euclid(86_400);
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_and_nothing_else() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-01-01T00:00:00Z", Some(1_767_225_600)),
            ("2024-02-29T12:00:00z", Some(1_709_208_000)),
            ("2000-02-29t00:00:00Z", Some(951_782_400)),
            ("2026-01-01 00:00:00.999Z", Some(1_767_225_600)),
            ("2026-01-01T01:30:00+01:30", Some(1_767_225_600)),
            ("2025-12-31T16:00:00-08:00", Some(1_767_225_600)),
            ("1969-12-31T23:59:59Z", Some(-1)),
            ("0000-01-01T00:00:00Z", Some(-62_167_219_200)),
            ("0000-03-01T00:00:00Z", Some(-62_162_035_200)),
            ("9999-12-31T23:59:60Z", Some(253_402_300_800)),
            ("2026-01-01", None),
            ("2026-01-01T00:00Z", None),
            ("2026-01-01T00:00:00", None),
            ("2026-01-01T00:00:00+0100", None),
            ("2026-01-01T00:00:00ZZ", None),
            ("2026-01-01T00:00:00.Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2025-02-29T00:00:00Z", None),
            ("1900-02-29T00:00:00Z", None),
            ("2026-00-10T00:00:00Z", None),
            ("2026-01-01T24:00:00Z", None),
            ("+026-01-01T00:00:00Z", None),
            ("2026-01-01T00:00:00é", None),
            ("2026-01-01T23:59:59Z", Some(1_767_311_999)),
            ("2026-01-01T00:60:00Z", None),
            ("2026-01-01T00:00:61Z", None),
            ("2026-01-01T23:59:00+23:59", Some(1_767_225_600)),
            ("2026-01-01T00:00:00+24:00", None),
            ("2026-01-01T00:00:00+00:60", None),
            ("2026-01-01T00:00:00+01:000", None),
            ("2026-04-30T00:00:00Z", Some(1_777_507_200)),
            ("2026-04-31T00:00:00Z", None),
            ("2026-06-31T00:00:00Z", None),
            ("2026-09-31T00:00:00Z", None),
            ("2026-11-31T00:00:00Z", None),
            ("2026-12-31T00:00:00Z", Some(1_798_675_200)),
            ("2026-12-32T00:00:00Z", None),
            ("1767225600", None),
            ("", None),
        ] {
            assert_eq!(Timestamp::parse(text).map(|t| t.0), seconds, "{text}");
        }
    }

    #[test]
    fn every_day_reads_back() {
        let first = Timestamp::parse("0000-01-01T00:00:00Z").unwrap().0 / 86_400;
        let last = Timestamp::parse("9999-12-31T00:00:00Z").unwrap().0 / 86_400;
        for day in first..=last {
            let timestamp = Timestamp(day * 86_400 + 3_723);
            assert_eq!(Timestamp::parse(&timestamp.to_string()), Some(timestamp), "{timestamp}");
        }
        assert_eq!(Timestamp(1_767_225_599).to_string(), "2025-12-31T23:59:59Z");
    }
}
