//! `hither ask`.

use crate::commands::{fetch, inbox};
use crate::complete;
use crate::session::{Outcome, Session};
use crate::show::{ago, bytes, device, now};
use clap_complete::engine::ArgValueCandidates;
use hither_api::{
    ApiError, AskInfo, AskRequest, Client, ClientError, ErrorCode, Event, Exit, MessageInfo,
};
use hither_proto::display_name;
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  hither ask phone photo --latest            the latest photo, into this folder
  hither ask phone photo                     one that the other user picks
  hither ask phone file --name 'tickets*'    by name
  hither ask phone photo --latest --digest   only what it is
  hither ask phone photo --snap              taken now
  hither ask phone audio --record 10s        recorded now
  hither ask tablet playing                  what is playing, and where
  hither ask tablet place                    a link that goes on where you were
  hither ask laptop clipboard

The other user is asked before anything is answered, unless that was allowed
before (there: hither asks allow). Ctrl-C leaves; the answer is then found with:
hither inbox. To take a request back: hither asks cancel ID";

/// Ask another device for something: its latest photo, its clipboard, a recording …
///
/// WHAT is photo, video, audio, file, qr, location, playing, clipboard or place.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The device: its name, short id or id (see hither devices)
    #[arg(add = ArgValueCandidates::new(complete::devices))]
    pub device: String,
    /// The thing that is asked for
    pub what: String,
    /// The latest one, instead of one that the other user picks
    #[arg(long, conflicts_with_all = ["name", "record", "snap", "film"])]
    pub latest: bool,
    /// The latest one whose name fits, with * and ?
    #[arg(long, value_name = "PATTERN", conflicts_with_all = ["record", "snap", "film"])]
    pub name: Option<String>,
    /// Sound that is recorded now
    #[arg(long, value_name = "TIME", value_parser = super::share::span, conflicts_with_all = ["snap", "film"])]
    pub record: Option<Duration>,
    /// A picture that is taken now
    #[arg(long, conflicts_with = "film")]
    pub snap: bool,
    /// A film that is recorded now
    #[arg(long, value_name = "TIME", value_parser = super::share::span)]
    pub film: Option<Duration>,
    /// Only what it is: name, size, type, a small picture
    #[arg(long)]
    pub digest: bool,
    /// Why, for the other user to read
    #[arg(
        long,
        value_name = "WORDS",
        default_value = "",
        hide_default_value = true
    )]
    pub reason: String,
    /// For how long it may be answered
    #[arg(long, value_name = "TIME", value_parser = super::share::span, default_value = "1h")]
    pub expires: Duration,
    /// Folder to write into, made when missing
    #[arg(long, short, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Do not wait for the answer
    #[arg(long)]
    pub no_wait: bool,
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

impl Args {
    fn request(&self) -> AskRequest {
        let live = self.record.or(self.film).map(seconds);
        AskRequest {
            to: self.device.clone(),
            kind: self.what.clone(),
            latest: self.latest,
            name: self.name.clone(),
            live_seconds: live.or(self.snap.then_some(0)),
            digest: self.digest,
            reason: self.reason.clone(),
            valid_seconds: Some(seconds(self.expires)),
        }
    }
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let client = session.daemon().await?;
    let asked = client.post::<AskInfo>("/v1/asks", &args.request()).await?;
    let name = device(&asked.name, &asked.device);
    if args.no_wait {
        session.out.json(&Event::Ask(Box::new(asked.clone())));
        session.out.say(&session.wrapped(&format!(
            "{name} is asked for {}. The answer comes to: hither inbox",
            display_name(&asked.what)
        )));
        return Ok(Exit::Done);
    }
    let ended = follow(session, &client, &asked).await?;
    match ended.state.as_str() {
        "answered" => take(session, &client, ended, args.output).await,
        "expired" => Err(ApiError::new(
            ErrorCode::Refused,
            format!("{name} did not answer in time."),
        )),
        "cancelled" => Err(ApiError::new(ErrorCode::Refused, "It was taken back.")),
        _ => Err(refused(&name, &ended)),
    }
}

