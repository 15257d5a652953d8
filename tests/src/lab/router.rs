//! A router as people have at home: one public address for everybody behind it; or as companies
//! have: everybody behind it has an address that others reach.
//!
//! Rules of each kind have a table of their own, so that they add up: `nat` what is translated
//! (`nat.rs`), `lab` what is blocked, one at a time.

use super::cable::{Protocol, bucket};
use super::delay;
use super::ipv6;
use super::namespace::Namespace;
use super::nat::Nat;
use super::port_mapper::PortMapper;
use super::tool::{command, fed, tool};
use serde_json::Value;
use std::net::SocketAddrV4;
use std::path::Path;
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

/// A router that translates addresses, as its [`Nat`] says; or one that just routes.
#[derive(Debug)]
pub struct Router {
    network: Namespace,
    /// Its address in the LAN.
    inner: String,
    /// Its public address.
    pub address: String,
}

impl Router {
    /// A router that translates, with an address of its own in the LAN, between the switch of a LAN
    /// and that of its provider, who has `gateway`.
    pub(super) fn translating(
        lan: (&str, &str),
        provider: &str,
        address: &str,
        gateway: &str,
        nat: &Nat,
    ) -> Self {
        let router = Self::routing(lan, provider, address, gateway);
        router.rules(&nat.rules(address));
        router
    }

    /// The same without translation: who knows the way comes in.
    pub(super) fn routing(
        (lan, inner): (&str, &str),
        provider: &str,
        address: &str,
        gateway: &str,
    ) -> Self {
        let network = Namespace::new();
        let router = Self {
            network,
            inner: inner.to_owned(),
            address: address.to_owned(),
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

    /// Gives it addresses of IPv6 as well, with a firewall as homes have it: nothing is translated,
    /// and only what was asked for comes in. `inner` and `outer` are its own, in networks of /64.
    pub(super) fn ipv6(&self, inner: &str, outer: &str, gateway: &str) {
        ipv6::route(&self.network);
        for (interface, address) in [(LAN, inner), (WAN, outer)] {
            self.inside(&format!("addr add {address}/64 dev {interface} nodad"));
        }
        self.inside(&format!("-6 route add default via {gateway}"));
        self.rules(ipv6::FIREWALL);
    }

    /// Starts its service that maps ports, which keeps what is its own in this folder.
    pub(super) fn maps_ports(&self, folder: &Path) -> PortMapper {
        PortMapper::start(self, &self.network, folder)
    }

    /// Limits what leaves and what enters the LAN, in Mbit/s.
    pub fn shape(&self, up: u32, down: u32) {
        for (interface, mbit) in [(WAN, up), (LAN, down)] {
            let line = format!("qdisc replace dev {interface} root {}", bucket(mbit));
            tool(self.network.command("tc").args(line.split_whitespace()));
        }
    }

    /// Everything that leaves the LAN takes so long.
    pub fn delay(&self, time: Duration) {
        delay::start(&self.network, time);
        // It is counted as a connection when it has come back, and translated then.
        self.rules(&format!(
            "table inet late {{\n chain early {{\n  type filter hook prerouting priority raw\n  iifname \"{LAN}\" notrack\n }}\n}}\n"
        ));
        self.inside(&format!("link set {} up", delay::INTERFACE));
        let late = format!("route add default dev {} table 100", delay::INTERFACE);
        for family in ["-4", "-6"] {
            self.inside(&format!("{family} {late}"));
            self.inside(&format!("{family} rule add pref 10 iif {LAN} lookup 100"));
        }
        // A packet to its outer address may be for a device inside. To its inner one it answers
        // itself.
        self.inside(&format!(
            "-4 rule add pref 5 to {} lookup local",
            self.inner
        ));
        self.inside("-4 rule add pref 20 lookup local");
        self.inside("-4 rule del pref 0");
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

    /// Lets out only connections to port 443 of TCP, and tells nobody.
    pub fn only_https(&self) {
        self.only("tcp dport 443");
    }

    /// Lets out only TCP connections to one place, such as a proxy, and tells nobody.
    pub fn only_to(&self, place: SocketAddrV4) {
        self.only(&format!(
            "ip daddr {} tcp dport {}",
            place.ip(),
            place.port()
        ));
    }

    fn only(&self, what: &str) {
        self.rules(&format!(
            "table inet lab {{\n chain forward {{\n  type filter hook forward priority 0\n  \
             ct state established,related accept\n  iifname {{ \"{LAN}\", \"{late}\" }} {what} accept\n  drop\n }}\n}}\n",
            late = delay::INTERFACE,
        ));
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
