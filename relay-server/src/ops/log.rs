//! The log: lines of text for people, or one JSON object a line for machines, on standard error.
//!
//! Nothing secret and no names are logged anywhere; devices and shares appear by the first digits
//! of their ids.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Why nothing is logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("\"{0}\" is no log level (error, warn, info, debug, trace) and no filter")]
    Filter(String),
    /// Something else in this process logs already.
    #[error("the log is set up already")]
    Twice,
}

/// Crates whose lines are about this node; libraries beneath speak only when they warn.
const OURS: [&str; 3] = ["hither_relay", "hither_carrier", "hither_content"];

/// Logs from now on what passes `filter`: a level, or a filter in the syntax of `tracing`.
pub fn start_log(filter: &str, json: bool) -> Result<(), LogError> {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(parse(filter)?)
        .with_ansi(has_colours(io::stderr().is_terminal(), |name| {
            std::env::var_os(name)
        }))
        // To say on standard error that it cannot be written to would panic whoever logs.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    let started = if json {
        subscriber.json().finish().try_init()
    } else {
        subscriber.finish().try_init()
    };
    started.map_err(|_| LogError::Twice)
}

/// Returns whether lines are coloured: for a person at a terminal who has not said no, never in a
/// file or a journal.
fn has_colours(terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = variable("TERM").is_some_and(|term| term == "dumb");
    terminal && !refused && !dumb
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    let level = filter.trim().to_ascii_lowercase();
    let text = match level.as_str() {
        "error" | "warn" | "info" | "debug" | "trace" => {
            let libraries = if level == "error" { "error" } else { "warn" };
            OURS.iter().fold(libraries.to_owned(), |text, ours| {
                format!("{text},{ours}={level}")
            })
        }
        "off" => level,
        // A single word that is no level would be taken for the name of a crate, and everything be
        // silent.
        word if !word.contains(['=', ',']) => return Err(LogError::Filter(filter.to_owned())),
        _ => filter.to_owned(),
    };
    EnvFilter::try_new(text).map_err(|_| LogError::Filter(filter.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_terminals_see_colours() {
        let none = |_: &str| None;
        assert!(has_colours(true, none) && !has_colours(false, none));
        assert!(!has_colours(true, |name| (name == "NO_COLOR").then(|| "1".into())));
        assert!(!has_colours(true, |name| (name == "TERM").then(|| "dumb".into())));
    }

    #[test]
    fn levels_and_filters_are_understood_and_typing_errors_are_not() {
        for good in ["info", "DEBUG", " trace ", "off", "warn,hither_relay=trace"] {
            parse(good).unwrap();
        }
        assert!(
            parse("info")
                .unwrap()
                .to_string()
                .contains("hither_relay=info")
        );
        for bad in ["", "inof", "hither_relay=loud", "hither_relay"] {
            assert!(matches!(parse(bad), Err(LogError::Filter(_))), "{bad}");
        }
    }
}
