//! `hither inbox`.

mod link;

use crate::commands::fetch;
use crate::failure;
use crate::session::{Outcome, Session};
use crate::show::{Align, Column, Table, ago, bytes, count, device, now};
use crate::target::Target;
use clap::Subcommand;
use hither_api::{
    ApiError, ArrivalDecision, ArrivalRequest, ArrivalState, Client, ClientError, ErrorCode, Event,
    Exit, MessageInfo, MessageKind, SaveRequest, SavedInfo,
};
use hither_proto::display_name;
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hither inbox                      list all messages; * marks new ones
  hither inbox read 3               a text to standard output, as it is
  hither inbox save 4 -o Downloads  the files of a message
  hither inbox fetch 5              the share that a message offers
  hither inbox accept 5             it arrives in the receive folder
  hither inbox refuse 5             its sender is told that it was declined
  hither inbox delete 3 4
  hither inbox link                 a link: any browser can send here by it
  hither inbox --wait --json        wait for a message that was not read yet
  hither inbox --follow --json      unread ones and whatever comes, until Ctrl-C";

/// See and read the messages that other devices of yours sent
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Show unread messages, then new ones as they arrive; Ctrl-C ends it
    #[arg(long, conflicts_with = "wait")]
    follow: bool,
    /// Show unread messages; wait for one when there is none
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show one message; a text is printed as it is
    Read {
        /// Its number
        id: u64,
    },
    /// Write the files of a message into a folder, never over others
    Save {
        /// Its number
        id: u64,
        /// The folder, made when missing; the current one when absent
        #[arg(long, short, value_name = "DIR")]
        output: Option<PathBuf>,
    },
    /// Fetch the share that a message offers
    Fetch {
        /// Its number
        id: u64,
        /// Folder to write into, made when missing; "-" writes a single file to standard output
        #[arg(long, short, value_name = "DIR")]
        output: Option<PathBuf>,
        /// Do not ask before fetching
        #[arg(long, short)]
        yes: bool,
        /// Replace files that exist
        #[arg(long, conflicts_with = "rename")]
        overwrite: bool,
        /// Write beside what exists, under another name
        #[arg(long)]
        rename: bool,
    },
    /// Have files or a share arrive in the receive folder (see hither receive)
    Accept {
        /// Its number
        id: u64,
    },
    /// Decline files or a share: the message is deleted and its sender told
    Refuse {
        /// Its number
        id: u64,
    },
    /// Make a link by which any browser sends to this device; list and end them
    Link(link::Args),
    /// Delete messages
    Delete {
        /// Their numbers
        #[arg(required = true, value_name = "ID")]
        ids: Vec<u64>,
    },
}

/// Most characters of a text in a list.
const LONGEST: usize = 120;

impl Args {
    /// Whether it becomes a fetch, which has something to do when it is interrupted.
    pub const fn fetches(&self) -> bool {
        matches!(self.action, Some(Action::Fetch { .. }))
    }
}

const COLUMNS: [Column; 4] = [
    Column::new("ID", Align::Right),
    Column::new("FROM", Align::Left).flexible(),
    Column::new("WHEN", Align::Left),
    Column::new("MESSAGE", Align::Left).flexible(),
];

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    match args.action {
        Some(Action::Read { id }) => read(session, id).await,
        Some(Action::Save { id, output }) => save(session, id, output).await,
        Some(Action::Fetch {
            id,
            output,
            yes,
            overwrite,
            rename,
        }) => {
            let ticket = Some(ticket(session, id).await?);
            let args = fetch::Args {
                ticket,
                output,
                yes,
                overwrite,
                rename,
                ..fetch::Args::default()
            };
            fetch::run(session, args).await
        }
        Some(Action::Accept { id }) => decide(session, id, ArrivalDecision::Accept).await,
        Some(Action::Refuse { id }) => decide(session, id, ArrivalDecision::Refuse).await,
        Some(Action::Link(args)) => link::run(session, args).await,
        Some(Action::Delete { ids }) => delete(session, &ids).await,
        None if args.follow || args.wait => stream(session, args.follow).await,
        None => list(session).await,
    }
}

