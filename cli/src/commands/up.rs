//! `hither up`.

use crate::session::{Outcome, Session};
use crate::{daemon, failure};
use hither_api::{ApiError, ErrorCode, Exit, Status};
use hither_proto::display_name;
use std::os::unix::process::CommandExt;

const EXAMPLES: &str = "\
Examples:
  hither up                  start the daemon and return
  hither up --foreground     be the daemon, for a service manager

Every command that needs the daemon starts it by itself; this one starts it
ahead of time.";

/// Start the daemon
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Do not return: run the daemon here until it ends
    #[arg(long)]
    foreground: bool,
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    if args.foreground {
        return Err(become_daemon(session).await);
    }
    let (_, status) = session.daemon_status().await?;
    session.out.json(&status);
    session.out.say(&format!(
        "Hither is running on {} ({}).",
        display_name(&status.name),
        status.short
    ));
    session.out.say(&format!("  Device  {}", status.device));
    session.out.say(&format!("  Ports   {}", ports(&status)));
    for warning in &status.warnings {
        session.out.warning(warning);
    }
    Ok(Exit::Done)
}

/// The ports the daemon listens on.
pub fn ports(status: &Status) -> String {
    let named = [("UDP", status.udp_port), ("TCP", status.tcp_port)];
    let ports: Vec<String> = named
        .iter()
        .filter_map(|(name, port)| port.map(|port| format!("{name} {port}")))
        .collect();
    if ports.is_empty() {
        "none: no other device can connect".into()
    } else {
        ports.join(", ")
    }
}

/// Replaces this process by the daemon; returns only when that fails.
async fn become_daemon(session: &Session<'_>) -> ApiError {
    let program = match prepare(session).await {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut command = std::process::Command::new(&program);
    command.arg("--foreground");
    for (name, value) in daemon::environment() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let error = command.exec();
    failure::io(
        ErrorCode::NoDaemon,
        format!(
            "The daemon cannot be started ({})",
            failure::shown(&program)
        ),
        &error,
    )
}

async fn prepare(session: &Session<'_>) -> Result<std::path::PathBuf, ApiError> {
    let paths = session.paths()?;
    if let Some(status) = daemon::status(&paths).await? {
        let message = format!("The daemon is already running (process {}).", status.pid);
        return Err(
            ApiError::new(ErrorCode::BadRequest, message).with_hint("Stop it first: hither down")
        );
    }
    daemon::program()
}
