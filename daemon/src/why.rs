//! The origin of a transfer's bytes, in words and numbers.
//!
//! `why/typical.rs` has the medians, `why/words.rs` the sentences.

mod typical;
mod words;

use crate::costs;
use crate::transfer::{Transfer, TransferService};
use hither_api::{
    PaidBecause, RunnerUp, SourceBytes, SourceKind, UsualRunnerUp, Why, WhyNote, WhyRule,
    WhySource, WhySpan,
};
use hither_engine::policy::Rule;
use hither_engine::{Journal, SourceSummary};
use hither_proto::DeviceId;
use std::collections::{BTreeMap, BTreeSet};
use typical::{Second, Typical, ms};

/// Most spans reported.
const SPANS: usize = 1000;

/// Keeps the story of a run, added to that of earlier runs.
pub(crate) fn keep(service: &TransferService, transfer: &Transfer, journal: &Journal) {
    let why = tell(service, transfer, Some(journal), true);
    if let Err(error) = service.records.put_why(&transfer.id, &why) {
        tracing::warn!(%error, "why a transfer went as it did could not be kept");
    }
}

/// The story so far.
pub(crate) fn why(service: &TransferService, transfer: &Transfer) -> Why {
    let running = transfer.is_running().then(|| {
        service
            .swarm
            .core()
            .with(|e, _| e.journal(transfer.share.id).cloned())
    });
    let tells_costs = transfer.tells_costs(service);
    tell(service, transfer, running.flatten().as_ref(), tells_costs)
}

/// `costs`: with what everything cost, as it is kept.
fn tell(
    service: &TransferService,
    transfer: &Transfer,
    journal: Option<&Journal>,
    costs: bool,
) -> Why {
    let mut why = service
        .records
        .why(&transfer.id)
        .ok()
        .flatten()
        .unwrap_or_else(|| Why {
            transfer: transfer.whole_info(service),
            sources: Vec::new(),
            notes: Vec::new(),
            spans: Vec::new(),
            names: BTreeMap::new(),
        });
    why.transfer = transfer.whole_info(service);
    why.sources = sources(service, &why, journal);
    if let Some(journal) = journal {
        why.notes
            .extend(journal.notes().map(|n| note(service, transfer, n)));
        let skip = journal.stories().count().saturating_sub(SPANS);
        why.spans.extend(journal.stories().skip(skip).map(span));
        let extra = why.spans.len().saturating_sub(SPANS);
        why.spans.drain(..extra);
    }
    why.names = names(service, &why);
    let name = |id: &str| {
        why.names
            .get(id)
            .cloned()
            .unwrap_or_else(|| "another device".into())
    };
    let currency = why.transfer.currency.as_deref();
    for told in &mut why.sources {
        if !costs {
            without_costs(told);
        }
        told.reasons = reasons(&told.rules, costs);
        told.words = words::source(told, name, currency);
    }
    if !costs {
        let sources = std::mem::take(&mut why.transfer.sources);
        why.transfer.sources = transfer.told(service, sources);
        for span in &mut why.spans {
            (span.price, span.paid) = (0.0, None);
            span.runners_up.iter_mut().for_each(|o| o.price = 0.0);
        }
    }
    why
}

/// Nothing is told of prices while none is set.
fn without_costs(told: &mut WhySource) {
    (told.source.cost, told.paid) = (0.0, None);
    if let Some(other) = &mut told.runner_up {
        (other.price, other.cost) = (0.0, 0.0);
    }
}

/// Those that gave something, in the order of the transfer; then those that were queried in vain.
fn sources(service: &TransferService, why: &Why, journal: Option<&Journal>) -> Vec<WhySource> {
    let mut known = why.sources.clone();
    let mut told: Vec<WhySource> = Vec::new();
    for source in &why.transfer.sources {
        let same = |k: &WhySource| k.source.device == source.device && k.source.kind == source.kind;
        let before = known
            .iter()
            .position(same)
            .map(|index| known.swap_remove(index));
        told.push(WhySource {
            source: source.clone(),
            ..before.unwrap_or_else(|| fresh(source))
        });
    }
    told.extend(known.into_iter().filter(|told| told.source.bytes == 0));
    let Some(journal) = journal else { return told };
    let typical = typical::typical(journal.stories());
    for (device, summary) in journal.sources() {
        let id = device.to_string();
        let place = told
            .iter()
            .rposition(|t| t.source.device == id && t.source.kind != SourceKind::Local);
        let place = match place {
            Some(place) => place,
            None if summary.wasted + summary.faults > 0 => {
                told.push(fresh(&useless(service, *device, summary)));
                told.len() - 1
            }
            None => continue,
        };
        add(service, &mut told[place], *device, summary, journal);
        if let Some(typical) = typical.get(device) {
            add_typical(service, &mut told[place], typical);
        }
    }
    told
}

fn fresh(source: &SourceBytes) -> WhySource {
    WhySource {
        source: source.clone(),
        wasted: 0,
        faults: 0,
        rules: BTreeMap::new(),
        reasons: Vec::new(),
        expected_ms: None,
        actual_ms: None,
        runner_up: None,
        rtt_ms: None,
        paid: None,
        words: String::new(),
    }
}

