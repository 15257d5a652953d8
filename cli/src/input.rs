//! What the user types: a ticket, a relay's URL, a text, or the answer to a question.

use crate::failure;
use crate::output::Output;
use hither_api::{ApiError, ErrorCode, Existing};
use hither_proto::{RelayUrl, ShareLink, SpokenCode, Ticket};
use std::io::{BufRead, Read};
use tokio::sync::oneshot;

/// Environment variable for a ticket, which on the command line every user of the machine could
/// read.
pub const TICKET_VARIABLE: &str = "HITHER_TICKET";

/// Environment variable for a relay's URL, for the same reason.
pub const RELAY_VARIABLE: &str = "HITHER_RELAY_URL";
/// Longest text that is read from standard input, bytes; what is longer does not fit a message
/// anyway.
const MAX_TEXT: u64 = 1 << 20;

/// The beginning of every ticket.
const TICKET: &str = "hither1";
/// Most lines, or words, that one ticket is taken for: the longest is 1,000 characters.
const MAX_LINES: usize = 64;

/// One line from standard input; `None` at its end. May be dropped while it waits.
async fn line() -> Option<String> {
    let (sender, receiver) = oneshot::channel();
    // A thread of its own: reading a terminal cannot be cancelled, and the program may end before
    // it returns.
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = std::io::stdin().lock().read_line(&mut text);
        // Nobody waits for it any more when this fails.
        let _ = sender.send(matches!(read, Ok(1..)).then_some(text));
    });
    receiver.await.ok().flatten()
}

/// The thing to be fetched.
#[derive(Debug)]
pub enum Wanted {
    /// A ticket, with its text.
    Ticket(String, Box<Ticket>),
    /// Three words that stand for one.
    Code(SpokenCode),
}

/// The ticket or code: as given (by argument or environment), else from standard input. Checked
/// here, before anything starts.
pub async fn ticket(out: &Output, given: Option<String>) -> Result<Wanted, ApiError> {
    let text = match given {
        Some(text) if text != "-" => text,
        _ => {
            if out.can_ask() {
                out.ask("Ticket: ");
            }
            whole_ticket(out, line().await.unwrap_or_default()).await
        }
    };
    let text = text.trim().to_owned();
    if text.is_empty() {
        return Err(
            ApiError::new(ErrorCode::BadTicket, "There is no ticket.").with_hint(format!(
                "Give it as an argument, in {TICKET_VARIABLE}, or on standard input."
            )),
        );
    }
    if SpokenCode::is_meant(&text) {
        let code = text.parse().map_err(|error| failure::code(&error))?;
        return Ok(Wanted::Code(code));
    }
    if ShareLink::is_meant(&text) {
        let link: ShareLink = text.parse().map_err(|error| failure::link(&error))?;
        return Ok(Wanted::Ticket(
            link.ticket.to_string(),
            Box::new(link.ticket),
        ));
    }
    let ticket = text
        .parse::<Ticket>()
        .map_err(|error| failure::ticket(&error))?;
    let text = text.split_whitespace().collect();
    Ok(Wanted::Ticket(text, Box::new(ticket)))
}

/// Returns whether a text is, or begins, a ticket or a link with one.
fn begins_ticket(text: &str) -> bool {
    // A link without a fragment is whole: what it has lost does not come in the next line.
    let ticket = match text.split_once('#') {
        Some((_, fragment)) if ShareLink::is_meant(text) => fragment,
        _ => text,
    };
    ticket
        .trim_start()
        .as_bytes()
        .get(..TICKET.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(TICKET.as_bytes()))
}

/// Returns whether nothing is missing at its end.
fn is_whole(text: &str) -> bool {
    match ShareLink::is_meant(text) {
        true => text.parse::<ShareLink>().is_ok(),
        false => text.parse::<Ticket>().is_ok(),
    }
}

/// A ticket that a screen broke into several lines, of which the first is here: reads the others,
/// until it is whole, a line is empty, or there are too many.
async fn whole_ticket(out: &Output, first: String) -> String {
    let mut text = first;
    let mut lines = 1;
    while begins_ticket(&text) && !is_whole(&text) && lines < MAX_LINES {
        if out.can_ask() {
            out.ask("  … the rest of it (Enter when that was all): ");
        }
        match line().await {
            Some(more) if !more.trim().is_empty() => text.push_str(&more),
            _ => break,
        }
        lines += 1;
    }
    text
}

