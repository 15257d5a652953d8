//! One request in flight: the chunks asked of a source, and which of them have come.

use crate::carrier_choice::Carrier;
use crate::journal::{Paid, RunnerUp, SpanStory};
use crate::policy::Rule;
use crate::time::Time;
use hither_proto::{DeviceId, Price};
use roaring::RoaringBitmap;
use std::time::Duration;

/// One request in flight.
#[derive(Debug)]
pub(crate) struct Request {
    pub device: DeviceId,
    pub carrier: Carrier,
    pub span: u32,
    /// Asked for and not arrived.
    pub awaited: RoaringBitmap,
    /// How many were asked for.
    pub asked: u64,
    /// Arrived and not reported stored or damaged.
    pub arrived: RoaringBitmap,
    /// Given up before it arrived; it may still come.
    pub given_up: RoaringBitmap,
    /// How many of those that arrived were reported damaged.
    pub damaged: u64,
    pub asked_at: Time,
    pub rule: Rule,
    pub expected: Duration,
    pub reasons: Reasons,
}

/// The other reasons of a decision, for the journal.
#[derive(Debug, Default)]
pub(crate) struct Reasons {
    pub price: Price,
    pub runners_up: Vec<RunnerUp>,
    pub paid: Option<Paid>,
    pub rank: Option<u32>,
    pub claimer: Option<DeviceId>,
}

impl Request {
    /// Returns whether nothing of it has come.
    pub fn is_untouched(&self) -> bool {
        self.awaited.len() == self.asked
    }

    /// Returns whether something that was asked for has not come.
    pub fn is_waiting(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Returns whether nothing more happens to it. Every arrival is reported once, as stored or as
    /// damaged: what is left in the end was damaged.
    pub fn is_done(&self) -> bool {
        self.awaited.is_empty() && self.arrived.len() <= self.damaged
    }

    /// Returns the record of it for the journal; `start` is the first position of its span.
    pub fn into_story(self, start: u32, now: Time) -> SpanStory {
        let Reasons {
            price,
            runners_up,
            paid,
            rank,
            claimer,
        } = self.reasons;
        SpanStory {
            start,
            device: self.device,
            rule: self.rule,
            expected: self.expected,
            actual: now.since(self.asked_at),
            price,
            runners_up,
            paid,
            rank,
            claimer,
        }
    }
}
