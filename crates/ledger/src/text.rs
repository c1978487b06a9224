//! Dates, timestamps and decimals as text, the way Delta writes them in statistics and partition values. The way
//! back is strict: what this file would not write, it does not read, but for shorter fractions.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};

/// Days between 0001-01-01 and 1970-01-01.
const EPOCH_DAYS: i32 = 719_163;

/// A date, or `None` outside of the years 1 to 9999, which other readers do not understand.
pub(crate) fn date(days: i32) -> Option<String> {
    let date = NaiveDate::from_num_days_from_ce_opt(days.checked_add(EPOCH_DAYS)?)?;
    (1..=9999).contains(&date.year()).then(|| date.format("%Y-%m-%d").to_string())
}

pub(crate) fn parse_date(text: &str) -> Option<i32> {
    if let Some(days) = plain_date(text.as_bytes()) {
        return Some(days);
    }
    Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.num_days_from_ce() - EPOCH_DAYS)
}

/// A timestamp with all its digits, `separator` between date and time; `None` outside of the years 1 to 9999.
pub(crate) fn timestamp(us: i64, separator: char) -> Option<String> {
    let at = DateTime::from_timestamp_micros(us)?;
    (1..=9999).contains(&at.year()).then(|| at.format(&format!("%Y-%m-%d{separator}%H:%M:%S%.6f")).to_string())
}

/// Days of a date as this file writes it; a frame of many cells has many of them. `None`: ask the patient parser.
fn plain_date(text: &[u8]) -> Option<i32> {
    let &[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = text else { return None };
    let (year, month, day) = (number(&[y0, y1, y2, y3])?, number(&[m0, m1])?, number(&[d0, d1])?);
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    Some(date.num_days_from_ce() - EPOCH_DAYS)
}

/// Microseconds of a timestamp as this file writes it, or `None`.
fn plain_timestamp(text: &[u8], separator: char) -> Option<i64> {
    let (date, time) = text.split_at_checked(10)?;
    let &[between, h0, h1, b':', m0, m1, b':', s0, s1, b'.', ref fraction @ ..] = time else { return None };
    let (hour, minute, second) = (number(&[h0, h1])?, number(&[m0, m1])?, number(&[s0, s1])?);
    let whole = char::from(between) == separator && hour < 24 && minute < 60 && second < 60 && fraction.len() == 6;
    let day_us = i64::from(plain_date(date)?) * 86_400_000_000;
    let second = i64::from((hour * 60 + minute) * 60 + second);
    whole.then_some(day_us + second * 1_000_000 + i64::from(number(fraction)?))
}

/// A number of few digits.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |n, digit| {
        let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

pub(crate) fn parse_timestamp(text: &str, separator: char) -> Option<i64> {
    if let Some(us) = plain_timestamp(text.as_bytes(), separator) {
        return Some(us);
    }
    let at = NaiveDateTime::parse_from_str(text, &format!("%Y-%m-%d{separator}%H:%M:%S%.f")).ok()?;
    Some(at.and_utc().timestamp_micros())
}

/// `value` times ten to the minus `scale`, with every digit; `None` for a scale below zero.
pub(crate) fn decimal(value: i128, scale: i8) -> Option<String> {
    let scale = usize::try_from(scale).ok()?;
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    Some(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// Reads a decimal of at most `precision` digits; shorter fractions than `scale` are filled up.
pub(crate) fn parse_decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > scale || !number(whole) || !number(fraction) {
        return None;
    }
    let value: i128 = format!("{whole}{fraction:0<scale$}").parse().ok()?;
    let limit = 10i128.checked_pow(u32::from(precision))?;
    (value < limit).then_some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values_read_as_delta_writes_them() {
        assert_eq!(date(0).as_deref(), Some("1970-01-01"));
        assert_eq!(date(-719_162).as_deref(), Some("0001-01-01"));
        assert_eq!(date(i32::MAX), None);
        assert_eq!(timestamp(-1, 'T').as_deref(), Some("1969-12-31T23:59:59.999999"));
        assert_eq!(timestamp(i64::MAX, 'T'), None);
        assert_eq!(decimal(-5, 2).as_deref(), Some("-0.05"));
        assert_eq!(decimal(12, 0).as_deref(), Some("12"));
        assert_eq!(decimal(1, -2), None);
    }

    #[test]
    fn what_is_no_date_and_no_timestamp_is_refused() {
        for bad in ["2026-02-29", "2026-13-01", "2026-00-01", "2026-1-1x", "２026-01-01"] {
            assert_eq!(parse_date(bad), None, "{bad}");
        }
        let bad = ["24:00:00.000000", "23:60:00.000000", "23:59:61.000000", "23:59:59", "23:59:5x.000000", "x"];
        for bad in bad.map(|time| format!("2026-01-01T{time}")) {
            assert_eq!(plain_timestamp(bad.as_bytes(), 'T'), None, "{bad}");
        }
        assert_eq!(parse_timestamp("1970-01-01T00:00:00.5", 'T'), Some(500_000));
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for bad in ["", "-", ".5", "1.234", "1e3", "+1", "1.-1", "100", " 1"] {
            assert_eq!(parse_decimal(bad, 4, 2), None, "{bad}");
        }
        assert_eq!(parse_decimal("99.9", 4, 2), Some(9990));
    }

    proptest! {
        #[test]
        fn a_decimal_reads_back(value in -(10i128.pow(38) - 1)..10i128.pow(38), scale in 0i8..=38) {
            prop_assert_eq!(parse_decimal(&decimal(value, scale).unwrap(), 38, scale), Some(value));
        }

        #[test]
        fn a_date_and_a_timestamp_read_back(days in -719_162i32..2_932_896, us in any::<i64>()) {
            prop_assert_eq!(parse_date(&date(days).unwrap()), Some(days));
            prop_assert_eq!(plain_date(date(days).unwrap().as_bytes()), Some(days));
            if let Some(text) = timestamp(us, ' ') {
                prop_assert_eq!(parse_timestamp(&text, ' '), Some(us));
                prop_assert_eq!(plain_timestamp(text.as_bytes(), ' '), Some(us));
                prop_assert_eq!(plain_timestamp(text.as_bytes(), 'T'), None);
            }
        }
    }
}