async fn list(session: &Session<'_>) -> Outcome {
    let messages = session
        .daemon()
        .await?
        .get::<Vec<MessageInfo>>("/v1/inbox")
        .await?;
    session.out.json_lines(&messages);
    if messages.is_empty() {
        session.out.say("No messages.");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&COLUMNS);
    messages
        .iter()
        .for_each(|message| row(&mut table, message, now()));
    session.table(table);
    if let Some(words) = what_to_do(&messages) {
        session.out.say(&session.wrapped(&words));
    }
    Ok(Exit::Done)
}

/// The things the user may do with the kinds of messages that are listed.
fn what_to_do(messages: &[MessageInfo]) -> Option<String> {
    let is_at = |message: &MessageInfo, states: &[ArrivalState]| {
        let arrival = message.arrival.as_ref();
        arrival.is_some_and(|arrival| states.contains(&arrival.state))
    };
    let open = |kind: MessageKind| {
        let done = [ArrivalState::Arrived, ArrivalState::Arriving];
        let mut all = messages.iter();
        all.any(|message| message.kind == kind && !is_at(message, &done))
    };
    let asked = messages
        .iter()
        .any(|message| is_at(message, &[ArrivalState::Asked]));
    let ways = [
        (open(MessageKind::Text), "read a text: hither inbox read ID"),
        (
            asked,
            "let it arrive or not: hither inbox accept ID, refuse ID",
        ),
        (open(MessageKind::Files), "save files: hither inbox save ID"),
        (
            open(MessageKind::Ticket),
            "fetch a share: hither inbox fetch ID",
        ),
    ];
    let ways: Vec<&str> = ways.iter().filter(|way| way.0).map(|way| way.1).collect();
    let words = ways.join(" · ");
    let (first, rest) = words.split_at_checked(1)?;
    Some(format!("{}{rest}", first.to_uppercase()))
}

fn row(table: &mut Table, message: &MessageInfo, now: u64) {
    let mark = if message.read { "" } else { "*" };
    table.row([
        format!("{mark}{}", message.id),
        device(&message.name, &message.from),
        ago(message.received, now),
        format!("{}{}", brief(message), stands(message)),
    ]);
}

/// How what a message brings stands, behind what it is.
fn stands(message: &MessageInfo) -> String {
    let Some(arrival) = &message.arrival else {
        return String::new();
    };
    let why = match &arrival.reason {
        Some(why) => format!(": {}", display_name(why)),
        None => String::new(),
    };
    match arrival.state {
        ArrivalState::Asked => format!(" – waits for your answer{why}"),
        ArrivalState::Arriving => " – arriving".into(),
        ArrivalState::Arrived => {
            let paths = arrival.paths.iter().map(|path| display_name(path));
            format!(" – arrived: {}", paths.collect::<Vec<_>>().join(", "))
        }
        ArrivalState::ByHand if why.is_empty() => String::new(),
        ArrivalState::ByHand => format!(" – not fetched by itself{why}"),
    }
}

/// A message on one line.
fn brief(message: &MessageInfo) -> String {
    match message.kind {
        MessageKind::Text => match &message.text {
            Some(text) => cut(&display_name(
                &text.split_whitespace().collect::<Vec<_>>().join(" "),
            )),
            None => "(a long text)".into(),
        },
        MessageKind::Files => {
            let names = message
                .files
                .iter()
                .map(|f| format!("{} ({})", display_name(&f.name), bytes(f.bytes)));
            names.collect::<Vec<_>>().join(", ")
        }
        MessageKind::Ticket => message.share.as_ref().map_or_else(String::new, |share| {
            format!(
                "offers {} ({}, {})",
                display_name(&share.name),
                count(share.files, "file"),
                bytes(share.bytes)
            )
        }),
        MessageKind::Request | MessageKind::Unknown => {
            "(a newer version of Hither is needed to read it)".into()
        }
    }
}

/// The beginning of a text.
fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Unread messages, then new ones as they arrive: all of them, or the first when nothing else was
/// there.
async fn stream(session: &Session<'_>, follow: bool) -> Outcome {
    let client = session.daemon().await?;
    let all = client.get::<Vec<MessageInfo>>("/v1/inbox").await?;
    let last = all.last().map_or(0, |message| message.id);
    let mut shown = 0;
    for message in all.into_iter().filter(|message| !message.read) {
        show_new(session, message);
        shown += 1;
    }
    if shown > 0 && !follow {
        return Ok(Exit::Done);
    }
    let mut events = client
        .events(&format!("/v1/inbox/events?after={last}"))
        .await?;
    while let Some(event) = events.next().await? {
        if let Event::Message(message) = event {
            show_new(session, message);
            if !follow || session.out.is_unread() {
                return Ok(Exit::Done);
            }
        }
    }
    Err(ClientError::Broken("it stopped telling of messages".into()).into())
}

