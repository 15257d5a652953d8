//! Where a transfer's bytes came from, in words and numbers.

use crate::costs;
use crate::daemon::Daemon;
use crate::transfer::Transfer;
use hither_api::{PaidBecause, RunnerUp, SourceBytes, SourceKind, Why, WhyNote, WhySource, WhySpan};
use hither_engine::policy::Rule;
use hither_engine::{Journal, JournalEvent};
use hither_proto::DeviceId;

/// Most spans told.
const SPANS: usize = 1000;

/// Keeps the story of a run, added to that of earlier runs.
pub(crate) fn keep(daemon: &Daemon, transfer: &Transfer, journal: &Journal) {
    let why = tell(daemon, transfer, Some(journal));
    if let Err(error) = daemon.records.put_why(&transfer.id, &why) {
        tracing::warn!(%error, "why a transfer went as it did could not be kept");
    }
}

/// The story so far.
pub(crate) fn why(daemon: &Daemon, transfer: &Transfer) -> Why {
    let running =
        transfer.is_running().then(|| daemon.core.with(|e, _| e.journal(transfer.share.id).cloned()));
    tell(daemon, transfer, running.flatten().as_ref())
}

fn tell(daemon: &Daemon, transfer: &Transfer, journal: Option<&Journal>) -> Why {
    let mut why = daemon.records.why(&transfer.id).ok().flatten().unwrap_or_else(|| Why {
        transfer: transfer.info(daemon),
        sources: Vec::new(),
        notes: Vec::new(),
        spans: Vec::new(),
    });
    why.transfer = transfer.info(daemon);
    let mut known = std::mem::take(&mut why.sources);
    for source in &why.transfer.sources {
        let mut told =
            match known.iter().position(|k| k.source.device == source.device && k.source.kind == source.kind)
            {
                Some(index) => known.swap_remove(index),
                None => fresh(source),
            };
        told.source = source.clone();
        if let Some(journal) = journal.filter(|_| source.kind != SourceKind::Local) {
            add(daemon, &mut told, journal);
        }
        told.words = words(&told, why.transfer.sources.len());
        why.sources.push(told);
    }
    why.sources.extend(known.into_iter().filter(|told| told.source.bytes == 0));
    let useless = journal
        .into_iter()
        .flat_map(|j| j.sources())
        .filter(|(_, s)| s.bytes == 0 && s.wasted + s.faults > 0);
    for (device, summary) in useless {
        let id = device.to_string();
        if why.sources.iter().all(|told| told.source.device != id) {
            let mut told = fresh(&SourceBytes {
                device: id,
                name: daemon.links.name(*device).map(|name| name.to_string()).unwrap_or_default(),
                kind: daemon.links.way(*device),
                bytes: 0,
                cost: costs::units(summary.cost),
            });
            (told.wasted, told.faults) = (summary.wasted, summary.faults);
            told.words = "It was asked, and gave nothing that could be used.".into();
            why.sources.push(told);
        }
    }
    if let Some(journal) = journal {
        why.notes.extend(journal.notes().map(|n| note(daemon, n)));
        let skip = journal.stories().count().saturating_sub(SPANS);
        why.spans.extend(journal.stories().skip(skip).map(span));
        let extra = why.spans.len().saturating_sub(SPANS);
        why.spans.drain(..extra);
    }
    why
}

fn fresh(source: &SourceBytes) -> WhySource {
    WhySource {
        source: source.clone(),
        wasted: 0,
        faults: 0,
        rules: Default::default(),
        rtt_ms: None,
        paid: None,
        words: String::new(),
    }
}

fn add(daemon: &Daemon, told: &mut WhySource, journal: &Journal) {
    let Ok(device) = told.source.device.parse::<DeviceId>() else { return };
    let Some(summary) = journal.sources().get(&device) else { return };
    told.wasted += summary.wasted;
    told.faults += summary.faults;
    for (rule, count) in Rule::ALL.iter().zip(summary.spans).filter(|(_, count)| *count > 0) {
        *told.rules.entry(rule.name().to_owned()).or_default() += count;
    }
    let paid = || journal.stories().filter(|story| story.device == device).find_map(|story| story.paid);
    told.paid = told.paid.or_else(|| paid().map(because));
    told.rtt_ms = daemon.links.rtt(device).map(|rtt| rtt.as_secs_f64() * 1000.0).or(told.rtt_ms);
}

/// How near a source is, for the beginning of a sentence.
const fn nearness(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Lan | SourceKind::Local => "Same network",
        SourceKind::Direct => "Directly, from another network",
        SourceKind::Relayed => "Through a relay",
        SourceKind::Store => "A store of a relay",
    }
}

