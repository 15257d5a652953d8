//! `hither receive`.

use crate::complete;
use crate::session::{Outcome, Session};
use crate::show::{Align, Column, Table, bytes};
use clap_complete::engine::ArgValueCandidates;
use hither_api::{Exit, ReceiveInfo, ReceivePolicy, ReceiveRequest, ReceiveRule};
use hither_proto::display_name;

const EXAMPLES: &str = "\
Examples:
  hither receive                        the folder, and what holds for whom
  hither receive --from anna --always   what anna sends arrives by itself
  hither receive --from team --ask      the members of a group are asked about
  hither receive --from anna --never    nothing is taken, and anna is told so
  hither receive --remove anna          as for all devices again
  hither receive --from 'link wedding' --always    what comes by an inbox link
  hither config set receive.folder ~/in

Texts always go to the inbox, except with --never. What your own devices send
arrives by itself, for devices of others you are asked: on the desktop, or with
hither inbox. A rule about a device goes before one about a group; of several
groups the most careful rule counts.";

/// See and set what becomes of files and shares that other devices send
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("policy").args(["always", "ask", "never"]))]
pub struct Args {
    /// A device (see hither devices), a group, whose members are meant, or 'link NAME'
    #[arg(long, value_name = "WHO", requires = "policy", add = ArgValueCandidates::new(complete::devices))]
    pub from: Option<String>,
    /// They arrive by themselves in the receive folder
    #[arg(long, requires = "from")]
    pub always: bool,
    /// The user is asked
    #[arg(long, requires = "from")]
    pub ask: bool,
    /// Nothing is taken: the sender is told that it was declined
    #[arg(long, requires = "from")]
    pub never: bool,
    /// Remove the rule about a device, group or link
    #[arg(long, value_name = "WHO", conflicts_with = "from", add = ArgValueCandidates::new(complete::devices))]
    pub remove: Option<String>,
}

const COLUMNS: [Column; 3] = [
    Column::new("FROM", Align::Left).flexible(),
    Column::new("ID", Align::Left),
    Column::new("RULE", Align::Left),
];

impl Args {
    const fn policy(&self) -> Option<ReceivePolicy> {
        match (self.always, self.ask, self.never) {
            (true, ..) => Some(ReceivePolicy::Always),
            (_, true, _) => Some(ReceivePolicy::Ask),
            (.., true) => Some(ReceivePolicy::Never),
            _ => None,
        }
    }
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let client = session.daemon().await?;
    let policy = args.policy();
    if let Some(from) = args.from.or(args.remove) {
        let request = ReceiveRequest { from, policy };
        let rule = client.post::<ReceiveRule>("/v1/receive", &request).await?;
        session.out.json(&rule);
        let name = named(&rule);
        let words = match policy {
            Some(policy) => format!("{name}: {}.", what(policy)),
            None => format!("There is no rule about {name} any more."),
        };
        session.out.say(&session.wrapped(&words));
        return Ok(Exit::Done);
    }
    let info = client.get::<ReceiveInfo>("/v1/receive").await?;
    session.out.json(&info);
    for line in lines(&info) {
        session.out.say(&session.wrapped(&line));
    }
    if !info.rules.is_empty() {
        let mut table = Table::new(&COLUMNS);
        for rule in &info.rules {
            table.row([named(rule), short(rule), rule.policy.name().into()]);
        }
        session.table(table);
    }
    Ok(Exit::Done)
}

/// The meaning of a policy.
const fn what(policy: ReceivePolicy) -> &'static str {
    match policy {
        ReceivePolicy::Always => "what it sends arrives by itself",
        ReceivePolicy::Ask => "you are asked before files or a share of it arrive",
        ReceivePolicy::Never => "nothing of it is taken, and it is told so",
    }
}

/// The rules for everybody.
fn lines(info: &ReceiveInfo) -> Vec<String> {
    let size = match info.max {
        Some(max) => format!(", up to {} each without a question", bytes(max)),
        None => String::new(),
    };
    let mut lines = vec![
        format!("Things arrive in {}{size}.", display_name(&info.folder)),
        format!(
            "Your own devices: {}. Devices of others: {}.",
            info.own.name(),
            info.known.name()
        ),
    ];
    if info.hook {
        lines.push("Then your program is run (receive.hook).".into());
    }
    lines
}

fn named(rule: &ReceiveRule) -> String {
    match rule.name.as_str() {
        "" => short(rule),
        name if rule.link.is_some() => format!("link {}", display_name(name)),
        name => display_name(name),
    }
}

/// The end of a device's id, the beginning of a group's, or a link's number.
fn short(rule: &ReceiveRule) -> String {
    if let Some(link) = rule.link {
        return format!("link {link}");
    }
    match (&rule.device, &rule.group) {
        (Some(device), _) => device
            .get(device.len().saturating_sub(8)..)
            .unwrap_or_default()
            .to_owned(),
        (None, group) => {
            let group = group.as_deref().unwrap_or_default();
            group.get(..8).unwrap_or(group).to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_is_said_in_words() {
        let rule = ReceiveRule {
            device: Some("12D3KooWaaaaaaaabbbbbbbb".into()),
            group: None,
            link: None,
            name: "an\u{1b}na".into(),
            policy: ReceivePolicy::Never,
        };
        assert_eq!(named(&rule), "an\u{fffd}na");
        assert_eq!(short(&rule), "bbbbbbbb");
        let info = ReceiveInfo {
            folder: "/home/me/Downloads".into(),
            own: ReceivePolicy::Always,
            known: ReceivePolicy::Ask,
            max: Some(10_000_000),
            hook: true,
            rules: vec![rule],
        };
        assert_eq!(
            lines(&info).join("\n"),
            "Things arrive in /home/me/Downloads, up to 10 MB each without a question.\n\
             Your own devices: always. Devices of others: ask.\n\
             Then your program is run (receive.hook)."
        );
    }
}
