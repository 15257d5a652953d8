//! `hither send`.

use crate::commands::share;
use crate::input;
use crate::session::{Outcome, Session};
use hither_api::{
    ApiError, Client, ClientError, Done, ErrorCode, Exit, SendRequest, SentInfo, SentState,
    ShareRequest,
};
use hither_proto::display_name;
use serde_json::json;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  hither send phone 'https://example.org/a?b'     a text
  hither send phone notes.txt key.pub             files
  hither send phone film.mkv                      large: it travels as a share
  git diff | hither send laptop -                 standard input, as a text
  hither send phone --text notes.txt              the words, not the file

What exists as a file is sent as a file, everything else as a text. It is
delivered now, or when the device comes online, and kept on this device until a
relay has it (see hither outbox). Only the other device can read it.";

/// Send a text or files to another device of yours
///
/// Small files travel in the message. Large ones and folders are shared, together, and the ticket
/// is sent.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The device: its name, short id or id (see hither devices)
    pub device: String,
    /// A text, or files and folders; "-" reads a text from standard input
    #[arg(required = true, value_name = "TEXT|PATH", allow_hyphen_values = false)]
    pub items: Vec<PathBuf>,
    /// It is a text, whatever files there are
    #[arg(long, conflicts_with = "file")]
    pub text: bool,
    /// These are files and folders
    #[arg(long)]
    pub file: bool,
}

/// Largest files that travel inside a message, bytes in all; somewhat below what the seal takes.
const MAX_INSIDE: u64 = 192 * 1024;

/// What is to be sent.
#[derive(Debug, PartialEq, Eq)]
enum Goods {
    Text(String),
    Input,
    Paths(Vec<PathBuf>),
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let goods = goods(&args)?;
    let client = session.daemon().await?;
    let request = SendRequest {
        to: args.device.clone(),
        ..SendRequest::default()
    };
    match goods {
        Goods::Text(text) => {
            send(
                session,
                &client,
                SendRequest {
                    text: Some(text),
                    ..request
                },
            )
            .await
        }
        Goods::Input => {
            let text = Some(input::all_text().await?);
            send(session, &client, SendRequest { text, ..request }).await
        }
        Goods::Paths(paths) => send_paths(session, &client, request, paths).await,
    }
}

/// Decides whether words or files are meant.
fn goods(args: &Args) -> Result<Goods, ApiError> {
    let bad = |message: String, hint: &str| {
        Err(ApiError::new(ErrorCode::BadRequest, message).with_hint(hint))
    };
    if !args.file && args.items == [Path::new("-")] {
        return Ok(Goods::Input);
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
    if !args.text && words.iter().any(|word| looks_like_a_path(word)) {
        return bad(
            format!("There is no file {}.", display_name(&words.join(" "))),
            "If it is a text, say so with --text.",
        );
    }
    Ok(Goods::Text(words.join(" ")))
}

/// One word that begins as only paths do: a mistyped name must not arrive as a text.
fn looks_like_a_path(word: &str) -> bool {
    let path = ["./", "../", "~/"]
        .iter()
        .any(|start| word.starts_with(start))
        || (word.starts_with('/') && word[1..].contains('/'));
    path && !word.contains(char::is_whitespace)
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
    offer(session, client, request.to, paths).await
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

/// Shares what is too large for a message; the daemon sends the ticket.
async fn offer(session: &Session<'_>, client: &Client, to: String, paths: Vec<PathBuf>) -> Outcome {
    let paths = paths
        .iter()
        .map(|path| share::absolute(path))
        .collect::<Result<_, _>>()?;
    let request = ShareRequest {
        paths,
        to: vec![to],
        ..ShareRequest::default()
    };
    let done = share::follow(session, client, &request).await?;
    match done {
        Done::Shared { sent, .. } => match sent.as_slice() {
            [sent] => Ok(tell(session, sent)),
            _ => Err(ClientError::Broken("it shared, and sent no ticket".into()).into()),
        },
        _ => Err(ClientError::Broken("it stopped before the share was complete".into()).into()),
    }
}

async fn send(session: &Session<'_>, client: &Client, request: SendRequest) -> Outcome {
    let sent = client.post::<SentInfo>("/v1/messages", &request).await?;
    Ok(tell(session, &sent))
}

/// Shows what became of a message.
fn tell(session: &Session<'_>, sent: &SentInfo) -> Exit {
    let mut event = serde_json::to_value(sent).unwrap_or_default();
    event["event"] = json!("done");
    session.out.json(&event);
    session.out.say(&session.wrapped(&outcome(sent)));
    if sent.state == SentState::Failed {
        Exit::Refused
    } else {
        Exit::Done
    }
}

/// What became of it, in a sentence.
pub fn outcome(sent: &SentInfo) -> String {
    let name = crate::show::device(&sent.name, &sent.to);
    let reason = sent.reason.as_deref().map(display_name);
    match sent.state {
        SentState::Delivered => format!("Delivered to {name}."),
        SentState::AtRelay => format!("Waiting at the relay: {name} gets it when it comes online."),
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
                None => {
                    format!(
                        "Waiting on this device: {why}. It is sent by itself as soon as that is possible."
                    )
                }
            }
        }
        SentState::Failed => {
            format!(
                "It cannot be sent to {name}: {}.",
                reason.unwrap_or_else(|| "the relay refused".into())
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(items: &[&str]) -> Args {
        Args {
            device: "d".into(),
            items: items.iter().map(PathBuf::from).collect(),
            text: false,
            file: false,
        }
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
    fn the_outcome_is_a_sentence() {
        let sent = |state, reason: Option<&str>| {
            let reason = reason.map(Into::into);
            outcome(&SentInfo {
                message: String::new(),
                to: "12D3abcdefgh".into(),
                name: "phone".into(),
                state,
                reason,
                hint: None,
            })
        };
        assert_eq!(sent(SentState::Delivered, None), "Delivered to phone.");
        assert_eq!(
            sent(SentState::AtRelay, None),
            "Waiting at the relay: phone gets it when it comes online."
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
        };
        assert_eq!(
            outcome(&stuck),
            "Waiting on this device: it cannot be given to r:1: this device was revoked at the relay. Ask its owner. Until \
             then it stays here (hither outbox)."
        );
    }
}