/// Describes a source that was queried and gave nothing that could be used.
fn useless(service: &TransferService, device: DeviceId, summary: &SourceSummary) -> SourceBytes {
    SourceBytes {
        device: device.to_string(),
        name: service
            .swarm
            .links()
            .name(device)
            .map(|name| name.to_string())
            .unwrap_or_default(),
        kind: service.swarm.links().way(device),
        bytes: 0,
        cost: costs::units(summary.cost),
    }
}

fn add(
    service: &TransferService,
    told: &mut WhySource,
    device: DeviceId,
    summary: &SourceSummary,
    journal: &Journal,
) {
    told.wasted += summary.wasted;
    told.faults += summary.faults;
    for (rule, count) in Rule::ALL
        .iter()
        .zip(summary.spans)
        .filter(|(_, count)| *count > 0)
    {
        *told.rules.entry(rule.name().to_owned()).or_default() += count;
    }
    let paid = || {
        journal
            .stories()
            .filter(|story| story.device == device)
            .find_map(|story| story.paid)
    };
    told.paid = told.paid.or_else(|| paid().map(because));
    told.rtt_ms = service.swarm.links().rtt(device).map(ms).or(told.rtt_ms);
}

/// Adds the typical values: those of the run that is described last stand for all.
fn add_typical(service: &TransferService, told: &mut WhySource, typical: &Typical) {
    (told.expected_ms, told.actual_ms) = (Some(typical.expected), Some(typical.actual));
    told.runner_up = typical.runner_up.as_ref().map(
        |Second {
             device,
             spans,
             expected,
             price,
         }| UsualRunnerUp {
            device: device.to_string(),
            name: service
                .swarm
                .links()
                .name(*device)
                .map(|name| name.to_string())
                .unwrap_or_default(),
            kind: service.swarm.links().way(*device),
            spans: *spans,
            expected_ms: *expected,
            price: price.units_per_gib(),
            cost: costs::units(price.of(told.source.bytes)),
        },
    );
}

/// Rules in words, the most frequent first.
fn reasons(rules: &BTreeMap<String, u64>, costs: bool) -> Vec<WhyRule> {
    let known = Rule::ALL.iter().filter_map(|rule| {
        let spans = *rules.get(rule.name())?;
        Some(WhyRule {
            rule: rule.name().into(),
            spans,
            words: words::rule(*rule, costs).into(),
        })
    });
    let mut reasons: Vec<WhyRule> = known.collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.spans));
    reasons
}

/// Returns the names of all devices and stores that are mentioned.
fn names(service: &TransferService, why: &Why) -> BTreeMap<String, String> {
    let spans = why.spans.iter().flat_map(|span| {
        let others = span.runners_up.iter().map(|other| other.device.as_str());
        others
            .chain([span.device.as_str()])
            .chain(span.claimer.as_deref())
    });
    let sources = why.sources.iter().flat_map(|told| {
        [
            Some(&told.source.device),
            told.runner_up.as_ref().map(|other| &other.device),
        ]
        .into_iter()
        .flatten()
    });
    let ids: BTreeSet<&str> = spans.chain(sources.map(String::as_str)).collect();
    let parsed = ids
        .into_iter()
        .filter_map(|id| Some((id, id.parse::<DeviceId>().ok()?)));
    let called = |(id, device): (&str, DeviceId)| {
        // A name may have been known in an earlier run, and not be told any more.
        let told = || {
            why.sources
                .iter()
                .find(|s| s.source.device == id && !s.source.name.is_empty())
        };
        let stored = || why.names.get(id).cloned();
        let name = service
            .swarm
            .links()
            .name(device)
            .map(|name| name.to_string());
        let name = name
            .or_else(|| told().map(|told| told.source.name.clone()))
            .or_else(stored);
        (
            id.to_owned(),
            name.unwrap_or_else(|| nameless(service, device)),
        )
    };
    parsed.map(called).collect()
}

/// Returns the name shown for a device or store without a name.
fn nameless(service: &TransferService, device: DeviceId) -> String {
    match service.swarm.links().way(device) {
        SourceKind::Store => "the store".into(),
        _ => format!("…{}", device.short()),
    }
}

const fn because(paid: hither_engine::Paid) -> PaidBecause {
    PaidBecause {
        cheaper_rate: paid.cheaper,
        threshold: paid.threshold,
    }
}

fn note(service: &TransferService, transfer: &Transfer, note: &hither_engine::Note) -> WhyNote {
    use hither_engine::JournalEvent::{Lied, Lost, NotHeld, Stalled};
    let name = service
        .swarm
        .links()
        .name(note.device)
        .map(|name| name.to_string());
    let who = name.unwrap_or_else(|| nameless(service, note.device));
    let what = match note.event {
        Stalled => "stalled",
        Lost => "lost",
        Lied => "lied",
        NotHeld => "not_held",
    };
    WhyNote {
        at: transfer.at_work(note.at),
        device: note.device.to_string(),
        what: what.into(),
        words: words::event(&who, note.event),
    }
}

fn span(story: &hither_engine::SpanStory) -> WhySpan {
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
