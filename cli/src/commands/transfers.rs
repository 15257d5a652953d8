//! `hither transfers`.

use crate::complete;
use crate::pick::{id_length, pick, short};
use crate::session::{Outcome, Session};
use crate::show::{Align, Column, Table, ago, bytes, count, now, state, wrap};
use crate::{daemon, giving, live};
use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use hither_api::{ApiError, Client, Exit, GivingInfo, Phase, TransferInfo};
use hither_proto::display_name;
use serde_json::json;
use std::time::Duration;

/// How often `--watch` looks.
const WATCH: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  hither transfers                   what is and was fetched, here and from here
  hither transfers --watch           live: who gives how fast, and what
  hither transfers --watch photos    the same of one of them
  hither transfers pause photos      stop one; resume lets it go on
  hither transfers cancel 3f2a       stop one and discard what it has so far;
                                     a follow ends, and its files stay
  hither transfers clear             take what is over off the list";

/// Show what is being fetched, here and by others from here; pause, resume or cancel it
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Show them live until you press q
    #[arg(long)]
    watch: bool,
    /// Only this one: its name, its id, or the beginning of its id
    #[arg(add = ArgValueCandidates::new(complete::transfers))]
    transfer: Option<String>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Stop a transfer for now
    Pause(Which),
    /// Let a transfer go on
    Resume(Which),
    /// Take what is done, or failed and cannot go on, off the list, also what others fetched from here;
    /// files and shares stay
    Clear,
    /// Stop a transfer for good and discard what it has so far; end a follow: what is here whole
    /// stays
    Cancel(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Its name, its id, or the beginning of its id
    #[arg(add = ArgValueCandidates::new(complete::transfers))]
    transfer: String,
}

const COLUMNS: [Column; 7] = [
    Column::new("TRANSFER", Align::Left),
    Column::new("NAME", Align::Left).flexible(),
    Column::new("STATE", Align::Left),
    Column::new("SIZE", Align::Right),
    Column::new("RATE", Align::Right),
    Column::new("DEVICES", Align::Right).optional(),
    Column::new("STARTED", Align::Left).optional(),
];

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let client = session.daemon().await?;
    match args.action {
        Some(action) => act(session, &client, &action).await,
        None => {
            let only = only(&client, args.transfer.as_deref()).await?;
            // A viewer does not start a daemon again that somebody has stopped, but one that
            // died.
            let client = if args.watch {
                daemon::client_of_the_dead(&session.paths()?)
            } else {
                client
            };
            match args.watch {
                true if session.out.draws_screens() => {
                    live::watch(&client, only, session.out.has_colours()).await
                }
                true => watch(session, &client, only.as_deref()).await,
                false => {
                    let transfers = shown(&client, only.as_deref()).await?;
                    let givings = given(&client, only.as_deref()).await?;
                    session.out.json_lines(&transfers);
                    session.out.json_lines(&givings);
                    lines(session, &transfers, &givings)
                        .iter()
                        .for_each(|line| session.out.result(line));
                    Ok(Exit::Done)
                }
            }
        }
    }
}

/// The id of the one that is named, if one is.
async fn only(client: &Client, wanted: Option<&str>) -> Result<Option<String>, ApiError> {
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    Ok(Some(pick(&all(client).await?, wanted)?.transfer.clone()))
}

/// Those that are shown: all, or the one with an id.
async fn shown(client: &Client, only: Option<&str>) -> Result<Vec<TransferInfo>, ApiError> {
    let mut transfers = all(client).await?;
    transfers.retain(|transfer| only.is_none_or(|only| transfer.transfer == only));
    Ok(transfers)
}

/// The fetches of others from here; none beside the one transfer that is named.
async fn given(client: &Client, only: Option<&str>) -> Result<Vec<GivingInfo>, ApiError> {
    match only {
        Some(_) => Ok(Vec::new()),
        None => giving::list(client).await,
    }
}

/// All transfers, the latest first.
async fn all(client: &Client) -> Result<Vec<TransferInfo>, ApiError> {
    let mut transfers = client.get::<Vec<TransferInfo>>("/v1/transfers").await?;
    transfers.sort_by_key(|transfer| std::cmp::Reverse(transfer.started));
    Ok(transfers)
}

/// Takes what is over off the list, and says how much is left.
async fn clear(session: &Session<'_>, client: &Client) -> Outcome {
    let transfers: Vec<TransferInfo> = client.delete("/v1/transfers").await?;
    let givings: Vec<GivingInfo> = client.delete("/v1/giving").await?;
    session.out.json_lines(&transfers);
    session.out.json_lines(&givings);
    session.out.say(&match transfers.len() + givings.len() {
        0 => "The list is empty.".into(),
        left => format!("{} left on the list.", count(left as u64, "transfer")),
    });
    Ok(Exit::Done)
}

