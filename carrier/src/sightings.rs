//! The sightings of discovery so far, and which of them are news.
//!
//! Everything in here comes from anybody on the network: it is bounded, it is only a hint where to
//! dial, and two that claim to be one device are both kept until TLS tells them apart. Anybody can
//! make up any number of devices, so those of which nothing is known have half of the places, and
//! few at one address; a device that matters always gets a place.

use crate::bounds::MAX_ADDRESSES;
use crate::familiar::Familiar;
use hither_proto::limits::MAX_NAMEPLATES;
use hither_proto::{DeviceId, Word};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

/// Most services remembered, and so most devices.
const MAX_SERVICES: usize = 1024;
/// Most of them whose devices nothing is known of.
const MAX_STRANGERS: usize = MAX_SERVICES / 2;
/// Most of those that name one address: several users or containers of a computer have one each.
const MAX_AT_ADDRESS: usize = 16;
/// Most services that are asked whether they are still there, those that matter first: each is a
/// command to the mDNS library, which takes a hundred at a time.
const MAX_VERIFIED: usize = 64;
/// Most services remembered that claim to be one device.
const MAX_CLAIMS: usize = 4;
/// Most addresses remembered of one service.
const MAX_SEEN: usize = 2 * MAX_ADDRESSES;

/// A change in what is around.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoveryEvent {
    /// A device is there, or has other addresses or ports than before. A hint: TLS proves who is at
    /// an address.
    Seen {
        /// The device that is claimed to be there.
        device: DeviceId,
        /// Addresses at which QUIC listens, at most 8 addresses, the most promising first;
        /// link-local ones with their scope.
        addresses: Vec<SocketAddr>,
        /// TCP port on the same addresses.
        tcp_port: Option<u16>,
        /// First words of the codes that it shows, at most
        /// [`MAX_NAMEPLATES`].
        nameplates: Vec<Word>,
    },
    /// A device that is there asks to be connected to: it looks for something and does not get
    /// through to somebody. A hint like any other, reported as often as it arrives.
    Calls {
        /// The device that is claimed to call.
        device: DeviceId,
    },
    /// Somebody else announces this very device: what is left of an earlier run, or another machine
    /// with its key.
    Ourselves {
        /// Where that is, at most 16 addresses.
        addresses: Vec<SocketAddr>,
        /// TCP port on the same addresses.
        tcp_port: Option<u16>,
    },
    /// A device has announced its departure, or does not answer any more.
    Gone {
        /// The device that was there.
        device: DeviceId,
    },
}

/// One service as it was last announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) device: DeviceId,
    pub(crate) addresses: BTreeSet<SocketAddr>,
    pub(crate) tcp_port: Option<u16>,
    pub(crate) nameplates: Vec<Word>,
}

/// The last word on a device: addresses, TCP port, nameplates.
type Told = (Vec<SocketAddr>, Option<u16>, Vec<Word>);

/// All services seen, by name.
pub(crate) struct Sightings {
    ourselves: DeviceId,
    familiar: Familiar,
    services: BTreeMap<String, Service>,
    told: HashMap<DeviceId, Told>,
    /// Something found no place since the last look at this.
    left_out: bool,
    /// Those of whom nothing is known; `None`: to be counted anew. In a crowd every announcement
    /// asks for it.
    strangers: Option<Strangers>,
}

/// Returns the number of services of devices of which nothing is known.
#[derive(Debug, Default)]
struct Strangers {
    all: usize,
    at: HashMap<IpAddr, usize>,
}

impl Sightings {
    pub(crate) fn new(ourselves: DeviceId, familiar: Familiar) -> Self {
        let (services, told) = (BTreeMap::new(), HashMap::new());
        Self {
            ourselves,
            familiar,
            services,
            told,
            left_out: false,
            strangers: None,
        }
    }

