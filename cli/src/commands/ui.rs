//! `hither ui`.

use crate::session::{Outcome, Session};
use hither_api::{DashboardInfo, Exit};
use serde_json::json;
use std::process::{Command, Stdio};

const EXAMPLES: &str = "\
Examples:
  hither ui                opens the dashboard in the browser
  hither ui --print        prints its address, good once and for a minute

Only you, on this machine, are let in.";

/// Open the dashboard in the browser
///
/// Devices, transfers with their map, shares, inbox, requests, groups and settings, as they change. It
/// is served by the daemon at the loopback address.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Print the address instead of opening a browser
    #[arg(long)]
    print: bool,
}

/// Programs that open an address in the user's browser, the system's own choice first.
const OPENERS: [&str; 4] = ["xdg-open", "open", "wslview", "termux-open-url"];

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let client = session.daemon().await?;
    let info = client
        .post::<DashboardInfo>("/v1/dashboard", &json!({}))
        .await?;
    session.out.json(&info);
    // An address in the arguments of a program is seen by other users of the machine: only where the
    // daemon recognises and refuses them.
    if !args.print && !session.out.is_json() && info.same_user && opened(&info.url) {
        session.out.say("The dashboard opens in your browser.");
        return Ok(Exit::Done);
    }
    session.out.note(&format!(
        "Open this in a browser on this machine, once, within {} seconds:",
        info.left_seconds
    ));
    if !session.out.is_json() {
        session.out.result(&info.url);
    }
    Ok(Exit::Done)
}

/// Has a program open it; false where there is no program, or no screen.
fn opened(url: &str) -> bool {
    let has_screen = !cfg!(target_os = "linux")
        || [
            "DISPLAY",
            "WAYLAND_DISPLAY",
            "BROWSER",
            "TERMUX_VERSION",
            "WSL_DISTRO_NAME",
        ]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    has_screen
        && OPENERS.iter().any(|opener| {
            let begun = Command::new(opener)
                .arg(url)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            begun.is_ok_and(|status| status.success())
        })
}
