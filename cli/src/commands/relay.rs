//! `hither relay`.

use crate::input;
use crate::pick::{Named, pick};
use crate::session::{Outcome, Session};
use crate::show::{Align, Column, Drawing, Table, ago, count, duration, now, qr};
use clap::Subcommand;
use hither_api::{
    ApiError, ErrorCode, Exit, GroupInfo, InviteInfo, InviteRequest, RelayInfo, RelayRequest,
    RelayState, WakeInfo, WakeRequest, WakeWay,
};
use hither_proto::display_name;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  hither relay add 'hither://relay.example:4817/#12D3KooW…'
  hither relay add              asks for the URL, which other users of this
                                machine cannot see then
  hither relay list
  hither relay remove relay.example
  hither relay invite --uses 2  a URL for two more devices of yours, for a day
  hither relay wake --mail me@example.org

A relay prints the URL when it starts. With an invitation in it the URL is a
secret: whoever has it can add a device of theirs to yours. Quote it: a shell
takes what follows # for a comment.";

/// Join a relay, see how it is, or leave it
///
/// The devices that join a relay by one invitation are one user's: they see each other (hither
/// devices) and can send each other messages (hither send), also when they are not on the same
/// network or not on at the same time.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Join a relay
    Add {
        /// Its URL: hither://HOST:PORT/#…; read from standard input when absent or "-"
        #[arg(env = input::RELAY_VARIABLE, hide_env_values = true)]
        url: Option<String>,
    },
    /// List the relays and how they stand
    List,
    /// Print a URL with which more devices of yours join
    Invite {
        /// Its host, with or without port, or the beginning of its key; the only one when absent
        relay: Option<String>,
        /// How many devices may use it, at most 16
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
        uses: u32,
        /// How long it is good, at most 7d
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
        valid: Duration,
    },
    /// Show or set how the relay tells you that something waits there for this device
    #[command(group = clap::ArgGroup::new("way").args(["mail", "webhook", "off"]))]
    Wake {
        /// Its host, with or without port, or the beginning of its key; the only one when absent
        relay: Option<String>,
        /// By mail to this address, which says no more than that
        #[arg(long, value_name = "ADDRESS")]
        mail: Option<String>,
        /// By a request to this https address
        #[arg(long, value_name = "URL")]
        webhook: Option<String>,
        /// Not at all
        #[arg(long)]
        off: bool,
    },
    /// Leave a relay: it is forgotten on this device
    Remove {
        /// Its host, with or without port, or the beginning of its key
        relay: String,
    },
}

const COLUMNS: [Column; 7] = [
    Column::new("RELAY", Align::Left).flexible(),
    Column::new("KEY", Align::Left),
    Column::new("STATE", Align::Left),
    Column::new("BY", Align::Left),
    Column::new("PING", Align::Right),
    Column::new("DEVICES", Align::Right).optional(),
    Column::new("JOINED", Align::Left).optional(),
];

impl Named for RelayInfo {
    const WHAT: &'static str = "relay";
    const LIST: &'static str = "hither relay list";
    fn id(&self) -> &str {
        &self.relay
    }
    fn name(&self) -> &str {
        &self.host
    }
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    match args.action {
        Action::Add { url } => add(session, url).await,
        Action::List => list(session).await,
        Action::Remove { relay } => remove(session, &relay).await,
        Action::Wake {
            relay,
            mail,
            webhook,
            off,
        } => {
            let sets = off || mail.is_some() || webhook.is_some();
            let request = WakeRequest {
                relay,
                mail,
                webhook,
            };
            wake(session, request, sets).await
        }
        Action::Invite { relay, uses, valid } => invite(session, relay, uses, valid).await,
    }
}

async fn add(session: &Session<'_>, url: Option<String>) -> Outcome {
    let url = input::relay_url(session.out, url).await?;
    let client = session.daemon().await?;
    let joined = client
        .post::<RelayInfo>("/v1/relays", &RelayRequest { url })
        .await?;
    session.out.json(&joined);
    let host = display_name(&joined.host);
    session.out.say(&match joined.state {
        RelayState::Connected => {
            let (carrier, rtt) = (
                joined.carrier.unwrap_or_default(),
                joined.rtt_ms.unwrap_or_default(),
            );
            format!(
                "Connected to {host} over {}, {rtt:.1} ms away.",
                display_name(&carrier).to_uppercase()
            )
        }
        RelayState::Connecting | RelayState::Waiting => {
            format!("Joined {host}; it is being connected.")
        }
    });
    session.out.say(&match joined.devices {
        0 | 1 => "This is your first device there. On the next one run the same command.".into(),
        number => format!("You have {} there: hither devices", count(number, "device")),
    });
    // Only a word more: whatever it says, the relay was joined.
    if client
        .get::<Vec<GroupInfo>>("/v1/groups")
        .await
        .is_ok_and(|groups| groups.is_empty())
    {
        session
            .out
            .say("This device is in no group yet. Find one with: hither group search NAME");
    }
    Ok(Exit::Done)
}

