//! `hither send`.

use crate::commands::share;
use crate::complete;
use crate::giving::{Before, Waiting};
use crate::session::{Outcome, Session};
use crate::{input, pipe};
use clap_complete::engine::ArgValueCandidates;
use hither_api::{
    ApiError, Client, ClientError, Done, ErrorCode, Exit, SendRequest, SentInfo, SentState,
    ShareRequest, Status,
};
use hither_proto::{EntryName, display_name};
use serde_json::json;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  hither send phone 'https://example.org/a?b'     a text
  hither send phone notes.txt key.pub             files
  hither send phone film.mkv                      large: it travels as a share
  hither send phone --to laptop --to nas film.mkv to several, shared once
  git diff | hither send laptop -                 standard input, as a text
  git diff | hither send laptop - --file my.diff  standard input, as a file
  hither send phone --text notes.txt              the words, not the file
  hither send phone film.mkv --wait               stay until the phone has it

What exists as a file is sent as a file, everything else as a text, unless it
looks like a path. It is delivered now, or when the device comes online, and
kept on this device until a relay has it (see hither outbox). Only the other
device can read it.

A large file is offered: it arrives when the other device fetches it, which
it does by itself where its user wants that (hither receive). It is shared until
then, for 30 days at most; what you share already stays shared as it is.";

/// Send a text or files to another device
///
/// Small files travel in the message. Large ones and folders are shared, together, and the ticket
/// is sent.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The device: its name, short id or id (see hither devices)
    #[arg(add = ArgValueCandidates::new(complete::devices))]
    pub device: String,
    /// A text, or files and folders; "-" reads a text from standard input
    #[arg(required = true, value_name = "TEXT|PATH", allow_hyphen_values = false)]
    pub items: Vec<PathBuf>,
    /// One more device; may be given several times
    #[arg(long, value_name = "DEVICE", add = ArgValueCandidates::new(complete::devices))]
    pub to: Vec<String>,
    /// It is a text, whatever files there are
    #[arg(long, conflicts_with = "file")]
    pub text: bool,
    /// These are files and folders; with "-", what the file is called that is read
    #[arg(long)]
    pub file: bool,
    /// Stay until the other device has taken it, or declines it (exit status 4): a text or small files
    /// when they are there, a large file when all of it is fetched. Of several devices: until all have, or one
    /// declines. Ctrl-C leaves it on its way
    #[arg(long)]
    pub wait: bool,
}

/// Largest files that travel inside a message, bytes in all; somewhat below what the seal takes.
const MAX_INSIDE: u64 = 192 * 1024;

/// What is to be sent.
#[derive(Debug, PartialEq, Eq)]
enum Goods {
    Text(String),
    Input,
    /// Standard input, as a file of this name.
    InputFile(EntryName),
    Paths(Vec<PathBuf>),
}

/// The thing that travels: it decides about the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text or small files, which arrive with the message.
    Whole,
    /// A ticket: what it opens is still to be fetched.
    Offer,
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let goods = goods(&args)?;
    let client = session.daemon().await?;
    let request = SendRequest {
        to: args.device.clone(),
        also: args.to.clone(),
        receipt: args.wait,
        ..SendRequest::default()
    };
    let text = match goods {
        Goods::Text(text) => text,
        Goods::Input => input::all_text().await?,
        Goods::InputFile(name) => return send_input(session, &client, request, &name).await,
        Goods::Paths(paths) => return send_paths(session, &client, request, paths).await,
    };
    let text = Some(text);
    send(session, &client, SendRequest { text, ..request }).await
}