async fn act(session: &Session<'_>, client: &Client, action: &Action) -> Outcome {
    let (Action::Pause(which) | Action::Resume(which) | Action::Cancel(which)) = action else {
        return clear(session, client).await;
    };
    let transfers = all(client).await?;
    let path = format!(
        "/v1/transfers/{}",
        pick(&transfers, &which.transfer)?.transfer
    );
    let (now, done) = match action {
        Action::Pause(_) => (
            client
                .post::<TransferInfo>(&format!("{path}/pause"), &json!({}))
                .await?,
            "is paused",
        ),
        Action::Resume(_) => (
            client.post(&format!("{path}/resume"), &json!({})).await?,
            "goes on",
        ),
        Action::Cancel(_) | Action::Clear => {
            let info: TransferInfo = client.delete(&path).await?;
            let followed = info.follow.as_ref().is_some_and(|f| f.version.is_some());
            let done = if followed {
                "is not followed any more; what is here stays"
            } else {
                "is cancelled"
            };
            (info, done)
        }
    };
    session.out.json(&now);
    session.out.say(&format!("{} {done}.", name(&now)));
    Ok(Exit::Done)
}

/// Tells of the transfers until interrupted, whenever they change: for programs and for terminals
/// without screens.
async fn watch(session: &Session<'_>, client: &Client, only: Option<&str>) -> Outcome {
    let (mut before, mut given_before) = (Vec::<TransferInfo>::new(), Vec::<GivingInfo>::new());
    let mut told: Vec<String> = Vec::new();
    loop {
        let transfers = shown(client, only).await?;
        for changed in transfers.iter().filter(|now| !before.contains(now)) {
            session.out.json(changed);
        }
        let givings = given(client, only).await?;
        for changed in givings.iter().filter(|now| !given_before.contains(now)) {
            session.out.json(changed);
        }
        let lines = lines(session, &transfers, &givings);
        if told != lines {
            lines.iter().for_each(|line| session.out.result(line));
            told = lines;
        }
        if session.out.is_unread() {
            return Ok(Exit::Done);
        }
        (before, given_before) = (transfers, givings);
        tokio::time::sleep(WATCH).await;
    }
}

/// The transfers, then what is given.
fn lines(session: &Session<'_>, transfers: &[TransferInfo], givings: &[GivingInfo]) -> Vec<String> {
    let mut lines = match (transfers.is_empty(), givings.is_empty()) {
        (true, false) => Vec::new(),
        _ => fetched(session, transfers),
    };
    if !givings.is_empty() {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(session.table_lines(giving::table(givings, now())));
    }
    lines
}

fn fetched(session: &Session<'_>, transfers: &[TransferInfo]) -> Vec<String> {
    if transfers.is_empty() {
        let hint = "Nothing was fetched yet. Fetch something with: hither fetch TICKET";
        return if session.out.is_quiet() {
            Vec::new()
        } else {
            vec![hint.into()]
        };
    }
    let mut lines = session.table_lines(table(transfers, now()));
    for transfer in transfers {
        if let (Some(reason), true) = (&transfer.reason, unfinished(transfer.phase)) {
            let text = format!("{}: {}", name(transfer), display_name(reason));
            lines.extend(
                wrap("", &text, session.out.prose_width())
                    .lines()
                    .map(str::to_owned),
            );
        }
    }
    lines
}

const fn unfinished(phase: Phase) -> bool {
    matches!(phase, Phase::Failed | Phase::Waiting | Phase::Paused)
}

/// What a transfer is called, also while its name is not known.
fn name(transfer: &TransferInfo) -> String {
    if transfer.name.is_empty() {
        "(name not known yet)".into()
    } else {
        display_name(&transfer.name)
    }
}

fn table(transfers: &[TransferInfo], now: u64) -> Table {
    let length = id_length(transfers);
    let mut table = Table::new(&COLUMNS);
    let some = |number: u64, text: String| if number > 0 { text } else { "–".into() };
    for transfer in transfers {
        table.row([
            short(&transfer.transfer, length).to_owned(),
            name(transfer),
            state(transfer),
            some(transfer.total, bytes(transfer.total)),
            some(transfer.rate, format!("{}/s", bytes(transfer.rate))),
            some(transfer.devices.into(), transfer.devices.to_string()),
            ago(transfer.started, now),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_and_finished_transfers_are_told_apart() {
        let running = TransferInfo {
            transfer: "0011223344".into(),
            share: "s".into(),
            name: "film".into(),
            path: "/x/film".into(),
            phase: Phase::Fetching,
            bytes: 400,
            total: 1000,
            rate: 118_000_000,
            devices: 2,
            started: 10,
            ended: None,
            seconds: 0.0,
            reason: None,
            follow: None,
            names: Default::default(),
            currency: None,
            sources: Vec::new(),
        };
        let unknown = TransferInfo {
            transfer: "ff".into(),
            name: String::new(),
            phase: Phase::Connecting,
            bytes: 0,
            total: 0,
            rate: 0,
            devices: 0,
            ..running.clone()
        };
        let lines = table(&[running, unknown], 75).lines(80);
        assert_eq!(
            lines,
            [
                "TRANSFER  NAME                  STATE         SIZE      RATE  DEVICES  STARTED",
                "00112233  film                  fetching 40%  1 kB  118 MB/s        2  1 min ago",
                "ff        (name not known yet)  connecting       –         –        –  1 min ago",
            ]
        );
    }
}
