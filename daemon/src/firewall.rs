//! The signs of a firewall on this device: others are reached from here and do not get through to
//! here.

use hither_api::{Finding, Level};
use hither_swarm::Swarm;

/// Returns what is found, if anything speaks for a firewall.
pub(crate) fn finding(swarm: &Swarm) -> Option<Finding> {
    let device = swarm.links().shut_out()?;
    let name = swarm
        .links()
        .name(device)
        .map_or_else(|| device.short(), |name| name.to_string());
    let (port, tcp) = (swarm.endpoint().port(), swarm.endpoint().tcp_port());
    let ports = match tcp {
        Some(tcp) if tcp != port => format!("UDP {port} and TCP {tcp}"),
        Some(_) => format!("UDP and TCP {port}"),
        None => format!("UDP {port}"),
    };
    Some(Finding {
        check: "firewall".into(),
        level: Level::Warning,
        message: format!(
            "{name} sees this device and does not get through to it: a firewall on this device seems to let nothing in. What it fetches comes over connections that this device makes."
        ),
        hint: format!(
            "Let in {ports}, for example: sudo ufw allow {port}; or with firewalld: sudo firewall-cmd --add-port={port}/udp --add-port={}/tcp",
            tcp.unwrap_or(port)
        ),
    })
}
