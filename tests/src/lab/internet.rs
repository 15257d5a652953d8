//! More than one network: LANs behind routers, and relays with public addresses.
//!
//! LANs have the same private addresses, as at home; between them and to them there is no way. Or
//! they are sites of a company or of people who have public addresses: each has a network of its
//! own, to which all others know the way. Everybody reaches a relay. The addresses are those of
//! documentation (RFC 5737); the lab's own network plays the providers. A router translates as its
//! [`Nat`] says, behind the one of a [`Carrier`] where its provider is short of addresses.

use super::cable::{Cable, Socket};
use super::device::Device;
use super::ipv6;
use super::nat::Nat;
use super::port_mapper::PortMapper;
use super::relay::Relay;
use super::router::{FORWARD, INNER, Router};
use super::switch::Lab;
use super::tool::{command, tool};
use std::process::Command;

/// The network of the routers' public addresses, and of the relays: switch, beginning of the
/// addresses. A router that maps by the remote's address tells them apart: the one number is odd,
/// the other even.
const HOMES: (&str, &str) = ("homes", "203.0.113");
const HOSTS: (&str, &str) = ("hosts", "198.51.100");
/// Beginning of the addresses of sites; the next number is the site's.
const SITES: &str = "172.16";
/// All of them.
pub const ALL_SITES: &str = "172.16.0.0/16";
/// Beginning of the addresses behind a carrier's router (RFC 6598).
const SHARED: &str = "100.64.0";
/// The network of a router that maps ports: such routers refuse to where their own address is one
/// of documentation.
const MAPPED: (&str, &str) = ("mapped", "198.20.0");
/// End of the provider's address in each: numbers of the lab begin with 1.
const PROVIDER: u16 = 254;

/// What joins LANs and relays.
#[derive(Debug)]
pub struct Internet<'lab> {
    lab: &'lab Lab,
}

/// A switch behind a router.
#[derive(Debug)]
pub struct Lan<'lab> {
    lab: &'lab Lab,
    switch: String,
    /// Its router's address in it.
    inner: String,
    /// Beginning of its addresses of IPv6, if it has any.
    ipv6: Option<String>,
    /// The way out.
    pub router: Router,
}

/// A provider that gives its customers no public addresses: their routers are behind its own, which
/// translates once more.
#[derive(Debug)]
pub struct Carrier<'lab> {
    lab: &'lab Lab,
    switch: String,
    /// The way out.
    pub router: Router,
}

/// The network that a router's outer side is connected to: switch, and beginning of the addresses.
#[derive(Debug, Clone, Copy)]
struct Uplink<'a>(&'a str, &'a str);

impl Uplink<'_> {
    /// A router for a switch in which it has an address.
    fn router(self, number: u16, inner: (&str, &str), nat: Option<&Nat>) -> Router {
        let Self(switch, network) = self;
        let (own, gateway) = (address(network, number), provider(network));
        match nat {
            Some(nat) => Router::translating(inner, switch, &own, &gateway, nat),
            None => Router::routing(inner, switch, &own, &gateway),
        }
    }

    /// A new LAN.
    fn lan(self, lab: &Lab, nat: Nat) -> Lan<'_> {
        let number = lab.number();
        let switch = format!("lan{number}");
        make_switch(&switch);
        let router = self.router(number, (&switch, INNER), Some(&nat));
        Lan {
            lab,
            switch,
            inner: INNER.into(),
            ipv6: None,
            router,
        }
    }
}

impl<'lab> Internet<'lab> {
    pub(super) fn new(lab: &'lab Lab) -> Self {
        for (switch, network) in [HOMES, HOSTS] {
            make_switch(switch);
            tool(&mut command(
                "ip",
                &format!("addr add {}/24 dev {switch}", provider(network)),
            ));
        }
        tool(Command::new("sh").args(["-c", FORWARD]));
        Self { lab }
    }

