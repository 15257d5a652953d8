//! `hither status`.

use crate::commands::relay;
use crate::commands::up::ports;
use crate::daemon;
use crate::session::{Outcome, Session};
use crate::show::{Align, Column, Table, bytes, count, device, duration, grouped, wrap};
use console::Style;
use hither_api::{
    BatteryInfo, Client, ClientError, Exit, LimitsInfo, LinkInfo, RelayInfo, RelayState, Status,
    WorldInfo,
};
use hither_proto::display_name;

const EXAMPLES: &str = "\
Examples:
  hither status                           the daemon, and who is connected
  hither status --json | jq -r .device    this device's id

It does not start the daemon: it fails (exit status 1) when none runs.";

/// Show the daemon, its links and what it does
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Say that you have read what was lost of Hither's own data: it is not told any more
    #[arg(long)]
    pub acknowledge: bool,
}

const COLUMNS: [Column; 5] = [
    Column::new("CONNECTED", Align::Left).flexible(),
    Column::new("DEVICE", Align::Left),
    Column::new("BY", Align::Left),
    Column::new("ADDRESS", Align::Left).flexible().optional(),
    Column::new("PING", Align::Right),
];

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let paths = session.paths()?;
    let mut status = daemon::status(&paths)
        .await?
        .ok_or(ClientError::NotRunning)?;
    if args.acknowledge {
        let client = Client::of(&paths);
        client
            .post::<serde_json::Value>("/v1/losses/acknowledge", &())
            .await?;
        status = client.get("/v1/status").await?;
    }
    session.heed(&status);
    session.out.json(&status);
    for (label, text) in facts(&status) {
        let label = session
            .out
            .paint(Style::new().dim(), &format!("{label:<10}"));
        let width = session.out.size().0;
        session.out.result(&wrap(&label, &text, width));
    }
    for line in status.relays.iter().filter_map(relay::trouble) {
        session.out.say(&session.wrapped(&line));
    }
    if !status.links.is_empty() {
        session.out.result("");
        table(session, &status.links);
    }
    if !session.out.is_json() {
        let told = |warning: &&String| !status.losses.contains(warning);
        status
            .warnings
            .iter()
            .filter(told)
            .for_each(|warning| session.out.warning(warning));
    }
    Ok(Exit::Done)
}

fn facts(status: &Status) -> Vec<(&'static str, String)> {
    let uploads = match status.uploads {
        0 => String::new(),
        number => format!(" ({number} not uploaded yet)"),
    };
    let shares = count(status.shares, "share") + &uploads;
    let transfers = match status.transfers {
        0 => "nothing is being fetched".into(),
        number => format!("{} running", count(number, "transfer")),
    };
    let transfers = match status.giving {
        0 => transfers,
        number => format!("{transfers}, {} from here", fetches(number)),
    };
    let mut facts = vec![
        (
            "Device",
            format!("{} ({})", display_name(&status.name), status.device),
        ),
        (
            "Daemon",
            format!(
                "version {}, process {}, up for {}",
                status.version,
                status.pid,
                duration(status.uptime)
            ),
        ),
        ("Ports", ports(status)),
        ("Data", display_name(&status.home)),
        ("Shares", format!("{shares}, {transfers}")),
        ("Nearby", count(status.nearby, "device")),
        ("Relays", relays(&status.relays)),
        ("Messages", messages(status)),
    ];
    facts.extend(link(&status.world).map(|words| ("Link", words)));
    facts.extend(battery(&status.world).map(|words| ("Battery", words)));
    facts.extend(limits(&status.limits).map(|words| ("Limits", words)));
    facts
}

fn fetches(devices: u64) -> String {
    let verb = if devices == 1 { "fetches" } else { "fetch" };
    format!("{} {verb}", count(devices, "device"))
}

/// Whether the link costs by volume, when that is known.
fn link(world: &WorldInfo) -> Option<String> {
    world.metered.map(|metered| {
        if metered {
            "metered".into()
        } else {
            "not metered".into()
        }
    })
}

fn battery(world: &WorldInfo) -> Option<String> {
    let BatteryInfo {
        percent,
        discharging,
    } = world.battery?;
    let state = match (discharging, world.reluctant) {
        (_, true) => ", low: this device gives to others reluctantly",
        (true, _) => ", in use",
        (false, _) => "",
    };
    Some(format!("{percent} %{state}"))
}

