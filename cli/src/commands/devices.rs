//! `hither devices`.

use crate::complete;
use crate::input;
use crate::session::{Outcome, Session};
use crate::show::{Align, Column, Table, ago, count, now};
use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use hither_api::{
    ApiError, DeviceInfo, DeviceRelation, DeviceRequest, ErrorCode, Exit, RemovedInfo,
    RenameRequest,
};
use hither_proto::display_name;

const EXAMPLES: &str = "\
Examples:
  hither devices
  hither devices --json | jq -r 'select(.online) | .name'
  hither devices rename aaaaaaaa anna      what anna's phone is called here
  hither devices rename aaaaaaaa           as it calls itself again
  hither devices remove phone              it is none of your devices any more
  hither devices forget anna               it is a stranger again

A page in a browser (hither pair --web) stands as web: it receives, sends, asks
and answers, and is forgotten when it has not come for a month.

Commands that take a device take its name, the short id shown here, or its whole
id (with --json).";

/// List your devices, those you know, and who shows itself on this network
///
/// Devices that joined the same relay by the same invitation are yours (hither relay add). Others
/// you said yes to (hither nearby), are members of groups that this device is in (hither group), or
/// are on this network and show their names.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Call a device by another name on this one; what it calls itself is set there (device_name)
    Rename {
        /// Its name, short id or id
        #[arg(add = ArgValueCandidates::new(complete::devices))]
        device: String,
        /// Its name here from now on; as it calls itself when absent
        #[arg(default_value = "")]
        name: String,
    },
    /// Remove one of your devices: relays and your other devices take nothing of it any more
    Remove {
        /// Its name, short id or id
        #[arg(add = ArgValueCandidates::new(complete::devices))]
        device: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Forget a device that you said yes to: what it sends is not taken any more
    Forget {
        /// Its name, short id or id
        #[arg(add = ArgValueCandidates::new(complete::devices))]
        device: String,
    },
}

const COLUMNS: [Column; 7] = [
    Column::new("DEVICE", Align::Left).flexible(),
    Column::new("ID", Align::Left),
    Column::new("WHOSE", Align::Left),
    Column::new("STATE", Align::Left),
    Column::new("NETWORK", Align::Left),
    Column::new("GROUPS", Align::Left).flexible().sparse(),
    Column::new("RELAY", Align::Left).flexible().optional(),
];

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    match args.action {
        None => list(session).await,
        Some(Action::Rename { device, name }) => {
            let client = session.daemon().await?;
            let request = RenameRequest { device, name };
            let info = client
                .post::<DeviceInfo>("/v1/devices/rename", &request)
                .await?;
            session.out.json(&info);
            let (short, name) = (display_name(&info.short), display_name(&info.name));
            session.out.say(&format!("{short} is called {name} here."));
            Ok(Exit::Done)
        }
        Some(Action::Remove { device, yes }) => remove(session, device, yes).await,
        Some(Action::Forget { device }) => {
            let client = session.daemon().await?;
            let info = client
                .post::<DeviceInfo>("/v1/devices/forget", &DeviceRequest { device })
                .await?;
            session.out.json(&info);
            let name = display_name(&info.name);
            session.out.say(&format!(
                "{name} is a stranger again: nothing is taken of it."
            ));
            Ok(Exit::Done)
        }
    }
}

async fn remove(session: &Session<'_>, device: String, yes: bool) -> Outcome {
    let client = session.daemon().await?;
    if !yes {
        let out = session.out;
        if !out.can_ask() {
            let message = "Removing a device needs a yes.";
            return Err(
                ApiError::new(ErrorCode::BadRequest, message).with_hint("Say --yes with it.")
            );
        }
        let shown = display_name(&device);
        out.note(&session.wrapped(&format!(
            "{shown} will be none of your devices any more, at your relays and on your other devices. It keeps what it has, and cannot come back with its present identity."
        )));
        if input::agrees(out, "Remove it?").await != Some(true) {
            return Err(ApiError::new(ErrorCode::Declined, "Nothing was changed."));
        }
    }
    let removed = client
        .post::<RemovedInfo>("/v1/devices/remove", &DeviceRequest { device })
        .await?;
    session.out.json(&removed);
    let name = display_name(&removed.name);
    let at = match removed.relays.as_slice() {
        [] => String::new(),
        relays => format!(" It is revoked at {}.", display_name(&relays.join(", "))),
    };
    let told = match removed.told {
        0 => String::new(),
        told => format!(" {} told.", count(told, "other device")),
    };
    session.out.say(&session.wrapped(&format!(
        "{name} is none of your devices any more.{at}{told}"
    )));
    for why in &removed.waiting {
        let why = display_name(why);
        session.warn_people(&format!("Not yet at {why}. It is tried again by itself."));
    }
    Ok(Exit::Done)
}