/// Decides whether words or files are meant.
fn goods(args: &Args) -> Result<Goods, ApiError> {
    let bad = |message: String, hint: &str| {
        Err(ApiError::new(ErrorCode::BadRequest, message).with_hint(hint))
    };
    if !args.file && args.items == [Path::new("-")] {
        return Ok(Goods::Input);
    }
    if let Some(name) = name_of_input(args) {
        let name = name.to_str().unwrap_or_default();
        return match EntryName::parse(name) {
            Ok(name) => Ok(Goods::InputFile(name)),
            Err(error) => bad(
                format!("A file cannot be called {:?}: {error}.", display_name(name)),
                "Give another name: hither send DEVICE - --file NAME",
            ),
        };
    }
    let exist = args
        .items
        .iter()
        .filter(|path| path.symlink_metadata().is_ok())
        .count();
    if args.file || (!args.text && exist == args.items.len()) {
        return args
            .items
            .iter()
            .map(|path| share::named(path))
            .collect::<Result<_, _>>()
            .map(Goods::Paths);
    }
    if !args.text && exist > 0 {
        return bad(
            "Some of these are files, others are not.".into(),
            "Say what is meant: --file for files, --text for a text.",
        );
    }
    let words: Option<Vec<&str>> = args.items.iter().map(|item| item.to_str()).collect();
    let Some(words) = words else {
        return bad("The text is not UTF-8.".into(), "Send it as a file.");
    };
    if !args.text && crate::likeness::like_paths(&words) {
        return bad(
            format!("There is no file {}.", display_name(&words.join(" "))),
            "If it is a text, say so with --text.",
        );
    }
    Ok(Goods::Text(words.join(" ")))
}

/// `- --file NAME` and `--file NAME -`: what standard input is called.
fn name_of_input(args: &Args) -> Option<&Path> {
    let input = Path::new("-");
    match args.items.as_slice() {
        [one, name] if args.file && one == input && name != input => Some(name),
        [name, one] if args.file && one == input && name != input => Some(name),
        _ => None,
    }
}

/// Standard input as a file: in the message when it is small, else as a share that ends with it.
async fn send_input(
    session: &Session<'_>,
    client: &Client,
    request: SendRequest,
    name: &EntryName,
) -> Outcome {
    let status = client.get::<Status>("/v1/status").await?;
    let piped = Path::new(&status.home).join("piped");
    let spooled = pipe::spool(session.out, &piped, name.as_str()).await?;
    let paths = vec![spooled.path().to_owned()];
    if fits_inside(&paths) {
        let unwritable = |error: std::io::Error| {
            crate::failure::io(ErrorCode::NotWritable, "A temporary file", &error)
        };
        // A file among Hither's own data is never sent in a message: it goes from elsewhere, for
        // this user alone, and is gone when the daemon has read it.
        let folder = tempfile::tempdir().map_err(unwritable)?;
        let path = folder.path().join(name.as_str());
        std::fs::copy(spooled.path(), &path).map_err(unwritable)?;
        let inside = SendRequest {
            files: vec![path],
            ..request.clone()
        };
        match send(session, client, inside).await {
            // The relay takes less than usual.
            Err(error) if error.code == ErrorCode::TooLong => {}
            outcome => return outcome,
        }
    }
    let wait = request.receipt;
    let request = ShareRequest {
        paths,
        to: std::iter::once(request.to).chain(request.also).collect(),
        piped: true,
        offer: true,
        ..ShareRequest::default()
    };
    let offered = offer(session, client, &request, wait).await?;
    // It is shared now, and goes with its share.
    spooled.keep();
    offered.end(session, client).await
}

/// Small files together in one message, everything else as a share.
async fn send_paths(
    session: &Session<'_>,
    client: &Client,
    request: SendRequest,
    paths: Vec<PathBuf>,
) -> Outcome {
    if fits_inside(&paths) {
        let inside = SendRequest {
            files: paths.clone(),
            ..request.clone()
        };
        match send(session, client, inside).await {
            // The relay takes less than usual.
            Err(error) if error.code == ErrorCode::TooLong => {}
            outcome => return outcome,
        }
    }
    let paths: Vec<PathBuf> = paths
        .iter()
        .map(|path| share::absolute(path))
        .collect::<Result<_, _>>()?;
    let wait = request.receipt;
    let request = ShareRequest {
        name: name_of(&paths),
        paths,
        to: std::iter::once(request.to).chain(request.also).collect(),
        offer: true,
        ..ShareRequest::default()
    };
    let offered = offer(session, client, &request, wait).await?;
    offered.end(session, client).await
}

/// The name of several together: after the first of them, and not after the folder that they
/// happen to lie in.
fn name_of(paths: &[PathBuf]) -> Option<String> {
    let [first, rest @ ..] = paths else {
        return None;
    };
    let first = first.file_name()?.to_str()?;
    let name = format!("{first} and {} more", rest.len());
    (!rest.is_empty() && EntryName::parse(&name).is_ok()).then_some(name)
}

