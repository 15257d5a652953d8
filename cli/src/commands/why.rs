//! `hither why`.

use crate::complete;
use crate::pick::pick;
use crate::session::{Outcome, Session};
use crate::show::{
    Align, Column, Table, ago, bytes, cost, count, device, duration, grouped, kind_words, now,
    phase_words, wrap,
};
use clap_complete::engine::ArgValueCandidates;
use console::Style;
use hither_api::{
    ApiError, Client, ErrorCode, Exit, SourceKind, TransferInfo, UsualRunnerUp, Why, WhyRule,
};
use hither_proto::display_name;

const EXAMPLES: &str = "\
Examples:
  hither why                   the latest transfer
  hither why photos            by name
  hither why 3f2a --spans      by the beginning of its id, with every span";

/// Explain where the bytes of a transfer came from
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Its name, its id, or the beginning of its id; the latest when absent
    #[arg(add = ArgValueCandidates::new(complete::transfers))]
    transfer: Option<String>,
    /// Show where every single span came from, what the other choices were, and what they cost
    #[arg(long)]
    spans: bool,
}

const SOURCES: [Column; 10] = [
    Column::new("SOURCE", Align::Left).flexible(),
    Column::new("HOW", Align::Left),
    Column::new("BYTES", Align::Right),
    Column::new("PING", Align::Right),
    Column::new("A PART TOOK", Align::Right).sparse().optional(),
    Column::new("COST", Align::Right).sparse(),
    Column::new("FAULTS", Align::Right),
    Column::new("WASTED", Align::Right).optional(),
    Column::new("SECOND CHOICE", Align::Left)
        .flexible()
        .sparse()
        .optional(),
    Column::new("SPANS BY RULE", Align::Left)
        .flexible()
        .optional(),
];

const SPANS: [Column; 14] = [
    Column::new("CHUNK", Align::Right),
    Column::new("SOURCE", Align::Left).flexible(),
    Column::new("RULE", Align::Left).flexible(),
    Column::new("EXPECTED", Align::Right),
    Column::new("TOOK", Align::Right),
    Column::new("PRICE", Align::Right).sparse(),
    Column::new("SECOND CHOICE", Align::Left)
        .flexible()
        .optional(),
    Column::new("EXPECTED", Align::Right).optional(),
    Column::new("PRICE", Align::Right).sparse().optional(),
    Column::new("THIRD", Align::Left)
        .flexible()
        .sparse()
        .optional(),
    Column::new("EXPECTED", Align::Right).sparse().optional(),
    Column::new("PRICE", Align::Right).sparse().optional(),
    Column::new("RANK", Align::Right).sparse().optional(),
    Column::new("CLAIMED BY", Align::Left)
        .flexible()
        .sparse()
        .optional(),
];

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let client = session.daemon().await?;
    let id = wanted(&client, args.transfer.as_deref()).await?;
    let why = client
        .get::<Why>(&format!("/v1/transfers/{id}/why"))
        .await?;
    session.out.json(&why);
    if session.out.is_json() {
        return Ok(Exit::Done);
    }
    words(session, &why);
    if !why.sources.is_empty() {
        session.out.result("");
        session.table(sources(&why));
    }
    if args.spans && !why.spans.is_empty() {
        session.out.result("");
        session.table(spans(&why));
    }
    Ok(Exit::Done)
}

async fn wanted(client: &Client, transfer: Option<&str>) -> Result<String, ApiError> {
    let transfers = client.get::<Vec<TransferInfo>>("/v1/transfers").await?;
    let found = match transfer {
        Some(transfer) => pick(&transfers, transfer)?,
        None => transfers
            .iter()
            .max_by_key(|transfer| transfer.started)
            .ok_or_else(|| {
                ApiError::new(ErrorCode::NotFound, "Nothing was fetched yet.")
                    .with_hint("Fetch something with: hither fetch TICKET")
            })?,
    };
    Ok(found.transfer.clone())
}

fn words(session: &Session<'_>, why: &Why) {
    let width = session.out.prose_width();
    session.out.result(&headline(&why.transfer, now()));
    if let Some(reason) = &why.transfer.reason {
        session.out.result(&wrap("", &display_name(reason), width));
    }
    for source in &why.sources {
        session
            .out
            .result(&wrap("- ", &display_name(&source.words), width));
        for WhyRule { spans, words, .. } in &source.reasons {
            let parts = format!("    {:>9}  ", count(*spans, "part"));
            session
                .out
                .result(&wrap(&parts, &display_name(words), width));
        }
    }
    if !why.notes.is_empty() {
        session.out.result(&format!(
            "\n{}",
            session.out.paint(Style::new().bold(), "On the way")
        ));
    }
    for note in &why.notes {
        session.out.result(&wrap(
            &format!("{:>8.1} s  ", note.at),
            &display_name(&note.words),
            width,
        ));
    }
}