    /// Takes note of an announcement; gives news of the devices concerned, if any.
    pub(crate) fn see(&mut self, name: &str, mut service: Service) -> Vec<DiscoveryEvent> {
        while service.addresses.len() > MAX_SEEN {
            service.addresses.pop_last();
        }
        if service.device == self.ourselves {
            let addresses = service.addresses.into_iter().collect();
            return vec![DiscoveryEvent::Ourselves {
                addresses,
                tcp_port: service.tcp_port,
            }];
        }
        let device = service.device;
        let known = self.services.get(name).map(|service| service.device);
        let mut displaced = Vec::new();
        if known != Some(device) {
            let place = self.claim_for(name, device).and_then(|claim| {
                let freed = claim.is_some() || known.is_some();
                if freed {
                    Some(claim)
                } else {
                    self.place_for(&service)
                }
            });
            let Some(place) = place else {
                self.left_out = true;
                return Vec::new();
            };
            displaced.extend(
                place
                    .and_then(|name| self.services.remove(&name))
                    .map(|gone| gone.device),
            );
        }
        self.strangers = None;
        self.services.insert(name.to_owned(), service);
        displaced.extend(known);
        displaced.retain(|other| *other != device);
        displaced.push(device);
        displaced
            .into_iter()
            .filter_map(|device| self.news(device))
            .collect()
    }

    /// The service that makes room for one more that claims to be a device, if one must; `None`:
    /// there is no room. The name that a device gives itself always has room among the names
    /// that others made up for it.
    fn claim_for(&self, name: &str, device: DeviceId) -> Option<Option<String>> {
        let claims = self
            .services
            .iter()
            .filter(|(_, service)| service.device == device);
        let names: Vec<&String> = claims.map(|(name, _)| name).collect();
        if names.len() < MAX_CLAIMS {
            return Some(None);
        }
        let own = device.short();
        let is_own = |name: &str| name.split('.').next() == Some(own.as_str());
        let other = names.into_iter().find(|name| !is_own(name))?;
        is_own(name).then(|| Some(other.clone()))
    }

    /// The same for a service of a new name.
    fn place_for(&mut self, service: &Service) -> Option<Option<String>> {
        let is_full = self.services.len() >= MAX_SERVICES;
        if self.familiar.contains(&service.device) {
            let mut names = self
                .services
                .iter()
                .filter(|(_, other)| !self.familiar.contains(&other.device));
            return if is_full {
                names.next().map(|(name, _)| Some(name.clone()))
            } else {
                Some(None)
            };
        }
        let strangers = match self.strangers.take() {
            Some(counted) => counted,
            None => self.count_strangers(),
        };
        let crowded = |at: &SocketAddr| {
            strangers
                .at
                .get(&at.ip())
                .is_some_and(|n| *n >= MAX_AT_ADDRESS)
        };
        let has_room =
            !is_full && strangers.all < MAX_STRANGERS && !service.addresses.iter().any(crowded);
        self.strangers = Some(strangers);
        has_room.then_some(None)
    }

    fn count_strangers(&self) -> Strangers {
        let mut strangers = Strangers::default();
        for other in self
            .services
            .values()
            .filter(|other| !self.familiar.contains(&other.device))
        {
            strangers.all += 1;
            let ips: BTreeSet<IpAddr> = other.addresses.iter().map(SocketAddr::ip).collect();
            ips.into_iter()
                .for_each(|ip| *strangers.at.entry(ip).or_default() += 1);
        }
        strangers
    }

    /// Others matter now.
    pub(crate) fn familiar_changed(&mut self) {
        self.strangers = None;
    }

    /// Returns whether something found no place since this was asked last.
    pub(crate) fn take_left_out(&mut self) -> bool {
        std::mem::take(&mut self.left_out)
    }

    /// Takes note of a goodbye.
    pub(crate) fn lose(&mut self, name: &str) -> Option<DiscoveryEvent> {
        let service = self.services.remove(name)?;
        self.strangers = None;
        self.news(service.device)
    }

    /// Returns whether a device is there.
    pub(crate) fn knows(&self, device: DeviceId) -> bool {
        self.told.contains_key(&device)
    }

