//! Is an address near or far? Near and far links want different windows.

use std::net::{IpAddr, SocketAddr};

/// Where an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// On this machine or in a private network: short round trips, large packets.
    Lan,
    /// Anywhere else.
    Wan,
}

impl Reach {
    /// Judges by the address alone. A private address behind a VPN counts as near; it then works
    /// with smaller windows than would be best.
    pub(crate) fn of(address: IpAddr) -> Self {
        let near = match address.to_canonical() {
            IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
            IpAddr::V6(v6) => {
                v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unique_local()
            }
        };
        if near { Self::Lan } else { Self::Wan }
    }
}

/// An address as people write it: an IPv4 peer of a dual-stack socket is an IPv4 address.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::from((v4, address.port())),
        IpAddr::V6(_) => address, // keeps the scope of a link-local address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_near() {
        for near in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.9",
            "169.254.1.1",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(Reach::of(near.parse().unwrap()), Reach::Lan, "{near}");
        }
        for far in ["8.8.8.8", "100.64.0.1", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert_eq!(Reach::of(far.parse().unwrap()), Reach::Wan, "{far}");
        }
    }

    #[test]
    fn scopes_survive() {
        let scoped: SocketAddr = "[fe80::1%7]:9".parse().unwrap();
        assert_eq!(canonical(scoped), scoped);
        assert_eq!(
            canonical("[::ffff:10.0.0.1]:9".parse().unwrap()),
            "10.0.0.1:9".parse().unwrap()
        );
    }
}