fn headline(transfer: &TransferInfo, now: u64) -> String {
    let name = match transfer.name.as_str() {
        "" => "A transfer whose name is not known yet".into(),
        name => display_name(name),
    };
    let size = match (transfer.bytes, transfer.total) {
        (_, 0) => String::new(),
        (bytes_done, total) if bytes_done < total => {
            format!(", {} of {}", bytes(bytes_done), bytes(total))
        }
        (_, total) => format!(", {}", bytes(total)),
    };
    let took = transfer
        .ended
        .map(|_| format!(", took {}", duration(transfer.seconds.round() as u64)));
    format!(
        "{name}: {}{size}, started {}{}",
        phase_words(transfer.phase),
        ago(transfer.started, now),
        took.unwrap_or_default()
    )
}

fn sources(why: &Why) -> Table {
    let mut table = Table::new(&SOURCES);
    for told in &why.sources {
        let source = &told.source;
        let rules = told
            .rules
            .iter()
            .map(|(rule, spans)| format!("{} {}", display_name(rule), grouped(*spans)));
        table.row([
            if source.kind == SourceKind::Local {
                "this device".into()
            } else {
                called(why, &source.name, &source.device)
            },
            kind_words(source.kind).into(),
            bytes(source.bytes),
            told.rtt_ms.map_or("–".into(), milliseconds),
            told.actual_ms.map_or(String::new(), milliseconds),
            price(why, source.cost),
            grouped(told.faults),
            bytes(told.wasted),
            told.runner_up
                .as_ref()
                .map_or(String::new(), |other| second(why, other)),
            rules.collect::<Vec<_>>().join(", "),
        ]);
    }
    table
}

/// The usual second choice, and what it would have meant.
fn second(why: &Why, other: &UsualRunnerUp) -> String {
    let who = called(why, &other.name, &other.device);
    let cost = if other.cost > 0.0 {
        format!(", {}", price(why, other.cost))
    } else {
        String::new()
    };
    format!("{who} ({}{cost})", milliseconds(other.expected_ms))
}

fn spans(why: &Why) -> Table {
    let mut table = Table::new(&SPANS);
    for span in &why.spans {
        let other = |place: usize, none: &str| match span.runners_up.get(place) {
            Some(other) => [
                called(why, "", &other.device),
                milliseconds(other.expected_ms),
                price(why, other.price),
            ],
            None => [none.into(), String::new(), String::new()],
        };
        let ([second, soon, dear], [third, later, dearer]) = (other(0, "none"), other(1, ""));
        table.row([
            grouped(span.start.into()),
            called(why, "", &span.device),
            display_name(&span.rule),
            milliseconds(span.expected_ms),
            milliseconds(span.actual_ms),
            price(why, span.price),
            second,
            soon,
            dear,
            third,
            later,
            dearer,
            span.rank.map_or(String::new(), |rank| grouped(rank.into())),
            span.claimer
                .as_ref()
                .map_or(String::new(), |id| called(why, "", id)),
        ]);
    }
    table
}

/// A device by the name it has here, else by what it is called in the story, else by the end of its
/// id.
fn called(why: &Why, name: &str, id: &str) -> String {
    match why.names.get(id) {
        Some(called) if name.is_empty() => display_name(called),
        _ => device(name, id),
    }
}

/// What costs nothing is not worth a word.
fn price(why: &Why, units: f64) -> String {
    if units > 0.0 {
        cost(units, why.transfer.currency.as_deref())
    } else {
        String::new()
    }
}

fn milliseconds(span: f64) -> String {
    match span {
        ..9.95 => format!("{span:.1} ms"),
        ..10_000.0 => format!("{span:.0} ms"),
        _ => format!("{:.1} s", span / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_api::Phase;

    #[test]
    fn the_headline_says_how_far_it_came() {
        let transfer = TransferInfo {
            transfer: "t".into(),
            share: "s".into(),
            name: "film".into(),
            path: "/x/film".into(),
            phase: Phase::Done,
            bytes: 1000,
            total: 1000,
            rate: 0,
            devices: 0,
            started: 100,
            ended: Some(112),
            seconds: 12.0,
            reason: None,
            follow: None,
            names: Default::default(),
            sources: Vec::new(),
            currency: None,
        };
        assert_eq!(
            headline(&transfer, 300),
            "film: done, 1 kB, started 3 min ago, took 12 s"
        );
        let half = TransferInfo {
            phase: Phase::Paused,
            bytes: 500,
            ended: None,
            ..transfer
        };
        assert_eq!(
            headline(&half, 100),
            "film: paused, 500 B of 1 kB, started just now"
        );
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(milliseconds(0.42), "0.4 ms");
        assert_eq!(milliseconds(250.4), "250 ms");
        assert_eq!(milliseconds(12_300.0), "12.3 s");
    }
}
