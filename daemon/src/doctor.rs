//! The reachability of this device and others, and the obstacles to it, in words.

use crate::diagnostics::Diagnostics;
use crate::failure::size;
use hither_api::{Finding, Level, Metered, RelayInfo, RelayState, SourceKind};
use hither_carrier::{CarrierKind, Link};
use hither_proto::{DeviceId, display_name};
use hither_swarm::{Battery, Mapping};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// Less free space than this where the daemon keeps its data is a warning, bytes.
const LITTLE_SPACE: u64 = 500_000_000;

/// Fewer open files than this are a warning.
const FEW_FILES: u64 = 1024;

/// The name of the finding that no relay was joined; `hither doctor` knows it.
const NO_RELAY: &str = "no relay";

fn finding(
    check: &str,
    level: Level,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Finding {
    Finding {
        check: check.into(),
        level,
        message: message.into(),
        hint: hint.into(),
    }
}

/// Looks at everything.
pub(crate) async fn examine(diagnostics: &Arc<Diagnostics>) -> Vec<Finding> {
    let mut findings = vec![
        carriers(diagnostics),
        interfaces(diagnostics),
        nearby(diagnostics),
        space(diagnostics),
    ];
    findings.extend(crate::firewall::finding(&diagnostics.swarm));
    findings.extend(relays(diagnostics));
    findings.extend(router(diagnostics.swarm.mapping().await));
    findings.extend(relayed(diagnostics));
    findings.extend(link(diagnostics));
    findings.extend(battery(diagnostics));
    findings.extend(limits(diagnostics));
    findings.extend(open_files(hither_content::open_files_limit()));
    findings.extend(vpn());
    findings.extend(diagnostics.losses.told().into_iter().map(|w| {
        finding(
            "data",
            Level::Problem,
            w,
            "When you have read it: hither status --acknowledge",
        )
    }));
    let warnings = diagnostics.warnings.all();
    findings.extend(
        warnings
            .into_iter()
            .map(|w| finding("daemon", Level::Warning, w, "")),
    );
    let of = Arc::clone(diagnostics);
    match tokio::task::spawn_blocking(move || unservable(&of)).await {
        Ok(found) => findings.extend(found),
        Err(error) => tracing::error!(%error, "the files of shares could not be looked at"),
    }
    findings
}

fn carriers(diagnostics: &Diagnostics) -> Finding {
    let port = diagnostics.swarm.endpoint().port();
    let message = match (
        diagnostics.config.quic,
        diagnostics.swarm.endpoint().tcp_port(),
    ) {
        (true, Some(tcp)) => format!("Listening on UDP port {port} and TCP port {tcp}."),
        (true, None) => format!("Listening on UDP port {port}; TCP is switched off."),
        (false, _) => format!("Listening on TCP port {port}; QUIC is switched off."),
    };
    if diagnostics.config.port != 0 && port != diagnostics.config.port {
        let hint =
            "Another program (or another Hither) has it. A firewall must let the new port through.";
        return finding(
            "ports",
            Level::Warning,
            format!(
                "{message} The configured port {} was taken.",
                diagnostics.config.port
            ),
            hint,
        );
    }
    finding("ports", Level::Ok, message, "")
}

fn interfaces(diagnostics: &Diagnostics) -> Finding {
    let addresses = diagnostics.swarm.addresses();
    if addresses.is_empty() {
        let hint = "Connect to a network, or look at \"interfaces\" and \"ignore_interfaces\" in the configuration.";
        return finding(
            "network",
            Level::Problem,
            "There is no network that other devices could be on.",
            hint,
        );
    }
    let shown: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
    finding(
        "network",
        Level::Ok,
        format!("Reachable at {}.", shown.join(", ")),
        "",
    )
}

fn nearby(diagnostics: &Diagnostics) -> Finding {
    if !diagnostics.config.discovery {
        return finding(
            "nearby",
            Level::Warning,
            "Looking for devices is switched off.",
            "hither config set discovery true",
        );
    }
    match diagnostics.swarm.links().nearby().len() {
        0 => finding(
            "nearby",
            Level::Warning,
            "No other device with Hither is seen on this network.",
            "If one should be: is its daemon running (hither up)? Guest networks and access points with client isolation keep devices apart, VPNs and other subnets hide them, and a firewall must let in UDP 5353 (mDNS) and Hither's port.",
        ),
        1 => finding(
            "nearby",
            Level::Ok,
            "One other device with Hither is on this network.",
            "",
        ),
        n => finding(
            "nearby",
            Level::Ok,
            format!("{n} other devices with Hither are on this network."),
            "",
        ),
    }
}

/// Every relay that was joined.
fn relays(diagnostics: &Diagnostics) -> Vec<Finding> {
    let one = |relay: RelayInfo| match relay.state {
        RelayState::Connected => {
            let (carrier, rtt) = (
                relay.carrier.unwrap_or_default(),
                relay.rtt_ms.unwrap_or_default(),
            );
            let message = format!(
                "Connected to {} over {}, {rtt:.1} ms away.",
                relay.host,
                carrier.to_uppercase()
            );
            match carrier.as_str() {
                "tcp" if diagnostics.config.quic => {
                    let hint = "QUIC did not get through: a firewall seems to block UDP. It works all the same.";
                    finding("relay", Level::Ok, message, hint)
                }
                _ => finding("relay", Level::Ok, message, ""),
            }
        }
        RelayState::Connecting => finding(
            "relay",
            Level::Warning,
            format!("{} is being connected.", relay.host),
            "",
        ),
        RelayState::Waiting => {
            let why = relay
                .reason
                .filter(|why| !why.is_empty())
                .unwrap_or_else(|| "it did not answer".into());
            let message = format!(
                "Not connected to {}: {why}. It is tried again in {} s.",
                relay.host,
                relay.retry_seconds.unwrap_or_default()
            );
            let level = if relay.lasting {
                Level::Problem
            } else {
                Level::Warning
            };
            finding("relay", level, message, relay.hint.unwrap_or_default())
        }
    };
    let all = diagnostics.relays.all();
    if all.is_empty() {
        let message = "No relay was joined: only devices on this network are reached, and only while they are on.";
        let hint = "To reach others, and to leave things for them: hither relay add URL";
        return vec![finding(NO_RELAY, Level::Ok, message, hint)];
    }
    all.iter().map(|relay| one(relay.info())).collect()
}

/// The router before this device, as relays see it.
fn router(mapping: Mapping) -> Option<Finding> {
    let (level, message, hint) = match mapping {
        Mapping::NoRelay => return None,
        Mapping::Silent => (
            Level::Warning,
            "No relay answers over UDP: devices on other networks are reached through relays, over TCP.".to_owned(),
            "Have the firewall or router of this network let UDP out, and answers to it in.",
        ),
        Mapping::Public(at) => (
            Level::Ok,
            format!("Relays see this device at its own address, {at}."),
            "",
        ),
        Mapping::Translated(at, 1) => (
            Level::Ok,
            format!("A router translates this device's address; a relay sees it at {at}."),
            "",
        ),
        Mapping::Translated(at, _) => (
            Level::Ok,
            format!("A router translates this device's address, to {at} for everybody: direct paths to most devices are possible."),
            "",
        ),
        Mapping::PerDestination(all) => (
            Level::Warning,
            format!(
                "The router of this network gives every destination another port ({}): devices behind strict routers are reached through a relay.",
                all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            ),
            "Nothing needs to be done: such sessions stay with the relay, encrypted.",
        ),
    };
    Some(finding("router", level, message, hint))
}

/// Every device that is reached through a relay.
fn relayed(diagnostics: &Diagnostics) -> Vec<Finding> {
    let links = diagnostics.swarm.links().open();
    let devices: BTreeSet<DeviceId> = links
        .iter()
        .filter(|link| link.carrier() == CarrierKind::Relayed)
        .map(Link::device)
        .filter(|device| diagnostics.swarm.links().way(*device) == SourceKind::Relayed)
        .collect();
    let one = |device: DeviceId| {
        let name = diagnostics
            .swarm
            .links()
            .name(device)
            .map_or_else(|| device.short(), |name| name.to_string());
        let relay = diagnostics
            .swarm
            .links()
            .relay_to(device)
            .unwrap_or_default();
        let message = format!("{name} is reached through the relay {relay}.");
        let hint = "No direct path to it was found: the routers or firewalls in between let none through. What it gives passes the relay, encrypted.";
        finding("relayed", Level::Ok, message, hint)
    };
    devices.into_iter().map(one).collect()
}

fn space(diagnostics: &Diagnostics) -> Finding {
    match rustix::fs::statvfs(&diagnostics.paths.data) {
        Ok(stat) if stat.f_bavail * stat.f_frsize < LITTLE_SPACE => finding(
            "space",
            Level::Warning,
            format!(
                "Only {} are free where Hither keeps its data.",
                size(stat.f_bavail * stat.f_frsize)
            ),
            "Make room: without it progress cannot be recorded.",
        ),
        Ok(stat) => finding(
            "space",
            Level::Ok,
            format!(
                "{} are free where Hither keeps its data.",
                size(stat.f_bavail * stat.f_frsize)
            ),
            "",
        ),
        Err(error) => finding(
            "space",
            Level::Problem,
            format!("Hither's data folder cannot be looked at: {error}."),
            "",
        ),
    }
}

/// Says so when few files may be open at once.
fn open_files(limit: u64) -> Option<Finding> {
    (limit < FEW_FILES).then(|| {
        finding(
            "files",
            Level::Warning,
            format!("The daemon may have no more than {limit} files and connections open at once. Hither gets slow when many devices fetch."),
            "Raise it where the daemon is started (ulimit -n, or LimitNOFILE of its service), then: hither down && hither up",
        )
    })
}

/// Returns the finding for a link that costs by volume.
fn link(diagnostics: &Diagnostics) -> Option<Finding> {
    let metered = diagnostics.swarm.host_state().facts().metered?;
    let whose = match diagnostics.config.world.metered {
        Metered::Auto => "",
        _ => ", as you configured (network.metered)",
    };
    let message = match (metered, diagnostics.config.upload.metered) {
        (false, _) => format!("The link to the internet is not metered{whose}."),
        (true, true) => {
            format!(
                "The link to the internet is metered{whose}. Uploads to a relay go on (upload.metered)."
            )
        }
        (true, false) => {
            format!(
                "The link to the internet is metered{whose}. Uploads to a relay wait for another one."
            )
        }
    };
    let hint = match metered && !diagnostics.config.upload.metered {
        true => {
            "If it costs nothing: hither config set network.metered no. To upload all the same: hither config set upload.metered true"
        }
        false => "",
    };
    Some(finding("link", Level::Ok, message, hint))
}

/// Returns the finding for a low battery.
fn battery(diagnostics: &Diagnostics) -> Option<Finding> {
    let facts = diagnostics.swarm.host_state().facts();
    let Battery {
        percent,
        discharging,
    } = facts.battery?;
    let state = if discharging { "in use" } else { "not in use" };
    if !facts.reluctant {
        return Some(finding(
            "battery",
            Level::Ok,
            format!("The battery is {state}, at {percent} %."),
            "",
        ));
    }
    let message = format!(
        "The battery is {state} and low, at {percent} %. This device gives to others reluctantly."
    );
    let hint = format!(
        "That begins below {} % (battery.low).",
        diagnostics.config.world.low
    );
    Some(finding("battery", Level::Ok, message, hint))
}

/// Returns the finding for limits of the user that slow everything down.
fn limits(diagnostics: &Diagnostics) -> Option<Finding> {
    let limits = diagnostics.swarm.throttles().info();
    let way =
        |way: &str, rate: Option<u64>| rate.map(|rate| format!("{way} at most {}/s", size(rate)));
    let ways: Vec<String> = way("sent", limits.upload)
        .into_iter()
        .chain(way("received", limits.download))
        .collect();
    let because = limits
        .schedule
        .map(|rule| format!(" (limits.schedule: {rule})"))
        .unwrap_or_default();
    let where_ = if limits.lan {
        ""
    } else {
        ", outside the local network"
    };
    let all =
        (!ways.is_empty()).then(|| format!("There is {}{where_}{because}.", ways.join(" and ")));
    let devices = (!limits.devices.is_empty()).then(|| {
        format!(
            "Limits for single devices{where_}: {}.",
            limits.devices.join(", ")
        )
    });
    let words: Vec<String> = all.into_iter().chain(devices).collect();
    (!words.is_empty()).then(|| finding("limits", Level::Ok, words.join(" "), ""))
}

/// Tunnels tend to swallow the local network.
fn vpn() -> Option<Finding> {
    let tunnels: Vec<String> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .filter(|i| {
            ["tun", "tap", "wg", "utun", "ppp", "tailscale"]
                .iter()
                .any(|prefix| i.name.starts_with(prefix))
        })
        .filter(|i| !matches!(i.ip(), IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .map(|i| i.name)
        .collect();
    let first = tunnels.first()?;
    Some(finding(
        "vpn",
        Level::Warning,
        format!("A VPN seems to be up ({first})."),
        "If devices on the same network do not find each other, allow \"local network access\" in the VPN, or pause it.",
    ))
}

/// Shares whose files changed or vanished.
fn unservable(diagnostics: &Arc<Diagnostics>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (share, record) in diagnostics.library.share_records() {
        let Some(version) = share.current() else {
            continue;
        };
        let chunks = u64::from(version.head.head().chunks);
        let held = diagnostics.library.recheck(&share, &version);
        let words = diagnostics
            .publisher
            .watches
            .trouble(share.id)
            .or_else(|| diagnostics.library.health.of(share.id).words);
        if let Some(words) = words {
            let name = display_name(&record.name);
            let given = if held < chunks {
                format!(" {held} of {chunks} chunks can be given.")
            } else {
                String::new()
            };
            findings.push(finding(
                "shares",
                Level::Warning,
                format!("\"{name}\": {words}{given}"),
                "",
            ));
        }
    }
    findings
}
