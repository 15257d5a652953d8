//! `hither man`, for packagers.

use crate::cli::Cli;
use crate::failure::{self, shown};
use crate::session::{Outcome, Session};
use clap::CommandFactory;
use hither_api::{ErrorCode, Exit};
use hither_util::man_page;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hither man /usr/share/man/man1";

/// The page of the daemon, which has hardly an option.
const DAEMON: &str = include_str!("hitherd.1");

/// Write the manual pages of all commands into a folder
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, hide = true)]
pub struct Args {
    /// The folder; made when missing
    folder: PathBuf,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Outcome {
    let failed = |error| failure::io(ErrorCode::NotWritable, shown(&args.folder), &error);
    std::fs::create_dir_all(&args.folder).map_err(failed)?;
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), &args.folder)
        .map_err(failed)?;
    man_page::shape(&args.folder, "hither").map_err(failed)?;
    std::fs::write(args.folder.join("hitherd.1"), DAEMON).map_err(failed)?;
    session
        .out
        .say(&format!("The manual pages are in {}.", shown(&args.folder)));
    Ok(Exit::Done)
}