fn fits_inside(paths: &[PathBuf]) -> bool {
    let sizes = paths.iter().map(|path| {
        path.metadata()
            .ok()
            .filter(|meta| meta.is_file())
            .map(|meta| meta.len())
    });
    sizes
        .sum::<Option<u64>>()
        .is_some_and(|total| total <= MAX_INSIDE)
}

/// The messages that offer something, and the wait for their readers, if there is one.
struct Offered {
    sent: Vec<SentInfo>,
    waiting: Option<Waiting>,
}

/// Shares what is too large for a message, once; the daemon sends the ticket.
async fn offer(
    session: &Session<'_>,
    client: &Client,
    request: &ShareRequest,
    wait: bool,
) -> Result<Offered, ApiError> {
    let before = match wait {
        true => Some(Before::look(client).await?),
        false => None,
    };
    let (sent, share) = match share::follow(session, client, request).await? {
        Done::Shared { sent, share, .. } if !sent.is_empty() => (sent, share),
        Done::Shared { .. } => {
            return Err(ClientError::Broken("it shared, and sent no ticket".into()).into());
        }
        _ => {
            let broken = "it stopped before the share was complete";
            return Err(ClientError::Broken(broken.into()).into());
        }
    };
    let waiting = match before {
        Some(before) => {
            let client = crate::daemon::client_of_the_dead(&session.paths()?);
            let many = u32::try_from(sent.len()).unwrap_or(u32::MAX);
            Some(Waiting::begin(client, &share, many, before).await?)
        }
        None => None,
    };
    Ok(Offered { sent, waiting })
}

impl Offered {
    /// Tells what became of it, after the wait for it.
    async fn end(self, session: &Session<'_>, client: &Client) -> Outcome {
        let Some(waiting) = self.waiting else {
            return Ok(tell(session, &self.sent, Kind::Offer));
        };
        let mut sent = Vec::with_capacity(self.sent.len());
        let readers = self.sent.iter().map(|one| one.to.clone()).collect();
        tokio::select! {
            fetched = waiting.of(readers).end(session) => {
                fetched?;
                sent = self.sent;
                for one in &mut sent {
                    (one.state, one.taken) = (SentState::Delivered, true);
                }
            }
            // Each of them has it or declines it; who declines is not waited for.
            declined = declined(client, &self.sent) => sent.extend(declined?),
        }
        Ok(tell(session, &sent, Kind::Offer))
    }
}

/// Waits until a reader declines what it was offered; returns how all of it stands then.
async fn declined(client: &Client, sent: &[SentInfo]) -> Result<Vec<SentInfo>, ApiError> {
    loop {
        let mut now = Vec::with_capacity(sent.len());
        for (place, one) in sent.iter().enumerate() {
            // The first message is listened to, the others are looked at.
            let wait = if place == 0 { LISTEN } else { 0 };
            now.push(stands(client, one, wait).await?);
        }
        if now.iter().any(is_lost) {
            return Ok(now);
        }
    }
}

/// Time that the daemon is asked to wait for a reader's word, seconds.
const LISTEN: u64 = 20;

/// The state of one message, when its reader has said something or after so many seconds.
async fn stands(client: &Client, one: &SentInfo, wait: u64) -> Result<SentInfo, ApiError> {
    if one.message.is_empty() {
        return Ok(one.clone());
    }
    let call = format!("/v1/messages/{}?wait={wait}", one.message);
    Ok(client.get::<SentInfo>(&call).await?)
}

fn is_lost(one: &SentInfo) -> bool {
    matches!(one.state, SentState::Failed | SentState::Declined)
}

async fn send(session: &Session<'_>, client: &Client, request: SendRequest) -> Outcome {
    let wait = request.receipt;
    let mut sent = client.post::<SentInfo>("/v1/messages", &request).await?;
    let others = std::mem::take(&mut sent.others);
    let mut all: Vec<SentInfo> = std::iter::once(sent).chain(others).collect();
    if wait {
        for one in &mut all {
            while !one.taken && !is_lost(one) {
                session.out.note(&session.wrapped(&waits(one)));
                *one = taken(client, one).await?;
            }
        }
    }
    Ok(tell(session, &all, Kind::Whole))
}

