//! Points in time and spans of it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A span in at most two units: `8 s`, `2 min 5 s`, `3 h`, `2 days 4 h`.
pub fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: String, rest: u64, unit: &str| {
        if rest == 0 {
            large
        } else {
            format!("{large} {rest} {unit}")
        }
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(format!("{minutes} min"), seconds % 60, "s"),
        3600..86_400 => two(format!("{hours} h"), minutes % 60, "min"),
        _ => two(super::count(days, "day"), hours % 24, "h"),
    }
}

/// The same in its larger unit only.
fn roughly(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        86_400..31_536_000 => super::count(seconds / 86_400, "day"),
        _ => super::count(seconds / 31_536_000, "year"),
    }
}

/// How long ago a point in time (Unix seconds) was.
pub fn ago(then: u64, now: u64) -> String {
    match now.saturating_sub(then) {
        0..5 => "just now".into(),
        seconds => format!("{} ago", roughly(seconds)),
    }
}

/// How far ahead a point in time (Unix seconds) is.
pub fn until(then: u64, now: u64) -> String {
    match then.saturating_sub(now) {
        0 => "now".into(),
        seconds => format!("in {}", roughly(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (125, "2 min 5 s"),
            (3600, "1 h"),
            (3780, "1 h 3 min"),
            (86_400, "1 day"),
            (187_200, "2 days 4 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn ages_are_words() {
        assert_eq!(ago(100, 102), "just now");
        assert_eq!(ago(100, 300), "3 min ago");
        assert_eq!(ago(200, 100), "just now");
        assert_eq!(ago(0, 40 * 86_400), "40 days ago");
        assert_eq!(ago(0, 800 * 86_400), "2 years ago");
        assert_eq!(until(100 + 7 * 86_400, 100), "in 7 days");
        assert_eq!(until(100, 200), "now");
    }
}
