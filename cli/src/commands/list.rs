//! `hither list`.

use crate::pick::{id_length, short};
use crate::session::{Outcome, Session};
use crate::show::{Align, Column, Table, ago, bytes, device, grouped, now, until};
use hither_api::{ErrorCode, Exit, ShareInfo, UploadInfo, UploadState};
use hither_proto::display_name;

const EXAMPLES: &str = "\
Examples:
  hither list
  hither list --json | jq -r 'select(.mine) | .name'";

/// List the shares of this device
///
/// Shares that this device made, and shares it fetched and passes on to others.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {}

const COLUMNS: [Column; 9] = [
    Column::new("SHARE", Align::Left),
    Column::new("NAME", Align::Left).flexible(),
    Column::new("FILES", Align::Right),
    Column::new("SIZE", Align::Right),
    Column::new("FROM", Align::Left).optional(),
    Column::new("PUBLISHED", Align::Left).optional(),
    Column::new("ENDS", Align::Left).optional(),
    Column::new("RELAY", Align::Left).optional(),
    Column::new("PATH", Align::Left).flexible().optional(),
];

/// Runs the command.
pub async fn run(session: &Session<'_>, _: Args) -> Outcome {
    let mut shares = session.daemon().await?.get::<Vec<ShareInfo>>("/v1/shares").await?;
    session.out.json_lines(&shares);
    if shares.is_empty() {
        session.out.say("Nothing is shared. Share something with: hither share PATH");
        return Ok(Exit::Done);
    }
    shares.sort_by_key(|share| std::cmp::Reverse(share.published));
    session.table(table(&shares, now()));
    for share in &shares {
        let name = display_name(&share.name);
        // What is only a matter of time needs no words.
        let upload = share.upload.as_ref().filter(|upload| !upload.may_come() && upload.reason.is_some());
        for words in share.trouble.iter().chain(upload.map(|upload| &upload.words)) {
            session.out.say(&session.wrapped(&format!("{name}: {words}")));
        }
    }
    Ok(Exit::Done)
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

fn table(shares: &[ShareInfo], now: u64) -> Table {
    let length = id_length(shares);
    let mut table = Table::new(&COLUMNS);
    for share in shares {
        table.row([
            short(&share.share, length).to_owned(),
            display_name(&share.name),
            grouped(share.files),
            bytes(share.bytes),
            if share.mine { "this device".into() } else { device("", &share.owner) },
            ago(share.published, now),
            share.expires.map_or("–".into(), |end| until(end, now)),
            share.upload.as_ref().map_or("–".into(), upload),
            display_name(&share.path),
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
            mine: false,
            owner: "12D3KooWabcdefgh".into(),
            version: 1,
            files: 1204,
            bytes: 3_200_000_000,
            chunks: 4000,
            held: 4000,
            published: 1000,
            expires: Some(1180 + 7 * 86_400),
            watched: false,
            trouble: None,
            upload: None,
        };
        let mine = ShareInfo { share: "ff".repeat(16), mine: true, expires: None, ..share.clone() };
        let shares = [share, mine];
        for width in [40, 52, 80, 120] {
            let lines = table(&shares, 1180).lines(width);
            assert!(lines.iter().all(|line| console::measure_text_width(line) <= width), "{lines:#?}");
        }
        let lines = table(&shares, 1180).lines(80);
        assert!(lines[1].starts_with("00112233  a rather") && lines[1].contains("3 min ago  in 7 days"));
        assert!(lines[2].contains("this device"), "{lines:#?}");
    }
}