    /// Returns the names of the services that are to confirm that they are still there.
    pub(crate) fn to_verify(&self) -> Vec<String> {
        let mut names: Vec<_> = self.services.iter().collect();
        names.sort_by_key(|(_, service)| !self.familiar.contains(&service.device));
        names
            .into_iter()
            .take(MAX_VERIFIED)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The event to report about a device, if it differs from the last one.
    fn news(&mut self, device: DeviceId) -> Option<DiscoveryEvent> {
        let claims: Vec<_> = self
            .services
            .values()
            .filter(|service| service.device == device)
            .collect();
        let addresses = merge(&claims);
        if addresses.is_empty() {
            return self
                .told
                .remove(&device)
                .map(|_| DiscoveryEvent::Gone { device });
        }
        let tcp_port = claims.iter().find_map(|service| service.tcp_port);
        let now = (addresses, tcp_port, self.nameplates(device));
        if self.told.get(&device) == Some(&now) {
            return None;
        }
        self.told.insert(device, now.clone());
        Some(DiscoveryEvent::Seen {
            device,
            addresses: now.0,
            tcp_port,
            nameplates: now.2,
        })
    }
}

impl Sightings {
    /// The nameplates of all claims: those under the name that the device gives itself first, so
    /// that what others add takes none of them away.
    fn nameplates(&self, device: DeviceId) -> Vec<Word> {
        let own = device.short();
        let mut claims: Vec<_> = self
            .services
            .iter()
            .filter(|(_, service)| service.device == device)
            .collect();
        claims.sort_by_key(|(name, _)| name.split('.').next() != Some(own.as_str()));
        let mut nameplates = Vec::new();
        for nameplate in claims.iter().flat_map(|(_, service)| &service.nameplates) {
            if nameplates.len() < MAX_NAMEPLATES && !nameplates.contains(nameplate) {
                nameplates.push(*nameplate);
            }
        }
        nameplates
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

/// The order of dialling: IPv4 (fewest surprises on a LAN), then lasting IPv6, then link-local.
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
    use std::collections::HashSet;

    fn device() -> DeviceId {
        crate::Identity::generate().unwrap().device_id()
    }

    fn service(device: DeviceId, addresses: &[&str], tcp_port: Option<u16>) -> Service {
        Service {
            device,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            tcp_port,
            nameplates: Vec::new(),
        }
    }

    #[test]
    fn nameplates_come_and_go_and_are_few() {
        let them = device();
        let mut sightings = Sightings::new(device(), Familiar::default());
        let words = |numbers: std::ops::Range<u16>| numbers.map(Word::of_bits).collect::<Vec<_>>();
        let shows = |nameplates| Service {
            nameplates,
            ..service(them, &["10.0.0.2:1"], None)
        };
        let told = |events: Vec<DiscoveryEvent>| match events.as_slice() {
            [DiscoveryEvent::Seen { nameplates, .. }] => nameplates.clone(),
            other => panic!("{other:?}"),
        };
        let own = format!("{}._hither._udp.local.", them.short());
        assert_eq!(told(sightings.see(&own, shows(words(0..2)))), words(0..2));
        // Words that liars add in its name take none of its own away, and are bounded.
        for liar in ["!", "~"] {
            sightings.see(liar, shows(words(10..20)));
        }
        let told_now = |sightings: &Sightings| sightings.told[&them].2.clone();
        let all = told_now(&sightings);
        assert_eq!((&all[..2], all.len()), (&words(0..2)[..], MAX_NAMEPLATES));
        sightings.see(&own, shows(Vec::new()));
        assert_eq!(told_now(&sightings), words(10..14));
        sightings.lose("!");
        let gone = sightings.lose("~").into_iter().collect();
        assert_eq!(told(gone), []);
    }

    #[test]
    fn only_changes_are_news() {
        let (us, them) = (device(), device());
        let mut sightings = Sightings::new(us, Familiar::default());
        let ours = sightings.see("us", service(us, &["10.0.0.1:1"], None));
        assert!(
            matches!(&ours[..], [DiscoveryEvent::Ourselves { .. }]),
            "{ours:?}"
        );
        let first = sightings.see("them", service(them, &["10.0.0.2:1"], None));
        let addresses = vec!["10.0.0.2:1".parse().unwrap()];
        assert_eq!(
            first,
            [DiscoveryEvent::Seen {
                device: them,
                addresses,
                tcp_port: None,
                nameplates: Vec::new(),
            }]
        );
        assert_eq!(
            sightings.see("them", service(them, &["10.0.0.2:1"], None)),
            []
        );
        assert_eq!(
            sightings
                .see("them", service(them, &["10.0.0.2:1"], Some(2)))
                .len(),
            1
        );
        assert_eq!(sightings.lose("nobody"), None);
        assert_eq!(
            sightings.lose("them"),
            Some(DiscoveryEvent::Gone { device: them })
        );
        assert_eq!(sightings.lose("them"), None);
    }

    #[test]
    fn the_most_promising_addresses_come_first_and_scopes_stay() {
        let them = device();
        let mut sightings = Sightings::new(device(), Familiar::default());
        let all = [
            "[fe80::1%3]:7",
            "[fd00::1]:7",
            "192.168.1.2:7",
            "169.254.0.1:7",
        ];
        let events = sightings.see("them", service(them, &all, None));
        let [DiscoveryEvent::Seen { addresses, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "192.168.1.2:7",
                "[fd00::1]:7",
                "169.254.0.1:7",
                "[fe80::1%3]:7"
            ]
        );
    }

    #[test]
    fn liars_are_bounded_and_do_not_hide_the_truth() {
        let them = device();
        let mut sightings = Sightings::new(device(), Familiar::default());
        for liar in 0..10 {
            let lies: Vec<_> = (0..50).map(|i| format!("10.9.{liar}.{i}:1")).collect();
            let lies: Vec<_> = lies.iter().map(String::as_str).collect();
            sightings.see(&format!("liar {liar}"), service(them, &lies, None));
        }
        assert_eq!(sightings.services.len(), MAX_CLAIMS);
        sightings.lose("liar 0");
        let events = sightings.see("true", service(them, &["192.168.0.1:1"], None));
        let [DiscoveryEvent::Seen { addresses, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(addresses.len(), MAX_ADDRESSES);
        assert!(addresses.contains(&"192.168.0.1:1".parse().unwrap()));
    }

    /// Each device at an address of its own.
    fn apart(number: usize) -> String {
        format!("10.{}.{}.1:1", number / 250, number % 250)
    }

    #[test]
    fn strangers_are_bounded_and_a_name_can_change_hands() {
        let mut sightings = Sightings::new(device(), Familiar::default());
        let devices: Vec<_> = (0..MAX_STRANGERS + 5).map(|_| device()).collect();
        for (i, device) in devices.iter().enumerate() {
            let news = sightings.see(&format!("{i}"), service(*device, &[&apart(i)], None));
            assert_eq!(news.len(), usize::from(i < MAX_STRANGERS));
        }
        assert!(sightings.take_left_out() && !sightings.take_left_out());
        let news = sightings.see("0", service(devices[MAX_STRANGERS], &["10.0.0.1:1"], None));
        assert!(matches!(
            news[..],
            [DiscoveryEvent::Gone { .. }, DiscoveryEvent::Seen { .. }]
        ));
    }

    #[test]
    fn a_crowd_at_one_address_has_few_places() {
        let mut sightings = Sightings::new(device(), Familiar::default());
        for number in 0..100 {
            sightings.see(
                &format!("{number}"),
                service(device(), &["10.0.0.66:1"], None),
            );
        }
        assert_eq!(sightings.services.len(), MAX_AT_ADDRESS);
        assert_eq!(
            sightings
                .see("real", service(device(), &["10.0.0.2:1"], None))
                .len(),
            1
        );
    }

    #[test]
    fn whoever_matters_gets_a_place_in_every_crowd() {
        let friends: Vec<_> = (0..MAX_SERVICES).map(|_| device()).collect();
        let matter: HashSet<DeviceId> = friends.iter().copied().collect();
        let mut sightings = Sightings::new(
            device(),
            Familiar::new(move |device| matter.contains(device)),
        );
        for number in 0..MAX_SERVICES {
            sightings.see(
                &format!("made up {number}"),
                service(device(), &[&apart(number)], None),
            );
        }
        for (number, friend) in friends.iter().enumerate() {
            let news = sightings.see(
                &format!("friend {number}"),
                service(*friend, &["10.9.9.9:1"], None),
            );
            let gone = number >= MAX_SERVICES - MAX_STRANGERS;
            assert_eq!(news.len(), 1 + usize::from(gone), "{number}");
            assert!(
                matches!(news.last(), Some(DiscoveryEvent::Seen { .. })),
                "{number}"
            );
        }
        assert_eq!(sightings.services.len(), MAX_SERVICES);
        assert_eq!(sightings.to_verify().len(), MAX_VERIFIED);
    }

    #[test]
    fn a_device_is_found_by_its_own_name_among_those_that_others_gave_it() {
        let them = device();
        let mut sightings = Sightings::new(device(), Familiar::default());
        for liar in 0..10 {
            sightings.see(
                &format!("liar {liar}"),
                service(them, &[&format!("10.9.{liar}.1:1")], None),
            );
        }
        let own = format!("{}._hither._udp.local.", them.short());
        let events = sightings.see(&own, service(them, &["192.168.0.1:1"], None));
        let [DiscoveryEvent::Seen { addresses, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert!(addresses.contains(&"192.168.0.1:1".parse().unwrap()));
        assert!(
            sightings
                .see("late", service(them, &["10.9.0.9:1"], None))
                .is_empty()
        );
    }
}
