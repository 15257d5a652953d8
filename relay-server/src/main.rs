//! Hither's relay.

mod banner;

use clap::{CommandFactory, Parser, Subcommand};
use hither_relay::config::{Config, Overrides, load};
use hither_relay::ops::start_log;
use hither_relay::start::{Running, start};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  hither-relay                                 run; the first start prints an invitation
  hither-relay template > config.toml          every key with its default and meaning
  hither-relay --config config.toml --set front.ping=25s
  hither-relay invite                          a new invitation, for devices of one user
  hither-relay devices                         who has joined, and was last there when";

/// Hither's relay: keeps encrypted shares and messages while your devices are away.
///
/// Without a command it runs. Everything has a default; the first start prints an invitation for
/// your devices.
#[derive(Debug, Parser)]
#[command(name = "hither-relay", version, max_term_width = 100, after_long_help = EXAMPLES)]
struct Options {
    /// Configuration file; without it /etc/hither-relay/config.toml, if it is there
    #[arg(long, value_name = "FILE", global = true, env = "HITHER_RELAY_CONFIG")]
    config: Option<PathBuf>,
    /// Folder for key, state and chunks
    #[arg(long, value_name = "DIR", global = true, env = "HITHER_RELAY_DATA")]
    data: Option<PathBuf>,
    /// Name or address at which devices find this relay
    #[arg(long, value_name = "HOST[:PORT]", global = true)]
    address: Option<String>,
    /// UDP and TCP port; 0: any
    #[arg(long, value_name = "PORT", global = true)]
    port: Option<u16>,
    /// Any key of the configuration file, such as front.ping=25s
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the relay (the same as no command)
    Run,
    /// Print a configuration file with every key, its default and what it means
    Template,
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man {
        /// The folder; made when missing
        folder: PathBuf,
    },
    #[command(flatten)]
    Admin(hither_relay::admin::Command),
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(Command::Template) = options.command {
        banner::template();
        return ExitCode::SUCCESS;
    }
    if let Some(Command::Man { folder }) = &options.command {
        return match man(folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                banner::failed(options.json, &format!("{}: {error}", folder.display()));
                ExitCode::FAILURE
            }
        };
    }
    let config = match configuration(&options) {
        Ok(config) => config,
        Err(problem) => {
            banner::failed(options.json, &problem);
            return ExitCode::from(2);
        }
    };
    match options.command {
        Some(Command::Admin(command)) => hither_relay::admin::run(command, &config, options.json),
        _ => run(config, options.json),
    }
}

fn man(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Options::command().disable_help_subcommand(true), folder)?;
    hither_util::man_page::shape(folder, "hither-relay")
}

/// Fewer open files than this are not enough for many devices at once.
const FEW_FILES: u64 = 4096;

/// Flag > environment > file > default.
fn configuration(options: &Options) -> Result<Config, String> {
    let mut overrides = Overrides::from_env();
    for set in &options.set {
        let (key, value) = set
            .split_once('=')
            .ok_or_else(|| format!("--set {set}: write KEY=VALUE"))?;
        overrides
            .0
            .push((key.trim().to_owned(), value.trim().to_owned()));
    }
    let mut config =
        load(options.config.as_deref(), &overrides).map_err(|error| error.to_string())?;
    config.data = options.data.clone().or(config.data);
    config.address = options.address.clone().or(config.address);
    config.port = options.port.unwrap_or(config.port);
    Ok(config)
}

fn run(config: Config, json: bool) -> ExitCode {
    if let Err(error) = start_log(&config.ops.log, config.ops.log_json) {
        banner::failed(json, &error.to_string());
        return ExitCode::from(2);
    }
    config
        .unknown
        .iter()
        .for_each(|unknown| tracing::warn!("{unknown}"));
    let files = hither_content::raise_open_files();
    if files < FEW_FILES {
        tracing::warn!(
            files,
            "this process may open few files: devices may be turned away; raise it with ulimit -n or LimitNOFILE"
        );
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            banner::failed(json, &error.to_string());
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(serve(config, json))
}

async fn serve(config: Config, json: bool) -> ExitCode {
    // Before anything is opened, so that a signal that comes at once is not lost.
    let signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    // Asks for the certificate of browsers to be read again, where there is one; ends nothing.
    let _hangups = signal(SignalKind::hangup());
    let [Ok(mut terminate), Ok(mut interrupt)] = signals else {
        banner::failed(json, "signals cannot be received");
        return ExitCode::FAILURE;
    };
    let running: Running = match start(config).await {
        Ok(running) => running,
        Err(error) => {
            banner::failed(json, &error.to_string());
            return ExitCode::FAILURE;
        }
    };
    banner::ready(json, &running);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    banner::going(json);
    let stopping = running.stop();
    tokio::select! {
        () = stopping => {}
        // Asked twice: not gently, then. What was answered is durable anyway.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    ExitCode::SUCCESS
}
