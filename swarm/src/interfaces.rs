//! Which of this machine's interfaces lead to others: one notion for tickets, cards, the index and
//! discovery.
//!
//! An interface counts if discovery uses it ([`InterfaceFilter`]: what is configured, else
//! everything but the bridges that containers and virtual machines make for themselves) and if it
//! is connected. If that leaves none, every connected one counts.

use hither_carrier::InterfaceFilter;
use std::net::IpAddr;

/// Beginnings of the names of tunnels: they may lead somewhere, and seldom to whoever is on this
/// network.
const TUNNELS: [&str; 8] = [
    "tun",
    "tap",
    "wg",
    "utun",
    "ppp",
    "tailscale",
    "zt",
    "nordlynx",
];

/// An address and what it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    name: String,
    ip: IpAddr,
    connected: bool,
}

/// At most `most` addresses at which others may reach this device: those of networks first, then
/// those of tunnels; IPv4 first.
pub(crate) fn reachable_addresses(filter: &InterfaceFilter, most: usize) -> Vec<IpAddr> {
    let all = if_addrs::get_if_addrs().unwrap_or_default().into_iter();
    let candidates = all
        .filter(|interface| !interface.is_loopback())
        .map(|interface| Candidate {
            connected: interface.is_oper_up(),
            ip: interface.ip(),
            name: interface.name,
        });
    choose(candidates.collect(), filter, most)
}

fn choose(mut all: Vec<Candidate>, filter: &InterfaceFilter, most: usize) -> Vec<IpAddr> {
    // A link-local address means nothing without its interface.
    all.retain(|one| {
        one.connected && !matches!(one.ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
    });
    all.retain(|one| !filter.excludes(&one.name));
    if all.iter().any(|one| filter.wants(&one.name, false)) {
        all.retain(|one| filter.wants(&one.name, false));
    }
    let tunnel = |name: &str| TUNNELS.iter().any(|beginning| name.starts_with(beginning));
    all.sort_by_key(|one| (tunnel(&one.name), one.ip.is_ipv6()));
    let mut ips: Vec<IpAddr> = all.into_iter().map(|one| one.ip).collect();
    ips.truncate(most);
    ips
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(name: &str, ip: &str, connected: bool) -> Candidate {
        Candidate {
            name: name.into(),
            ip: ip.parse().unwrap(),
            connected,
        }
    }

    fn shown(all: &[Candidate], filter: &InterfaceFilter) -> Vec<String> {
        choose(all.to_vec(), filter, 4)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn field_b4_addresses_of_real_networks_come_first() {
        let mut all: Vec<Candidate> = (0..5)
            .map(|n| {
                on(
                    &format!("br-{n:012x}"),
                    &format!("172.{}.0.1", 17 + n),
                    n % 2 == 0,
                )
            })
            .collect();
        all.push(on("docker0", "172.16.0.1", false));
        all.push(on("wg0", "10.8.0.2", true));
        all.push(on("wlan0", "192.168.1.7", true));
        all.push(on("wlan0", "fe80::1", true));
        all.push(on("wlan0", "2001:db8::7", true));
        all.push(on("eth0", "192.168.1.8", false));
        assert_eq!(
            shown(&all, &InterfaceFilter::default()),
            ["192.168.1.7", "2001:db8::7", "10.8.0.2"]
        );
        // Interfaces chosen by a pattern count for discovery and tickets alike.
        let chosen = InterfaceFilter {
            include: vec!["wl*".into()],
            ..Default::default()
        };
        assert_eq!(shown(&all, &chosen), ["192.168.1.7", "2001:db8::7"]);
        let excluded = InterfaceFilter {
            exclude: vec!["wg*".into(), "wlan0".into()],
            ..Default::default()
        };
        // A machine that has nothing else is reached there, if at all.
        assert_eq!(
            shown(&all, &excluded),
            ["172.17.0.1", "172.19.0.1", "172.21.0.1"]
        );
        let none = InterfaceFilter {
            include: vec!["en*".into()],
            ..Default::default()
        };
        assert!(shown(&all, &none).is_empty());
    }
}
