//! The origin of every span, and the reason: the record that `hither why` shows.
//!
//! Bounded: totals per source are exact; stories of single spans and notes are kept for the most
//! recent ones only.

use crate::policy::Rule;
use crate::time::Time;
use hither_proto::{DeviceId, Price};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Most span stories kept.
const MAX_STORIES: usize = 65_536;
/// Most notes kept.
const MAX_NOTES: usize = 256;

/// The totals of one source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceSummary {
    /// Plaintext bytes that were verified and kept.
    pub bytes: u64,
    /// Plaintext bytes that arrived and were not needed any more, or were damaged.
    pub wasted: u64,
    /// Spans by the rule that chose the source, in the order of [`Rule::ALL`].
    pub spans: [u64; Rule::ALL.len()],
    /// Times it stalled, failed or was found lying.
    pub faults: u64,
    /// Cost of its bytes, those in vain included, nanos.
    pub cost: u64,
    /// The part of `bytes` that came through a relay.
    pub relayed: u64,
    /// The part of `cost` that is for bytes through a relay.
    pub relayed_cost: u64,
}

/// The record of one span.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanStory {
    /// First position of the span (data chunks).
    pub start: u32,
    /// The source.
    pub device: DeviceId,
    /// The rule that chose it.
    pub rule: Rule,
    /// The time that it was expected to take.
    pub expected: Duration,
    /// The time that it took.
    pub actual: Duration,
    /// Its price for each GiB.
    pub price: Price,
    /// The next best sources, at most [`crate::policy::RUNNERS_UP`].
    pub runners_up: Vec<RunnerUp>,
    /// The reason for paying, when a cheaper source had it.
    pub paid: Option<Paid>,
    /// Number of neighbours that had more right to this first copy; 0: it was this device's own
    /// part. `None` when it was no first copy among neighbours.
    pub rank: Option<u32>,
    /// The device whose claim was taken over.
    pub claimer: Option<DeviceId>,
}

/// A source that was not chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunnerUp {
    /// The source.
    pub device: DeviceId,
    /// The time that it would have taken.
    pub expected: Duration,
    /// Its price for each GiB.
    pub price: Price,
}

/// The comparison that made a paid source worth its price.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paid {
    /// Rate of the cheaper sources, for all devices that waited, bytes per second.
    pub cheaper: f64,
    /// The rate below which the price is worth it, bytes per second.
    pub threshold: f64,
}

/// Something that happened to a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalEvent {
    /// It gave nothing for too long.
    Stalled,
    /// Its session or stream broke.
    Lost,
    /// It gave a chunk whose bytes did not match its id.
    Lied,
    /// It announced what it does not hold.
    NotHeld,
}

/// A [`JournalEvent`] with its time and source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The moment.
    pub at: Time,
    /// The source.
    pub device: DeviceId,
    /// The event.
    pub event: JournalEvent,
}

/// The record of one fetch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Journal {
    sources: BTreeMap<DeviceId, SourceSummary>,
    stories: VecDeque<SpanStory>,
    notes: VecDeque<Note>,
}

impl Journal {
    /// Totals by source.
    pub const fn sources(&self) -> &BTreeMap<DeviceId, SourceSummary> {
        &self.sources
    }

    /// Stories of the most recent spans, oldest first.
    pub fn stories(&self) -> impl Iterator<Item = &SpanStory> {
        self.stories.iter()
    }

    /// The most recent notes, oldest first.
    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter()
    }

    pub(crate) fn kept(&mut self, device: DeviceId, bytes: u64, relayed: bool) {
        let source = self.sources.entry(device).or_default();
        source.bytes += bytes;
        source.relayed += if relayed { bytes } else { 0 };
    }

    pub(crate) fn wasted(&mut self, device: DeviceId, bytes: u64) {
        self.sources.entry(device).or_default().wasted += bytes;
    }

    pub(crate) fn cost(&mut self, device: DeviceId, nanos: u64, relayed: bool) {
        let source = self.sources.entry(device).or_default();
        source.cost = source.cost.saturating_add(nanos);
        source.relayed_cost = source
            .relayed_cost
            .saturating_add(if relayed { nanos } else { 0 });
    }

    /// Cost of all of it, nanos.
    pub fn total_cost(&self) -> u64 {
        self.sources
            .values()
            .fold(0, |sum, source| sum.saturating_add(source.cost))
    }

    pub(crate) fn span(&mut self, story: SpanStory) {
        self.sources.entry(story.device).or_default().spans[story.rule as usize] += 1;
        if self.stories.len() == MAX_STORIES {
            self.stories.pop_front();
        }
        self.stories.push_back(story);
    }

    pub(crate) fn note(&mut self, at: Time, device: DeviceId, event: JournalEvent) {
        self.sources.entry(device).or_default().faults += 1;
        if self.notes.len() == MAX_NOTES {
            self.notes.pop_front();
        }
        self.notes.push_back(Note { at, device, event });
    }
}
