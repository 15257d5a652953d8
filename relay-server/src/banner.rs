//! The lines that `hither-relay run` prints: that it is ready, where it is, and at the very first
//! start an invitation.

use hither_relay::config::TEMPLATE;
use hither_relay::start::Running;
use qrcode::{Color, EcLevel, QrCode};
use serde_json::json;
use std::io::{self, IsTerminal, Write};

/// Light modules around a QR code (ISO/IEC 18004 wants four; two still read well).
const QUIET: usize = 2;

fn say(text: &str) {
    let mut out = io::stdout().lock();
    // Nobody may be reading: that is no reason to stop.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints the template of the configuration file.
pub(crate) fn template() {
    say(TEMPLATE.trim_end());
}

/// Prints why it did not start.
pub(crate) fn failed(json: bool, problem: &str) {
    if json {
        say(&json!({"event": "error", "message": problem}).to_string());
    } else {
        let _ = writeln!(io::stderr().lock(), "hither-relay: {problem}");
    }
}

/// Prints that it is ready. Scripts wait for this: the line begins with "ready", or has the event
/// "ready".
pub(crate) fn ready(json: bool, running: &Running) {
    let node = &running.node;
    let invitation = running.invitation.as_ref();
    if json {
        say(&json!({
            "event": "ready",
            "node": node.id().to_string(),
            "url": running.url.to_string(),
            "udp": node.endpoint.port(),
            "tcp": running.tcp_ports,
            "http": running.http.map(|http| http.to_string()),
            "invitation": invitation.map(|invitation| invitation.url.to_string()),
            "doubt": running.doubt,
            "web": running.web.as_ref().map(|web| &web.addresses),
            "page": node.web_address().map(|page| page.to_string()),
        })
        .to_string());
        return;
    }
    if let Some(invitation) = invitation {
        let hours = invitation.valid.as_secs().div_ceil(3600);
        say(&format!(
            "Let your devices join ({} devices, {hours} hours):\n",
            invitation.devices
        ));
        say(&format!("    hither relay add '{}'\n", invitation.url));
        if io::stdout().is_terminal()
            && let Some(code) = qr(&invitation.url.to_string())
        {
            say(&code);
        }
    }
    if let Some(doubt) = &running.doubt {
        say(&format!("Note: {doubt}."));
    }
    if let Some(web) = &running.web {
        if let Some(doubt) = &web.doubt {
            say(&format!("Note: {doubt}."));
        }
        let at: Vec<_> = web.addresses.iter().map(ToString::to_string).collect();
        match node.web_address() {
            Some(page) => say(&format!("browsers: {page} ({})", at.join(", "))),
            None => say(&format!(
                "browsers: {} (without web.url devices print no links)",
                at.join(", ")
            )),
        }
    }
    let tcp: Vec<_> = running.tcp_ports.iter().map(u16::to_string).collect();
    say(&format!(
        "ready: {} (UDP {}, TCP {})",
        running.url,
        node.endpoint.port(),
        tcp.join(", ")
    ));
}

/// Prints that it is going down.
pub(crate) fn going(json: bool) {
    if json {
        say(&json!({"event": "stopping"}).to_string());
    } else {
        say("stopping: devices are told to go elsewhere");
    }
}

/// The code of a text, two modules per character, black on white on every terminal.
fn qr(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let (modules, colours) = (code.width(), code.to_colors());
    let side = modules + 2 * QUIET;
    let dark = |x: usize, y: usize| {
        let inside = |at: usize| (QUIET..QUIET + modules).contains(&at);
        inside(x) && inside(y) && colours[(y - QUIET) * modules + (x - QUIET)] == Color::Dark
    };
    let block = |x: usize, y: usize| match (dark(x, y), dark(x, y + 1)) {
        (true, true) => ' ',
        (true, false) => '▄',
        (false, true) => '▀',
        (false, false) => '█',
    };
    // 16 and 231: the fixed black and white of the 256-colour palette, which themes leave alone.
    let line = |y| {
        format!(
            "\u{1b}[38;5;231;48;5;16m{}\u{1b}[0m",
            (0..side).map(|x| block(x, y)).collect::<String>()
        )
    };
    Some(
        (0..side)
            .step_by(2)
            .map(line)
            .collect::<Vec<_>>()
            .join("\n"),
    )
}
