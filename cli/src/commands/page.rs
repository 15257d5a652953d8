//! `hither page`.

use crate::complete;
use crate::pick::pick_share;
use crate::session::{Outcome, Session};
use crate::show::{Drawing, count, duration, qr_exact};
use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use hither_api::{ApiError, ErrorCode, Exit, MAX_PAGE_SECONDS, PageInfo, PageRequest, ShareInfo};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  hither page                      an hour: what is shared, and sending here
  hither page photos --for 10m     one share, for ten minutes
  hither page --none               only for sending to this device
  hither page list                 the pages that are there
  hither page end                  end them

The other one opens the address, or scans the code, in any browser of the same
network; nothing has to be installed there. It is not encrypted on the way.";

/// Serve a page to browsers on this network: to look, download and send
///
/// For devices without Hither: a borrowed computer, a guest's phone. The address has an unguessable
/// word; whoever has it sees what is shared here and can send files and texts, which arrive in the
/// receive folder and the inbox. The page ends by itself, and with the daemon.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Shares that it shows, by name, id or path; else all that were made here for nobody in
    /// particular
    #[arg(add = ArgValueCandidates::new(complete::shares), conflicts_with = "none")]
    shares: Vec<String>,
    /// Show no share
    #[arg(long)]
    none: bool,
    /// End the page by itself after this time: 10m, 2h, 1d, at most 7d
    #[arg(long = "for", value_name = "TIME", value_parser = span, default_value = "1h")]
    keep: Duration,
    /// Nothing can be sent to this device by it
    #[arg(long)]
    no_upload: bool,
    /// Draw a QR code even where it does not fit the screen
    #[arg(long, conflicts_with = "no_qr")]
    qr: bool,
    /// Draw no QR code
    #[arg(long)]
    no_qr: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the pages that are there
    List,
    /// End a page, or all
    End {
        /// Its id (see hither page list); all where none is given
        page: Option<String>,
    },
}

fn span(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match (1..=MAX_PAGE_SECONDS).contains(&span.as_secs()) {
        true => Ok(span),
        false => Err("from 1s to 7d".into()),
    }
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    match &args.action {
        Some(Action::List) => list(session).await,
        Some(Action::End { page }) => end(session, page.as_deref()).await,
        None => open(session, &args).await,
    }
}

async fn open(session: &Session<'_>, args: &Args) -> Outcome {
    let client = session.daemon().await?;
    let shares = match args.none {
        true => Some(Vec::new()),
        false if args.shares.is_empty() => None,
        false => {
            let all = client.get::<Vec<ShareInfo>>("/v1/shares").await?;
            let picked = args.shares.iter().map(|wanted| pick_share(&all, wanted));
            let ids = picked.map(|share| share.map(|share| share.share.clone()));
            Some(ids.collect::<Result<Vec<_>, _>>()?)
        }
    };
    let request = PageRequest {
        keep_seconds: Some(args.keep.as_secs()),
        no_upload: args.no_upload,
        shares,
    };
    let page = client.post::<PageInfo>("/v1/pages", &request).await?;
    session.out.json(&page);
    if session.out.is_json() {
        return Ok(Exit::Done);
    }
    show(session, args, &page);
    Ok(Exit::Done)
}

/// Rows around a QR code: two lines of words, three empty ones, the address and the prompt.
const AROUND: usize = 8;

