//! How fast this device may send and receive: in all, with single devices, and at which times.

use crate::schedule::ScheduleRule;
use crate::upload_rules::parse_size;
use std::num::NonZeroU64;
use std::{fmt, str::FromStr};

/// The limits of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Most bytes sent in a second; `None`: as many as the link takes.
    pub upload: Option<NonZeroU64>,
    /// Most bytes received in a second.
    pub download: Option<NonZeroU64>,
    /// Whether what stays on the local network is limited too.
    pub lan: bool,
    /// Limits for single devices, besides those in all. The first that means a device counts.
    pub devices: Vec<DeviceLimit>,
    /// Other limits at certain times. The first that is in force counts.
    pub schedule: Vec<ScheduleRule>,
}

/// What is sent to, and received from, one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceLimit {
    /// Its name, its short id, or the beginning of its id.
    pub device: String,
    /// Most bytes sent to it in a second.
    pub upload: Option<NonZeroU64>,
    /// Most bytes received from it in a second.
    pub download: Option<NonZeroU64>,
}

/// The text is no limit for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a limit like phone=2MB or \"phone upload=2MB download=1MB\"")]
pub struct DeviceLimitError;

/// Shortest beginning of an id that means a device.
const LEAST_ID: usize = 6;

impl DeviceLimit {
    /// Whether a device is meant that calls itself `name`, if that is known.
    pub fn means(&self, id: &str, short: &str, name: Option<&str>) -> bool {
        let begins = self.device.len() >= LEAST_ID && id.starts_with(&self.device);
        let called = name.is_some_and(|name| name.to_lowercase() == self.device.to_lowercase());
        begins || short == self.device || called
    }
}

impl FromStr for DeviceLimit {
    type Err = DeviceLimitError;

    fn from_str(text: &str) -> Result<Self, DeviceLimitError> {
        let text = text.trim();
        let (name, rates) = match take_rates(text) {
            Some((name, rates)) => (name, rates),
            // `phone=2MB`: what is sent to it.
            None => {
                let (name, rate) = text.rsplit_once('=').ok_or(DeviceLimitError)?;
                let upload = parse_rate(rate).ok_or(DeviceLimitError)?;
                (
                    name,
                    Rates {
                        upload: Some(Some(upload)),
                        download: None,
                    },
                )
            }
        };
        let name = name.trim();
        if name.is_empty() || name.contains('=') {
            return Err(DeviceLimitError);
        }
        let (upload, download) = (rates.upload.flatten(), rates.download.flatten());
        Ok(Self {
            device: name.to_owned(),
            upload,
            download,
        })
    }
}

impl fmt::Display for DeviceLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rates = Rates {
            upload: self.upload.map(Some),
            download: self.download.map(Some),
        };
        write!(f, "{}{rates}", self.device)
    }
}

/// Rates as rules say them: nothing of a way, that it is free (`any`), or how fast.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) upload: Option<Option<NonZeroU64>>,
    pub(crate) download: Option<Option<NonZeroU64>>,
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (way, rate) in [("upload", self.upload), ("download", self.download)] {
            match rate {
                None => {}
                Some(None) => write!(f, " {way}=any")?,
                Some(Some(rate)) => write!(f, " {way}={rate}B/s")?,
            }
        }
        Ok(())
    }
}

/// Takes the words `upload=…` and `download=…` off the end of a text; gives what stands before
/// them. `None` when there are none, or one is wrong or said twice.
pub(crate) fn take_rates(text: &str) -> Option<(&str, Rates)> {
    let (mut rest, mut rates) = (text.trim_end(), Rates::default());
    loop {
        let begin = rest.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let (way, said) = match rest[begin..].split_once('=') {
            Some(("upload", said)) => (&mut rates.upload, said),
            Some(("download", said)) => (&mut rates.download, said),
            _ => break,
        };
        let rate = if said == "any" {
            None
        } else {
            Some(parse_rate(said)?)
        };
        if way.replace(rate).is_some() {
            return None;
        }
        rest = rest[..begin].trim_end();
    }
    (rates != Rates::default()).then_some((rest, rates))
}

/// Smallest rate, bytes per second: below it even a small chunk takes longer than others wait for
/// one.
const LEAST: u64 = 10_000;

/// Bytes per second of a text like `5MB`, `2MiB/s` or `40Mbit`; `None` when it is none, or below 10
/// kB.
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

    #[test]
    fn a_device_is_limited_one_way_or_both() {
        let limit = |text: &str| text.parse::<DeviceLimit>().map(|limit| limit.to_string());
        assert_eq!(limit("phone=2MB").unwrap(), "phone upload=2000000B/s");
        assert_eq!(
            limit("my phone  download=8Mbit upload=2MB").unwrap(),
            "my phone upload=2000000B/s download=1000000B/s"
        );
        assert_eq!(
            limit("pAgATswh download=1MB").unwrap(),
            "pAgATswh download=1000000B/s"
        );
        for wrong in [
            "",
            "phone",
            "=2MB",
            "phone=",
            "phone=fast",
            "upload=2MB",
            "phone upload=1",
            "a=b=2MB",
        ] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
        assert!(limit("phone upload=1MB upload=2MB").is_err(), "said twice");
        let written = limit("my phone=2MB").unwrap();
        assert_eq!(
            limit(&written).unwrap(),
            written,
            "what is shown can be written again"
        );
    }

    #[test]
    fn a_device_is_meant_by_its_name_or_its_id() {
        let id = "12D3KooWJ8VqPZkqvBkX7ubL1bNqmDFSUbNxpAgATswh";
        let means = |text: &str, name| {
            let limit = DeviceLimit {
                device: text.into(),
                upload: None,
                download: None,
            };
            limit.means(id, "pAgATswh", name)
        };
        assert!(
            means("Phone", Some("phone")) && !means("phone", None) && !means("phon", Some("phone"))
        );
        assert!(means("pAgATswh", None) && means(id, None) && means(&id[..20], None));
        assert!(!means("12D", None), "as good as every id begins like that");
    }
}
