//! IPv6 of the lab: addresses of documentation (RFC 3849) that look global, and nothing translated.
//!
//! A network has IPv6 only where a test asks for it, so that other tests see one family.

use super::namespace::Namespace;
use super::tool::{command, tool};
use super::wait::until;
use std::process::Command;

/// Beginning of the addresses of routers, of hosts, and of LANs; the next number of a LAN is its
/// own.
pub(super) const HOMES: &str = "2001:db8:0:1";
pub(super) const HOSTS: &str = "2001:db8:0:2";
pub(super) const LANS: &str = "2001:db8:1";
/// End of the address of whoever knows the way, in each network.
pub(super) const GATEWAY: &str = "ffff";

/// A router's firewall: answers and ICMPv6 come in.
pub(super) const FIREWALL: &str = "table ip6 firewall {\n \
    chain inward {\n  type filter hook input priority 0\n  meta l4proto ipv6-icmp accept\n  iifname \"wan0\" ct state new drop\n }\n \
    chain through {\n  type filter hook forward priority 0\n  ct state established,related accept\n  meta l4proto ipv6-icmp accept\n  iifname \"wan0\" drop\n }\n}\n";

/// The command by which a shell has packets passed on in its network.
const FORWARD: &str = "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding";

/// Packets for others are passed on in a network.
pub(super) fn route(network: &Namespace) {
    tool(network.command("sh").args(["-c", FORWARD]));
}

/// The same in the lab's own network, whose switches get addresses.
pub(super) fn provide(switches: [(&str, &str); 2]) {
    tool(Command::new("sh").args(["-c", FORWARD]));
    for (switch, network) in switches {
        tool(&mut command(
            "ip",
            &format!("addr replace {network}::{GATEWAY}/64 dev {switch} nodad"),
        ));
    }
}

/// Waits until the system has found out, by asking the network, that no address is taken twice: it
/// sends nothing before. `ip` makes the command.
pub(super) fn settles(ip: impl Fn() -> Command) {
    until("addresses of IPv6", || {
        let asked = tool(ip().args(["-6", "addr", "show", "tentative"]));
        asked.is_empty().then_some(())
    });
}