fn show(session: &Session<'_>, args: &Args, page: &PageInfo) {
    let out = session.out;
    let Some(url) = page.urls.first() else {
        return out.warning(
            "This device is in no network: nobody can open the page. Connect it, then: hither page",
        );
    };
    let left = duration(page.left_seconds);
    out.say(&session.wrapped(&format!(
        "For {left}, in any browser of this network: {}.",
        does(page)
    )));
    let (columns, rows) = out.size();
    let drawing = Drawing {
        columns,
        rows,
        colours: out.has_colours(),
    };
    let fits = |code: &String| args.qr || code.lines().count() + AROUND <= rows;
    let drawn = out.is_read_by_person() && !out.is_quiet() && !args.no_qr;
    if let Some(code) = qr_exact(url, drawing).filter(|code| drawn && fits(code)) {
        out.say(&format!("\n{code}"));
    }
    out.say("");
    out.say(&session.wrapped(
        "Not encrypted: who can listen in this network sees what passes. To end it: hither page end",
    ));
    for other in page.urls.iter().skip(1) {
        out.say(&format!("Or: {other}"));
    }
    out.result(url);
}

/// Words for what can be done on a page.
fn does(page: &PageInfo) -> String {
    let shown = match page.shares.as_slice() {
        [] => None,
        [one] => Some(format!("look at and download {one}")),
        many => Some(format!(
            "look at and download {}",
            count(many.len() as u64, "share")
        )),
    };
    match (shown, page.upload) {
        (Some(shown), true) => format!("{shown}; send files and texts to this device"),
        (Some(shown), false) => shown,
        (None, true) => "send files and texts to this device".into(),
        (None, false) => "nothing yet, as nothing is shared here".into(),
    }
}

async fn list(session: &Session<'_>) -> Outcome {
    let client = session.daemon().await?;
    let pages = client.get::<Vec<PageInfo>>("/v1/pages").await?;
    session.out.json_lines(&pages);
    if session.out.is_json() {
        return Ok(Exit::Done);
    }
    if pages.is_empty() {
        session
            .out
            .say("There is no page. Open one with: hither page");
    }
    for page in &pages {
        let came = match page.received {
            0 => String::new(),
            number => format!("; {} came by it", count(number, "thing")),
        };
        let left = duration(page.left_seconds);
        let line = format!("{}  {left} left  {}{came}", page.page, does(page));
        session.out.result(&line);
        if let Some(url) = page.urls.first() {
            session.out.result(&format!("          {url}"));
        }
    }
    Ok(Exit::Done)
}

async fn end(session: &Session<'_>, wanted: Option<&str>) -> Outcome {
    let client = session.daemon().await?;
    let pages = client.get::<Vec<PageInfo>>("/v1/pages").await?;
    let meant: Vec<&PageInfo> = match wanted {
        None => pages.iter().collect(),
        Some(id) => pages
            .iter()
            .filter(|page| page.page.starts_with(id))
            .collect(),
    };
    if meant.is_empty() && wanted.is_some() || wanted.is_some() && meant.len() > 1 {
        return Err(ApiError::new(ErrorCode::NotFound, "There is no such page.")
            .with_hint("See those that are there with: hither page list"));
    }
    for page in &meant {
        let ended = client
            .delete::<PageInfo>(&format!("/v1/pages/{}", page.page))
            .await?;
        session.out.json(&ended);
    }
    session.out.say(&match meant.len() {
        0 => "There was no page.".into(),
        1 => "The page has ended: its address opens nothing any more.".to_owned(),
        number => format!("{} have ended.", count(number as u64, "page")),
    });
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_does_is_said() {
        let page = |shares: &[&str], upload| PageInfo {
            page: "ab".into(),
            urls: Vec::new(),
            left_seconds: 1,
            upload,
            shares: shares.iter().map(ToString::to_string).collect(),
            received: 0,
        };
        assert_eq!(
            does(&page(&["photos"], true)),
            "look at and download photos; send files and texts to this device"
        );
        assert_eq!(
            does(&page(&["a", "b"], false)),
            "look at and download 2 shares"
        );
        assert_eq!(
            does(&page(&[], true)),
            "send files and texts to this device"
        );
    }

    #[test]
    fn a_page_lasts_from_a_second_to_a_week() {
        assert_eq!(span("7d"), Ok(Duration::from_secs(604_800)));
        assert!(span("0s").is_err() && span("8d").is_err() && span("soon").is_err());
    }
}
