//! `hither pair`.

use super::code::{first, named, print};
use crate::input;
use crate::session::{Outcome, Session};
use crate::show::{Drawing, count, qr, qr_exact};
use hither_api::{
    AnswerCode, ApiError, Client, ClientError, CodeInfo, CodeMet, Done, EnterCode, ErrorCode,
    Event, Events, Exit, ShowCode,
};
use hither_proto::{PairText, SpokenCode, display_name};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  hither pair                    on a device that is set up: shows a code
  hither pair able-baby-cabin    on the new device, with that code
  hither pair hither-pair1…      the same with a scanned picture
  hither pair --web              a link: a page in a browser becomes a device

Pairing makes a device one of yours: the two know each other for good, and the
new one learns of your other devices and joins your relays. The device that
shows the code names what it grants and asks; nothing happens before your yes.
Both screens show the same three words then. A code is good for ten minutes and
one attempt.";

/// Make another device one of yours: show a code, or enter the one that it shows
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The code that the other device shows: three words, or the text of its picture
    #[arg(value_name = "CODE")]
    pub code: Vec<String>,
    /// Show a link that makes a page in a browser one of your devices
    #[arg(long, conflicts_with = "code")]
    pub web: bool,
    /// The relay whose page it is: its host, or the beginning of its key
    #[arg(long, value_name = "RELAY", requires = "web")]
    pub relay: Option<String>,
    /// Do not ask before joining by a scanned picture
    #[arg(long, short, requires = "code")]
    pub yes: bool,
    /// How long to look for the device that shows the code: 15s, 2m …
    #[arg(long, value_name = "TIME", requires = "code", value_parser = humantime::parse_duration)]
    pub wait: Option<Duration>,
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    if args.code.is_empty() {
        show(session, &args).await
    } else {
        enter(session, &args).await
    }
}

/// Shows a code, and asks before it grants anything.
async fn show(session: &Session<'_>, args: &Args) -> Outcome {
    if !session.out.can_ask() && !session.out.is_json() {
        return Err(ApiError::new(
            ErrorCode::BadRequest,
            "Nobody can be asked whether the other device becomes yours.",
        )
        .with_hint("Run it in a terminal. Programs use --json and answer yes or no."));
    }
    let client = session.daemon().await?;
    let request = ShowCode {
        share: None,
        web: args.web,
        relay: args.relay.clone(),
    };
    let mut events = client.work_once("/v1/codes", &request).await?;
    let shown = first(session, &mut events).await?;
    picture(session, &shown);
    match &shown.link {
        Some(link) => print_link(session, &shown, link),
        None => print(session, &shown, &format!("hither pair {}", shown.code)),
    }
    let done = follow(session, &client, &mut events).await?;
    finish(session, done, args.web)
}

/// Prints the link that opens the page.
fn print_link(session: &Session<'_>, shown: &CodeInfo, link: &str) {
    let out = session.out;
    out.result(&display_name(link));
    if out.is_read_by_person() && !out.is_quiet() {
        let minutes = shown.expires_seconds.div_ceil(60);
        out.say(&session.wrapped(&format!(
            "\nOpen it in the browser that is to become your device: scan it, or type it there. Good for one attempt and {minutes} min; Ctrl-C ends it."
        )));
    }
}

/// Draws what is scanned, where it fits.
fn picture(session: &Session<'_>, shown: &CodeInfo) {
    let out = session.out;
    // The case of a link's host and path counts, that of a code does not.
    let drawn = |drawing: Drawing| match (&shown.link, &shown.scan) {
        (Some(link), _) => qr_exact(link, drawing),
        (None, Some(text)) => qr(text, drawing),
        (None, None) => None,
    };
    if out.is_read_by_person() {
        let (columns, rows) = out.size();
        let drawing = Drawing {
            columns,
            rows,
            colours: out.has_colours(),
        };
        if let Some(picture) = drawn(drawing) {
            let lines = picture.lines().count() + BESIDE;
            // Half a picture can be scanned by nobody.
            if lines <= rows {
                out.say(&format!("{picture}\n"));
            } else {
                out.note(&format!(
                    "In a window of {lines} lines a picture to scan is shown too."
                ));
            }
        }
    }
}

/// Lines that stand below the picture until somebody has answered.
const BESIDE: usize = 9;

/// Enters a code.
async fn enter(session: &Session<'_>, args: &Args) -> Outcome {
    let text = args.code.join(" ");
    let scanned = PairText::is_meant(&text);
    if scanned && !args.yes {
        let question = "Become a device of whoever made this picture? They see your devices and shares, and can send you anything.";
        agree(session, question).await?;
    } else if !scanned {
        // Checked here, before anything starts.
        text.parse::<SpokenCode>()
            .map_err(|error| crate::failure::code(&error))?;
    }
    let client = session.daemon().await?;
    let request = EnterCode {
        code: text,
        pair: true,
        wait_seconds: args.wait.map(|wait| wait.as_secs().max(1)),
    };
    let mut events = client.work_once("/v1/codes/enter", &request).await?;
    let done = follow(session, &client, &mut events).await?;
    finish(session, done, false)
}

