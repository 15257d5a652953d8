//! Errors of other crates as errors for people, and a hint for every code that has none of its own.

use hither_api::{ApiError, ConfigError, ErrorCode, PathsError};
use hither_proto::{RelayUrlError, ShareLinkError, SpokenCodeError, TicketError, display_name};
use std::fmt::Display;
use std::path::Path;

/// Makes a sentence of a message: a capital at its beginning, a full stop at its end.
pub fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut letters = text.chars();
    let mut sentence: String = match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => return "It failed.".into(),
    };
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

/// A message as it is shown: what is in it may be the user's, a path or a name, and stays as it was
/// written.
pub fn told(message: &str) -> String {
    let message = display_name(message);
    let ended = message.ends_with(['.', '!', '?']);
    if ended || message.is_empty() {
        message
    } else {
        message + "."
    }
}

/// Returns what could be done about an error whose sender gave no hint; empty when nothing general
/// can be said.
pub const fn hint(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::BadTicket => "Copy the whole ticket: one word that begins with hither1.",
        ErrorCode::NewerTicket => "Install a newer version of Hither.",
        ErrorCode::Unreadable => "Look at the path and its permissions.",
        ErrorCode::Unsharable => "Rename them, or leave them out with --skip-unsharable.",
        ErrorCode::Changing => "Try again when nothing writes to it.",
        ErrorCode::AlreadyFetching => "See hither transfers.",
        ErrorCode::TargetExists => "Replace it with --overwrite, or write beside it with --rename.",
        ErrorCode::NotWritable => "Choose another folder with -o.",
        ErrorCode::NoSpace => {
            "Free some space and run the same command again: it goes on where it stopped."
        }
        ErrorCode::NoHolder => {
            "Is the other device on, and in this network? hither doctor helps to find out."
        }
        ErrorCode::NoRelay => "See how your relays stand, and what can be done: hither relay list",
        ErrorCode::OverQuota => "Delete what is not needed any more.",
        ErrorCode::TooDear => "Run the same command again with a higher --max-cost.",
        ErrorCode::TooLong => "Send it as a file.",
        ErrorCode::Refused => "Ask the owner whether it is still shared.",
        ErrorCode::Damaged => "Try again when another device that has it is reachable.",
        ErrorCode::NotASingleFile => "Fetch it into a folder instead: -o DIR.",
        ErrorCode::NoDaemon => "Start it with: hither up",
        ErrorCode::Internal => {
            "Look at the daemon's log: hitherd.log in its data folder (see hither status)."
        }
        ErrorCode::BadRequest
        | ErrorCode::NotFound
        | ErrorCode::Declined
        | ErrorCode::OfferChanged
        | ErrorCode::HostileShare
        | ErrorCode::Interrupted => "",
    }
}

/// A failure of the system while something was done.
pub fn io(code: ErrorCode, what: impl Display, error: &std::io::Error) -> ApiError {
    ApiError::new(code, format!("{what}: {}.", reason(error)))
}

/// What the system said, without its number.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

/// A path on one line of a terminal.
pub fn shown(path: &Path) -> String {
    display_name(&path.to_string_lossy())
}

/// No home folder.
pub fn paths(error: PathsError) -> ApiError {
    ApiError::new(ErrorCode::Internal, sentence(&error.to_string()))
        .with_hint("Set HITHER_HOME to a folder of your own.")
}

/// A text that is no ticket. The text itself is never repeated: it may be almost one.
pub fn ticket(error: &TicketError) -> ApiError {
    let code = match error {
        TicketError::Format(_) => ErrorCode::NewerTicket,
        _ => ErrorCode::BadTicket,
    };
    ApiError::new(code, sentence(&error.to_string())).with_hint(hint(code))
}

/// A text that is no link to a share. Of its fragment nothing is repeated.
pub fn link(error: &ShareLinkError) -> ApiError {
    let hint = match error {
        ShareLinkError::Ticket(error) => return ticket(error),
        ShareLinkError::NoTicket => {
            "What opens the share stands there. Copy the whole link again; in a shell put it in quotes."
        }
        ShareLinkError::TooLong | ShareLinkError::Address(_) | ShareLinkError::Path => {
            "Copy the whole link: https://HOST/l#hither1…"
        }
    };
    ApiError::new(ErrorCode::BadTicket, sentence(&error.to_string())).with_hint(hint)
}

/// A text that is no code of three words. Words that are right are never repeated.
pub fn code(error: &SpokenCodeError) -> ApiError {
    ApiError::new(ErrorCode::BadTicket, sentence(&error.to_string()))
        .with_hint("A code is three words that the other device shows, like able-baby-cabin.")
}

