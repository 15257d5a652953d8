//! More than one network: LANs behind routers, and relays with public addresses.
//!
//! All LANs have the same private addresses, as at home; between them and to them there is no way. Everybody reaches a
//! relay. The addresses are those of documentation (RFC 5737); the lab's own network plays the providers.

use super::cable::Socket;
use super::device::Device;
use super::relay::Relay;
use super::router::{FORWARD, INNER, Router};
use super::switch::Lab;
use super::tool::{command, tool};
use std::process::Command;

/// The network of the routers' public addresses, and of the relays: switch, beginning of the addresses.
const HOMES: (&str, &str) = ("homes", "203.0.113");
const HOSTS: (&str, &str) = ("hosts", "198.51.100");
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
    /// The way out.
    pub router: Router,
}

impl<'lab> Internet<'lab> {
    pub(super) fn new(lab: &'lab Lab) -> Self {
        for (switch, network) in [HOMES, HOSTS] {
            make_switch(switch);
            tool(&mut command("ip", &format!("addr add {network}.{PROVIDER}/24 dev {switch}")));
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
        let (own, gateway) = (format!("{network}.{number}"), format!("{network}.{PROVIDER}"));
        let router = Router::new(&switch, provider, &own, &gateway);
        Lan { lab: self.lab, switch, router }
    }

    /// A place for a relay. It does not run yet.
    pub fn relay(&self, name: &str) -> Relay {
        let number = self.lab.number();
        let (switch, network) = HOSTS;
        let socket = Socket {
            number,
            switch: switch.into(),
            address: format!("{network}.{number}"),
            router: Some(format!("{network}.{PROVIDER}")),
        };
        Relay::new(name, socket, &self.lab.folder(name), self.lab.programs())
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
        let (network, _) = INNER.rsplit_once('.').unwrap();
        Socket {
            number,
            switch: self.switch.clone(),
            address: format!("{network}.{number}"),
            router: Some(INNER.into()),
        }
    }
}

fn make_switch(name: &str) {
    tool(&mut command("ip", &format!("link add {name} type bridge mcast_snooping 0")));
    tool(&mut command("ip", &format!("link set {name} up")));
}
