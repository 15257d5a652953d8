//! What discovery has seen so far, and what of it is news.
//!
//! Everything in here was said by anybody on the network: it is bounded, it is only a hint where to dial, and two who
//! claim to be one device are both kept until TLS tells them apart.

use crate::bounds::MAX_ADDRESSES;
use hither_proto::DeviceId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

/// Most services remembered, and so most devices.
const MAX_SERVICES: usize = 1024;
/// Most services remembered that claim to be one device.
const MAX_CLAIMS: usize = 4;
/// Most addresses remembered of one service.
const MAX_SEEN: usize = 2 * MAX_ADDRESSES;

/// A change in what is around.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoveryEvent {
    /// A device is there, or has other addresses or ports than before. A hint: TLS proves who is at an address.
    Seen {
        /// Who claims to be there.
        device: DeviceId,
        /// Where QUIC listens, at most 8 addresses, the most promising first; link-local ones with their scope.
        addresses: Vec<SocketAddr>,
        /// TCP port on the same addresses.
        tcp_port: Option<u16>,
    },
    /// A device that is there asks to be connected to: it looks for something and does not get through to somebody. A hint like
    /// any other, said as often as it is heard.
    Calls {
        /// Who claims to call.
        device: DeviceId,
    },
    /// Somebody else announces this very device: what is left of an earlier run, or another machine with its key.
    Ourselves {
        /// Where that is, at most 16 addresses.
        addresses: Vec<SocketAddr>,
        /// TCP port on the same addresses.
        tcp_port: Option<u16>,
    },
    /// A device has said goodbye or was not heard any more.
    Gone {
        /// Who was there.
        device: DeviceId,
    },
}

/// One service as it was last announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) device: DeviceId,
    pub(crate) addresses: BTreeSet<SocketAddr>,
    pub(crate) tcp_port: Option<u16>,
}

/// All services seen, by name.
pub(crate) struct Sightings {
    ourselves: DeviceId,
    services: BTreeMap<String, Service>,
    told: HashMap<DeviceId, (Vec<SocketAddr>, Option<u16>)>,
}

impl Sightings {
    pub(crate) fn new(ourselves: DeviceId) -> Self {
        Self { ourselves, services: BTreeMap::new(), told: HashMap::new() }
    }

    /// Takes note of an announcement; gives news of the devices concerned, if any.
    pub(crate) fn see(&mut self, name: &str, mut service: Service) -> Vec<DiscoveryEvent> {
        while service.addresses.len() > MAX_SEEN {
            service.addresses.pop_last();
        }
        if service.device == self.ourselves {
            let addresses = service.addresses.into_iter().collect();
            return vec![DiscoveryEvent::Ourselves { addresses, tcp_port: service.tcp_port }];
        }
        let device = service.device;
        let known = self.services.get(name).map(|service| service.device);
        if known != Some(device) {
            let claims = self.services.values().filter(|other| other.device == device).count();
            if claims >= MAX_CLAIMS || (known.is_none() && self.services.len() >= MAX_SERVICES) {
                return Vec::new();
            }
        }
        self.services.insert(name.to_owned(), service);
        let before = known.filter(|known| *known != device).and_then(|known| self.news(known));
        before.into_iter().chain(self.news(device)).collect()
    }

    /// Takes note of a goodbye.
    pub(crate) fn lose(&mut self, name: &str) -> Option<DiscoveryEvent> {
        let service = self.services.remove(name)?;
        self.news(service.device)
    }

    /// Returns whether a device is there.
    pub(crate) fn knows(&self, device: DeviceId) -> bool {
        self.told.contains_key(&device)
    }

    /// What the services are called.
    pub(crate) fn names(&self) -> Vec<String> {
        self.services.keys().cloned().collect()
    }

    /// What is to be told about a device, if it differs from what was told last.
    fn news(&mut self, device: DeviceId) -> Option<DiscoveryEvent> {
        let claims: Vec<_> = self.services.values().filter(|service| service.device == device).collect();
        let addresses = merge(&claims);
        if addresses.is_empty() {
            return self.told.remove(&device).map(|_| DiscoveryEvent::Gone { device });
        }
        let tcp_port = claims.iter().find_map(|service| service.tcp_port);
        let now = (addresses, tcp_port);
        if self.told.get(&device) == Some(&now) {
            return None;
        }
        self.told.insert(device, now.clone());
        Some(DiscoveryEvent::Seen { device, addresses: now.0, tcp_port })
    }
}