/// Asks before a scanned picture does anything: whoever made it may be anybody.
async fn agree(session: &Session<'_>, question: &str) -> Result<(), ApiError> {
    if !session.out.can_ask() {
        return Err(ApiError::new(
            ErrorCode::BadRequest,
            "Nobody can be asked whether to join by this picture.",
        )
        .with_hint("Pass --yes when you know who made it."));
    }
    match input::agrees(session.out, &session.wrapped(question)).await {
        Some(true) => Ok(()),
        _ => Err(ApiError::new(ErrorCode::Declined, "Nothing was done.")),
    }
}

/// Follows the events to the last one; answers what is asked meanwhile.
async fn follow(
    session: &Session<'_>,
    client: &Client,
    events: &mut Events,
) -> Result<Done, ApiError> {
    while let Some(event) = events.next().await? {
        if !event.is_last() {
            session.out.json(&event);
        }
        match event {
            Event::Done(done) => return Ok(done),
            Event::Error(error) => return Err(error),
            Event::Warning { message } => session.warn_people(&message),
            Event::CodeMet(met) if met.id.is_empty() => {
                let words = format!(
                    "The code is right. Both screens show: {}\nWaiting for the yes on the other device …",
                    met.words
                );
                session.out.note(&words);
            }
            Event::CodeMet(met) => answer(session, client, &met).await?,
            _ => {}
        }
    }
    Err(ClientError::Broken("it stopped before the devices were paired".into()).into())
}

/// Says what would be granted, asks, and passes the answer on. Programs answer on standard input,
/// or to the daemon.
async fn answer(session: &Session<'_>, client: &Client, met: &CodeMet) -> Result<(), ApiError> {
    let yes = if session.out.is_json() {
        input::plain_answer().await
    } else {
        let question = session.wrapped(&grants(met));
        Some(input::agrees(session.out, &question).await.unwrap_or(false))
    };
    let Some(yes) = yes else { return Ok(()) };
    let path = format!("/v1/codes/{}/answer", met.id);
    client
        .post::<AnswerCode>(&path, &AnswerCode { yes })
        .await?;
    Ok(())
}

/// The things that a yes grants, in words.
fn grants(met: &CodeMet) -> String {
    let who = named(&met.name, &met.device);
    if met.web {
        return format!(
            "Both screens show: {}\n{who} becomes one of your devices, as a page in a browser: it may receive, send, ask and answer; it may not list folders, invite or remove devices; it is forgotten after a month.\nIt joins your relay: {}.\nGrant that?",
            met.words,
            met.relays.join(", ")
        );
    }
    let mut text = format!(
        "Both screens show: {}\n{who} becomes one of your devices: it sees what your devices share, and sends to them and to this one.",
        met.words
    );
    if met.devices > 0 {
        let others = count(met.devices, "other device");
        text += &format!("\nIt learns of {others} of yours.");
    }
    if !met.relays.is_empty() {
        text += &format!("\nIt joins your relays: {}.", met.relays.join(", "));
    }
    text + "\nGrant that?"
}

fn finish(session: &Session<'_>, done: Done, web: bool) -> Outcome {
    let Done::Paired {
        paired,
        name,
        words,
        ..
    } = &done
    else {
        return Err(ClientError::Broken("something else was done".into()).into());
    };
    let who = named(name, paired);
    let page = if web { ", a page in a browser" } else { "" };
    session.out.say(&format!(
        "Paired with {who}{page}; both screens showed: {words}\nSee your devices with: hither devices"
    ));
    session.out.json(&Event::Done(done));
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_is_named() {
        let mut met = CodeMet {
            device: "12D3KooWabcdefgh".into(),
            name: "pho\u{1b}ne".into(),
            words: "able-baby-cabin".into(),
            ..CodeMet::default()
        };
        let text = grants(&met);
        assert!(
            text.contains("able-baby-cabin") && !text.contains('\u{1b}'),
            "{text}"
        );
        assert!(!text.contains("relay"), "{text}");
        (met.devices, met.relays) = (2, vec!["relay.example:1".into()]);
        let text = grants(&met);
        assert!(text.contains("2 other devices") && text.contains("relay.example:1"));
        assert!(text.ends_with("Grant that?"));
        met.web = true;
        let text = grants(&met);
        assert!(text.contains("a page in a browser: it may receive, send, ask and answer"));
        assert!(!text.contains("other devices") && text.contains("relay.example:1"));
    }
}
