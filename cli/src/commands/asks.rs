//! `hither asks`.

use crate::commands::share::absolute;
use crate::session::{Outcome, Session};
use crate::show::{Align, Column, Table, ago, bytes, duration, now};
use crate::{failure, input};
use clap::Subcommand;
use hither_api::{
    AnswerRequest, ApiError, AskInfo, AsksInfo, CandidateInfo, Client, ClientError, ErrorCode,
    Event, Exit, GrantInfo, GrantRequest,
};
use hither_proto::display_name;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  hither asks                               what others ask for, and what you do
  hither asks answer 3f2a                   yes: what this device finds for it
  hither asks answer 3f2a ~/a.jpg b.jpg     yes, with these
  hither asks answer 3f2a --text 'at home'
  hither asks refuse 3f2a
  hither asks allow tablet photo --for 1h   answered without asking, for an hour
  hither asks allowed;  hither asks revoke 1
  hither asks cancel 77b0                   not wanted any more";

/// What other devices ask of this one: list, answer, refuse, allow
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Stay, and show requests as they come
    #[arg(long)]
    pub watch: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show one request
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Say yes; without files the device gives what it finds, or lets you choose
    Answer {
        /// The request's id, or the beginning of it
        id: String,
        /// Files to answer with
        files: Vec<PathBuf>,
        /// Words to answer with
        #[arg(long, conflicts_with = "files")]
        text: Option<String>,
    },
    /// Say no
    Refuse {
        /// The request's id, or the beginning of it
        id: String,
    },
    /// Answer a device's requests without asking
    Allow {
        /// The device: its name, short id or id
        device: String,
        /// The kind: photo, video …; every kind if absent
        kind: Option<String>,
        /// For how long; until it is revoked if absent
        #[arg(long = "for", value_name = "TIME", value_parser = super::share::span)]
        time: Option<Duration>,
        /// Only what lies below this folder
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
        /// Pictures, films and sound that are recorded for it too
        #[arg(long)]
        live: bool,
    },
    /// List the allowances: things that are answered without asking
    Allowed,
    /// End an allowance
    Revoke {
        /// Its number (see hither asks allowed)
        number: u64,
    },
    /// Take back what you asked for
    Cancel {
        /// The request's id, or the beginning of it
        id: String,
    },
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let client = session.daemon().await?;
    match args.action {
        None if args.watch => watch(session, &client).await,
        None => list(session, &client).await,
        Some(Action::Show { id }) => show(session, &client, &id).await,
        Some(Action::Answer { id, files, text }) => {
            answer(session, &client, &id, files, text).await
        }
        Some(Action::Refuse { id }) => {
            let path = format!("/v1/asks/{}/refuse", id_in_path(&id)?);
            client.post::<Value>(&path, &json!({})).await?;
            session.out.json(&json!({"event": "done"}));
            session.out.say("Refused.");
            Ok(Exit::Done)
        }
        Some(Action::Cancel { id }) => {
            let path = format!("/v1/asks/{}", id_in_path(&id)?);
            let info = client.delete::<AskInfo>(&path).await?;
            session.out.json(&info);
            session.out.say("It was taken back.");
            Ok(Exit::Done)
        }
        Some(Action::Allow {
            device,
            kind,
            time,
            folder,
            live,
        }) => {
            let request = GrantRequest {
                device,
                kind,
                folder: folder.map(|folder| absolute(&folder)).transpose()?,
                live,
                seconds: time.map(|time| time.as_secs()),
            };
            let grant = client
                .post::<GrantInfo>("/v1/asks/grants", &request)
                .await?;
            session.out.json(&grant);
            session.out.say(&session.wrapped(&format!(
                "Answered without asking: {}. To end that: hither asks revoke {}",
                allowed(&grant),
                grant.grant
            )));
            Ok(Exit::Done)
        }
        Some(Action::Allowed) => {
            let grants = client.get::<Vec<GrantInfo>>("/v1/asks/grants").await?;
            session.out.json_lines(&grants);
            for grant in &grants {
                session
                    .out
                    .result(&format!("{}  {}", grant.grant, allowed(grant)));
            }
            if grants.is_empty() {
                session.out.say("Nothing is answered without asking you.");
            }
            Ok(Exit::Done)
        }
        Some(Action::Revoke { number }) => {
            let grant = client
                .delete::<GrantInfo>(&format!("/v1/asks/grants/{number}"))
                .await?;
            session.out.json(&grant);
            session.out.say("You are asked again.");
            Ok(Exit::Done)
        }
    }
}

