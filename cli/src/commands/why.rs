//! `hither why`.

use crate::pick::pick;
use crate::session::{Outcome, Session};
use crate::show::{
    Align, Column, Table, ago, bytes, device, duration, grouped, kind_words, now, phase_words, wrap,
};
use console::Style;
use hither_api::{ApiError, Client, ErrorCode, Exit, SourceKind, TransferInfo, Why, WhySource, WhySpan};
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
    transfer: Option<String>,
    /// Show where every single span came from, and what the second choice was
    #[arg(long)]
    spans: bool,
}

const SOURCES: [Column; 7] = [
    Column::new("SOURCE", Align::Left).flexible(),
    Column::new("HOW", Align::Left),
    Column::new("BYTES", Align::Right),
    Column::new("PING", Align::Right),
    Column::new("FAULTS", Align::Right),
    Column::new("WASTED", Align::Right).optional(),
    Column::new("SPANS BY RULE", Align::Left).flexible().optional(),
];

const SPANS: [Column; 7] = [
    Column::new("CHUNK", Align::Right),
    Column::new("SOURCE", Align::Left).flexible(),
    Column::new("RULE", Align::Left).flexible(),
    Column::new("EXPECTED", Align::Right),
    Column::new("TOOK", Align::Right),
    Column::new("SECOND CHOICE", Align::Left).flexible().optional(),
    Column::new("EXPECTED", Align::Right).optional(),
];

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let client = session.daemon().await?;
    let id = wanted(&client, args.transfer.as_deref()).await?;
    let why = client.get::<Why>(&format!("/v1/transfers/{id}/why")).await?;
    session.out.json(&why);
    if session.out.is_json() {
        return Ok(Exit::Done);
    }
    words(session, &why);
    if !why.sources.is_empty() {
        session.out.result("");
        session.table(sources(&why.sources));
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
        None => transfers.iter().max_by_key(|transfer| transfer.started).ok_or_else(|| {
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
        session.out.result(&wrap("- ", &display_name(&source.words), width));
    }
    if !why.notes.is_empty() {
        session.out.result(&format!("\n{}", session.out.paint(Style::new().bold(), "On the way")));
    }
    for note in &why.notes {
        session.out.result(&wrap(&format!("{:>8.1} s  ", note.at), &display_name(&note.words), width));
    }
}

fn headline(transfer: &TransferInfo, now: u64) -> String {
    let name = match transfer.name.as_str() {
        "" => "A transfer whose name is not known yet".into(),
        name => display_name(name),
    };
    let size = match (transfer.bytes, transfer.total) {
        (_, 0) => String::new(),
        (bytes_done, total) if bytes_done < total => format!(", {} of {}", bytes(bytes_done), bytes(total)),
        (_, total) => format!(", {}", bytes(total)),
    };
    let took = transfer.ended.map(|end| format!(", took {}", duration(end.saturating_sub(transfer.started))));
    format!(
        "{name}: {}{size}, started {}{}",
        phase_words(transfer.phase),
        ago(transfer.started, now),
        took.unwrap_or_default()
    )
}

fn sources(sources: &[WhySource]) -> Table {
    let mut table = Table::new(&SOURCES);
    for why in sources {
        let source = &why.source;
        let rules: Vec<String> = why
            .rules
            .iter()
            .map(|(rule, spans)| format!("{} {}", display_name(rule), grouped(*spans)))
            .collect();
        table.row([
            if source.kind == SourceKind::Local {
                "this device".into()
            } else {
                device(&source.name, &source.device)
            },
            kind_words(source.kind).into(),
            bytes(source.bytes),
            why.rtt_ms.map_or("–".into(), milliseconds),
            grouped(why.faults),
            bytes(why.wasted),
            rules.join(", "),
        ]);
    }
    table
}

fn spans(why: &Why) -> Table {
    let mut table = Table::new(&SPANS);
    let known = |id: &str| {
        let source = why.sources.iter().map(|why| &why.source).find(|source| source.device == id);
        device(source.map_or("", |source| source.name.as_str()), id)
    };
    for WhySpan { start, device, rule, expected_ms, actual_ms, runners_up, .. } in &why.spans {
        let second = runners_up.first();
        table.row([
            grouped((*start).into()),
            known(device),
            display_name(rule),
            milliseconds(*expected_ms),
            milliseconds(*actual_ms),
            second.map_or("none".into(), |other| known(&other.device)),
            second.map_or("–".into(), |other| milliseconds(other.expected_ms)),
        ]);
    }
    table
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
            reason: None,
            sources: Vec::new(),
        };
        assert_eq!(headline(&transfer, 300), "film: done, 1 kB, started 3 min ago, took 12 s");
        let half = TransferInfo { phase: Phase::Paused, bytes: 500, ended: None, ..transfer };
        assert_eq!(headline(&half, 100), "film: paused, 500 B of 1 kB, started just now");
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(milliseconds(0.42), "0.4 ms");
        assert_eq!(milliseconds(250.4), "250 ms");
        assert_eq!(milliseconds(12_300.0), "12.3 s");
    }
}
