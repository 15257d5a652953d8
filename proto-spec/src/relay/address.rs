//! Where a device or relay listens: its key and `host:port` texts.
//!
//! Invariant: a [`HostPort`] can be given to a resolver or a socket as it is. A name that only
//! looks like an address (`127.1`, `0x7f000001`, `2130706433`), which some resolvers take for one,
//! is refused.

use crate::device::DeviceId;
use crate::limits::{MAX_ADDRESSES, MAX_HOST, MAX_HOST_PORT};
use crate::message::MessageError;
use crate::wire;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::{fmt, str::FromStr};

/// Why a text is no `host:port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostPortError {
    /// Longer than any.
    #[error("the address is longer than {MAX_HOST_PORT} characters")]
    TooLong,
    /// No `:` behind the host.
    #[error("the port is missing: write host:port")]
    NoPort,
    /// The port is no number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// More than one `:` outside of brackets.
    #[error("an IPv6 address must stand in brackets: [2001:db8::1]:port")]
    Brackets,
    /// Between the brackets is no IPv6 address.
    #[error("this is no IPv6 address (without a zone)")]
    Ipv6,
    /// Neither a host name nor an address.
    #[error(
        "the host must be a name of letters, digits, hyphens and dots (international names in their xn-- form), an \
         IPv4 address, or an IPv6 address in brackets"
    )]
    Host,
    /// An address at which nobody can be reached.
    #[error("nobody can be reached at this address")]
    Unusable,
}

/// A host name, in lower case, or an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name for the resolver; at most [`MAX_HOST`] bytes.
    Name(String),
    /// An address; neither unspecified nor multicast.
    Ip(IpAddr),
}

/// `host:port`, checked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    host: Host,
    port: u16,
}

impl HostPort {
    /// The host.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port, never 0.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The socket address, when the host is an address and nothing has to be resolved.
    pub const fn socket_addr(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) => None,
        }
    }
}

impl TryFrom<SocketAddr> for HostPort {
    type Error = HostPortError;

    /// Takes an address with its port; fails for port 0, `0.0.0.0`, `::` and multicast. A zone is
    /// dropped.
    fn try_from(address: SocketAddr) -> Result<Self, HostPortError> {
        let (ip, port) = (address.ip(), address.port());
        // ::ffff:0.0.0.0 is 0.0.0.0 to a socket.
        let plain = ip.to_canonical();
        if plain.is_unspecified()
            || plain.is_multicast()
            || plain == IpAddr::V4(Ipv4Addr::BROADCAST)
        {
            return Err(HostPortError::Unusable);
        }
        if port == 0 {
            Err(HostPortError::Port)
        } else {
            Ok(Self {
                host: Host::Ip(ip),
                port,
            })
        }
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        if text.len() > MAX_HOST_PORT {
            return Err(HostPortError::TooLong);
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (ip, rest) = rest.split_once(']').ok_or(HostPortError::Ipv6)?;
            let ip = Ipv6Addr::from_str(ip).map_err(|_| HostPortError::Ipv6)?;
            let port = parse_port(rest.strip_prefix(':').ok_or(HostPortError::NoPort)?)?;
            return Self::try_from(SocketAddr::new(ip.into(), port));
        }
        let (host, port) = text.split_once(':').ok_or(HostPortError::NoPort)?;
        if port.contains(':') {
            return Err(HostPortError::Brackets);
        }
        let port = parse_port(port)?;
        match Ipv4Addr::from_str(host) {
            Ok(ip) => Self::try_from(SocketAddr::new(ip.into(), port)),
            Err(_) => Ok(Self {
                host: Host::Name(parse_name(host)?),
                port,
            }),
        }
    }
}

fn parse_port(text: &str) -> Result<u16, HostPortError> {
    // `parse` would take a sign.
    if !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(HostPortError::Port);
    }
    text.parse()
        .ok()
        .filter(|&port| port > 0)
        .ok_or(HostPortError::Port)
}

/// A name of letters, digits and hyphens (RFC 1123, section 2.1), and underscores, which names in
/// use have.
fn parse_name(host: &str) -> Result<String, HostPortError> {
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    };
    // What ends in a number is an address to some resolvers, in notations that we did not check.
    let last = host.rsplit('.').next().unwrap_or(host).to_ascii_lowercase();
    let number = last.bytes().all(|c| c.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .is_some_and(|hex| hex.bytes().all(|c| c.is_ascii_hexdigit()));
    if host.len() > MAX_HOST || number || !host.split('.').all(label_fits) {
        return Err(HostPortError::Host);
    }
    Ok(host.to_ascii_lowercase())
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Ip(ip) => write!(f, "{}", SocketAddr::new(*ip, self.port)),
        }
    }
}

impl fmt::Debug for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One device or relay and where it listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RelayAddress {
    /// Its key, which TLS must prove.
    pub key: DeviceId,
    /// For QUIC, best first; at most [`MAX_ADDRESSES`], more are not sent.
    pub udp: Vec<HostPort>,
    /// For TLS over TCP, best first; at most [`MAX_ADDRESSES`], more are not sent.
    pub tcp: Vec<HostPort>,
}

