//! The cable between a device and a switch: its speed, its end, its filters, its counters.

use super::ipv6;
use super::namespace::Namespace;
use super::tool::{command, fed, tool};
use serde_json::Value;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// The interfaces of devices: the one that all have, and the one of those that have two.
const INTERFACES: [&str; 2] = ["net0", "net1"];

/// What a filter is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// QUIC, and the multicast that finds devices.
    Udp,
    /// The other carrier.
    Tcp,
}

impl Protocol {
    /// As filters call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// Bytes of packets that went over a cable, as the device sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// From the device.
    pub sent: u64,
    /// To the device.
    pub received: u64,
}

/// Where a cable leads to.
#[derive(Debug, Clone)]
pub(super) struct Socket {
    /// A number that no other cable of the lab has.
    pub(super) number: u16,
    /// The switch.
    pub(super) switch: String,
    /// The device's address there, in a network of 256.
    pub(super) address: String,
    /// Who knows the way to other networks.
    pub(super) router: Option<String>,
}

impl Traffic {
    /// What went through one port of a switch.
    fn of(port: &str) -> Self {
        let text = tool(&mut command("ip", &format!("-s -j link show dev {port}")));
        let parsed: Value = serde_json::from_str(&text).unwrap();
        let bytes = |way: &str| parsed[0]["stats64"][way]["bytes"].as_u64().unwrap();
        Self {
            sent: bytes("rx"),
            received: bytes("tx"),
        }
    }

    /// Both ways together.
    pub const fn total(self) -> u64 {
        self.sent + self.received
    }
}

/// One device's cable.
#[derive(Debug)]
pub struct Cable {
    device: Arc<Namespace>,
    /// The interface at the switch.
    port: String,
    address: String,
    router: Option<String>,
    interface: &'static str,
}

impl Cable {
    /// A cable into a switch, without an address at the device's end.
    pub(super) fn new(device: &Arc<Namespace>, socket: Socket) -> Self {
        Self::at(device, socket, INTERFACES[0])
    }

    /// A second one of the same device. What is cut off is not used for sending, as where something
    /// looks after the network.
    pub(super) fn second(device: &Arc<Namespace>, socket: Socket) -> Self {
        let setting = "echo 1 > /proc/sys/net/ipv4/conf/all/ignore_routes_with_linkdown";
        tool(device.command("sh").args(["-c", setting]));
        Self::at(device, socket, INTERFACES[1])
    }

    fn at(device: &Arc<Namespace>, socket: Socket, interface: &'static str) -> Self {
        let Socket {
            number,
            switch,
            address,
            router,
        } = socket;
        let port = format!("port{number}");
        let pid = device.pid();
        tool(&mut command(
            "ip",
            &format!("link add {port} type veth peer name {interface} netns {pid}"),
        ));
        tool(&mut command(
            "ip",
            &format!("link set {port} master {switch} up"),
        ));
        Self {
            device: Arc::clone(device),
            port,
            address,
            router,
            interface,
        }
    }

    /// The device's address, once it has one.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The device's interface comes up and gets its address.
    pub fn connect(&self) {
        self.inside(
            "ip",
            &format!("addr add {}/24 dev {}", self.address, self.interface),
        );
        self.inside("ip", &format!("link set {} up", self.interface));
        if let Some(router) = &self.router {
            self.inside("ip", &format!("route add default via {router}"));
        }
    }

    /// The device gets another address in its network, instead of its own; returns the one that it
    /// had.
    pub(super) fn readdress(&mut self, address: String) -> String {
        self.inside(
            "ip",
            &format!("addr add {address}/24 dev {}", self.interface),
        );
        let before = std::mem::replace(&mut self.address, address);
        self.inside(
            "ip",
            &format!("addr del {before}/24 dev {}", self.interface),
        );
        before
    }

    /// The device has this address as well, and says so to its network.
    pub(super) fn takes(&self, address: &str) {
        self.inside(
            "ip",
            &format!("addr add {address}/24 dev {}", self.interface),
        );
        // Senders to the one before send here from now on, as after an address was announced
        // (RFC 5227).
        self.inside("ip", "neigh flush all");
    }

    /// Forgets which interface has which address: it is asked for anew.
    pub(super) fn forget_neighbours(&self) {
        self.inside("ip", "neigh flush all");
    }

    /// The device takes one more address of its network.
    pub(super) fn also(&self, address: std::net::Ipv4Addr) {
        self.inside(
            "ip",
            &format!("addr add {address}/24 dev {}", self.interface),
        );
    }

    /// The device gets an address of IPv6 with this number in a network of /64, and the way out.
    /// The interface is up.
    pub(super) fn add_ipv6(&self, network: &str, number: u16) {
        let address = format!("{network}::{number:x}");
        self.inside(
            "ip",
            &format!("addr add {address}/64 dev {} nodad", self.interface),
        );
        self.inside(
            "ip",
            &format!("-6 route add default via {network}::{}", ipv6::GATEWAY),
        );
        ipv6::settles(|| self.device.command("ip"));
    }

