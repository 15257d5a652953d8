//! `hither inbox link`.

use crate::session::{Outcome, Session};
use crate::show::{Align, Column, Drawing, Table, bytes, count, duration, qr_exact};
use clap::Subcommand;
use hither_api::{
    ApiError, ErrorCode, Exit, InboxLinkInfo, InboxLinkRequest, LINK_BYTES, parse_size,
};
use hither_proto::display_name;
use hither_proto::limits::MAX_VISITORS_SECONDS;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  hither inbox link                     a link that is good for a week
  hither inbox link --for 1d --name wedding --max 2GB
  hither inbox link list                those that are good, and what came
  hither inbox link end 2               it opens nothing any more
  hither inbox link end all

Whoever opens the link in a browser can send texts and files here, with nothing
installed. You are asked before files are written anywhere. To change that:
hither receive --from 'link wedding' --always";

/// Make a link by which any browser sends to this device
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// How long it is good: 10m, 2h, 7d, at most 365d
    #[arg(long = "for", value_name = "TIME", value_parser = span, default_value = "7d")]
    keep: Duration,
    /// Most that may lie at the relay by it at a time: 500MB, 2GB; 10GiB when absent
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max: Option<u64>,
    /// The relay whose page opens it: its host, or the beginning of its key
    #[arg(long, value_name = "RELAY")]
    relay: Option<String>,
    /// Its name, which whoever opens it sees too; this device's name when absent
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Draw a QR code even where it does not fit the screen
    #[arg(long)]
    qr: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the links
    List,
    /// End a link, or all
    End {
        /// Its number (see hither inbox link list), or "all"
        link: String,
    },
}

const COLUMNS: [Column; 6] = [
    Column::new("ID", Align::Right),
    Column::new("NAME", Align::Left).flexible(),
    Column::new("LEFT", Align::Left),
    Column::new("MOST", Align::Right),
    Column::new("CAME", Align::Right),
    Column::new("RELAY", Align::Left).flexible().optional(),
];

/// Rows around a QR code: words above and below, empty ones, the address and the prompt.
const AROUND: usize = 8;

