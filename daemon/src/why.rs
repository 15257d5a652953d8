//! Where a transfer's bytes came from, in words and numbers.

use crate::daemon::Daemon;
use crate::transfer::Transfer;
use hither_api::{SourceBytes, SourceKind, Why, WhyNote, WhySource, WhySpan};
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
        (_, SourceKind::Store) if has("store_faster") => {
            "asked where no device could give it, or it was faster than the devices."
        }
        (_, SourceKind::Store) => "asked where no device could give it.",
        _ => "asked whenever it was expected to be done first.",
    };
    let mut text = format!("{}{away}; {why}", nearness(told.source.kind));
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
        runner_up: story.runner_up.map(|(device, _)| device.to_string()),
        runner_up_ms: story.runner_up.map(|(_, finish)| ms(finish)),
    }
}
