//! The address at which a relay serves browsers: an `https` origin.

use super::address::{Host, HostPort, HostPortError};
use crate::limits::MAX_WEB;
use std::net::IpAddr;
use std::{fmt, str::FromStr};

const SCHEME: &str = "https://";
/// Port of `https` that is not written.
const DEFAULT_PORT: u16 = 443;

/// Reasons why a text is no web address of a relay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebAddressError {
    /// The text is longer than any address.
    #[error("this is too long for a web address")]
    TooLong,
    /// Another scheme, or none.
    #[error("a web address begins with \"{SCHEME}\"")]
    Scheme,
    /// A path, query or fragment.
    #[error("nothing may follow the host and port of a web address")]
    Path,
    /// The host or port.
    #[error("the web address is wrong: {0}")]
    Address(#[from] HostPortError),
}

/// `https://host` or `https://host:port`, checked.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WebAddress {
    at: HostPort,
}

impl WebAddress {
    /// The host and port that browsers connect to.
    pub const fn at(&self) -> &HostPort {
        &self.at
    }

    /// `host` or `host:port`, as browsers write it in `Host` and in addresses.
    pub fn authority(&self) -> String {
        match (self.at.port(), self.at.host()) {
            (DEFAULT_PORT, Host::Name(name)) => name.clone(),
            (DEFAULT_PORT, Host::Ip(IpAddr::V4(ip))) => ip.to_string(),
            (DEFAULT_PORT, Host::Ip(IpAddr::V6(ip))) => format!("[{ip}]"),
            _ => self.at.to_string(),
        }
    }

    /// Parses what stands between the scheme and the path.
    fn of_authority(text: &str) -> Result<Self, HostPortError> {
        match text.parse() {
            Err(HostPortError::NoPort) => format!("{text}:{DEFAULT_PORT}").parse(),
            parsed => parsed,
        }
        .map(|at| Self { at })
    }

    /// Splits `https://authority/rest` into the address and what follows the authority.
    pub(crate) fn split(text: &str) -> Result<(Self, &str), WebAddressError> {
        let rest = match text.split_at_checked(SCHEME.len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest,
            _ => return Err(WebAddressError::Scheme),
        };
        let end = rest.find(['/', '?', '#', '%']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        Ok((Self::of_authority(authority)?, rest))
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.authority())
    }
}

impl fmt::Debug for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for WebAddress {
    type Err = WebAddressError;

    /// Parses an address; space around it and a `/` at its end are forgiven.
    fn from_str(text: &str) -> Result<Self, WebAddressError> {
        let text = text.trim();
        if text.len() > MAX_WEB {
            return Err(WebAddressError::TooLong);
        }
        match Self::split(text)? {
            (address, "" | "/") => Ok(address),
            _ => Err(WebAddressError::Path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_as_browsers_write_them() {
        for (text, printed) in [
            ("https://relay.example.org", "https://relay.example.org"),
            (
                "https://relay.example.org:443/",
                "https://relay.example.org",
            ),
            (
                "HTTPS://Relay.Example.ORG:8443",
                "https://relay.example.org:8443",
            ),
            ("https://192.0.2.7", "https://192.0.2.7"),
            ("https://[2001:db8::1]", "https://[2001:db8::1]"),
            ("https://[2001:db8::1]:4817", "https://[2001:db8::1]:4817"),
        ] {
            let address: WebAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), printed);
            assert_eq!(printed.parse::<WebAddress>(), Ok(address));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, why) in [
            ("http://relay.example.org", WebAddressError::Scheme),
            ("relay.example.org", WebAddressError::Scheme),
            ("https://relay.example.org/l", WebAddressError::Path),
            ("https://relay.example.org?x", WebAddressError::Path),
            ("https://relay.example.org#x", WebAddressError::Path),
            ("https://", HostPortError::Host.into()),
            ("https://user@relay.example.org", HostPortError::Host.into()),
            ("https://relay.example.org:0", HostPortError::Port.into()),
            ("https://2130706433", HostPortError::Host.into()),
        ] {
            assert_eq!(text.parse::<WebAddress>(), Err(why), "{text}");
        }
        let long = format!("https://{}", "a".repeat(MAX_WEB));
        assert_eq!(long.parse::<WebAddress>(), Err(WebAddressError::TooLong));
    }
}