async fn list(session: &Session<'_>) -> Outcome {
    let relays = session
        .daemon()
        .await?
        .get::<Vec<RelayInfo>>("/v1/relays")
        .await?;
    session.out.json_lines(&relays);
    if relays.is_empty() {
        session
            .out
            .say("No relay was joined. Join one with: hither relay add URL");
        return Ok(Exit::Done);
    }
    session.table(table(&relays, now()));
    for relay in &relays {
        if let Some(web) = &relay.web {
            let (host, web) = (display_name(&relay.host), display_name(web));
            session.out.say(&format!("{host}: links open at {web}"));
        }
    }
    for line in relays.iter().filter_map(trouble) {
        session.out.say(&session.wrapped(&line));
    }
    Ok(Exit::Done)
}

fn table(relays: &[RelayInfo], now: u64) -> Table {
    let mut table = Table::new(&COLUMNS);
    for relay in relays {
        table.row([
            display_name(&relay.host),
            short(
                &relays
                    .iter()
                    .map(|relay| relay.relay.as_str())
                    .collect::<Vec<_>>(),
                &relay.relay,
            ),
            state(relay.state).into(),
            relay
                .carrier
                .as_deref()
                .map_or("–".into(), |carrier| display_name(carrier).to_uppercase()),
            relay
                .rtt_ms
                .map_or("–".into(), |rtt| format!("{rtt:.1} ms")),
            relay.devices.to_string(),
            ago(relay.joined, now),
        ]);
    }
    table
}

/// The beginning of a key, as long as it takes to tell it from the others: what the other commands
/// take.
fn short(all: &[&str], key: &str) -> String {
    const SHORTEST: usize = 14;
    let alone = |length: &usize| {
        let start = key.get(..*length).unwrap_or(key);
        all.iter().filter(|other| other.starts_with(start)).count() < 2
    };
    let length = (SHORTEST..key.len()).find(alone).unwrap_or(key.len());
    display_name(key.get(..length).unwrap_or(key))
}

/// How a relay stands, in a word.
pub const fn state(state: RelayState) -> &'static str {
    match state {
        RelayState::Connected => "connected",
        RelayState::Connecting => "connecting",
        RelayState::Waiting => "waiting",
    }
}

/// Why a relay is not connected, and on a line of its own what could be done.
pub fn trouble(relay: &RelayInfo) -> Option<String> {
    let why = relay.reason.as_ref().filter(|why| !why.is_empty())?;
    let again = relay
        .retry_seconds
        .map(|s| format!(" Next attempt in {}.", duration(s.max(1))))
        .unwrap_or_default();
    let hint = relay
        .hint
        .as_ref()
        .map(|hint| format!("\n{}", display_name(hint)))
        .unwrap_or_default();
    Some(format!(
        "{}: {}.{again}{hint}",
        display_name(&relay.host),
        display_name(why)
    ))
}

async fn wake(session: &Session<'_>, request: WakeRequest, sets: bool) -> Outcome {
    let client = session.daemon().await?;
    let info = match (sets, &request.relay) {
        (true, _) => client.post::<WakeInfo>("/v1/relays/wake", &request).await?,
        (false, None) => client.get::<WakeInfo>("/v1/relays/wake").await?,
        (false, Some(relay)) => {
            let path = format!("/v1/relays/wake?relay={}", encoded(relay));
            client.get::<WakeInfo>(&path).await?
        }
    };
    session.out.json(&info);
    session.out.say(&session.wrapped(&wakes(&info)));
    Ok(Exit::Done)
}

/// A word as it stands in a query.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// How a relay wakes this device, in words.
fn wakes(info: &WakeInfo) -> String {
    let host = display_name(&info.host);
    let now = match info.set {
        None => format!("{host} does not tell you when something waits there for this device."),
        Some(way) => format!(
            "{host} tells you by {} when something waits there for this device and it is off; never what, or of whom.",
            way_name(way)
        ),
    };
    // A push service is for a page, which sets it by itself.
    let can = info.ways.iter().filter(|way| **way != WakeWay::Push);
    let ways: Vec<&str> = can
        .map(|way| match way {
            WakeWay::Mail => "--mail ADDRESS",
            WakeWay::Webhook | WakeWay::Push => "--webhook URL",
        })
        .collect();
    match (ways.as_slice(), info.set) {
        ([], _) => format!("{now}\nIts operator has it send neither mail nor requests."),
        (ways, None) => format!(
            "{now}\nTo have it do so: hither relay wake {}",
            ways.join(" or ")
        ),
        (_, Some(_)) => format!("{now}\nTo end that: hither relay wake --off"),
    }
}

const fn way_name(way: WakeWay) -> &'static str {
    match way {
        WakeWay::Push => "a browser's push service",
        WakeWay::Mail => "mail",
        WakeWay::Webhook => "a request to your address",
    }
}