/// A text that is no relay's URL. The text itself is never repeated: it may be almost an
/// invitation.
pub fn relay_url(error: &RelayUrlError) -> ApiError {
    let hint = match error {
        RelayUrlError::NoKey => "Quote the URL: a shell takes what follows # for a comment.",
        _ => "Copy the whole URL that the relay printed: hither://HOST:PORT/#…",
    };
    ApiError::new(ErrorCode::BadRequest, sentence(&error.to_string())).with_hint(hint)
}

/// A configuration that was refused.
pub fn config(error: &ConfigError) -> ApiError {
    let what = match error {
        ConfigError::At { what, .. } => what,
        error => error,
    };
    let (code, hint) = match what {
        ConfigError::At { .. } => (ErrorCode::Internal, ""),
        ConfigError::UnknownKey { .. } => (
            ErrorCode::BadRequest,
            "List all keys with: hither config get",
        ),
        ConfigError::BadValue { .. } => (
            ErrorCode::BadRequest,
            "See every key and what it means with: hither config get",
        ),
        ConfigError::Syntax(_) => (ErrorCode::Internal, "Correct it with: hither config edit"),
        ConfigError::Io { .. } => (
            ErrorCode::Internal,
            "Show where it is with: hither config path",
        ),
    };
    let text = first_lines(&error.to_string());
    // What begins with a place begins with the user's words.
    let message = if std::ptr::eq(what, error) {
        sentence(&text)
    } else {
        told(&text)
    };
    ApiError::new(code, message).with_hint(hint)
}

/// A TOML error draws a picture over several lines; on one line its first and its last say enough.
fn first_lines(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next_back()) {
        (Some(first), Some(last)) => format!("{first}: {last}"),
        (Some(only), None) => only.to_owned(),
        _ => String::new(),
    }
}

/// A command line that makes no sense.
pub fn usage(error: &clap::Error) -> ApiError {
    let text = error.render().to_string();
    // The first paragraph: what is wrong, and which arguments are meant. Usage and tips follow.
    let words: Vec<&str> = text
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .flat_map(str::split_whitespace)
        .collect();
    let message = words.join(" ");
    let message = sentence(message.strip_prefix("error: ").unwrap_or(&message));
    ApiError::new(ErrorCode::BadRequest, display_name(&message)).with_hint("See hither --help.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use hither_api::Exit;

    #[test]
    fn sentences_begin_and_end_properly() {
        assert_eq!(
            sentence("a ticket begins with \"hither1\""),
            "A ticket begins with \"hither1\"."
        );
        assert_eq!(sentence("Why?"), "Why?");
        assert_eq!(sentence(" "), "It failed.");
    }

    #[test]
    fn words_of_the_user_stay_as_they_were_written() {
        let error = io(
            ErrorCode::Unreadable,
            "missing.txt",
            &std::io::Error::from_raw_os_error(2),
        );
        assert_eq!(
            told(&error.message),
            "missing.txt: no such file or directory."
        );
        assert_eq!(told("a\u{1b}[2J"), "a\u{fffd}[2J.");
    }

    #[test]
    fn tickets_fail_as_wrong_usage_and_are_not_repeated() {
        let error = ticket(&TicketError::Checksum);
        assert_eq!(
            (error.code, error.code.exit()),
            (ErrorCode::BadTicket, Exit::Usage)
        );
        assert!(
            error
                .message
                .starts_with("The ticket is incomplete or mistyped"),
            "{}",
            error.message
        );
        assert_eq!(ticket(&TicketError::Format(9)).code, ErrorCode::NewerTicket);
    }

    #[test]
    fn configuration_errors_fit_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "port = = 3\n").unwrap();
        let error = config(&hither_api::Config::load(&path).unwrap_err());
        assert_eq!(error.code, ErrorCode::Internal);
        assert!(
            !error.message.contains('\n') && error.message.contains("line 1"),
            "{}",
            error.message
        );
        assert!(
            error.message.starts_with(path.to_str().unwrap()),
            "{}",
            error.message
        );
        let error = config(&hither_api::Config::write(&path, "prot", "3").unwrap_err());
        assert_eq!(error.code.exit(), Exit::Usage);
        assert_eq!(
            error.message,
            "There is no configuration key \"prot\"; did you mean \"port\"?"
        );
    }

    #[test]
    fn wrong_usage_is_one_sentence() {
        let error = |line: &str| {
            usage(&crate::cli::Cli::try_parse_from(line.split(' ')).unwrap_err()).message
        };
        assert_eq!(
            error("hither share"),
            "The following required arguments were not provided: <PATH>..."
        );
        assert_eq!(error("hither list --x"), "Unexpected argument '--x' found.");
    }

    #[test]
    fn system_errors_lose_their_number() {
        let error = io(
            ErrorCode::NotWritable,
            "/x",
            &std::io::Error::from_raw_os_error(13),
        );
        assert_eq!(error.message, "/x: permission denied.");
    }
}