impl RelayAddress {
    pub(crate) fn parse(m: wire::RelayAddress) -> Result<Self, MessageError> {
        Ok(Self {
            key: DeviceId::from_slice(&m.key)?,
            udp: parse_addresses(&m.udp)?,
            tcp: parse_addresses(&m.tcp)?,
        })
    }

    pub(crate) fn to_wire(&self) -> wire::RelayAddress {
        let texts = |list: &[HostPort]| {
            list.iter()
                .take(MAX_ADDRESSES)
                .map(HostPort::to_string)
                .collect()
        };
        wire::RelayAddress {
            key: self.key.as_bytes().to_vec().into(),
            udp: texts(&self.udp),
            tcp: texts(&self.tcp),
        }
    }

    /// Encodes for storing; the same bytes as on the wire.
    pub fn encode(&self) -> Vec<u8> {
        prost::Message::encode_to_vec(&self.to_wire())
    }

    /// Parses what [`encode`](Self::encode) gave.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let message = <wire::RelayAddress as prost::Message>::decode(bytes)
            .map_err(|_| MessageError::Malformed)?;
        Self::parse(message)
    }
}

fn parse_addresses(texts: &[String]) -> Result<Vec<HostPort>, MessageError> {
    if texts.len() > MAX_ADDRESSES {
        return Err(MessageError::Value("number of addresses"));
    }
    Ok(texts
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, HostPortError>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_and_addresses_round_trip_in_lower_case() {
        for text in [
            "relay.example:47447",
            "a:1",
            "my_relay-2:65535",
            "192.0.2.7:80",
            "[2001:db8::1]:443",
            "xn--e1a.x:9",
        ] {
            let parsed: HostPort = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
            assert_eq!(text.to_uppercase().parse::<HostPort>().unwrap(), parsed);
        }
        assert_eq!(
            "127.0.0.1:80".parse::<HostPort>().unwrap().socket_addr(),
            "127.0.0.1:80".parse().ok()
        );
        assert_eq!(
            "localhost:80".parse::<HostPort>().unwrap().socket_addr(),
            None
        );
        let longest = format!("{}:65535", &"abcdefghi.".repeat(26)[..MAX_HOST]);
        assert!(longest.parse::<HostPort>().is_ok());
    }

    #[test]
    fn what_cannot_be_dialled_is_refused_with_its_reason() {
        use HostPortError::*;
        let name_too_long = format!("{}:1", &"abcdefghi.".repeat(26)[..MAX_HOST + 1]);
        let label_too_long = format!("{}:1", "a".repeat(64));
        for (text, why) in [
            ("", NoPort),
            ("relay.example", NoPort),
            ("[::1]", NoPort),
            ("[::1]80", NoPort),
            ("relay.example:", Port),
            ("relay.example:0", Port),
            ("relay.example:+1", Port),
            ("relay.example:65536", Port),
            ("[::1]:0", Port),
            ("::1:80", Brackets),
            ("[::1:80", Ipv6),
            ("[fe80::1%eth0]:80", Ipv6),
            ("[127.0.0.1]:80", Ipv6),
            (":80", Host),
            ("relay..example:80", Host),
            ("relay.example.:80", Host),
            ("-a:80", Host),
            ("a-:80", Host),
            ("a b:80", Host),
            ("bücher.example:80", Host),
            ("user@host:80", Host),
            ("host/x:80", Host),
            ("127.1:80", Host),
            ("2130706433:80", Host),
            ("0x7f000001:80", Host),
            ("a.0X1:80", Host),
            ("256.1.1.1:80", Host),
            ("0.0.0.0:80", Unusable),
            ("255.255.255.255:80", Unusable),
            ("224.0.0.251:80", Unusable),
            ("[::]:80", Unusable),
            ("[::ffff:0.0.0.0]:80", Unusable),
            ("[ff02::fb]:80", Unusable),
            (&name_too_long, Host),
            (&label_too_long, Host),
            (&"a".repeat(MAX_HOST_PORT + 1), TooLong),
        ] {
            assert_eq!(text.parse::<HostPort>(), Err(why), "{text:?}");
        }
    }

    #[test]
    fn addresses_are_counted() {
        let key = *crate::relay::samples::key().as_bytes();
        let address = |udp: usize, tcp: usize| {
            let texts = |count| vec!["a:1".to_owned(); count];
            RelayAddress::parse(wire::RelayAddress {
                key: key.to_vec().into(),
                udp: texts(udp),
                tcp: texts(tcp),
            })
        };
        assert!(address(MAX_ADDRESSES, MAX_ADDRESSES).is_ok() && address(0, 0).is_ok());
        assert!(address(MAX_ADDRESSES + 1, 0).is_err() && address(0, MAX_ADDRESSES + 1).is_err());
        let stored = address(2, 1).unwrap();
        assert_eq!(RelayAddress::decode(&stored.encode()), Ok(stored));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_prints_to_itself(text in "[-a-z0-9.:\\[\\]_x]{0,20}|\\PC{0,20}") {
            if let Ok(parsed) = text.parse::<HostPort>() {
                prop_assert_eq!(parsed.to_string().parse::<HostPort>(), Ok(parsed));
            }
        }
    }
}
