//! `hither down`.

use crate::daemon;
use crate::session::{Outcome, Session};
use hither_api::{ApiError, Client, ClientError, Exit};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  hither down                   stop the daemon; transfers can go on later
  hither down && hither up      restart it, for example after hither config set";

/// Stop the daemon
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {}

/// Runs the command.
pub async fn run(session: &Session<'_>, _: Args) -> Outcome {
    let paths = session.paths()?;
    let client = Client::of(&paths);
    let Some(status) = daemon::status(&paths).await? else {
        session.out.json(&json!({"event": "done"}));
        session.out.say("Hither was not running.");
        return Ok(Exit::Done);
    };
    match client.post::<Value>("/v1/shutdown", &json!({})).await {
        // A daemon that is gone before its answer arrives did what it was asked to do.
        Ok(_) | Err(ClientError::NotRunning | ClientError::Gone | ClientError::Broken(_)) => {}
        Err(error) => return Err::<Exit, ApiError>(error.into()),
    }
    daemon::wait_until_gone(&paths, status.pid).await?;
    session.out.json(&json!({"event": "done"}));
    session.out.say("Hither is stopped.");
    Ok(Exit::Done)
}
