//! What is uploaded to stores, by size and network.

use std::net::IpAddr;
use std::{fmt, str::FromStr};

/// The rules of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRules {
    /// Whether anything is uploaded.
    pub enabled: bool,
    /// Only shares of at least so many bytes.
    pub min_size: Option<u64>,
    /// Only shares of at most so many bytes.
    pub max_size: Option<u64>,
    /// Not while the relay is reached over one of these.
    pub never_on: Vec<NetworkRule>,
    /// Also while the link is metered.
    pub metered: bool,
}

impl Default for UploadRules {
    fn default() -> Self {
        Self {
            enabled: true,
            min_size: None,
            max_size: None,
            never_on: Vec::new(),
            metered: false,
        }
    }
}

/// An interface by its name, or a network by its prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkRule {
    /// The interface of this name.
    Interface(String),
    /// Every address that begins with these bits.
    Prefix(IpAddr, u8),
}

impl NetworkRule {
    /// Whether traffic from this address of this interface is meant.
    pub fn means(&self, interface: &str, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Interface(name), _) => name == interface,
            (Self::Prefix(IpAddr::V4(net), bits), IpAddr::V4(at)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
                u32::from(*net) & mask == u32::from(at) & mask
            }
            (Self::Prefix(IpAddr::V6(net), bits), IpAddr::V6(at)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                u128::from(*net) & mask == u128::from(at) & mask
            }
            _ => false,
        }
    }
}

/// The text is neither the name of an interface nor a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither the name of an interface nor a network like 192.168.43.0/24")]
pub struct NetworkRuleError;

impl FromStr for NetworkRule {
    type Err = NetworkRuleError;

    fn from_str(text: &str) -> Result<Self, NetworkRuleError> {
        let Some((address, bits)) = text.split_once('/') else {
            let name = !text.is_empty() && text.len() < 64 && text.parse::<IpAddr>().is_err();
            return name
                .then(|| Self::Interface(text.to_owned()))
                .ok_or(NetworkRuleError);
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkRuleError)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits
            .parse()
            .ok()
            .filter(|bits| *bits <= most)
            .ok_or(NetworkRuleError)?;
        Ok(Self::Prefix(address, bits))
    }
}

impl fmt::Display for NetworkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => f.write_str(name),
            Self::Prefix(address, bits) => write!(f, "{address}/{bits}"),
        }
    }
}

/// Bytes of a text like `100MB` (powers of 1000) or `2GiB` (powers of 1024); `None` when it is
/// none.
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1000 * 1000,
        "g" | "gb" => 1000 * 1000 * 1000,
        "t" | "tb" => 1000 * 1000 * 1000 * 1000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table = [
            ("0", Some(0)),
            ("17B", Some(17)),
            ("100MB", Some(100_000_000)),
            ("2 GiB", Some(2 << 30)),
            ("1t", Some(1_000_000_000_000)),
            ("", None),
            ("MB", None),
            ("-1", None),
            ("1.5GB", None),
            ("99999999999TB", None),
        ];
        for (text, size) in table {
            assert_eq!(parse_size(text), size, "{text}");
        }
    }

    #[test]
    fn networks_mean_what_they_say() {
        let means = |rule: &str, address: &str| {
            rule.parse::<NetworkRule>()
                .unwrap()
                .means("wlan0", address.parse().unwrap())
        };
        assert!(means("wlan0", "10.1.2.3") && !means("wlan1", "10.1.2.3"));
        assert!(means("10.0.0.0/8", "10.1.2.3") && !means("10.0.0.0/8", "11.1.2.3"));
        assert!(means("0.0.0.0/0", "10.1.2.3") && !means("::/0", "10.1.2.3"));
        assert!(means("2001:db8::/32", "2001:db8:1::1") && means("10.1.2.3/32", "10.1.2.3"));
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "::1"] {
            assert_eq!(
                wrong.parse::<NetworkRule>(),
                Err(NetworkRuleError),
                "{wrong}"
            );
        }
    }
}
