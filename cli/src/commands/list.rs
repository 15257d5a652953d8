//! `hither list`.

use crate::complete;
use crate::pick::{id_length, short};
use crate::session::{Outcome, Session};
use crate::show::{Align, Column, Table, ago, bytes, count, device, followed, grouped, now, until};
use clap_complete::engine::ArgValueCandidates;
use hither_api::{
    ApiError, Client, ErrorCode, Exit, FollowInfo, ListedShare, ShareInfo, Status, UploadInfo,
    UploadState,
};
use hither_proto::display_name;
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  hither list
  hither list --all            also what your other devices share
  hither list --on nas         the folders that another device exposes to you
  hither list --on nas docs    what is in one of them
  hither list --json | jq -r 'select(.mine) | .name'";

/// List the shares of this device
///
/// Shares that this device made, and shares it fetched and passes on to others.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Also what your other devices and members of your groups share, as far as they told this
    /// one; each line of JSON has its device
    #[arg(long, short)]
    pub all: bool,
    /// What this device exposes to this one, instead: its name, short id or id
    #[arg(long, value_name = "DEVICE", conflicts_with = "all", add = ArgValueCandidates::new(complete::devices))]
    pub on: Option<String>,
    /// A folder there: the name of an exposed folder, and names below it
    #[arg(requires = "on")]
    pub path: Option<String>,
}

const COLUMNS: [Column; 11] = [
    Column::new("SHARE", Align::Left),
    Column::new("NAME", Align::Left).flexible(),
    Column::new("GROUP", Align::Left).flexible().sparse(),
    Column::new("FOLLOWED", Align::Left).flexible().sparse(),
    Column::new("FILES", Align::Right),
    Column::new("SIZE", Align::Right),
    Column::new("FROM", Align::Left).optional(),
    Column::new("PUBLISHED", Align::Left).optional(),
    Column::new("ENDS", Align::Left).optional(),
    Column::new("RELAY", Align::Left).optional(),
    Column::new("PATH", Align::Left).flexible().optional(),
];

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let client = session.daemon().await?;
    if let Some(on) = args.on {
        return super::upload::list(session, &client, on, args.path.unwrap_or_default()).await;
    }
    let shares = client.get::<Vec<ShareInfo>>("/v1/shares").await?;
    if args.all {
        return all(session, &client, shares).await;
    }
    session.out.json_lines(&shares);
    show(session, shares);
    Ok(Exit::Done)
}

/// The shares of this device and of the user's others.
async fn all(session: &Session<'_>, client: &Client, shares: Vec<ShareInfo>) -> Outcome {
    let others = client.get::<Vec<ListedShare>>("/v1/catalogue").await?;
    let this = client.get::<Status>("/v1/status").await?.device;
    for share in &shares {
        let mut line = serde_json::to_value(share).map_err(|error| {
            ApiError::new(
                ErrorCode::Internal,
                format!("A share cannot be told as JSON: {error}."),
            )
        })?;
        line["device"] = json!(this);
        session.out.json(&line);
    }
    session.out.json_lines(&others);
    show(session, shares);
    session.out.say("");
    if others.is_empty() {
        session
            .out
            .say("Your other devices, and members of your groups, have told of no shares.");
    } else {
        session.table(table_of_others(&others, now()));
        session
            .out
            .say("\nFetch one with: hither fetch DEVICE/NAME");
    }
    Ok(Exit::Done)
}

/// Shows people what this device shares.
fn show(session: &Session<'_>, mut shares: Vec<ShareInfo>) {
    if shares.is_empty() {
        session
            .out
            .say("Nothing is shared. Share something with: hither share PATH");
        return;
    }
    shares.sort_by_key(|share| std::cmp::Reverse(share.published));
    session.table(table(&shares, now()));
    for share in &shares {
        let name = display_name(&share.name);
        // What is only a matter of time needs no words.
        let upload = share
            .upload
            .as_ref()
            .filter(|upload| !upload.may_come() && upload.reason.is_some());
        for words in share
            .trouble
            .iter()
            .chain(upload.map(|upload| &upload.words))
        {
            session
                .out
                .say(&session.wrapped(&format!("{name}: {words}")));
        }
        let follow = share.follow.as_ref().and_then(follow_words);
        for words in left_out(share)
            .into_iter()
            .chain(unportable(share))
            .chain(follow)
        {
            session
                .out
                .say(&session.wrapped(&format!("{name}: {words}")));
        }
    }
}

/// Returns what lies in a share and is not shared, in a sentence.
fn left_out(share: &ShareInfo) -> Option<String> {
    let first = share.left_out.first()?;
    let (path, reason) = (display_name(&first.path), display_name(&first.reason));
    let more = match share.left_out_total.saturating_sub(1) {
        0 => String::new(),
        more => format!(" {more} more are left out: hither list --json"),
    };
    Some(format!("{path} is not shared because {reason}.{more}"))
}

/// Returns which names of a share not every system can write, in a sentence.
fn unportable(share: &ShareInfo) -> Option<String> {
    let first = share.unportable.first()?;
    let (path, reason) = (display_name(&first.path), display_name(&first.reason));
    let more = match share.unportable_total.saturating_sub(1) {
        0 => String::new(),
        more => format!(" {more} more like it: hither list --json"),
    };
    Some(format!(
        "{path} has another name on systems that cannot write it: {reason}.{more}"
    ))
}

