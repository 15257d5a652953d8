//! `hither unshare`.

use crate::complete;
use crate::pick::pick_share;
use crate::session::{Outcome, Session};
use clap_complete::engine::ArgValueCandidates;
use hither_api::{Exit, ShareInfo};
use hither_proto::display_name;

const EXAMPLES: &str = "\
Examples:
  hither unshare photos        by name
  hither unshare 3f2a          by the beginning of its id (see hither list)
  hither unshare ./photos      by its path

The files stay where they are. Devices that already fetched it keep what they
have, and give it to whoever has the ticket until it is unshared there too.";

/// End a share
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Its name, its id, the beginning of its id, or its path
    #[arg(add = ArgValueCandidates::new(complete::shares))]
    share: String,
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let client = session.daemon().await?;
    let shares = client.get::<Vec<ShareInfo>>("/v1/shares").await?;
    let share = pick_share(&shares, &args.share)?;
    let ended = client
        .delete::<ShareInfo>(&format!("/v1/shares/{}", share.share))
        .await?;
    session.out.json(&ended);
    session.out.say(&format!(
        "{} is no longer shared by this device.",
        display_name(&ended.name)
    ));
    Ok(Exit::Done)
}
