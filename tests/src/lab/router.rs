//! A router as people have at home: one public address for everybody behind it; or as companies
//! have: everybody behind it has an address that others reach.

use super::cable::{Protocol, bucket};
use super::delay;
use super::namespace::Namespace;
use super::tool::{command, fed, tool};
use serde_json::Value;
use std::time::Duration;

/// The address of every router in its LAN.
pub(super) const INNER: &str = "192.168.1.254";
/// Its interfaces: inside and outside.
const LAN: &str = "lan0";
const WAN: &str = "wan0";

/// Which way packets go, as whoever is in the LAN sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Away.
    Out,
    /// To the LAN.
    In,
}

/// A router that translates addresses (masquerading), and lets in only what answers something; or
/// one that just routes.
#[derive(Debug)]
pub struct Router {
    network: Namespace,
    /// Its public address.
    pub address: String,
    /// The provider's.
    gateway: String,
}

impl Router {
    /// A router between the switch of a LAN and that of its provider, who has `gateway`.
    pub(super) fn new(lan: &str, provider: &str, address: &str, gateway: &str) -> Self {
        let router = Self::routing((lan, INNER), provider, address, gateway);
        router.rules(
            "table inet nat {\n chain out {\n  type nat hook postrouting priority 100\n  oifname \"wan0\" masquerade\n }\n \
             chain in {\n  type filter hook forward priority 0\n  iifname \"wan0\" ct state new drop\n }\n \
             chain inward {\n  type filter hook input priority 0\n  iifname \"wan0\" ct state new drop\n }\n}\n",
        );
        router
    }

    /// The same without translation, with an address of its own in the LAN: who knows the way comes
    /// in.
    pub(super) fn routing(
        (lan, inner): (&str, &str),
        provider: &str,
        address: &str,
        gateway: &str,
    ) -> Self {
        let network = Namespace::new();
        let router = Self {
            network,
            address: address.to_owned(),
            gateway: gateway.to_owned(),
        };
        for (interface, switch, address) in [(LAN, lan, inner), (WAN, provider, address)] {
            let (port, pid) = (format!("{lan}-{interface}"), router.network.pid());
            tool(&mut command(
                "ip",
                &format!("link add {port} type veth peer name {interface} netns {pid}"),
            ));
            tool(&mut command(
                "ip",
                &format!("link set {port} master {switch} up"),
            ));
            router.inside(&format!("addr add {address}/24 dev {interface}"));
            router.inside(&format!("link set {interface} up"));
        }
        router.inside(&format!("route add default via {gateway}"));
        forward(&router.network);
        router
    }

    /// Limits what leaves and what enters the LAN, in Mbit/s.
    pub fn shape(&self, up: u32, down: u32) {
        for (interface, mbit) in [(WAN, up), (LAN, down)] {
            let line = format!("qdisc replace dev {interface} root {}", bucket(mbit));
            tool(self.network.command("tc").args(line.split_whitespace()));
        }
    }

    /// Everything that leaves takes so long.
    pub fn delay(&self, time: Duration) {
        delay::start(&self.network, time);
        self.inside(&format!("link set {} up", delay::INTERFACE));
        self.inside(&format!("route replace default dev {}", delay::INTERFACE));
        // What comes back from there goes out; what comes in passes it by.
        self.inside(&format!(
            "route add default via {} dev {WAN} table 100",
            self.gateway
        ));
        self.inside(&format!("rule add iif {} lookup 100", delay::INTERFACE));
        self.inside(&format!("rule add iif {WAN} lookup main"));
    }