/// Waits until the reader of a message has taken or declined it.
async fn taken(client: &Client, one: &SentInfo) -> Result<SentInfo, ApiError> {
    loop {
        let now = stands(client, one, LISTEN).await?;
        if now.taken || is_lost(&now) {
            return Ok(now);
        }
    }
}

fn waits(one: &SentInfo) -> String {
    let name = crate::show::device(&one.name, &one.to);
    format!("Waiting until {name} has taken it; Ctrl-C leaves it on its way.")
}

/// Shows what became of a message to each of its readers: the worst of it is the exit status.
fn tell(session: &Session<'_>, sent: &[SentInfo], kind: Kind) -> Exit {
    let lost = sent.iter().filter(|one| is_lost(one)).count();
    for one in sent {
        let mut event = serde_json::to_value(one).unwrap_or_default();
        event["event"] = json!(if sent.len() > 1 { "sent" } else { "done" });
        event["offer"] = json!(kind == Kind::Offer);
        session.out.json(&event);
        session.out.say(&session.wrapped(&outcome(one, kind)));
    }
    if sent.len() > 1 {
        let end = json!({"event": "done", "readers": sent.len(), "lost": lost});
        session.out.json(&end);
    }
    if lost > 0 { Exit::Refused } else { Exit::Done }
}

