//! `hither completions`.

use crate::session::{Outcome, Session};
use clap_complete::Shell;
use clap_complete::env::Shells;
use hither_api::{ApiError, ErrorCode, Exit};

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
    let name = args.shell.to_string();
    let shells = Shells::builtins();
    let shell = shells.completer(&name).ok_or_else(|| {
        ApiError::new(ErrorCode::BadRequest, format!("{name} is not known here."))
    })?;
    // The script asks this program, which knows the user's devices, shares and transfers.
    shell
        .write_registration("COMPLETE", "hither", "hither", "hither", &mut script)
        .map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?;
    session.out.raw(&script);
    Ok(Exit::Done)
}
