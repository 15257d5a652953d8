//! `hither ticket`.

use crate::commands::share::{Qr, print_ticket};
use crate::complete;
use crate::pick::pick_share;
use crate::session::{Outcome, Session};
use clap_complete::engine::ArgValueCandidates;
use hither_api::{Exit, ShareInfo, TicketInfo};

const EXAMPLES: &str = "\
Examples:
  hither ticket photos         by name
  hither ticket 3f2a           by the beginning of its id (see hither list)";

/// Print the ticket of a share again
///
/// The addresses in it are those of now, so that a new ticket helps when the old one does not find
/// this device.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Its name, its id, the beginning of its id, or its path
    #[arg(add = ArgValueCandidates::new(complete::shares))]
    share: String,
    /// Draw a QR code even where it does not fit the screen
    #[arg(long, conflicts_with = "no_qr")]
    qr: bool,
    /// Draw no QR code
    #[arg(long)]
    no_qr: bool,
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let client = session.daemon().await?;
    let shares = client.get::<Vec<ShareInfo>>("/v1/shares").await?;
    let share = pick_share(&shares, &args.share)?;
    let info = client
        .get::<TicketInfo>(&format!("/v1/shares/{}/ticket", share.share))
        .await?;
    session.out.json(&info);
    let drawn = match (args.qr, args.no_qr) {
        (true, _) => Qr::Always,
        (false, true) => Qr::Never,
        (false, false) => Qr::WhereItFits,
    };
    print_ticket(session, &info.ticket, drawn);
    Ok(Exit::Done)
}