/// An id that can stand in a path.
fn id_in_path(id: &str) -> Result<&str, ApiError> {
    if !id.is_empty() && id.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(id);
    }
    Err(ApiError::new(
        ErrorCode::NotFound,
        format!("There is no request {}.", display_name(id)),
    )
    .with_hint("See them all with: hither asks"))
}

fn allowed(grant: &GrantInfo) -> String {
    let mut words = format!(
        "{} of {}",
        grant.kind.as_deref().unwrap_or("every kind"),
        crate::show::device(&grant.name, &grant.device)
    );
    if let Some(folder) = &grant.folder {
        words.push_str(&format!(" below {}", display_name(folder)));
    }
    if grant.live {
        words.push_str(", recordings too");
    }
    if let Some(left) = grant.left_seconds {
        words.push_str(&format!(", for {}", duration(left)));
    }
    words
}

const COLUMNS: [Column; 5] = [
    Column::new("ID", Align::Left),
    Column::new("DEVICE", Align::Left).flexible(),
    Column::new("WHAT", Align::Left).flexible(),
    Column::new("STATE", Align::Left).flexible(),
    Column::new("WHEN", Align::Left).optional(),
];

/// Characters of an id that are shown.
const SHORT: usize = 8;

fn row(table: &mut Table, asker: &str, one: &AskInfo) {
    let state = match (one.state.as_str(), one.left_seconds) {
        ("waiting", Some(left)) => format!("waits for you, {} left", duration(left)),
        ("refused", _) => match one.refusal.as_deref() {
            Some(why) => format!("refused ({why})"),
            None => "refused".into(),
        },
        (state, _) => display_name(state),
    };
    table.row([
        one.ask.chars().take(SHORT).collect(),
        format!("{asker} {}", crate::show::device(&one.name, &one.device)),
        display_name(&one.what),
        state,
        ago(one.made, now()),
    ]);
}

async fn list(session: &Session<'_>, client: &Client) -> Outcome {
    let asks = client.get::<AsksInfo>("/v1/asks").await?;
    for (direction, all) in [("received", &asks.received), ("sent", &asks.sent)] {
        for one in all {
            let mut line = serde_json::to_value(one).unwrap_or_default();
            line["direction"] = json!(direction);
            session.out.json(&line);
        }
    }
    let mut table = Table::new(&COLUMNS);
    asks.sent.iter().for_each(|one| row(&mut table, "to", one));
    asks.received
        .iter()
        .for_each(|one| row(&mut table, "from", one));
    if asks.sent.is_empty() && asks.received.is_empty() {
        session
            .out
            .say("Nothing was asked. Ask another device: hither ask DEVICE photo --latest");
        return Ok(Exit::Done);
    }
    session.table(table);
    let waiting: Vec<_> = asks
        .received
        .iter()
        .filter(|one| one.state == "waiting")
        .collect();
    for one in waiting.iter().filter(|one| !one.reason.is_empty()) {
        session.out.say(&session.wrapped(&format!(
            "{}: \"{}\"",
            crate::show::device(&one.name, &one.device),
            display_name(&one.reason)
        )));
    }
    if !waiting.is_empty() {
        session
            .out
            .say("Answer with: hither asks answer ID    or: hither asks refuse ID");
    }
    Ok(Exit::Done)
}

async fn show(session: &Session<'_>, client: &Client, id: &str) -> Outcome {
    let asks = client.get::<AsksInfo>("/v1/asks").await?;
    let mut all = asks.received.iter().chain(&asks.sent);
    let found = all.find(|one| !id.is_empty() && one.ask.starts_with(id));
    let Some(one) = found else {
        return Err(ApiError::new(
            ErrorCode::NotFound,
            format!("There is no request {}.", display_name(id)),
        )
        .with_hint("See them all with: hither asks"));
    };
    session.out.json(one);
    let mut lines = vec![
        format!(
            "{}: {}",
            crate::show::device(&one.name, &one.device),
            display_name(&one.what)
        ),
        format!("{}, {}", display_name(&one.state), ago(one.made, now())),
    ];
    if !one.reason.is_empty() {
        lines.push(format!("\"{}\"", display_name(&one.reason)));
    }
    if !one.words.is_empty() {
        lines.push(display_name(&one.words));
    }
    lines.extend(
        one.things
            .iter()
            .map(|thing| format!("{} ({})", display_name(&thing.name), bytes(thing.bytes))),
    );
    lines.iter().for_each(|line| session.out.result(line));
    if let Some(text) = &one.text {
        session.out.text(text);
    }
    Ok(Exit::Done)
}