/// Returns what there is to say of a followed copy, in a sentence.
fn follow_words(follow: &FollowInfo) -> Option<String> {
    let conflicts = match follow.conflicts {
        0 => None,
        number => Some(format!(
            "{} of yours: not what was fetched, and left as it is. Remove the copy beside it, or the file, to end that.",
            count(number, "conflict")
        )),
    };
    let reason = follow.reason.as_deref().map(display_name);
    match (reason, conflicts) {
        (Some(reason), Some(conflicts)) => Some(format!("{reason} {conflicts}")),
        (reason, conflicts) => reason.or(conflicts),
    }
}

/// How an upload stands, in a word or two.
fn upload(upload: &UploadInfo) -> String {
    match (upload.state, upload.reason) {
        (UploadState::Uploaded, _) => "kept".into(),
        (UploadState::Uploading, _) => format!("{} %", upload.bytes * 100 / upload.total.max(1)),
        (UploadState::Waiting, Some(ErrorCode::OverQuota)) => "over quota".into(),
        (UploadState::Waiting, Some(ErrorCode::NoSpace)) => "no space".into(),
        (UploadState::Waiting, Some(ErrorCode::Changing)) => "changed".into(),
        (UploadState::Waiting, _) => "waiting".into(),
        (UploadState::Off, _) => "off".into(),
    }
}

/// Where a share is.
fn path(share: &ShareInfo) -> String {
    if share.piped {
        return "(a pipe)".into();
    }
    let first = display_name(&share.path);
    match share.more_paths.len() {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// When a share ends by itself.
fn ends(share: &ShareInfo, now: u64) -> String {
    match (share.once, share.expires) {
        (true, None) => "1 fetch".into(),
        (true, Some(end)) => format!("1 fetch, {}", until(end, now)),
        (false, end) => end.map_or("–".into(), |end| until(end, now)),
    }
}

fn table(shares: &[ShareInfo], now: u64) -> Table {
    let length = id_length(shares);
    let mut table = Table::new(&COLUMNS);
    for share in shares {
        table.row([
            short(&share.share, length).to_owned(),
            display_name(&share.name),
            share.group.as_deref().map(display_name).unwrap_or_default(),
            share.follow.as_ref().map(followed).unwrap_or_default(),
            grouped(share.files),
            bytes(share.bytes),
            if share.mine {
                "this device".into()
            } else {
                device("", &share.owner)
            },
            ago(share.published, now),
            ends(share, now),
            share.upload.as_ref().map_or("–".into(), upload),
            path(share),
        ]);
    }
    table
}

const COLUMNS_OF_OTHERS: [Column; 7] = [
    Column::new("DEVICE", Align::Left).flexible(),
    Column::new("NAME", Align::Left).flexible(),
    Column::new("GROUP", Align::Left).flexible().sparse(),
    Column::new("FILES", Align::Right),
    Column::new("SIZE", Align::Right),
    Column::new("PUBLISHED", Align::Left).optional(),
    Column::new("ENDS", Align::Left).optional(),
];

fn table_of_others(shares: &[ListedShare], now: u64) -> Table {
    let mut table = Table::new(&COLUMNS_OF_OTHERS);
    for share in shares {
        table.row([
            device(&share.device_name, &share.device),
            display_name(&share.name),
            share.group.as_deref().map(display_name).unwrap_or_default(),
            grouped(share.files),
            bytes(share.bytes),
            ago(share.published, now),
            share.expires.map_or("–".into(), |end| until(end, now)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_shares_fits_the_terminal() {
        let share = ShareInfo {
            share: "00112233445566778899aabbccddeeff".into(),
            name: "a rather long name of a folder with photos of a holiday".into(),
            path: "/home/someone/pictures/holiday".into(),
            more_paths: Vec::new(),
            mine: false,
            owner: "12D3KooWabcdefgh".into(),
            version: 1,
            files: 1204,
            bytes: 3_200_000_000,
            chunks: 4000,
            held: 4000,
            published: 1000,
            expires: Some(1180 + 7 * 86_400),
            group: None,
            watched: false,
            once: false,
            piped: false,
            exclude: Vec::new(),
            state: hither_api::ShareState::Whole,
            trouble: None,
            left_out: Vec::new(),
            left_out_total: 0,
            unportable: Vec::new(),
            unportable_total: 0,
            follow: None,
            upload: None,
        };
        let mine = ShareInfo {
            share: "ff".repeat(16),
            mine: true,
            expires: None,
            ..share.clone()
        };
        let piped = ShareInfo {
            once: true,
            piped: true,
            ..mine.clone()
        };
        let of_pipe = table(std::slice::from_ref(&piped), 1180).lines(120);
        assert!(
            of_pipe[1].contains("1 fetch") && of_pipe[1].ends_with("(a pipe)"),
            "{of_pipe:#?}"
        );
        let shares = [share, mine];
        for width in [40, 52, 80, 120] {
            let lines = table(&shares, 1180).lines(width);
            assert!(
                lines
                    .iter()
                    .all(|line| console::measure_text_width(line) <= width),
                "{lines:#?}"
            );
        }
        let lines = table(&shares, 1180).lines(80);
        assert!(
            lines[1].starts_with("00112233  a rather") && lines[1].contains("3 min ago  in 7 days")
        );
        assert!(lines[2].contains("this device"), "{lines:#?}");
    }
}