    /// The device's address of IPv6, where its network has any.
    pub fn ipv6(&self) -> Ipv6Addr {
        let line = format!("-6 -j addr show dev {} scope global", self.interface);
        let mut show = self.device.command("ip");
        let text = tool(show.args(line.split_whitespace()));
        let parsed: Value = serde_json::from_str(&text).unwrap();
        let address = parsed[0]["addr_info"][0]["local"].as_str();
        address.expect("an address of IPv6").parse().unwrap()
    }

    /// Somebody pulls the cable.
    pub fn cut(&self) {
        tool(&mut command("ip", &format!("link set {} down", self.port)));
    }

    /// Somebody puts the cable back.
    pub fn restore(&self) {
        tool(&mut command("ip", &format!("link set {} up", self.port)));
    }

    /// Somebody takes the device away: the cable is pulled, and the system drops the address that
    /// went with it.
    pub fn unplug(&self) {
        self.cut();
        self.inside("ip", &format!("link set {} down", self.interface));
        self.inside("ip", &format!("addr flush dev {}", self.interface));
    }

    /// The device is plugged in elsewhere, and gets its address there at once.
    pub(super) fn plug(&mut self, socket: Socket) {
        let Socket {
            switch,
            address,
            router,
            ..
        } = socket;
        tool(&mut command(
            "ip",
            &format!("link set {} master {switch} up", self.port),
        ));
        (self.address, self.router) = (address, router);
        self.connect();
    }

    /// Limits what the device sends.
    pub fn shape_up(&self, mbit: u32) {
        self.inside(
            "tc",
            &format!("qdisc replace dev {} root {}", self.interface, bucket(mbit)),
        );
    }

    /// The same for a thin link, in kbit/s.
    pub fn thin_up(&self, kbit: u32) {
        let bucket = format!("tbf rate {kbit}kbit burst 16384 latency 400ms");
        self.inside(
            "tc",
            &format!("qdisc replace dev {} root {bucket}", self.interface),
        );
    }

    /// Limits what it receives to that of a thin link, in kbit/s.
    pub fn thin_down(&self, kbit: u32) {
        let bucket = format!("tbf rate {kbit}kbit burst 16384 latency 400ms");
        tool(&mut command(
            "tc",
            &format!("qdisc replace dev {} root {bucket}", self.port),
        ));
    }

    /// Limits what the device receives.
    pub fn shape_down(&self, mbit: u32) {
        tool(&mut command(
            "tc",
            &format!("qdisc replace dev {} root {}", self.port, bucket(mbit)),
        ));
    }

    /// Drops everything of a protocol that arrives at the device.
    pub fn block(&self, protocol: Protocol) {
        let name = protocol.name();
        let rules = format!(
            "table inet lab {{\n chain input {{\n  type filter hook input priority 0\n  meta l4proto {name} drop\n }}\n}}\n"
        );
        fed(self.device.command("nft").args(["-f", "-"]), &rules);
    }

    /// A firewall as desktops have it: only answers and multicast DNS come in.
    pub fn shut(&self) {
        let rules = "table inet lab {\n chain input {\n  type filter hook input priority 0; policy drop\n  iif lo accept\n  ct state established,related accept\n  udp dport 5353 accept\n  meta l4proto icmp accept\n }\n}\n";
        fed(self.device.command("nft").args(["-f", "-"]), rules);
    }

    /// Drops multicast: devices are not found.
    pub fn block_multicast(&self) {
        let rules = "table inet lab {\n chain input {\n  type filter hook input priority 0\n  udp dport 5353 drop\n }\n}\n";
        fed(self.device.command("nft").args(["-f", "-"]), rules);
    }

    /// Drops everything that arrives from another device, whatever the protocol.
    pub fn shun(&self, other: &Self) {
        let text =
            tool(
                other
                    .device
                    .command("ip")
                    .args(["-j", "link", "show", "dev", other.interface]),
            );
        let parsed: Value = serde_json::from_str(&text).unwrap();
        let address = parsed[0]["address"].as_str().unwrap();
        let rules = format!(
            "table inet lab {{\n chain input {{\n  type filter hook input priority 0\n  ether saddr {address} drop\n }}\n}}\n"
        );
        fed(self.device.command("nft").args(["-f", "-"]), &rules);
    }

    /// Everything arrives again.
    pub fn unblock(&self) {
        tool(
            self.device
                .command("nft")
                .args(["delete", "table", "inet", "lab"]),
        );
    }

    /// What went over the cable so far.
    pub fn traffic(&self) -> Traffic {
        Traffic::of(&self.port)
    }

    fn inside(&self, program: &str, line: &str) {
        tool(self.device.command(program).args(line.split_whitespace()));
    }
}

/// A queue that lets through so much: 10 ms at once, and at least what one call of the system may
/// send.
pub(super) fn bucket(mbit: u32) -> String {
    let burst = (u64::from(mbit) * 1_000_000 / 8 / 100).max(128 << 10);
    format!("tbf rate {mbit}mbit burst {burst} latency 50ms")
}
