//! `hither expose`.

use crate::commands::share::absolute;
use crate::session::{Outcome, Session};
use crate::show::{Align, Column, Table, ago, now};
use hither_api::{EndExposureRequest, Exit, ExposeRequest, ExposureInfo};
use hither_proto::display_name;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hither expose ~/photos --to laptop    laptop may list it and have it uploaded
  hither expose ~/work --to team        the same for the members of a group
  hither expose                         what is exposed
  hither expose --end photos            at once, with what was shared out of it

There:
  hither list --on nas photos
  hither upload --on nas photos/2026

Only reading: nothing is ever written into an exposed folder. Symbolic links
and other disks in it are not followed. audit.log in the data folder lists who
asked for what.";

/// Let a device or group list a folder and have it uploaded, without anybody here
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The folder; without it, what is exposed is listed
    #[arg(requires = "to")]
    pub path: Option<PathBuf>,
    /// To whom: a device (see hither devices), or a group
    #[arg(long, value_name = "DEVICE|GROUP", requires = "path")]
    pub to: Option<String>,
    /// End it: the name that the list shows
    #[arg(long, value_name = "NAME", conflicts_with = "path")]
    pub end: Option<String>,
}

const COLUMNS: [Column; 4] = [
    Column::new("NAME", Align::Left).flexible(),
    Column::new("TO", Align::Left).flexible(),
    Column::new("SINCE", Align::Left),
    Column::new("PATH", Align::Left).flexible(),
];

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let client = session.daemon().await?;
    if let Some(name) = args.end {
        let request = EndExposureRequest { name };
        let ended = client
            .post::<ExposureInfo>("/v1/exposures/end", &request)
            .await?;
        session.out.json(&ended);
        session.out.say(&session.wrapped(&format!(
            "{} is no longer exposed; what was shared out of it has ended.",
            display_name(&ended.name)
        )));
        return Ok(Exit::Done);
    }
    if let (Some(path), Some(to)) = (args.path, args.to) {
        let request = ExposeRequest {
            path: absolute(&path)?,
            to,
        };
        let exposed = client
            .post::<ExposureInfo>("/v1/exposures", &request)
            .await?;
        session.out.json(&exposed);
        session.out.say(&session.wrapped(&format!(
            "{} may list {} and have it uploaded. To end that: hither expose --end {}",
            display_name(&exposed.to),
            display_name(&exposed.name),
            display_name(&exposed.name)
        )));
        return Ok(Exit::Done);
    }
    let all = client.get::<Vec<ExposureInfo>>("/v1/exposures").await?;
    session.out.json_lines(&all);
    if all.is_empty() {
        session
            .out
            .say("Nothing is exposed. Expose a folder: hither expose PATH --to DEVICE");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&COLUMNS);
    for one in &all {
        table.row([
            display_name(&one.name),
            display_name(&one.to),
            ago(one.since, now()),
            display_name(&one.path),
        ]);
    }
    session.table(table);
    Ok(Exit::Done)
}