    /// A new LAN behind a router that cannot be crossed: two devices behind such ones only meet at a
    /// relay.
    pub fn lan(&self) -> Lan<'lab> {
        self.lan_behind(Nat::STRICT)
    }

    /// A new LAN behind a router that translates like this.
    pub fn lan_behind(&self, nat: Nat) -> Lan<'lab> {
        self.forget_neighbours();
        Uplink(HOMES.0, HOMES.1).lan(self.lab, nat)
    }

    /// A new provider without public addresses for its customers, whose own router translates like
    /// this.
    pub fn carrier(&self, nat: Nat) -> Carrier<'lab> {
        self.forget_neighbours();
        let number = self.lab.number();
        let switch = format!("cgn{number}");
        make_switch(&switch);
        let inner = provider(SHARED);
        let router = Uplink(HOMES.0, HOMES.1).router(number, (&switch, &inner), Some(&nat));
        Carrier {
            lab: self.lab,
            switch,
            router,
        }
    }

    /// A new LAN behind a router that maps ports when a device asks for it; `None`, said loudly,
    /// where there is nothing that could do that. Once per lab.
    pub fn lan_that_maps_ports(&self, nat: Nat) -> Option<(Lan<'lab>, PortMapper)> {
        if !PortMapper::is_there() {
            return None;
        }
        let (switch, network) = MAPPED;
        make_switch(switch);
        tool(&mut command(
            "ip",
            &format!("addr add {}/24 dev {switch}", provider(network)),
        ));
        let lan = Uplink(switch, network).lan(self.lab, nat);
        let folder = self.lab.folder(&format!("{}-ports", lan.switch));
        let mapper = lan.router.maps_ports(&folder);
        Some((lan, mapper))
    }

    /// A new site: its devices are reached from everywhere.
    pub fn site(&self) -> Lan<'lab> {
        let number = self.lab.number();
        let switch = format!("site{number}");
        make_switch(&switch);
        let inner = format!("{SITES}.{number}.{PROVIDER}");
        let router = Uplink(HOMES.0, HOMES.1).router(number, (&switch, &inner), None);
        tool(&mut command(
            "ip",
            &format!("route add {SITES}.{number}.0/24 via {}", router.address),
        ));
        Lan {
            lab: self.lab,
            switch,
            inner,
            ipv6: None,
            router,
        }
    }

    /// A place for a relay. It does not run yet.
    pub fn relay(&self, name: &str) -> Relay {
        Relay::new(
            name,
            self.host(),
            &self.lab.folder(name),
            self.lab.programs(),
        )
    }

    /// A device beside the relays, with an address that everybody reaches. Its daemon does not run
    /// yet.
    pub fn device(&self, name: &str) -> Device {
        let device = self.lab.device_at(name, self.host());
        device.cable.connect();
        device
    }

    /// Another address beside the relays, for one of them or for a device there.
    pub(super) fn host_address(&self) -> String {
        address(HOSTS.1, self.lab.number())
    }

    /// Gives a LAN addresses of IPv6, and a firewall to its router: its devices are reached by what
    /// they have asked, by nobody else. Counts for the devices that it gets from now on.
    pub fn ipv6(&self, lan: &mut Lan<'lab>) {
        ipv6::provide([(HOMES.0, ipv6::HOMES), (HOSTS.0, ipv6::HOSTS)]);
        let number = self.lab.number();
        let (network, outer) = (
            format!("{}:{number:x}", ipv6::LANS),
            format!("{}::{number:x}", ipv6::HOMES),
        );
        let gateway = |network: &str| format!("{network}::{}", ipv6::GATEWAY);
        lan.router
            .ipv6(&gateway(&network), &outer, &gateway(ipv6::HOMES));
        tool(&mut command(
            "ip",
            &format!("-6 route add {network}::/64 via {outer}"),
        ));
        ipv6::settles(|| Command::new("ip"));
        lan.ipv6 = Some(network);
    }

    /// Gives whoever is beside the relays an address of IPv6.
    pub fn host_ipv6(&self, cable: &Cable) {
        ipv6::provide([(HOMES.0, ipv6::HOMES), (HOSTS.0, ipv6::HOSTS)]);
        cable.add_ipv6(ipv6::HOSTS, self.lab.number());
    }

    fn host(&self) -> Socket {
        let number = self.lab.number();
        let (switch, network) = HOSTS;
        Socket {
            number,
            switch: switch.into(),
            address: address(network, number),
            router: Some(provider(network)),
        }
    }

    /// Forgets which router had which address: the next one may get that of one that is gone.
    fn forget_neighbours(&self) {
        tool(&mut command(
            "ip",
            &format!("neigh flush dev {} nud all", HOMES.0),
        ));
    }
}

impl<'lab> Carrier<'lab> {
    /// A new LAN of a customer, behind a router that translates like this.
    pub fn lan_behind(&self, nat: Nat) -> Lan<'lab> {
        Uplink(&self.switch, SHARED).lan(self.lab, nat)
    }
}

impl Lan<'_> {
    /// A device in this LAN. Its daemon does not run yet.
    pub fn device(&self, name: &str) -> Device {
        let socket = self.socket();
        let number = socket.number;
        let device = self.lab.device_at(name, socket);
        device.cable.connect();
        if let Some(network) = &self.ipv6 {
            device.cable.add_ipv6(network, number);
        }
        device
    }

    /// A device that was somewhere else comes into this LAN, as it is.
    pub fn welcome(&self, device: &mut Device) {
        device.cable.plug(self.socket());
    }

    fn socket(&self) -> Socket {
        let number = self.lab.number();
        let (network, _) = self.inner.rsplit_once('.').unwrap();
        Socket {
            number,
            switch: self.switch.clone(),
            address: address(network, number),
            router: Some(self.inner.clone()),
        }
    }
}

/// The address of a number in a network of 256. After 253 numbers they begin again: a lab with more
/// devices does not have them at the same time.
fn address(network: &str, number: u16) -> String {
    format!("{network}.{}", (number - 1) % (PROVIDER - 1) + 1)
}

/// The provider's address in a network of 256.
fn provider(network: &str) -> String {
    format!("{network}.{PROVIDER}")
}

fn make_switch(name: &str) {
    tool(&mut command(
        "ip",
        &format!("link add {name} type bridge mcast_snooping 0"),
    ));
    tool(&mut command("ip", &format!("link set {name} up")));
}
