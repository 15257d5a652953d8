//! Times, sizes and addresses as people write them.

use hither_proto::HostPort;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::time::Duration;

/// A time like `25s`, `1h 30m` or `250ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// So many milliseconds.
    pub const fn millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// So many seconds.
    pub const fn secs(s: u64) -> Self {
        Self(Duration::from_secs(s))
    }

    /// Milliseconds, at most what fits.
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text)
            .map(Self)
            .map_err(|error| D::Error::custom(format!("\"{text}\": {error}")))
    }
}

/// A number of bytes: a number, or a text like `256 KiB`, `10GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 9] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("b", 1),
];

impl Size {
    /// More than there is of anything: "unlimited".
    pub const UNLIMITED: Self = Self(u64::MAX);

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text == "unlimited" {
            return Some(Self::UNLIMITED);
        }
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim();
        let factor = if unit.is_empty() {
            1
        } else {
            UNITS.iter().find(|(name, _)| *name == unit)?.1
        };
        number.parse::<u64>().ok()?.checked_mul(factor).map(Self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u64),
            Text(String),
        }
        match Either::deserialize(from)? {
            Either::Number(bytes) => Ok(Self(bytes)),
            Either::Text(text) => Self::parse(&text).ok_or_else(|| {
                D::Error::custom(format!(
                    "\"{text}\" is no size: write a number and KiB, MiB, GiB or TiB, or \"unlimited\""
                ))
            }),
        }
    }
}

/// `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPortText(pub HostPort);

impl<'de> Deserialize<'de> for HostPortText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse()
            .map(Self)
            .map_err(|error| D::Error::custom(format!("\"{text}\": {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("7", 7),
            ("7 b", 7),
            ("256 KiB", 262_144),
            ("10GB", 10_000_000_000),
            (" 1tib ", 1 << 40),
        ] {
            assert_eq!(Size::parse(text), Some(Size(bytes)), "{text}");
        }
        for wrong in [
            "",
            "KiB",
            "-1",
            "1.5GiB",
            "1 XB",
            "99999999999999999999",
            "99999999 TiB",
        ] {
            assert_eq!(Size::parse(wrong), None, "{wrong}");
        }
    }
}
