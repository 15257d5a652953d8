//! Which devices seem to share a link to the rest of the world, by the addresses at which they are
//! reached.

use hither_engine::SiteId;
use hither_proto::DeviceId;
use std::net::{IpAddr, Ipv4Addr};

/// Bits of a private IPv4 network that is reached through a router or a VPN: what people make most.
const PRIVATE_V4: u32 = 24;
/// Bits of IPv6 that providers give to one customer at least (RFC 6177, BCP 157: a /56 or a /48 for
/// a site).
const SITE_V6: u32 = 56;

/// The site of an address: a public IPv4 address is a router with everybody behind it, everything
/// else a network.
pub(crate) fn site(remote: IpAddr) -> SiteId {
    SiteId(match remote.to_canonical() {
        IpAddr::V4(ip) if is_private(ip) => u64::from(u32::from(ip) >> (32 - PRIVATE_V4)),
        IpAddr::V4(ip) => 1 << 32 | u64::from(u32::from(ip)),
        IpAddr::V6(ip) => 1 << 63 | (u128::from(ip) >> (128 - SITE_V6)) as u64,
    })
}

/// A device of which nothing is known but that it is behind a relay: somewhere else, by itself.
pub(crate) fn behind_relay(device: DeviceId) -> SiteId {
    let [a, b, c, d, e, f, g, h, ..] = *device.as_bytes();
    // Apart from networks: those of IPv6 begin with 1, others are small.
    SiteId(u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 2 | 1 << 62)
}

/// Private, or shared by a provider's customers (RFC 6598): not an address of one router on the
/// internet.
fn is_private(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    ip.is_private() || ip.is_link_local() || (a == 100 && (64..128).contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_router_is_one_site_and_so_is_one_private_network() {
        let of = |text: &str| site(text.parse().unwrap());
        assert_eq!(of("198.51.100.7"), of("::ffff:198.51.100.7"));
        assert_ne!(of("198.51.100.7"), of("198.51.100.8"));
        assert_eq!(of("10.1.2.3"), of("10.1.2.200"));
        assert_ne!(of("10.1.2.3"), of("10.1.3.3"));
        assert_eq!(of("100.64.1.2"), of("100.64.1.9"));
        assert_eq!(of("2001:db8:1:200::1"), of("2001:db8:1:2ff::9"));
        assert_ne!(of("2001:db8:1:200::1"), of("2001:db8:1:300::1"));
    }
}
