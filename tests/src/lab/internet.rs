//! More than one network: LANs behind routers, and relays with public addresses.
//!
//! LANs have the same private addresses, as at home; between them and to them there is no way. Or
//! they are sites of a company or of people who have public addresses: each has a network of its
//! own, to which all others know the way. Everybody reaches a relay. The addresses are those of
//! documentation (RFC 5737); the lab's own network plays the providers.

use super::cable::Socket;
use super::device::Device;
use super::relay::Relay;
use super::router::{FORWARD, INNER, Router};
use super::switch::Lab;
use super::tool::{command, tool};
use std::process::Command;

/// The network of the routers' public addresses, and of the relays: switch, beginning of the
/// addresses.
const HOMES: (&str, &str) = ("homes", "203.0.113");
const HOSTS: (&str, &str) = ("hosts", "198.51.100");
/// Beginning of the addresses of sites; the next number is the site's.
const SITES: &str = "172.16";
/// All of them.
pub const ALL_SITES: &str = "172.16.0.0/16";
/// End of the provider's address in each: numbers of the lab begin with 1.
const PROVIDER: u8 = 254;

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
    /// The way out.
    pub router: Router,
}

impl<'lab> Internet<'lab> {
    pub(super) fn new(lab: &'lab Lab) -> Self {
        for (switch, network) in [HOMES, HOSTS] {
            make_switch(switch);
            tool(&mut command(
                "ip",
                &format!("addr add {network}.{PROVIDER}/24 dev {switch}"),
            ));
        }
        tool(Command::new("sh").args(["-c", FORWARD]));
        Self { lab }
    }

    /// A new LAN.
    pub fn lan(&self) -> Lan<'lab> {
        let number = self.lab.number();
        let switch = format!("lan{number}");
        make_switch(&switch);
        let (provider, network) = HOMES;
        let (own, gateway) = (
            format!("{network}.{number}"),
            format!("{network}.{PROVIDER}"),
        );
        let router = Router::new(&switch, provider, &own, &gateway);
        Lan {
            lab: self.lab,
            switch,
            inner: INNER.into(),
            router,
        }
    }

    /// A new site: its devices are reached from everywhere.
    pub fn site(&self) -> Lan<'lab> {
        let number = self.lab.number();
        let switch = format!("site{number}");
        make_switch(&switch);
        let (provider, network) = HOMES;
        let (own, gateway) = (
            format!("{network}.{number}"),
            format!("{network}.{PROVIDER}"),
        );
        let inner = format!("{SITES}.{number}.{PROVIDER}");
        let router = Router::routing((&switch, &inner), provider, &own, &gateway);
        tool(&mut command(
            "ip",
            &format!("route add {SITES}.{number}.0/24 via {own}"),
        ));
        Lan {
            lab: self.lab,
            switch,
            inner,
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

    fn host(&self) -> Socket {
        let number = self.lab.number();
        let (switch, network) = HOSTS;
        Socket {
            number,
            switch: switch.into(),
            address: format!("{network}.{number}"),
            router: Some(format!("{network}.{PROVIDER}")),
        }
    }
}

impl Lan<'_> {
    /// A device in this LAN. Its daemon does not run yet.
    pub fn device(&self, name: &str) -> Device {
        let device = self.lab.device_at(name, self.socket());
        device.cable.connect();
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
            address: format!("{network}.{number}"),
            router: Some(self.inner.clone()),
        }
    }
}

fn make_switch(name: &str) {
    tool(&mut command(
        "ip",
        &format!("link add {name} type bridge mcast_snooping 0"),
    ));
    tool(&mut command("ip", &format!("link set {name} up")));
}
