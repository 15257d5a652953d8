//! `hither unshare`.

use crate::complete;
use crate::pick::pick_share;
use crate::session::{Outcome, Session};
use clap_complete::engine::ArgValueCandidates;
use hither_api::{ApiError, Client, ErrorCode, Exit, ListedShare, ShareInfo};
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
    let share = match pick_share(&shares, &args.share) {
        Err(error) if error.code == ErrorCode::NotFound => {
            return Err(elsewhere(&client, &args.share).await.unwrap_or(error));
        }
        picked => picked?,
    };
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

/// The words for a share of another device of the user: it ends where it was made.
async fn elsewhere(client: &Client, wanted: &str) -> Option<ApiError> {
    let listed = client.get::<Vec<ListedShare>>("/v1/catalogue").await.ok()?;
    let (device, name) = wanted.split_once('/').unwrap_or(("", wanted));
    let found = listed.into_iter().find(|one| {
        let is_meant = one.name == name || one.share == wanted;
        is_meant && (device.is_empty() || one.device_name == device)
    })?;
    let (name, device) = (display_name(&found.name), display_name(&found.device_name));
    let message = format!("{name} is shared by {device}, and a share ends on its own device.");
    let hint = format!("Type on {device}: hither unshare {name}");
    Some(ApiError::new(ErrorCode::NotFound, message).with_hint(hint))
}
