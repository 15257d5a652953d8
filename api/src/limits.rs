//! How fast this device may send and receive.

use crate::upload_rules::parse_size;
use std::num::NonZeroU64;

/// The limits of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Most bytes sent in a second; `None`: as many as the link takes.
    pub upload: Option<NonZeroU64>,
    /// Most bytes received in a second.
    pub download: Option<NonZeroU64>,
    /// Whether what stays on the local network is limited too.
    pub lan: bool,
}

/// Smallest rate, bytes per second: below it even a small chunk takes longer than others wait for one.
const LEAST: u64 = 10_000;

/// Bytes per second of a text like `5MB`, `2MiB/s` or `40Mbit`; `None` when it is none, or below 10 kB.
pub(crate) fn parse_rate(text: &str) -> Option<NonZeroU64> {
    let text = text.trim();
    let text = text.strip_suffix("/s").unwrap_or(text).trim_end();
    let lower = text.to_ascii_lowercase();
    let rate = match lower.strip_suffix("bit") {
        Some(bits) => parse_size(&format!("{bits}b"))? / 8,
        None => parse_size(text)?,
    };
    NonZeroU64::new(rate).filter(|rate| rate.get() >= LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_bytes_or_bits_in_a_second() {
        let rate = |text| parse_rate(text).map(NonZeroU64::get);
        assert_eq!(rate("5MB"), Some(5_000_000));
        assert_eq!(rate("2 MiB/s"), Some(2 << 20));
        assert_eq!(rate("40Mbit/s"), Some(5_000_000));
        assert_eq!(rate("500 kbit"), Some(62_500));
        for wrong in ["", "0", "fast", "-1MB", "9999", "40Mbits", "1bit"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }
}