/// The limits in force now; nothing when there are none.
fn limits(limits: &LimitsInfo) -> Option<String> {
    let way = |way: &str, rate: Option<u64>| rate.map(|rate| format!("{way} {}/s", bytes(rate)));
    let mut words: Vec<String> = way("upload", limits.upload)
        .into_iter()
        .chain(way("download", limits.download))
        .collect();
    words.extend(limits.devices.iter().map(|device| display_name(device)));
    words.extend(
        limits
            .schedule
            .as_ref()
            .map(|rule| format!("by the schedule ({})", display_name(rule))),
    );
    if words.is_empty() {
        return None;
    }
    let lan = if limits.lan {
        ""
    } else {
        "; the local network is free"
    };
    Some(words.join(", ") + lan)
}

fn relays(relays: &[RelayInfo]) -> String {
    let one = |info: &RelayInfo| match (info.state, &info.carrier, info.rtt_ms) {
        (RelayState::Connected, Some(carrier), Some(rtt)) => {
            let carrier = display_name(carrier).to_uppercase();
            format!(
                "{} (connected over {carrier}, {rtt:.1} ms)",
                display_name(&info.host)
            )
        }
        (state, ..) => format!("{} ({})", display_name(&info.host), relay::state(state)),
    };
    let with_page = |info: &RelayInfo| match &info.web {
        Some(web) => format!("{}, links open at {}", one(info), display_name(web)),
        None => one(info),
    };
    match relays {
        [] => "none (hither relay add URL)".into(),
        some => some.iter().map(with_page).collect::<Vec<_>>().join(", "),
    }
}

fn messages(status: &Status) -> String {
    let unread = match status.unread {
        0 => "none unread".into(),
        number => format!("{} (hither inbox)", count(number, "unread message")),
    };
    match status.outgoing {
        0 => unread,
        number => format!("{unread}, {} to be sent (hither outbox)", grouped(number)),
    }
}

fn table(session: &Session<'_>, links: &[LinkInfo]) {
    let mut table = Table::new(&COLUMNS);
    for link in links {
        table.row([
            if link.name.is_empty() {
                "(not known yet)".into()
            } else {
                display_name(&link.name)
            },
            device("", &link.device),
            display_name(&link.carrier).to_uppercase(),
            at(link),
            format!("{:.1} ms", link.rtt_ms),
        ]);
    }
    session.table(table);
}

/// Where a link leads: to an address, or through a relay.
fn at(link: &LinkInfo) -> String {
    match &link.relay {
        Some(relay) => format!("through {}", display_name(relay)),
        None => display_name(&link.address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_are_short_lines() {
        let status = Status {
            version: "0.1.0".into(),
            device: "12D3KooWabcdefgh".into(),
            short: "abcdefgh".into(),
            name: "lap\ntop".into(),
            pid: 7,
            uptime: 3780,
            udp_port: Some(47447),
            tcp_port: None,
            home: "/h".into(),
            shares: 1,
            uploads: 0,
            transfers: 0,
            giving: 0,
            nearby: 2,
            links: Vec::new(),
            relays: Vec::new(),
            unread: 1,
            outgoing: 2,
            world: WorldInfo::default(),
            limits: LimitsInfo::default(),
            losses: Vec::new(),
            warnings: Vec::new(),
        };
        let facts = facts(&status);
        assert_eq!(facts[0].1, "lap\u{fffd}top (12D3KooWabcdefgh)");
        assert_eq!(facts[1].1, "version 0.1.0, process 7, up for 1 h 3 min");
        assert_eq!(facts[2].1, "UDP 47447");
        assert_eq!(facts[4].1, "1 share, nothing is being fetched");
        assert_eq!(facts[6].1, "none (hither relay add URL)");
        assert_eq!(
            facts[7].1,
            "1 unread message (hither inbox), 2 to be sent (hither outbox)"
        );
        assert_eq!(facts.len(), 8, "what nobody knows is not shown");
        let world = WorldInfo {
            metered: Some(true),
            battery: Some(BatteryInfo {
                percent: 12,
                discharging: true,
            }),
            reluctant: true,
        };
        let limits = LimitsInfo {
            upload: Some(1_000_000),
            schedule: Some("mon-fri 08:00-18:00 upload=1000000B/s".into()),
            ..LimitsInfo::default()
        };
        let busy = super::facts(&Status {
            world,
            limits,
            ..status.clone()
        });
        assert_eq!(busy[8].1, "metered");
        assert_eq!(
            busy[9].1,
            "12 %, low: this device gives to others reluctantly"
        );
        assert_eq!(
            busy[10].1,
            "upload 1 MB/s, by the schedule (mon-fri 08:00-18:00 upload=1000000B/s); the local network is free"
        );
        let deaf = Status {
            udp_port: None,
            ..status
        };
        assert_eq!(ports(&deaf), "none: no other device can connect");
    }
}