/// One sentence about a source.
fn words(told: &WhySource, sources: usize) -> String {
    if told.source.kind == SourceKind::Local {
        return "It was on this device already, in another share or an earlier version: copied, not fetched."
            .into();
    }
    let away = told.rtt_ms.map(|rtt| format!(", {rtt:.1} ms away")).unwrap_or_default();
    let has = |rule: &str| told.rules.contains_key(rule);
    let why = match (sources, told.source.kind) {
        (1, SourceKind::Store) => "no device that has it could give it.",
        (1, _) => "nobody else had it.",
        _ if has("local_copy") => {
            "it had these parts already, so that they did not come from farther away again."
        }
        _ if has("first_copy") || has("steal") => {
            "nobody on this network had these parts; this device got them for all who fetch them here."
        }
        _ if has("paid") => "it costs, and sources that cost less were too slow to be waited for.",
        (_, SourceKind::Store) => "asked where no device could give it.",
        _ => "asked whenever it was expected to be done first.",
    };
    let mut text = format!("{}{away}; {why}", nearness(told.source.kind));
    if let Some(PaidBecause { cheaper_rate, threshold }) = told.paid {
        text.push_str(&format!(
            " The others gave {} Mbit/s when it was first asked, below the {} Mbit/s from which on waiting is cheaper.",
            mbit(cheaper_rate),
            mbit(threshold)
        ));
    }
    if told.source.cost > 0.0 {
        text.push_str(&format!(" It cost {}.", amount(told.source.cost)));
    }
    if has("takeover") {
        text.push_str(" Some parts another device meant to get, and did not.");
    }
    if has("moved") {
        text.push_str(" It took over from a device that stalled, failed or gave damaged data.");
    }
    if has("tail") {
        text.push_str(" Some of the last parts were asked of it too, because another device was slow.");
    }
    text
}

/// Megabits per second, rounded as people would.
fn mbit(rate: f64) -> String {
    let mbit = rate * 8.0 / 1e6;
    if mbit < 9.95 { format!("{mbit:.1}") } else { format!("{mbit:.0}") }
}

/// An amount of money with two digits that say something.
fn amount(units: f64) -> String {
    let digits = if units >= 0.1 { 2 } else { (1.0 - units.max(1e-9).log10().floor()) as usize };
    format!("{units:.digits$}")
}

fn because(paid: hither_engine::Paid) -> PaidBecause {
    PaidBecause { cheaper_rate: paid.cheaper, threshold: paid.threshold }
}

fn name(daemon: &Daemon, device: DeviceId) -> String {
    daemon.links.name(device).map_or_else(|| format!("…{}", device.short()), |name| name.to_string())
}

fn note(daemon: &Daemon, note: &hither_engine::Note) -> WhyNote {
    let who = name(daemon, note.device);
    let (what, words) = match note.event {
        JournalEvent::Stalled => {
            ("stalled", format!("{who} gave nothing for too long; others were asked instead."))
        }
        JournalEvent::Lost => ("lost", format!("The connection to {who} broke.")),
        JournalEvent::Lied => {
            ("lied", format!("{who} gave damaged data; it is not asked again for this share."))
        }
        JournalEvent::NotHeld => ("not_held", format!("{who} did not have what it had announced.")),
    };
    WhyNote {
        at: note.at.since_start().as_secs_f64(),
        device: note.device.to_string(),
        what: what.into(),
        words,
    }
}

fn span(story: &hither_engine::SpanStory) -> WhySpan {
    let ms = |d: std::time::Duration| d.as_secs_f64() * 1000.0;
    WhySpan {
        start: story.start,
        device: story.device.to_string(),
        rule: story.rule.name().to_owned(),
        expected_ms: ms(story.expected),
        actual_ms: ms(story.actual),
        price: story.price.units_per_gib(),
        runners_up: story
            .runners_up
            .iter()
            .map(|other| RunnerUp {
                device: other.device.to_string(),
                expected_ms: ms(other.expected),
                price: other.price.units_per_gib(),
            })
            .collect(),
        paid: story.paid.map(because),
        rank: story.rank,
        claimer: story.claimer.map(|device| device.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_two_digits_that_say_something() {
        for (units, text) in [(1.5, "1.50"), (0.25, "0.25"), (0.0123, "0.012"), (0.000_034_5, "0.000034")] {
            assert_eq!(amount(units), text);
        }
        assert_eq!((mbit(7_500_000.0), mbit(500_000.0)), ("60".into(), "4.0".into()));
    }
}
