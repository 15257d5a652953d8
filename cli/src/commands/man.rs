//! `hither man`, for packagers.

use crate::cli::Cli;
use crate::failure::{self, shown};
use crate::session::{Outcome, Session};
use clap::CommandFactory;
use hither_api::{ErrorCode, Exit};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hither man /usr/share/man/man1";

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
    for entry in std::fs::read_dir(&args.folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("hither") && name.ends_with(".1") {
            let page = std::fs::read_to_string(&path).map_err(failed)?;
            std::fs::write(&path, with_examples(&page)).map_err(failed)?;
        }
    }
    session
        .out
        .say(&format!("The manual pages are in {}.", shown(&args.folder)));
    Ok(Exit::Done)
}

/// The page with its examples as they were written, line by line, under a heading of their own.
fn with_examples(page: &str) -> String {
    let mut lines = Vec::new();
    let mut as_written = false;
    for line in page.lines() {
        if as_written && line.starts_with(".SH") {
            lines.push(".fi");
            as_written = false;
        }
        match line {
            ".SH EXTRA" => {
                lines.extend([".SH EXAMPLES", ".nf"]);
                as_written = true;
            }
            // The heading says it.
            "Examples:" if as_written => {}
            ".PP" if as_written => lines.push(""),
            _ => lines.push(line),
        }
    }
    if as_written {
        lines.push(".fi");
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_stay_line_by_line() {
        let page = ".SH OPTIONS\nx\n.SH EXTRA\nExamples:\n  hither up   start\n  hither up   again\n.PP\nProse.\n.SH VERSION\nv1\n";
        assert_eq!(
            with_examples(page),
            ".SH OPTIONS\nx\n.SH EXAMPLES\n.nf\n  hither up   start\n  hither up   again\n\nProse.\n.fi\n.SH VERSION\nv1\n"
        );
    }
}
