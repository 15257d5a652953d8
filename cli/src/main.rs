//! `hither`, the command line: asks the daemon and shows its answers.
//!
//! Every command is one file in `commands` and ends in an [`Exit`] or an [`ApiError`]; only here
//! the latter becomes an English sentence with a hint, or the last JSON line, and an exit status.
//! `output` alone writes to the standard streams, but for `live`, which has the whole terminal
//! while it runs; `show` makes text of data and knows no streams.
//!
//! Invariants: a ticket is never given to another process; names from elsewhere reach a terminal
//! only through [`hither_proto::display_name`]; under `--json` standard output carries nothing but
//! JSON lines.

mod cli;
mod commands;
mod complete;
mod daemon;
mod failure;
mod giving;
mod input;
mod likeness;
mod link;
mod live;
mod output;
mod pick;
mod pipe;
mod session;
mod show;
mod signals;
mod target;
mod upload;

use clap::{CommandFactory, FromArgMatches};
use cli::Cli;
use hither_api::{ApiError, Exit};
use output::Output;
use session::Session;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A shell that completes asks by an environment variable, and is answered here.
    clap_complete::env::CompleteEnv::with_factory(Cli::command).complete();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    ExitCode::from(match parse(&arguments) {
        Ok(cli) => run(cli),
        Err(error) => refuse(&error, &arguments),
    } as u8)
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let colour = if given(arguments, "--no-color") {
        clap::ColorChoice::Never
    } else {
        clap::ColorChoice::Auto
    };
    let matches = Cli::command()
        .color(colour)
        .try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches)
}

/// Whether a flag was given, as far as can be told before (or without) parsing.
fn given(arguments: &[OsString], flag: &str) -> bool {
    arguments
        .iter()
        .skip(1)
        .take_while(|a| *a != "--")
        .any(|a| a == flag)
}

/// Answers a command line that clap did not turn into a command: help, version, or wrong usage.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> Exit {
    if given(arguments, "--json") && error.use_stderr() {
        Output::for_scripts().error(&failure::usage(error));
        return Exit::Usage;
    }
    // Nothing useful can be done when the help text cannot be written.
    let _ = error.print();
    if let Some(tip) = cli::tip(error) {
        eprintln!("\n  tip: {tip}");
    }
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Done
    }
}

fn run(cli: Cli) -> Exit {
    let out = Output::new(cli.global);
    let outcome = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let outcome = runtime.block_on(commands::run(&Session::new(&out), cli.command));
            // A thread that waits for a line on standard input must not hold up the end.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(ApiError::from(hither_api::ClientError::Broken(
            error.to_string(),
        ))),
    };
    let exit = outcome.unwrap_or_else(|error| {
        out.error(&error);
        error.code.exit()
    });
    out.finish(exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn flags_are_seen_before_parsing_but_not_behind_the_double_dash() {
        assert!(given(&words("hither share --json"), "--json"));
        assert!(!given(&words("hither share -- --json"), "--json"));
        assert!(!given(&words("--json share"), "--json"));
    }
}
