//! Sizes, counts and times as people read them.

use std::time::Duration;

/// Bytes in powers of 1 000, as stores bill them: `6.1 MB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 99.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A count with thin groups: `1 234 567`.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// A count and its noun: `1 row`, `2 rows`.
#[must_use]
pub fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A duration, in its two largest units: `830 µs`, `42 ms`, `0.42 s`, `3 min 5 s`, `5 h 12 min`, `3 d 4 h`, `7 d`.
#[must_use]
pub fn duration(d: Duration) -> String {
    let (seconds, whole) = (d.as_secs_f64(), d.as_secs());
    let two = |large: u64, unit: &str, small: u64, rest: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {rest}"),
    };
    if whole >= 86_400 {
        two(whole / 86_400, "d", whole % 86_400 / 3_600, "h")
    } else if whole >= 7_200 {
        two(whole / 3_600, "h", whole % 3_600 / 60, "min")
    } else if whole >= 120 {
        two(whole / 60, "min", whole % 60, "s")
    } else if seconds >= 10.0 {
        format!("{seconds:.1} s")
    } else if seconds >= 0.1 {
        format!("{seconds:.2} s")
    } else if seconds >= 0.001 {
        format!("{:.0} ms", seconds * 1e3)
    } else {
        format!("{} µs", d.as_micros())
    }
}

/// Reads `1GiB`, `512 MB`, `64k`, `1000`.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let value = number.parse::<f64>().ok()? * factor;
    (0.0..9e18).contains(&value).then_some(value as u64)
}

/// Reads `30`, `30s`, `500 ms`, `5 min`, `2 h`, `1 day`; a bare number counts seconds.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim() {
        "ms" | "milliseconds" => 0.001,
        "" | "s" | "sec" | "second" | "seconds" => 1.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * factor).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!([bytes(0), bytes(999), bytes(6_100_000), bytes(412_000_000)], ["0 B", "999 B", "6.1 MB", "412 MB"]);
        assert_eq!([count(7), count(1234), count(1_234_567)], ["7", "1 234", "1 234 567"]);
        assert_eq!(counted(1, "row") + ", " + &counted(2, "row"), "1 row, 2 rows");
    }

    #[test]
    fn durations_read_as_people_write_them() {
        let shown = [830, 42_000, 420_000, 185_000_000].map(|us| duration(Duration::from_micros(us)));
        assert_eq!(shown, ["830 µs", "42 ms", "0.42 s", "3 min 5 s"]);
        let shown = [120, 7_199, 7_200, 18_720, 86_400, 273_600, 604_800].map(|s| duration(Duration::from_secs(s)));
        assert_eq!(shown, ["2 min", "119 min 59 s", "2 h", "5 h 12 min", "1 d", "3 d 4 h", "7 d"]);
    }

    #[test]
    fn sizes_are_parsed_with_either_unit() {
        assert_eq!(parse_bytes("1GiB"), Some(1 << 30));
        assert_eq!(parse_bytes("512 MB"), Some(512_000_000));
        assert_eq!(parse_bytes("1.5k"), Some(1500));
        assert_eq!(parse_bytes("1 parsec"), None);
    }

    #[test]
    fn durations_are_parsed_with_any_unit() {
        let seconds = |text| parse_duration(text).map(|read| read.as_secs_f64());
        assert_eq!(["7d", "1.5 h", "2 min", "30"].map(seconds), [604_800.0, 5400.0, 120.0, 30.0].map(Some));
        assert_eq!(["", "-1 s", "1 fortnight"].map(seconds), [None; 3]);
    }
}