    /// Limits what leaves for a network (`a.b.c.d/n`), in Mbit/s: the way there is bad, and that to
    /// everybody else is not.
    pub fn shape_to(&self, network: &str, mbit: u32) {
        for line in [
            format!("qdisc replace dev {WAN} root handle 1: htb default 1"),
            format!("class replace dev {WAN} parent 1: classid 1:1 htb rate 10gbit quantum 60000"),
            format!("class replace dev {WAN} parent 1: classid 1:2 htb rate 10gbit quantum 60000"),
            format!("qdisc replace dev {WAN} parent 1:2 {}", bucket(mbit)),
            format!(
                "filter replace dev {WAN} parent 1: protocol ip prio 1 u32 match ip dst {network} flowid 1:2"
            ),
        ] {
            tool(self.network.command("tc").args(line.split_whitespace()));
        }
    }

    /// Bytes that have entered the LAN so far.
    pub fn entered(&self) -> u64 {
        let text = tool(
            self.network
                .command("ip")
                .args(["-s", "-j", "link", "show", "dev", LAN]),
        );
        let parsed: Value = serde_json::from_str(&text).unwrap();
        parsed[0]["stats64"]["tx"]["bytes"].as_u64().unwrap()
    }

    /// Lets through so much of a protocol each way, bytes per second, and drops what is more, as
    /// providers do that take UDP, or everything that they do not know, for a nuisance. Longer
    /// packets are let through in bursts only.
    pub fn police(&self, protocol: Protocol, rate: u64) {
        let rule = |from: &str| {
            format!(
                "  iifname \"{from}\" meta l4proto {} limit rate over {rate} bytes/second burst 128 kbytes drop\n",
                protocol.name()
            )
        };
        self.rules(&format!(
            "table inet lab {{\n chain forward {{\n  type filter hook forward priority 0\n{}{} }}\n}}\n",
            rule(LAN),
            rule(WAN)
        ));
    }

    /// Lets only packets of so many bytes through in one direction, and tells nobody: a tunnel
    /// whose messages about that are filtered.
    pub fn narrow(&self, direction: Direction, mtu: u16) {
        let interface = match direction {
            Direction::Out => WAN,
            Direction::In => LAN,
        };
        self.inside(&format!("link set {interface} mtu {mtu}"));
        self.rules(
            "table inet narrow {\n chain out {\n  type filter hook output priority 0\n  meta l4proto icmp drop\n }\n}\n",
        );
    }

    /// Drops everything of a protocol that would go through it, and tells nobody.
    pub fn block(&self, protocol: Protocol) {
        self.rules(&format!(
            "table inet lab {{\n chain forward {{\n  type filter hook forward priority 0\n  meta l4proto {} drop\n }}\n}}\n",
            protocol.name()
        ));
    }

    /// Drops everything for one address, and tells nobody.
    pub fn refuse(&self, address: &str) {
        self.rules(&format!(
            "table inet lab {{\n chain forward {{\n  type filter hook forward priority 0\n  ip daddr {address} drop\n }}\n}}\n"
        ));
    }

    /// Lets nobody in who was not asked, as one that translates addresses does.
    pub fn shut(&self) {
        self.rules(
            "table inet shut {\n chain in {\n  type filter hook forward priority 0\n  iifname \"wan0\" ct state new drop\n }\n}\n",
        );
    }

    /// Lets everybody in again.
    pub fn open(&self) {
        tool(
            self.network
                .command("nft")
                .args(["delete", "table", "inet", "shut"]),
        );
    }

    /// Lets everything through again.
    pub fn unblock(&self) {
        tool(
            self.network
                .command("nft")
                .args(["delete", "table", "inet", "lab"]),
        );
    }

    fn rules(&self, rules: &str) {
        fed(self.network.command("nft").args(["-f", "-"]), rules);
    }

    fn inside(&self, line: &str) {
        tool(self.network.command("ip").args(line.split_whitespace()));
    }
}

/// Packets that are for others are passed on there.
fn forward(network: &Namespace) {
    tool(network.command("sh").args(["-c", FORWARD]));
}

/// What a shell runs to have packets passed on in its network.
pub(super) const FORWARD: &str = "echo 1 > /proc/sys/net/ipv4/ip_forward";