/// What became of it, in a sentence.
pub fn outcome(sent: &SentInfo, kind: Kind) -> String {
    let name = crate::show::device(&sent.name, &sent.to);
    let reason = sent.reason.as_deref().map(display_name);
    let will_be = match kind {
        Kind::Whole => "delivered",
        Kind::Offer => "offered",
    };
    match sent.state {
        SentState::Delivered if sent.taken => match kind {
            Kind::Whole => format!("{name} has taken it."),
            Kind::Offer => format!("{name} has all of it."),
        },
        SentState::Delivered if kind == Kind::Offer => {
            format!("Offered to {name}, which fetches it now or when its user wants it.")
        }
        SentState::Delivered => format!("Delivered to {name}."),
        SentState::AtRelay => {
            format!("Waiting at the relay: it will be {will_be} when {name} is online.")
        }
        SentState::Waiting => {
            let why = reason.unwrap_or_else(|| "no relay is reached".into());
            match &sent.hint {
                // Nothing is promised that does not come by itself.
                Some(hint) => {
                    let hint = display_name(hint);
                    format!(
                        "Waiting on this device: {why}. {hint} Until then it stays here (hither outbox)."
                    )
                }
                None => format!(
                    "Waiting on this device: {why}. It will be {will_be} when {name} can be reached."
                ),
            }
        }
        SentState::Failed => {
            format!(
                "It cannot be sent to {name}: {}.",
                reason.unwrap_or_else(|| "the relay refused".into())
            )
        }
        SentState::Declined => format!("{name} declined it."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(items: &[&str]) -> Args {
        Args {
            device: "d".into(),
            items: items.iter().map(PathBuf::from).collect(),
            to: Vec::new(),
            text: false,
            file: false,
            wait: false,
        }
    }

    #[test]
    fn standard_input_is_a_text_or_a_file_with_a_name() {
        let named = |items: &[&str]| {
            let file = true;
            goods(&Args {
                file,
                ..args(items)
            })
        };
        let name = EntryName::parse("my.diff").unwrap();
        assert_eq!(named(&["-", "my.diff"]), Ok(Goods::InputFile(name.clone())));
        assert_eq!(named(&["my.diff", "-"]), Ok(Goods::InputFile(name)));
        for wrong in ["../up", "a/b", ""] {
            let error = named(&["-", wrong]).unwrap_err();
            assert_eq!(error.code, ErrorCode::BadRequest, "{wrong}");
        }
        assert!(named(&["-", "-"]).is_err());
    }

    #[test]
    fn what_exists_is_a_file_and_the_rest_a_text() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a");
        std::fs::write(&file, "x").unwrap();
        let path = file.to_str().unwrap();
        assert_eq!(goods(&args(&[path])), Ok(Goods::Paths(vec![file.clone()])));
        assert_eq!(
            goods(&args(&["hello", "you"])),
            Ok(Goods::Text("hello you".into()))
        );
        assert_eq!(
            goods(&args(&["https://example.org/x"])),
            Ok(Goods::Text("https://example.org/x".into()))
        );
        assert_eq!(
            goods(&args(&["and/or", "/shrug"])),
            Ok(Goods::Text("and/or /shrug".into()))
        );
        assert_eq!(goods(&args(&["-"])), Ok(Goods::Input));
        let text = Args {
            text: true,
            ..args(&[path])
        };
        assert_eq!(goods(&text), Ok(Goods::Text(path.into())));
    }

    #[test]
    fn what_is_not_clear_is_asked_back() {
        let home = tempfile::tempdir().unwrap();
        let missing = home.path().join("mistyped");
        let mistyped = missing.to_str().unwrap();
        for items in [
            &[home.path().to_str().unwrap(), "hello"][..],
            &[mistyped],
            &["./mistyped"],
            &["~/x"],
            &["notes.txt"],
            &["photos/2026"],
        ] {
            assert_eq!(
                goods(&args(items)).unwrap_err().code,
                ErrorCode::BadRequest,
                "{items:?}"
            );
        }
        let file = Args {
            file: true,
            ..args(&[mistyped])
        };
        assert_eq!(goods(&file).unwrap_err().code, ErrorCode::Unreadable);
    }

    #[test]
    fn small_files_travel_inside_and_folders_never() {
        let home = tempfile::tempdir().unwrap();
        let [small, large] = ["small", "large"].map(|name| home.path().join(name));
        std::fs::write(&small, "x").unwrap();
        std::fs::write(&large, vec![0; MAX_INSIDE as usize]).unwrap();
        assert!(
            fits_inside(std::slice::from_ref(&small)) && fits_inside(std::slice::from_ref(&large))
        );
        assert!(!fits_inside(&[small, large]) && !fits_inside(&[home.path().to_owned()]));
    }

    #[test]
    fn several_are_called_after_the_first_of_them() {
        let [a, b, c] = ["/x/a.txt", "/x/b", "/y/c"].map(PathBuf::from);
        assert_eq!(name_of(std::slice::from_ref(&a)), None);
        let name = name_of(&[a, b, c]);
        assert_eq!(name.as_deref(), Some("a.txt and 2 more"));
    }

    #[test]
    fn the_outcome_is_a_sentence() {
        let sent = |state, reason: Option<&str>| {
            let reason = reason.map(Into::into);
            SentInfo {
                message: String::new(),
                to: "12D3abcdefgh".into(),
                name: "phone".into(),
                state,
                reason,
                hint: None,
                taken: false,
                others: Vec::new(),
            }
        };
        let offered = |state| outcome(&sent(state, None), Kind::Offer);
        let sent = |state, reason| outcome(&sent(state, reason), Kind::Whole);
        assert!(offered(SentState::Delivered).starts_with("Offered to phone"));
        assert_eq!(
            offered(SentState::AtRelay),
            "Waiting at the relay: it will be offered when phone is online."
        );
        assert_eq!(sent(SentState::Declined, None), "phone declined it.");
        assert_eq!(sent(SentState::Delivered, None), "Delivered to phone.");
        assert_eq!(
            sent(SentState::AtRelay, None),
            "Waiting at the relay: it will be delivered when phone is online."
        );
        assert!(
            sent(SentState::Waiting, None)
                .starts_with("Waiting on this device: no relay is reached.")
        );
        assert_eq!(
            sent(SentState::Failed, Some("no")),
            "It cannot be sent to phone: no."
        );
        let stuck = SentInfo {
            message: String::new(),
            to: "12D3abcdefgh".into(),
            name: "phone".into(),
            state: SentState::Waiting,
            reason: Some("it cannot be given to r:1: this device was revoked at the relay".into()),
            hint: Some("Ask its owner.".into()),
            taken: false,
            others: Vec::new(),
        };
        assert_eq!(
            outcome(&stuck, Kind::Whole),
            "Waiting on this device: it cannot be given to r:1: this device was revoked at the relay. Ask its owner. Until \
             then it stays here (hither outbox)."
        );
    }
}