fn span(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match (1..=u64::from(MAX_VISITORS_SECONDS)).contains(&span.as_secs()) {
        true => Ok(span),
        false => Err("from 1s to 365d".into()),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let size = parse_size(text).filter(|size| *size > 0);
    size.ok_or_else(|| "a size like 500MB or 2GiB".into())
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    match args.action {
        None => create(session, args).await,
        Some(Action::List) => list(session).await,
        Some(Action::End { link }) => end(session, &link).await,
    }
}

async fn create(session: &Session<'_>, args: Args) -> Outcome {
    let request = InboxLinkRequest {
        relay: args.relay,
        keep_seconds: Some(args.keep.as_secs()),
        max: Some(args.max.unwrap_or(LINK_BYTES)),
        name: args.name,
    };
    let client = session.daemon().await?;
    let link = client
        .post::<InboxLinkInfo>("/v1/inbox/links", &request)
        .await?;
    session.out.json(&link);
    show(session, args.qr, &link);
    Ok(Exit::Done)
}

fn show(session: &Session<'_>, forced: bool, link: &InboxLinkInfo) {
    let out = session.out;
    out.say(&session.wrapped(&format!(
        "For {}, whoever has this link can send to this device from any browser, up to {} at a time.",
        duration(link.left_seconds),
        bytes(link.max)
    )));
    let (columns, rows) = out.size();
    let drawing = Drawing {
        columns,
        rows,
        colours: out.has_colours(),
    };
    let drawn = out.is_read_by_person() && !out.is_quiet();
    let fits = |code: &String| forced || code.lines().count() + AROUND <= rows;
    if let Some(code) = qr_exact(&link.link, drawing).filter(|code| drawn && fits(code)) {
        out.say(&format!("\n{code}\n"));
    }
    out.result(&display_name(&link.link));
    out.say(&session.wrapped(&format!(
        "It is a secret. To end it: hither inbox link end {}",
        link.id
    )));
    if let Some(words) = unheard(link) {
        session.warn_people(&words);
    }
}

/// Says that the relay has not heard of a link as it is.
fn unheard(link: &InboxLinkInfo) -> Option<String> {
    if link.told {
        return None;
    }
    let why = link.reason.as_deref().unwrap_or("it has not answered yet");
    let until = match link.left_seconds {
        0 => "who has the link may still leave something there",
        _ => "the link does not open before that",
    };
    Some(format!(
        "The relay {} has not heard of it: {}. It is told as soon as that is possible; {until}.",
        display_name(&link.relay),
        display_name(why)
    ))
}

async fn all(session: &Session<'_>) -> Result<Vec<InboxLinkInfo>, ApiError> {
    let client = session.daemon().await?;
    Ok(client.get::<Vec<InboxLinkInfo>>("/v1/inbox/links").await?)
}

async fn list(session: &Session<'_>) -> Outcome {
    let links = all(session).await?;
    session.out.json_lines(&links);
    if links.is_empty() {
        session
            .out
            .say("There is no link. Make one with: hither inbox link");
        return Ok(Exit::Done);
    }
    session.table(table(&links));
    for link in links.iter().filter(|link| !link.link.is_empty()) {
        let line = format!("{}: {}", link.id, display_name(&link.link));
        session.out.say(&line);
    }
    for link in &links {
        if let Some(words) = unheard(link) {
            let line = format!("{}: {words}", link.id);
            session.out.say(&session.wrapped(&line));
        }
    }
    Ok(Exit::Done)
}

fn table(links: &[InboxLinkInfo]) -> Table {
    let mut table = Table::new(&COLUMNS);
    for link in links {
        let left = match link.left_seconds {
            0 => "ended".to_owned(),
            left => duration(left),
        };
        table.row([
            link.id.to_string(),
            display_name(&link.name),
            left,
            bytes(link.max),
            link.visitors.to_string(),
            display_name(&link.relay),
        ]);
    }
    table
}

async fn end(session: &Session<'_>, wanted: &str) -> Outcome {
    let numbers: Vec<u64> = match (wanted, wanted.parse()) {
        ("all", _) => {
            let links = all(session).await?;
            let good = links.iter().filter(|link| link.left_seconds > 0);
            good.map(|link| link.id).collect()
        }
        (_, Ok(number)) => vec![number],
        (_, Err(_)) => {
            let message = "A link is ended by its number.";
            return Err(ApiError::new(ErrorCode::BadRequest, message)
                .with_hint("See them with: hither inbox link list"));
        }
    };
    let client = session.daemon().await?;
    for number in &numbers {
        let path = format!("/v1/inbox/links/{number}");
        let ended = client.delete::<InboxLinkInfo>(&path).await?;
        session.out.json(&ended);
        if let Some(words) = unheard(&ended) {
            session.warn_people(&words);
        }
    }
    session.out.say(&match numbers.as_slice() {
        [] => "There was no link.".to_owned(),
        [one] => format!("Link {one} has ended: nothing is taken by it any more."),
        many => format!("{} have ended.", count(many.len() as u64, "link")),
    });
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(left_seconds: u64, told: bool) -> InboxLinkInfo {
        InboxLinkInfo {
            id: 3,
            link: "https://relay.example/i#hither-inbox1x".into(),
            name: "wed\u{1b}ding".into(),
            relay: "relay.example:47447".into(),
            left_seconds,
            max: 2_000_000_000,
            visitors: 4,
            told,
            reason: None,
        }
    }

    #[test]
    fn w2_a_list_of_links_fits_and_says_what_the_relay_has_not_heard() {
        let lines = table(&[link(7 * 86_400, true), link(0, false)]).lines(80);
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
        for part in ["wed\u{fffd}ding", &bytes(2_000_000_000), "relay.example"] {
            assert!(lines[1].contains(part), "{part} in {}", lines[1]);
        }
        assert!(lines[2].contains("ended"), "{}", lines[2]);
        assert_eq!(unheard(&link(5, true)), None);
        let words = unheard(&link(0, false)).unwrap();
        assert!(words.contains("has not heard of it: it has not answered yet"));
    }

    #[test]
    fn w2_a_link_lasts_from_a_second_to_a_year_and_takes_something() {
        assert_eq!(span("7d"), Ok(Duration::from_secs(604_800)));
        assert!(span("0s").is_err() && span("366d").is_err() && span("soon").is_err());
        assert_eq!(size("2GB"), Ok(2_000_000_000));
        assert!(size("0").is_err() && size("much").is_err());
    }
}