fn show_new(session: &Session<'_>, message: MessageInfo) {
    let line = format!(
        "{}  {}: {}{}",
        message.id,
        device(&message.name, &message.from),
        brief(&message),
        stands(&message)
    );
    session.out.json(&Event::Message(message));
    session.out.say(&line);
}

async fn get(client: &Client, id: u64) -> Result<MessageInfo, ApiError> {
    Ok(client
        .get::<MessageInfo>(&format!("/v1/inbox/{id}"))
        .await?)
}

async fn read(session: &Session<'_>, id: u64) -> Outcome {
    let client = session.daemon().await?;
    let message = get(&client, id).await?;
    session.out.json(&message);
    if !session.out.is_json() {
        show(session, &message);
    }
    client
        .post::<serde_json::Value>(&format!("/v1/inbox/{id}/read"), &json!({}))
        .await?;
    Ok(Exit::Done)
}

/// The places of what a message brought, when it has arrived.
fn lies(message: &MessageInfo) -> Option<Vec<String>> {
    let arrival = message.arrival.as_ref()?;
    let paths = arrival.paths.iter().map(|path| display_name(path));
    (arrival.state == ArrivalState::Arrived).then(|| paths.collect())
}

fn show(session: &Session<'_>, message: &MessageInfo) {
    if let Some(paths) = lies(message) {
        session.out.result(&brief(message));
        for path in paths {
            session.out.say(&format!("It lies at {path}"));
        }
        return;
    }
    match (&message.text, &message.share) {
        (Some(text), _) => {
            let from = device(&message.name, &message.from);
            session
                .out
                .note(&format!("From {from}, {}:", ago(message.made, now())));
            session.out.text(text);
        }
        (None, Some(share)) => {
            session.out.result(&brief(message));
            session
                .out
                .say(&format!("Fetch it with: hither inbox fetch {}", message.id));
            session.out.say(&format!(
                "or with its ticket: hither fetch {}",
                display_name(&share.ticket)
            ));
        }
        (None, None) => {
            message.files.iter().for_each(|file| {
                session.out.result(&format!(
                    "{} ({})",
                    display_name(&file.name),
                    bytes(file.bytes)
                ));
            });
            if message.files.is_empty() {
                session.out.result(&brief(message));
            } else {
                session
                    .out
                    .say(&format!("Save with: hither inbox save {}", message.id));
            }
        }
    }
}

pub(super) async fn save(session: &Session<'_>, id: u64, output: Option<PathBuf>) -> Outcome {
    let target = Target::open(output.as_deref())?;
    let client = session.daemon().await?;
    let request = SaveRequest {
        folder: target.folder().to_owned(),
    };
    let saved = client
        .post::<SavedInfo>(&format!("/v1/inbox/{id}/save"), &request)
        .await;
    let saved = saved.inspect_err(|_| target.undo())?;
    session.out.json(&saved);
    saved
        .paths
        .iter()
        .for_each(|path| session.out.result(&failure::shown(path.as_ref())));
    Ok(Exit::Done)
}

pub(super) async fn ticket(session: &Session<'_>, id: u64) -> Result<String, ApiError> {
    let client = session.daemon().await?;
    let message = get(&client, id).await?;
    let waits = [ArrivalState::Asked, ArrivalState::Arriving];
    let arrival = message.arrival.as_ref();
    if arrival.is_some_and(|arrival| waits.contains(&arrival.state)) {
        // The user has it in hand: it does not arrive elsewhere as well.
        let decision = ArrivalDecision::ByHand;
        client
            .post::<MessageInfo>(
                &format!("/v1/inbox/{id}/decide"),
                &ArrivalRequest { decision },
            )
            .await?;
    }
    let Some(share) = message.share else {
        return Err(ApiError::new(
            ErrorCode::BadRequest,
            format!("Message {id} offers no share."),
        )
        .with_hint(format!("Look at it with: hither inbox read {id}")));
    };
    client
        .post::<serde_json::Value>(&format!("/v1/inbox/{id}/read"), &json!({}))
        .await?;
    Ok(share.ticket)
}

