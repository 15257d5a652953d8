//! `hither completions`.

use crate::cli::Cli;
use crate::session::{Outcome, Session};
use clap::CommandFactory;
use clap_complete::Shell;
use hither_api::Exit;

const EXAMPLES: &str = "\
Examples:
  hither completions bash > ~/.local/share/bash-completion/completions/hither
  hither completions zsh > ~/.zfunc/_hither
  hither completions fish > ~/.config/fish/completions/hither.fish";

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hither", &mut script);
    session.out.raw(&script);
    Ok(Exit::Done)
}