async fn list(session: &Session<'_>) -> Outcome {
    let devices = session
        .daemon()
        .await?
        .get::<Vec<DeviceInfo>>("/v1/devices")
        .await?;
    session.out.json_lines(&devices);
    session.table(table(&devices, now()));
    if let Some(as_of) = devices.iter().filter_map(|device| device.as_of).max() {
        let age = ago(as_of, now());
        session.out.say(&session.wrapped(&format!(
            "No relay is connected: the list is that of {age}. See: hither doctor"
        )));
    }
    if devices.len() < 2 {
        session.out.say(&session.wrapped(
            "No other device is known or shows itself here. On the other one: hither nearby, or join the same relay on both: hither relay add URL",
        ));
    }
    Ok(Exit::Done)
}

fn table(devices: &[DeviceInfo], now: u64) -> Table {
    let mut table = Table::new(&COLUMNS);
    for device in devices {
        let name = if device.name.is_empty() {
            "(no name yet)".into()
        } else {
            display_name(&device.name)
        };
        table.row([
            name,
            display_name(&device.short),
            whose(device).into(),
            state(device, now),
            network(device).into(),
            display_name(&device.groups.join(", ")),
            display_name(&device.relays.join(", ")),
        ]);
    }
    table
}

const fn whose(device: &DeviceInfo) -> &'static str {
    match device.relation {
        DeviceRelation::Own if device.web => "yours, web",
        DeviceRelation::Own => "yours",
        DeviceRelation::Known => "known",
        DeviceRelation::Member => "group",
        DeviceRelation::Nearby => "stranger",
    }
}

fn state(device: &DeviceInfo, now: u64) -> String {
    match device.last_seen {
        _ if device.this => "this device".into(),
        _ if device.online => "online".into(),
        Some(seen) => format!("seen {}", ago(seen, now)),
        None => "never seen".into(),
    }
}

const fn network(device: &DeviceInfo) -> &'static str {
    match (device.this, device.online, device.same_network) {
        (true, ..) | (_, false, _) => "–",
        (.., true) => "same",
        _ => "elsewhere",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_devices_says_who_is_there() {
        let this = DeviceInfo {
            device: "12D3KooWaaaaaaaa".into(),
            short: "aaaaaaaa".into(),
            name: "desk".into(),
            this: true,
            online: true,
            relays: vec!["relay.example:47447".into()],
            ..Default::default()
        };
        let phone = DeviceInfo {
            short: "bbbbbbbb".into(),
            name: "pho\u{1b}ne".into(),
            this: false,
            relation: DeviceRelation::Known,
            same_network: true,
            ..this.clone()
        };
        let away = DeviceInfo {
            name: String::new(),
            online: false,
            same_network: false,
            last_seen: Some(100),
            ..phone.clone()
        };
        let lines = table(&[this, phone, away], 280).lines(80);
        assert_eq!(
            lines[1],
            "desk           aaaaaaaa  yours  this device     –        relay.example:47447"
        );
        assert_eq!(
            lines[2],
            "pho\u{fffd}ne         bbbbbbbb  known  online          same     relay.example:47447"
        );
        assert_eq!(
            lines[3],
            "(no name yet)  bbbbbbbb  known  seen 3 min ago  –        relay.example:47447"
        );
    }

    #[test]
    fn w3_a_page_in_a_browser_is_marked_and_fits() {
        let page = DeviceInfo {
            short: "cccccccc".into(),
            name: "Firefox on the borrowed laptop of the library".into(),
            web: true,
            online: true,
            relays: vec!["relay.example:47447".into()],
            ..Default::default()
        };
        let lines = table(&[page], 280).lines(80);
        assert!(lines[1].contains("  yours, web  online"), "{}", lines[1]);
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
    }
}