async fn decide(session: &Session<'_>, id: u64, decision: ArrivalDecision) -> Outcome {
    let client = session.daemon().await?;
    let message = client
        .post::<MessageInfo>(
            &format!("/v1/inbox/{id}/decide"),
            &ArrivalRequest { decision },
        )
        .await?;
    let from = device(&message.name, &message.from);
    let words = match decision {
        ArrivalDecision::Refuse => format!("Declined; {from} is told."),
        _ => format!("{}{}", brief(&message), stands(&message)),
    };
    session.out.json(&message);
    session.out.say(&session.wrapped(&words));
    Ok(Exit::Done)
}

async fn delete(session: &Session<'_>, ids: &[u64]) -> Outcome {
    let client = session.daemon().await?;
    for id in ids {
        let deleted = client
            .delete::<MessageInfo>(&format!("/v1/inbox/{id}"))
            .await?;
        session.out.json(&deleted);
    }
    session
        .out
        .say(&format!("{} deleted.", count(ids.len() as u64, "message")));
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_api::{ArrivalInfo, FileInfo, TicketNote};

    fn message(kind: MessageKind) -> MessageInfo {
        MessageInfo {
            id: 3,
            message: "00".repeat(16),
            from: "12D3KooWabcdefgh".into(),
            name: "pho\nne".into(),
            page: false,
            visitor: None,
            kind,
            received: 100,
            made: 100,
            read: false,
            text: None,
            files: Vec::new(),
            share: None,
            arrival: None,
        }
    }

    #[test]
    fn the_last_line_says_what_to_do_with_what_is_listed() {
        let arrived = |state| {
            let (paths, reason) = (vec!["/d/a\rb".to_owned()], None);
            Some(ArrivalInfo {
                state,
                paths,
                reason,
            })
        };
        let text = message(MessageKind::Text);
        let done = MessageInfo {
            arrival: arrived(ArrivalState::Arrived),
            ..message(MessageKind::Files)
        };
        let asked = MessageInfo {
            arrival: arrived(ArrivalState::Asked),
            ..message(MessageKind::Ticket)
        };
        assert_eq!(stands(&done), " – arrived: /d/a\u{fffd}b");
        assert_eq!(what_to_do(std::slice::from_ref(&done)), None);
        let all = what_to_do(&[text, done, asked]).unwrap();
        assert_eq!(
            all,
            "Read a text: hither inbox read ID · let it arrive or not: hither inbox accept ID, \
             refuse ID · fetch a share: hither inbox fetch ID"
        );
    }

    #[test]
    fn messages_fit_a_line_and_rewrite_nothing() {
        let mut table = Table::new(&COLUMNS);
        let text = MessageInfo {
            text: Some("a\n\u{1b}[2J  b".into()),
            ..message(MessageKind::Text)
        };
        row(&mut table, &text, 280);
        row(&mut table, &MessageInfo { read: true, ..text }, 280);
        let lines = table.lines(80);
        assert_eq!(lines[1], "*3  pho\u{fffd}ne  3 min ago  a \u{fffd}[2J b");
        assert!(lines[2].starts_with(" 3"));
        let file = FileInfo {
            name: "a\rb".into(),
            bytes: 1200,
        };
        let files = MessageInfo {
            files: vec![file.clone(), file],
            ..message(MessageKind::Files)
        };
        assert_eq!(brief(&files), "a\u{fffd}b (1.2 kB), a\u{fffd}b (1.2 kB)");
        let long = MessageInfo {
            text: Some("é".repeat(200)),
            ..message(MessageKind::Text)
        };
        assert_eq!(brief(&long).chars().count(), LONGEST + 1);
        let share = TicketNote {
            ticket: String::new(),
            name: "film".into(),
            files: 1,
            bytes: 3_200_000_000,
        };
        let offer = MessageInfo {
            share: Some(share),
            ..message(MessageKind::Ticket)
        };
        assert_eq!(brief(&offer), "offers film (1 file, 3.2 GB)");
    }
}