/// The best addresses of all claims in turn, so that one liar cannot crowd out the others.
fn merge(claims: &[&Service]) -> Vec<SocketAddr> {
    let mut columns: Vec<Vec<SocketAddr>> = claims
        .iter()
        .map(|service| {
            let mut addresses: Vec<_> = service.addresses.iter().copied().collect();
            addresses.sort_by_key(|address| (promise(address.ip()), *address));
            addresses.reverse();
            addresses
        })
        .collect();
    let mut merged = Vec::new();
    while merged.len() < MAX_ADDRESSES && columns.iter().any(|column| !column.is_empty()) {
        for address in columns.iter_mut().filter_map(Vec::pop) {
            if merged.len() < MAX_ADDRESSES && !merged.contains(&address) {
                merged.push(address);
            }
        }
    }
    merged
}

/// What is tried first: IPv4 (fewest surprises on a LAN), then lasting IPv6, then link-local.
fn promise(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) if !v4.is_link_local() => 0,
        IpAddr::V6(v6) if !v6.is_unicast_link_local() => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> DeviceId {
        crate::Identity::generate().unwrap().device_id()
    }

    fn service(device: DeviceId, addresses: &[&str], tcp_port: Option<u16>) -> Service {
        Service { device, addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(), tcp_port }
    }

    #[test]
    fn only_changes_are_news() {
        let (us, them) = (device(), device());
        let mut sightings = Sightings::new(us);
        let ours = sightings.see("us", service(us, &["10.0.0.1:1"], None));
        assert!(matches!(&ours[..], [DiscoveryEvent::Ourselves { .. }]), "{ours:?}");
        let first = sightings.see("them", service(them, &["10.0.0.2:1"], None));
        let addresses = vec!["10.0.0.2:1".parse().unwrap()];
        assert_eq!(first, [DiscoveryEvent::Seen { device: them, addresses, tcp_port: None }]);
        assert_eq!(sightings.see("them", service(them, &["10.0.0.2:1"], None)), []);
        assert_eq!(sightings.see("them", service(them, &["10.0.0.2:1"], Some(2))).len(), 1);
        assert_eq!(sightings.lose("nobody"), None);
        assert_eq!(sightings.lose("them"), Some(DiscoveryEvent::Gone { device: them }));
        assert_eq!(sightings.lose("them"), None);
    }

    #[test]
    fn the_most_promising_addresses_come_first_and_scopes_stay() {
        let them = device();
        let mut sightings = Sightings::new(device());
        let all = ["[fe80::1%3]:7", "[fd00::1]:7", "192.168.1.2:7", "169.254.0.1:7"];
        let events = sightings.see("them", service(them, &all, None));
        let [DiscoveryEvent::Seen { addresses, .. }] = &events[..] else { panic!("{events:?}") };
        let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["192.168.1.2:7", "[fd00::1]:7", "169.254.0.1:7", "[fe80::1%3]:7"]);
    }

    #[test]
    fn liars_are_bounded_and_do_not_hide_the_truth() {
        let them = device();
        let mut sightings = Sightings::new(device());
        for liar in 0..10 {
            let lies: Vec<_> = (0..50).map(|i| format!("10.9.{liar}.{i}:1")).collect();
            let lies: Vec<_> = lies.iter().map(String::as_str).collect();
            sightings.see(&format!("liar {liar}"), service(them, &lies, None));
        }
        assert_eq!(sightings.services.len(), MAX_CLAIMS);
        sightings.lose("liar 0");
        let events = sightings.see("true", service(them, &["192.168.0.1:1"], None));
        let [DiscoveryEvent::Seen { addresses, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(addresses.len(), MAX_ADDRESSES);
        assert!(addresses.contains(&"192.168.0.1:1".parse().unwrap()));
    }

    #[test]
    fn services_are_bounded_and_a_name_can_change_hands() {
        let mut sightings = Sightings::new(device());
        let devices: Vec<_> = (0..MAX_SERVICES + 5).map(|_| device()).collect();
        for (i, device) in devices.iter().enumerate() {
            let news = sightings.see(&format!("{i}"), service(*device, &["10.0.0.1:1"], None));
            assert_eq!(news.len(), usize::from(i < MAX_SERVICES));
        }
        let news = sightings.see("0", service(devices[MAX_SERVICES], &["10.0.0.1:1"], None));
        assert!(matches!(news[..], [DiscoveryEvent::Gone { .. }, DiscoveryEvent::Seen { .. }]));
    }
}
