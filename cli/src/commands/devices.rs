//! `hither devices`.

use crate::session::{Outcome, Session};
use crate::show::{Align, Column, Table, ago, now};
use hither_api::{DeviceInfo, Exit};
use hither_proto::display_name;

const EXAMPLES: &str = "\
Examples:
  hither devices
  hither devices --json | jq -r 'select(.online) | .name'

Commands that take a device take its name, the short id shown here, or its whole
id (with --json).";

/// List your devices and those of your groups: online or not, last seen, on this network or not
///
/// Devices that joined the same relay by the same invitation are yours (hither relay add). Others
/// are members of groups that this device is in (hither group).
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {}

const COLUMNS: [Column; 6] = [
    Column::new("DEVICE", Align::Left).flexible(),
    Column::new("ID", Align::Left),
    Column::new("STATE", Align::Left),
    Column::new("NETWORK", Align::Left),
    Column::new("GROUPS", Align::Left).flexible().sparse(),
    Column::new("RELAY", Align::Left).flexible().optional(),
];

/// Runs the command.
pub async fn run(session: &Session<'_>, _: Args) -> Outcome {
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
        session
            .out
            .say("No other device is known. Join the same relay on both: hither relay add URL");
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
            state(device, now),
            network(device).into(),
            display_name(&device.groups.join(", ")),
            display_name(&device.relays.join(", ")),
        ]);
    }
    table
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
            "desk           aaaaaaaa  this device     –        relay.example:47447"
        );
        assert_eq!(
            lines[2],
            "pho\u{fffd}ne         bbbbbbbb  online          same     relay.example:47447"
        );
        assert_eq!(
            lines[3],
            "(no name yet)  bbbbbbbb  seen 3 min ago  –        relay.example:47447"
        );
    }
}
