//! `hither nearby`.

use crate::input;
use crate::session::{Outcome, Session};
use crate::show::{bytes, count, device};
use clap::Subcommand;
use hither_api::{
    Client, ClientError, DeviceInfo, DeviceRelation, Event, Exit, IntroductionInfo, NearbyAnswer,
    NearbyInfo, NearbyRequest, NearbyVisibility, OfferedKind,
};
use hither_proto::display_name;
use serde_json::{Value, json};
use std::collections::HashSet;

const EXAMPLES: &str = "\
Examples:
  hither nearby                    be seen here for ten minutes; answer who asks
  hither nearby accept anna        what anna sends is taken from now on
  hither nearby refuse anna
  hither nearby off                not seen by strangers any more

On the other device: hither send NAME …  Compare the three words: a name can be
chosen by anybody, the words are those of the device's key. Who always sees this
device says the setting nearby.visible (everybody, known, nobody).";

/// Be seen by everybody on this network for ten minutes; see who is there
///
/// Somebody else's device can then send to this one after your yes, without any relay. It is
/// remembered until: hither devices forget NAME
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Do not stay to answer who asks
    #[arg(long)]
    pub no_wait: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say yes to a device that asks: what it sends is taken from now on
    Accept {
        /// Its name, short id or id
        device: String,
    },
    /// Say no to a device that asks
    Refuse {
        /// Its name, short id or id
        device: String,
    },
    /// Be seen by strangers no more
    Off,
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let client = session.daemon().await?;
    match args.action {
        Some(Action::Accept { device }) => decide(session, &client, device, true).await,
        Some(Action::Refuse { device }) => decide(session, &client, device, false).await,
        Some(Action::Off) => {
            let info = visible(&client, false).await?;
            session.out.json(&Event::Nearby(info.clone()));
            session.out.say(match info.visible {
                NearbyVisibility::Everybody => {
                    "Everybody here still sees this device: that is its setting (nearby.visible)."
                }
                _ => "Strangers do not see this device any more.",
            });
            Ok(Exit::Done)
        }
        None => show(session, &client, args.no_wait).await,
    }
}

async fn visible(client: &Client, visible: bool) -> Result<NearbyInfo, ClientError> {
    client
        .post::<NearbyInfo>("/v1/nearby", &NearbyRequest { visible })
        .await
}

async fn decide(session: &Session<'_>, client: &Client, device: String, accept: bool) -> Outcome {
    let answered = client
        .post::<Value>("/v1/nearby/answer", &NearbyAnswer { device, accept })
        .await?;
    let name = display_name(answered["name"].as_str().unwrap_or_default());
    session
        .out
        .json(&json!({"event": "done", "name": name, "accepted": accept}));
    session.out.say(&if accept {
        format!("What {name} sends is taken from now on (hither inbox). To end that: hither devices forget {name}")
    } else {
        format!("{name} was refused.")
    });
    Ok(Exit::Done)
}

/// Opens the window, shows who is there and, on a terminal, stays to answer.
async fn show(session: &Session<'_>, client: &Client, no_wait: bool) -> Outcome {
    let info = visible(client, true).await?;
    let devices = client.get::<Vec<DeviceInfo>>("/v1/devices").await?;
    let (this, others): (Vec<_>, Vec<_>) = devices
        .into_iter()
        .filter(|one| one.this || (one.online && one.same_network))
        .partition(|one| one.this);
    session.out.json_lines(&others);
    let own = this.first().map(|one| display_name(&one.name));
    session.out.say(&session.wrapped(&format!(
        "Everybody on this network sees this device for {} minutes as \"{}\" ({}).",
        info.left_seconds.unwrap_or_default().div_ceil(60),
        own.unwrap_or_default(),
        info.words
    )));
    list(session, &others);
    if no_wait || !session.out.can_ask() {
        for one in &info.introductions {
            session.out.say(&asks(one));
        }
        return Ok(Exit::Done);
    }
    session
        .out
        .note("Who wants to send something is asked about here. Ctrl-C leaves.");
    answer_all(session, client).await
}

fn list(session: &Session<'_>, others: &[DeviceInfo]) {
    if others.is_empty() {
        session.out.say("Nobody else is seen here yet.");
    }
    for one in others {
        let whose = match one.relation {
            DeviceRelation::Own => "yours",
            DeviceRelation::Known => "known",
            DeviceRelation::Member => "in a group of yours",
            DeviceRelation::Nearby => "a stranger",
        };
        let name = device(&one.name, &one.device);
        session
            .out
            .say(&format!("  {name}  ({whose}; {})", one.words));
    }
}

/// The wish of a stranger, in a sentence.
fn asks(one: &IntroductionInfo) -> String {
    let what = match one.kind {
        OfferedKind::Text => "a text".to_owned(),
        OfferedKind::Files | OfferedKind::Share => {
            format!("{}, {}", count(one.files, "file"), bytes(one.bytes))
        }
        OfferedKind::Request => "a request".to_owned(),
        OfferedKind::Unknown => "something".to_owned(),
    };
    let which = match (one.kind, one.summary.is_empty()) {
        // The words of a stranger are shown only after a yes.
        (OfferedKind::Text | OfferedKind::Request, _) | (_, true) => String::new(),
        _ => format!(" ({})", display_name(&one.summary)),
    };
    format!(
        "\"{}\" ({}; {}) wants to send {what}{which}.",
        display_name(&one.name),
        one.short,
        one.words
    )
}

/// Asks the user about everybody who comes, until the window ends.
async fn answer_all(session: &Session<'_>, client: &Client) -> Outcome {
    let mut events = client.events("/v1/nearby/events").await?;
    let mut asked: HashSet<String> = HashSet::new();
    while let Some(event) = events.next().await? {
        let Event::Nearby(info) = event else { continue };
        if info.left_seconds.is_none() {
            session.out.say("The ten minutes are over.");
            return Ok(Exit::Done);
        }
        asked.retain(|device| info.introductions.iter().any(|one| one.device == *device));
        for one in info.introductions {
            if !asked.insert(one.device.clone()) {
                continue;
            }
            session.out.say(&session.wrapped(&asks(&one)));
            let question = "Is that the device you mean, and may it send to this one?";
            let Some(accept) = input::agrees(session.out, question).await else {
                return Ok(Exit::Done);
            };
            let device = one.device.clone();
            // It may have gone meanwhile: that is said, and the next one is waited for.
            if let Err(error) = decide(session, client, device, accept).await {
                session.out.error(&error);
            }
        }
    }
    Err(ClientError::Broken("it stopped telling who asks".into()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(kind: OfferedKind, summary: &str) -> IntroductionInfo {
        IntroductionInfo {
            device: "12D3KooWaaaaaaaa".into(),
            short: "aaaaaaaa".into(),
            name: "Anna\u{1b}[2J".into(),
            words: "apple river stone".into(),
            kind,
            summary: summary.into(),
            files: 2,
            bytes: 1000,
            waiting_seconds: 1,
        }
    }

    #[test]
    fn the_question_says_who_and_what_and_no_words_of_a_stranger() {
        assert_eq!(
            asks(&stranger(OfferedKind::Files, "a.jpg, b.jpg")),
            "\"Anna\u{fffd}[2J\" (aaaaaaaa; apple river stone) wants to send 2 files, 1 kB (a.jpg, b.jpg)."
        );
        assert_eq!(
            asks(&stranger(OfferedKind::Text, "Your bank: call 555")),
            "\"Anna\u{fffd}[2J\" (aaaaaaaa; apple river stone) wants to send a text."
        );
    }
}