/// Shows how it goes on until it ends.
async fn follow(
    session: &Session<'_>,
    client: &Client,
    asked: &AskInfo,
) -> Result<AskInfo, ApiError> {
    let name = device(&asked.name, &asked.device);
    let mut events = client
        .events(&format!("/v1/asks/{}/events", asked.ask))
        .await?;
    while let Some(event) = events.next().await? {
        let info = match event {
            Event::Ask(info) => *info,
            Event::Error(error) => return Err(error),
            _ => continue,
        };
        let note = match info.state.as_str() {
            "sent" => format!("Asking {name} for {} …", display_name(&info.what)),
            "delivered" => format!("{name} has the request. Ctrl-C leaves it there."),
            "seen" => format!("{name} shows it to its user."),
            _ => return Ok(info),
        };
        session.out.json(&Event::Ask(Box::new(info)));
        session.out.note(&session.wrapped(&note));
    }
    Err(ClientError::Broken("it stopped telling of the request".into()).into())
}

fn refused(name: &str, info: &AskInfo) -> ApiError {
    let why = match info.refusal.as_deref() {
        Some("declined") => format!("{name} said no."),
        Some("nothing") => format!("{name} has nothing of that kind or name."),
        Some("unsupported") => format!("{name} cannot do that."),
        Some("busy") => format!("{name} is asked for too much at the moment."),
        Some("expired") => format!("{name} did not answer in time."),
        Some(_) => format!("{name} tried, and failed."),
        None => format!("It cannot be sent to {name}."),
    };
    let error = ApiError::new(ErrorCode::Refused, why);
    match display_name(&info.words) {
        words if words.is_empty() => error,
        words => error.with_hint(words),
    }
}

/// Shows a text, and writes files where they are wanted.
async fn take(
    session: &Session<'_>,
    client: &Client,
    info: AskInfo,
    output: Option<PathBuf>,
) -> Outcome {
    session.out.json(&Event::Ask(Box::new(info.clone())));
    if let Some(text) = &info.text {
        session.out.text(text);
    }
    for thing in info.things.iter().filter(|_| info.digest) {
        session.out.result(&format!(
            "{} ({}, {}, {})",
            display_name(&thing.name),
            bytes(thing.bytes),
            display_name(&thing.media_type),
            ago(thing.made, now())
        ));
    }
    let Some(message) = message(client, &info).await? else {
        return Ok(Exit::Done);
    };
    let outcome = match (message.share.is_some(), message.files.is_empty()) {
        (true, _) => {
            let args = fetch::Args {
                ticket: Some(inbox::ticket(session, message.id).await?),
                output,
                yes: true,
                rename: true,
                ..fetch::Args::default()
            };
            fetch::run(session, args).await
        }
        (false, false) => inbox::save(session, message.id, output).await,
        (false, true) => Ok(Exit::Done),
    };
    // It was shown or written: the inbox need not keep it. What failed stays there.
    if matches!(outcome, Ok(Exit::Done)) {
        client
            .delete::<MessageInfo>(&format!("/v1/inbox/{}", message.id))
            .await?;
    }
    outcome
}

/// The message that brought the answer. It is durable with the answer, and in the inbox a moment
/// later.
async fn message(client: &Client, info: &AskInfo) -> Result<Option<MessageInfo>, ApiError> {
    let Some(wanted) = info.message.as_deref() else {
        return Ok(None);
    };
    let mut events = client.events("/v1/inbox/events?after=0").await?;
    while let Some(event) = events.next().await? {
        if let Event::Message(message) = event
            && message.message == wanted
        {
            return Ok(Some(message));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_there_is_no_answer_is_a_sentence() {
        let mut info = AskInfo {
            refusal: Some("unsupported".into()),
            words: "This device has no camera\u{1b}.".into(),
            ..AskInfo::default()
        };
        let error = refused("phone", &info);
        assert_eq!(error.message, "phone cannot do that.");
        assert_eq!(
            Some(error.hint.as_str()),
            Some("This device has no camera\u{fffd}.")
        );
        info.refusal = None;
        assert_eq!(
            refused("phone", &info).message,
            "It cannot be sent to phone."
        );
    }
}