/// Takes a ticket that a shell took for several words off the words of a command line: as many as
/// make it whole. Anything else is one word. Returns it with the words that follow.
pub fn joined(words: Vec<String>) -> (Option<String>, Vec<String>) {
    let first = words.first().cloned();
    // Three words as they are spoken.
    if let [_, _, _] = words.as_slice()
        && !first.as_deref().is_some_and(SpokenCode::is_meant)
        && words.join("-").parse::<SpokenCode>().is_ok()
    {
        return (Some(words.join("-")), Vec::new());
    }
    if !first.as_deref().is_some_and(begins_ticket) {
        let rest = words.into_iter().skip(1).collect();
        return (first, rest);
    }
    let mut text = String::new();
    for (place, word) in words.iter().take(MAX_LINES).enumerate() {
        text.push_str(word);
        if is_whole(&text) {
            return (Some(text), words[place + 1..].to_vec());
        }
    }
    (first, words[1..].to_vec())
}

/// A relay's URL: as given, else from standard input. Checked here, before anything starts; never
/// repeated in an error.
pub async fn relay_url(out: &Output, given: Option<String>) -> Result<String, ApiError> {
    let text = match given {
        Some(text) if text != "-" => text,
        _ => {
            if out.can_ask() {
                out.ask("URL of the relay: ");
            }
            line().await.unwrap_or_default()
        }
    };
    let text = text.trim().to_owned();
    if text.is_empty() {
        return Err(
            ApiError::new(ErrorCode::BadRequest, "There is no URL.").with_hint(format!(
                "Give it as an argument, in {RELAY_VARIABLE}, or on standard input."
            )),
        );
    }
    text.parse::<RelayUrl>()
        .map_err(|error| failure::relay_url(&error))?;
    Ok(text)
}

/// All of standard input, but not more than `most` bytes.
pub async fn all_bytes(most: u64) -> Result<Vec<u8>, ApiError> {
    let (sender, receiver) = oneshot::channel();
    // A thread of its own, as for a line.
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().take(most).read_to_end(&mut bytes);
        let _ = sender.send(read.map(|_| bytes));
    });
    let read = receiver.await.unwrap_or_else(|_| Ok(Vec::new()));
    read.map_err(|error| failure::io(ErrorCode::Unreadable, "Standard input", &error))
}

/// All of standard input, as a text.
pub async fn all_text() -> Result<String, ApiError> {
    let bytes = all_bytes(MAX_TEXT).await?;
    let text = String::from_utf8(bytes).map_err(|_| {
        ApiError::new(
            ErrorCode::BadRequest,
            "What stands on standard input is not a text in UTF-8.",
        )
        .with_hint("Put it into a file and send that.")
    })?;
    if text.is_empty() {
        return Err(ApiError::new(
            ErrorCode::BadRequest,
            "There is nothing on standard input.",
        ));
    }
    Ok(text)
}

/// Asks a question that Enter answers with yes. `None`: the input ended without an answer.
pub async fn yes(out: &Output, question: &str) -> Option<bool> {
    loop {
        out.ask(&format!("{question} [Y/n] "));
        let text = line().await?;
        if let Some(answer) = answer(&text) {
            return Some(answer);
        }
    }
}

/// Asks what becomes of what is there already. `Some(None)`: nothing is fetched; `None`: the input
/// ended without an answer.
pub async fn existing(out: &Output, single_file: bool) -> Option<Option<Existing>> {
    let skip = if single_file { "" } else { ", [s]kip those" };
    loop {
        out.ask(&format!("[o]verwrite, [k]eep both{skip}, or [n]othing? "));
        let text = line().await?;
        if let Some(choice) = chosen(&text, single_file) {
            return Some(choice);
        }
    }
}

fn chosen(text: &str, single_file: bool) -> Option<Option<Existing>> {
    match text.trim().to_lowercase().as_str() {
        "o" | "overwrite" => Some(Some(Existing::Overwrite)),
        "k" | "keep" | "keep both" => Some(Some(Existing::Rename)),
        "s" | "skip" if !single_file => Some(Some(Existing::Skip)),
        "n" | "no" | "nothing" | "s" | "skip" => Some(None),
        _ => None,
    }
}

/// Asks a question that only a yes answers with yes: Enter, and the end of the input, mean no.
pub async fn agrees(out: &Output, question: &str) -> Option<bool> {
    loop {
        out.ask(&format!("{question} [y/N] "));
        let text = line().await?;
        if text.trim().is_empty() {
            return Some(false);
        }
        if let Some(answer) = answer(&text) {
            return Some(answer);
        }
    }
}

