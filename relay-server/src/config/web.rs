//! `[web]`: where browsers are served, and how.

use super::{Size, Span};
use hither_proto::WebAddress;
use serde::{Deserialize, Deserializer};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// `[web]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebConfig {
    /// Addresses at which browsers are served, `IP:PORT`; none: nowhere. A TCP port that devices
    /// use is shared with them.
    pub listen: Vec<SocketAddr>,
    /// Its address, `https://host[:port]`; devices make links of it. `None`: no links.
    #[serde(deserialize_with = "address")]
    pub url: Option<WebAddress>,
    /// PEM file with the certificate and those that lead to its issuer.
    pub certificate: Option<PathBuf>,
    /// PEM file with its key.
    pub key: Option<PathBuf>,
    /// Plain HTTP: a proxy in front speaks TLS.
    pub plain: bool,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Most connections of browsers at a time.
    pub connections: usize,
    /// Most of those from one address (one /64 network for IPv6), but for trusted proxies.
    pub connections_per_address: usize,
    /// Time for which a token for chunks is good.
    pub token: Span,
    /// Most tokens at a time.
    pub tokens: usize,
    /// Most bytes of chunks in one answer.
    pub answer: Size,
    /// Sites whose pages may ask, as `https://host[:port]`.
    #[serde(deserialize_with = "origins")]
    pub askers: Vec<WebAddress>,
    /// Most pages of one site that ask at a time.
    pub asks_per_origin: usize,
    /// Most from one address (one /64 network for IPv6).
    pub asks_per_address: usize,
    /// Most ciphertext that is given to one of them through the store.
    pub ask_bytes: Size,
}

/// Sites, each of which is named when it is none.
fn origins<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<WebAddress>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let origin = |text: &String| {
        let wrong = |error: &dyn std::fmt::Display| {
            serde::de::Error::custom(format!(
                "web.askers: \"{text}\" is no site ({error}): write https://host or https://host:port"
            ))
        };
        text.parse::<WebAddress>().map_err(|error| wrong(&error))
    };
    texts.iter().map(origin).collect()
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<WebAddress>, D::Error> {
    let text = String::deserialize(from)?;
    let wrong = |error| serde::de::Error::custom(format!("\"{text}\": {error}"));
    text.parse().map(Some).map_err(wrong)
}

/// A network, as `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    ip: IpAddr,
    bits: u8,
}

impl Network {
    /// True when an address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let shared = match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros()
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros()
            }
            _ => return false,
        };
        shared >= u32::from(self.bits)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no network: write an address, or 10.0.0.0/8");
        let (ip, bits) = text.split_once('/').unwrap_or((text, ""));
        let ip = IpAddr::from_str(ip.trim()).map_err(|_| wrong())?;
        let ip = ip.to_canonical();
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = match bits.trim() {
            "" if !text.contains('/') => most,
            bits => bits.parse().map_err(|_| wrong())?,
        };
        if bits > most {
            return Err(wrong());
        }
        Ok(Self { ip, bits })
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl WebConfig {
    /// True when browsers are served here.
    pub fn is_on(&self) -> bool {
        !self.listen.is_empty()
    }

    /// Names what is wrong with it, by itself and beside the TCP ports of devices.
    pub(super) fn wrong(&self, ports: &[u16]) -> Option<&'static str> {
        let files = (self.certificate.is_some(), self.key.is_some());
        if files.0 != files.1 {
            return Some("web.certificate and web.key are set together");
        }
        if self.plain && files.0 {
            return Some("web.plain leaves TLS to a proxy: without web.certificate and web.key");
        }
        let shared = |at: &SocketAddr| at.port() != 0 && ports.contains(&at.port());
        if self.plain && self.listen.iter().any(shared) {
            return Some("web.listen with web.plain needs a port that devices do not use");
        }
        if self.is_on() && !self.plain && !files.0 {
            return Some(
                "web.listen needs web.certificate and web.key, or web.plain behind a proxy",
            );
        }
        if self.connections == 0 || self.connections_per_address == 0 {
            return Some("web.connections and web.connections_per_address must be at least 1");
        }
        let token = self.token.as_millis();
        if !(1_000..=u64::from(hither_proto::limits::MAX_CHUNK_TOKEN_MS)).contains(&token) {
            return Some("web.token must be between 1s and 1day");
        }
        if self.asks_per_origin == 0 || self.asks_per_address == 0 || self.ask_bytes.0 == 0 {
            return Some(
                "web.asks_per_origin, web.asks_per_address and web.ask_bytes must be at least 1",
            );
        }
        if self.answer.0 == 0 || self.answer.0 > hither_proto::limits::MAX_GET_BYTES {
            return Some("web.answer must be between 1 and 64 MiB");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_is_in_them() {
        let of = |text: &str| text.parse::<Network>();
        let in_it = |net: &str, ip: &str| of(net).unwrap().contains(ip.parse().unwrap());
        assert!(in_it("10.0.0.0/8", "10.255.0.1") && !in_it("10.0.0.0/8", "11.0.0.1"));
        assert!(in_it("10.0.0.1", "::ffff:10.0.0.1") && !in_it("10.0.0.1", "10.0.0.2"));
        assert!(in_it("2001:db8::/32", "2001:db8:1::1") && !in_it("2001:db8::/32", "10.0.0.1"));
        assert!(in_it("0.0.0.0/0", "192.0.2.1") && in_it("::/0", "::1"));
        for wrong in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "relay",
            "10.0.0.0/x",
            "::/129",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let config = |change: fn(&mut WebConfig)| {
            let mut config = WebConfig::default();
            change(&mut config);
            config.wrong(&[4817, 443])
        };
        assert_eq!(config(|_| {}), None);
        let listen = |port| vec![SocketAddr::from(([0, 0, 0, 0], port))];
        assert!(config(|web| web.listen = vec![([127, 0, 0, 1], 80).into()]).is_some());
        assert!(config(|web| web.key = Some("key".into())).is_some());
        let mut shared = WebConfig {
            listen: listen(4817),
            certificate: Some("certificate".into()),
            key: Some("key".into()),
            ..WebConfig::default()
        };
        assert_eq!(shared.wrong(&[4817, 443]), None);
        (shared.certificate, shared.key, shared.plain) = (None, None, true);
        assert!(shared.wrong(&[4817, 443]).is_some());
        shared.listen = listen(8080);
        assert_eq!(shared.wrong(&[4817, 443]), None);
        shared.token = Span::millis(1);
        assert!(shared.wrong(&[]).is_some());
    }
}