async fn invite(
    session: &Session<'_>,
    relay: Option<String>,
    uses: u32,
    valid: Duration,
) -> Outcome {
    let week = hither_proto::limits::MAX_INVITED_SECONDS;
    let valid_seconds = u32::try_from(valid.as_secs()).unwrap_or(u32::MAX);
    if !(1..=week).contains(&valid_seconds) {
        let message = "An invitation is good for a second to seven days.";
        return Err(ApiError::new(ErrorCode::BadRequest, message).with_hint("See --valid."));
    }
    let request = InviteRequest {
        relay,
        uses,
        valid_seconds,
    };
    let client = session.daemon().await?;
    let invited = client
        .post::<InviteInfo>("/v1/relays/invite", &request)
        .await?;
    session.out.json(&invited);
    session.out.result(&invited.url);
    if session.out.is_read_by_person() && !session.out.is_quiet() {
        let (columns, rows) = session.out.size();
        let drawing = Drawing {
            columns,
            rows,
            colours: session.out.has_colours(),
        };
        if let Some(code) = qr(&invited.url, drawing) {
            session.out.say(&format!("\n{code}"));
        }
        session.out.say(&session.wrapped(&format!(
            "\nFor {}, for {}. On each: hither relay add 'URL'. Whoever has the URL can use it: treat it as a password.",
            count(u64::from(uses), "device"),
            duration(u64::from(valid_seconds))
        )));
    }
    Ok(Exit::Done)
}

async fn remove(session: &Session<'_>, wanted: &str) -> Outcome {
    let client = session.daemon().await?;
    let relays = client.get::<Vec<RelayInfo>>("/v1/relays").await?;
    let found = find(&relays, wanted)?;
    let left = client
        .delete::<RelayInfo>(&format!("/v1/relays/{}", found.relay))
        .await?;
    session.out.json(&left);
    session.out.say(&format!(
        "{} is forgotten on this device.",
        display_name(&left.host)
    ));
    Ok(Exit::Done)
}

/// By host alone when that is clear; hosts are written in lower case.
fn find<'a>(relays: &'a [RelayInfo], wanted: &str) -> Result<&'a RelayInfo, ApiError> {
    let wanted = wanted
        .trim_start_matches("hither://")
        .split(['/', '#'])
        .next()
        .unwrap_or(wanted);
    let host = |relay: &RelayInfo| relay.host.rsplit_once(':').map(|(host, _)| host.to_owned());
    let lower = wanted.to_lowercase();
    let named: Vec<&RelayInfo> = relays
        .iter()
        .filter(|relay| host(relay).as_ref() == Some(&lower))
        .collect();
    match named.as_slice() {
        [one] => Ok(one),
        _ => pick(
            relays,
            if relays.iter().any(|relay| relay.host == lower) {
                &lower
            } else {
                wanted
            },
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(key: &str, host: &str) -> RelayInfo {
        RelayInfo {
            relay: key.into(),
            url: String::new(),
            host: host.into(),
            state: RelayState::Waiting,
            joined: 100,
            devices: 2,
            front: None,
            address: None,
            carrier: None,
            rtt_ms: None,
            reason: Some("the relay did not answer in time".into()),
            hint: None,
            lasting: false,
            retry_seconds: Some(0),
            web: None,
        }
    }

    #[test]
    fn relays_are_meant_by_host_url_or_key() {
        let all = [
            relay("12D3A", "relay.example:47447"),
            relay("12D3B", "10.0.0.1:1"),
            relay("12D3C", "10.0.0.1:2"),
        ];
        let meant = |wanted| find(&all, wanted).map(|relay| relay.relay.as_str());
        assert_eq!(meant("relay.example"), Ok("12D3A"));
        assert_eq!(meant("hither://Relay.example:47447/#12D3A"), Ok("12D3A"));
        assert_eq!(meant("10.0.0.1:2"), Ok("12D3C"));
        assert_eq!(meant("12D3B"), Ok("12D3B"));
        assert!(meant("10.0.0.1").is_err() && meant("12D3").is_err());
    }

    #[test]
    fn w7_how_a_relay_wakes_is_said_and_what_it_can() {
        let info = |ways: &[WakeWay], set| WakeInfo {
            host: "relay.example:1".into(),
            ways: ways.to_vec(),
            set,
        };
        let none = wakes(&info(&[WakeWay::Push], None));
        assert!(none.contains("does not tell you") && none.contains("neither mail"));
        let can = wakes(&info(&[WakeWay::Mail, WakeWay::Webhook], None));
        assert!(can.ends_with("hither relay wake --mail ADDRESS or --webhook URL"));
        let set = wakes(&info(&[WakeWay::Mail], Some(WakeWay::Mail)));
        assert!(set.contains("tells you by mail") && set.ends_with("hither relay wake --off"));
        assert_eq!(encoded("a:1&b=c"), "a%3A1%26b%3Dc");
    }

    #[test]
    fn what_is_wrong_fits_a_line() {
        assert_eq!(
            trouble(&relay("k", "h\n:1")).unwrap(),
            "h\u{fffd}:1: the relay did not answer in time. Next attempt in 1 s."
        );
        let lines = table(&[relay("k", "relay.example:47447")], 400).lines(66);
        assert_eq!(
            lines[1],
            "relay.example:47447  k    waiting  –      –        2  5 min ago"
        );
    }
}