/// Lets the user search lines and choose one: its place. `None`: nothing was chosen.
pub async fn choose(question: &str, lines: Vec<String>) -> Option<usize> {
    let (sender, receiver) = oneshot::channel();
    let question = question.to_owned();
    // A thread of its own, as for a line.
    std::thread::spawn(move || {
        let chosen = dialoguer::FuzzySelect::new()
            .with_prompt(question)
            .items(&lines)
            .default(0)
            .max_length(12)
            .interact_opt();
        let _ = sender.send(chosen.ok().flatten());
    });
    receiver.await.ok().flatten()
}

/// A program's answer, `yes` or `no` on a line of its own. `None`: there is none on standard input.
pub async fn plain_answer() -> Option<bool> {
    loop {
        let text = line().await?;
        if let Some(answer) = answer(&text).filter(|_| !text.trim().is_empty()) {
            return Some(answer);
        }
    }
}

fn answer(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "" | "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> String {
        let secret = libp2p_identity::ed25519::SecretKey::try_from_bytes([5u8; 32]).unwrap();
        let owner = libp2p_identity::ed25519::Keypair::from(secret).public();
        let ticket = Ticket {
            secret: hither_proto::ShareSecret::new([9; 16]),
            owner: hither_proto::DeviceId::from_slice(&owner.to_bytes()).unwrap(),
            hints: Vec::new(),
            relays: Vec::new(),
            pin: None,
        };
        ticket.to_string()
    }

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn words_that_are_one_ticket_are_joined_and_what_follows_is_left() {
        let ticket = sample();
        let (a, b) = ticket.split_at(40);
        let (b, c) = b.split_at(33);
        let (joined_up, rest) = joined(words(&format!("{a} {b} {c} docs hither1x")));
        assert_eq!(joined_up, Some(ticket.clone()));
        assert_eq!(rest, ["docs", "hither1x"]);
        assert_eq!(joined(words(&ticket)), (Some(ticket.clone()), Vec::new()));
        let link = words(&format!("https://relay.example:8443/l#{a} {b} {c} docs"));
        let (joined_up, rest) = joined(link);
        let whole = format!("https://relay.example:8443/l#{ticket}");
        assert_eq!((joined_up, rest), (Some(whole), words("docs")));
        let lost = words("https://relay.example/l docs");
        let alone = Some("https://relay.example/l".into());
        assert_eq!(joined(lost), (alone, words("docs")));
        let broken = words("hither1broken docs");
        assert_eq!(
            joined(broken),
            (Some("hither1broken".into()), words("docs"))
        );
        assert_eq!(
            joined(words("phone/docs a")),
            (Some("phone/docs".into()), words("a"))
        );
        assert_eq!(joined(Vec::new()), (None, Vec::new()));
    }

    #[test]
    fn three_words_with_blanks_are_a_code_and_paths_are_none() {
        let words = |line: &str| joined(line.split(' ').map(str::to_owned).collect());
        let (code, rest) = words("able baby cabin");
        assert_eq!((code.as_deref(), rest.len()), (Some("able-baby-cabin"), 0));
        let (first, rest) = words("able-baby-cabin docs photos");
        assert_eq!((first.as_deref(), rest.len()), (Some("able-baby-cabin"), 2));
        let (first, rest) = words("desk/photos a.jpg b.jpg");
        assert_eq!((first.as_deref(), rest.len()), (Some("desk/photos"), 2));
    }

    #[test]
    fn nothing_is_overwritten_by_enter() {
        assert_eq!(chosen("\n", false), None);
        assert_eq!(chosen("y\n", false), None);
        assert_eq!(chosen("o\n", false), Some(Some(Existing::Overwrite)));
        assert_eq!(chosen(" Keep both\n", true), Some(Some(Existing::Rename)));
        assert_eq!(chosen("s\n", false), Some(Some(Existing::Skip)));
        assert_eq!(chosen("s\n", true), Some(None));
        assert_eq!(chosen("n\n", false), Some(None));
    }

    #[test]
    fn enter_means_yes_and_nonsense_is_asked_again() {
        assert_eq!(answer("\n"), Some(true));
        assert_eq!(answer("Y\n"), Some(true));
        assert_eq!(answer(" no\n"), Some(false));
        assert_eq!(answer("what?\n"), None);
    }
}
