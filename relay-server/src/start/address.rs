//! Where devices find this node: as configured, or the best guess.

use crate::config::Config;
use crate::node::NodeError;
use hither_carrier::Endpoint;
use hither_proto::limits::MAX_ADDRESSES;
use hither_proto::{DeviceId, Host, HostPort, RelayAddress, RelayUrl};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where a node is.
pub(super) struct NodeAddress {
    /// For devices and other nodes.
    pub(super) address: RelayAddress,
    /// For people.
    pub(super) url: RelayUrl,
    /// Why others may not reach it there, in words.
    pub(super) doubt: Option<String>,
}

/// Where the node with these sockets is.
pub(super) fn of(
    config: &Config,
    key: &DeviceId,
    endpoint: &Endpoint,
) -> Result<NodeAddress, NodeError> {
    let (at, doubt) = match &config.address {
        Some(text) => (configured(text, endpoint.port())?, None),
        None => guess(config, endpoint.port())?,
    };
    let udp = if config.advertise_udp.is_empty() {
        vec![at.clone()]
    } else {
        texts(&config.advertise_udp)
    };
    let tcp = match config.advertise_tcp.is_empty() {
        true => endpoint
            .tcp_ports()
            .into_iter()
            .filter_map(|port| with_port(&at, port, endpoint))
            .collect(),
        false => texts(&config.advertise_tcp),
    };
    let address = RelayAddress {
        key: *key,
        udp,
        tcp,
    };
    Ok(NodeAddress {
        address,
        url: RelayUrl {
            at,
            key: *key,
            invitation: None,
        },
        doubt,
    })
}

fn texts(list: &[crate::config::HostPortText]) -> Vec<HostPort> {
    list.iter()
        .take(MAX_ADDRESSES)
        .map(|text| text.0.clone())
        .collect()
}

/// A name or address with or without port.
fn configured(text: &str, port: u16) -> Result<HostPort, NodeError> {
    let bare = text
        .parse::<IpAddr>()
        .ok()
        .map(|ip| SocketAddr::new(ip, port).to_string());
    let with_port = bare.unwrap_or_else(|| format!("{text}:{port}"));
    text.parse()
        .or_else(|_| with_port.parse())
        .map_err(|error| NodeError::Config(format!("address: {error}")))
}

/// The same host with another port. The port that the operator forwards stands for the one that is
/// listened on.
fn with_port(at: &HostPort, port: u16, endpoint: &Endpoint) -> Option<HostPort> {
    if Some(port) == endpoint.tcp_port() && port == endpoint.port() {
        return Some(at.clone());
    }
    match at.host() {
        Host::Name(name) => format!("{name}:{port}").parse().ok(),
        Host::Ip(ip) => HostPort::try_from(SocketAddr::new(*ip, port)).ok(),
    }
}

/// The address that others most likely reach, and why they may not.
fn guess(config: &Config, port: u16) -> Result<(HostPort, Option<String>), NodeError> {
    let own = || {
        if_addrs::get_if_addrs()
            .unwrap_or_default()
            .into_iter()
            .map(|interface| interface.ip())
    };
    let best = if config.loopback_only {
        None
    } else {
        own().filter(|ip| !ip.is_loopback()).max_by_key(rank)
    };
    let ip = best.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let doubt = match rank(&ip) {
        PUBLIC_V4.. => None,
        _ if ip.is_loopback() => Some("only programs on this machine can reach it".to_owned()),
        _ => Some(format!(
            "{ip} is an address of a private network: devices elsewhere cannot reach it. Set address to the name or \
             public address of this machine, and forward port {port} (UDP and TCP) to it if it is behind a router"
        )),
    };
    let at = HostPort::try_from(SocketAddr::new(ip, port))
        .map_err(|error| NodeError::Config(error.to_string()))?;
    Ok((at, doubt))
}

/// Rank of the least public IPv4 address that everybody reaches.
const PUBLIC_V4: u8 = 4;

/// How likely others reach an address.
fn rank(ip: &IpAddr) -> u8 {
    match ip {
        IpAddr::V4(ip) if ip.is_loopback() => 0,
        IpAddr::V4(ip) if ip.is_link_local() => 1,
        // RFC 6598: behind the provider's translation.
        IpAddr::V4(ip) if ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64 => 2,
        IpAddr::V4(ip) if ip.is_private() => 3,
        IpAddr::V4(_) => PUBLIC_V4 + 1,
        IpAddr::V6(ip) if ip.is_loopback() || ip.is_unicast_link_local() => 0,
        IpAddr::V6(ip) if ip.is_unique_local() => 1,
        IpAddr::V6(_) => PUBLIC_V4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_with_or_without_port() {
        for (text, meant) in [
            ("relay.example.org", "relay.example.org:4817"),
            ("relay.example.org:7", "relay.example.org:7"),
            ("192.0.2.1", "192.0.2.1:4817"),
            ("192.0.2.1:7", "192.0.2.1:7"),
            ("2001:db8::1", "[2001:db8::1]:4817"),
            ("[2001:db8::1]:7", "[2001:db8::1]:7"),
        ] {
            assert_eq!(configured(text, 4817).unwrap().to_string(), meant);
        }
        for wrong in ["", "0.0.0.0", "a b", "relay.example.org:70000"] {
            assert!(configured(wrong, 4817).is_err(), "{wrong}");
        }
    }

    #[test]
    fn public_addresses_rank_before_private_ones() {
        let order = [
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "192.168.0.1",
            "2001:db8::1",
            "192.0.2.1",
        ];
        let ranks: Vec<_> = order.iter().map(|ip| rank(&ip.parse().unwrap())).collect();
        assert!(
            ranks.is_sorted() && ranks[3] < PUBLIC_V4 && ranks[4] >= PUBLIC_V4,
            "{ranks:?}"
        );
    }
}