async fn answer(
    session: &Session<'_>,
    client: &Client,
    id: &str,
    files: Vec<PathBuf>,
    text: Option<String>,
) -> Outcome {
    let id = id_in_path(id)?;
    let mut files = files
        .iter()
        .map(|file| absolute(file))
        .collect::<Result<Vec<_>, _>>()?;
    if files.is_empty() && text.is_none() && is_picked(client, id).await? {
        files.push(choose(session, client, id).await?);
    }
    let request = AnswerRequest { files, text };
    let answered = client
        .post::<Value>(&format!("/v1/asks/{id}/answer"), &request)
        .await?;
    let words = display_name(answered["words"].as_str().unwrap_or_default());
    session.out.json(&json!({"event": "done", "words": words}));
    session.out.say(&format!("Answered with {words}."));
    Ok(Exit::Done)
}

/// Returns whether the user has to choose what answers a request.
async fn is_picked(client: &Client, id: &str) -> Result<bool, ApiError> {
    let asks = client.get::<AsksInfo>("/v1/asks").await?;
    let mut all = asks.received.iter();
    let one = all.find(|one| one.ask.starts_with(id));
    Ok(one.is_some_and(|one| one.what.contains("of your choice")))
}

/// Lets the user search the latest files and choose one.
async fn choose(session: &Session<'_>, client: &Client, id: &str) -> Result<PathBuf, ApiError> {
    let found = client
        .get::<Vec<CandidateInfo>>(&format!("/v1/asks/{id}/candidates"))
        .await?;
    let hint = format!("Name it: hither asks answer {id} FILE…");
    if found.is_empty() {
        let message = "Nothing of that kind is in the folders that are searched (asks.folders).";
        return Err(ApiError::new(ErrorCode::NotFound, message).with_hint(hint));
    }
    if !session.out.can_ask() {
        let message = "Something has to be chosen.";
        return Err(ApiError::new(ErrorCode::BadRequest, message).with_hint(hint));
    }
    let lines: Vec<String> = found
        .iter()
        .map(|one| {
            format!(
                "{}  ({}, {})",
                failure::shown(one.path.as_ref()),
                bytes(one.bytes),
                ago(one.made, now())
            )
        })
        .collect();
    let chosen = input::choose("Type to search", lines).await;
    let chosen = chosen.and_then(|at| found.get(at));
    chosen.map(|one| PathBuf::from(&one.path)).ok_or_else(|| {
        ApiError::new(
            ErrorCode::Refused,
            "Nothing was chosen; the request waits on.",
        )
    })
}

/// Shows requests as they come.
async fn watch(session: &Session<'_>, client: &Client) -> Outcome {
    let mut events = client.events("/v1/asks/events").await?;
    let mut shown: Vec<String> = Vec::new();
    while let Some(event) = events.next().await? {
        let Event::Asks(asks) = event else { continue };
        let waiting: Vec<AskInfo> = asks
            .received
            .into_iter()
            .filter(|one| one.state == "waiting")
            .collect();
        shown.retain(|ask| waiting.iter().any(|one| one.ask == *ask));
        for one in waiting {
            if shown.contains(&one.ask) {
                continue;
            }
            shown.push(one.ask.clone());
            session.out.say(&session.wrapped(&format!(
                "{} asks for {}. Answer with: hither asks answer {}",
                crate::show::device(&one.name, &one.device),
                display_name(&one.what),
                one.ask.chars().take(SHORT).collect::<String>()
            )));
            session.out.json(&Event::Ask(Box::new(one)));
            if session.out.is_unread() {
                return Ok(Exit::Done);
            }
        }
    }
    Err(ClientError::Broken("it stopped telling of requests".into()).into())
}
