//! One request in flight: what was asked of whom, what has come of it, and how it ends.

use crate::carrier_choice::Carrier;
use crate::command::RequestId;
use crate::fetch::Fetch;
use crate::journal::{JournalEvent, Paid, RunnerUp, SpanStory};
use crate::policy::Rule;
use crate::time::Time;
use hither_proto::{DeviceId, Price, Ranges, Space};
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

/// What else is remembered of a decision, for whoever asks why.
#[derive(Debug, Default)]
pub(crate) struct Reasons {
    pub price: Price,
    pub runners_up: Vec<RunnerUp>,
    pub paid: Option<Paid>,
    pub rank: Option<u32>,
    pub claimer: Option<DeviceId>,
}

impl Request {
    /// Whether nothing of it has come.
    pub fn is_untouched(&self) -> bool {
        self.awaited.len() == self.asked
    }
}

impl Fetch {
    pub fn served(&mut self, device: DeviceId, id: RequestId, now: Time) {
        let Some(request) = self.requests.get_mut(&id).filter(|r| r.device == device) else {
            return;
        };
        let missing = std::mem::take(&mut request.awaited);
        let carrier = request.carrier;
        if !missing.is_empty() {
            self.settle_bytes(device, carrier, &missing, now);
            self.believe_not_held(device, &missing, now);
        }
        self.end_if_done(id, now);
    }

    pub fn not_held(&mut self, device: DeviceId, id: RequestId, ranges: &Ranges, now: Time) {
        let Some(request) = self.requests.get_mut(&id).filter(|r| r.device == device) else {
            return;
        };
        let gone = ranges.to_bitmap() & &request.awaited;
        request.awaited -= &gone;
        let carrier = request.carrier;
        self.settle_bytes(device, carrier, &gone, now);
        self.believe_not_held(device, &gone, now);
        self.end_if_done(id, now);
    }

    fn believe_not_held(&mut self, device: DeviceId, positions: &RoaringBitmap, now: Time) {
        let (Some(version), Some(space)) = (self.version, self.space()) else {
            return;
        };
        self.journal.note(now, device, JournalEvent::NotHeld);
        let total = self.spans.positions();
        if let Some(source) = self.sources.get_mut(&device) {
            source.not_held(version, space, positions, total);
        }
    }

    pub fn busy(&mut self, device: DeviceId, id: RequestId, pause: Duration, now: Time) {
        if self.requests.get(&id).is_some_and(|r| r.device == device) {
            self.abandon(id, now);
            if let Some(source) = self.sources.get_mut(&device) {
                source.busy(now, pause);
            }
        }
    }

    /// The stream of a carrier broke: what was asked over it is idle again.
    pub fn carrier_failed(&mut self, device: DeviceId, carrier: Carrier, now: Time) {
        let broken: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(_, r)| r.device == device && r.carrier == carrier)
            .map(|(id, _)| *id)
            .collect();
        broken.into_iter().for_each(|id| self.abandon(id, now));
        if let Some(source) = self.sources.get_mut(&device) {
            source.carriers.failed(carrier, now);
            source.settle_way(&self.spending.prices, now);
        }
    }

    pub(crate) fn drop_requests_of(&mut self, device: DeviceId, now: Time) {
        let ids: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(_, r)| r.device == device)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            if let Some(request) = self.requests.get(&id) {
                self.moved.insert(request.span);
            }
            self.abandon(id, now);
        }
    }

    /// Gives up what has not arrived of a request; what arrived is still being stored.
    pub(crate) fn abandon(&mut self, id: RequestId, now: Time) {
        if let Some(request) = self.requests.get_mut(&id) {
            let awaited = std::mem::take(&mut request.awaited);
            request.given_up |= &awaited;
            let (device, carrier) = (request.device, request.carrier);
            self.settle_bytes(device, carrier, &awaited, now);
            self.end_if_done(id, now);
        }
    }

    pub(crate) fn settle_bytes(
        &mut self,
        device: DeviceId,
        carrier: Carrier,
        positions: &RoaringBitmap,
        now: Time,
    ) {
        let bytes = positions
            .iter()
            .filter_map(|p| self.spans.length(p))
            .map(u64::from)
            .sum();
        self.given_up_on(device, carrier, bytes, now);
    }

    pub(crate) fn end_if_done(&mut self, id: RequestId, now: Time) {
        // Every arrival is reported once, as stored or as damaged: what is left in the end was
        // damaged.
        let done = |r: &Request| r.awaited.is_empty() && r.arrived.len() <= r.damaged;
        if let Some(request) = self
            .requests
            .get(&id)
            .is_some_and(done)
            .then(|| self.requests.remove(&id))
            .flatten()
        {
            let damaged = request
                .arrived
                .iter()
                .filter_map(|p| self.spans.length(p))
                .map(u64::from)
                .sum();
            if damaged > 0 {
                self.journal.wasted(request.device, damaged);
            }
            self.spans.request_ended(request.span);
            if let Some(source) = self.sources.get_mut(&request.device) {
                source.requests = source.requests.saturating_sub(1);
            }
            if !matches!(request.rule, Rule::LocalCopy) {
                self.neighbourhood.took(now.since(request.asked_at));
            }
            self.claim_ended(request.span, now);
            if self.space() == Some(Space::Data) {
                let Reasons {
                    price,
                    runners_up,
                    paid,
                    rank,
                    claimer,
                } = request.reasons;
                self.journal.span(SpanStory {
                    start: self.spans.span(request.span).map_or(0, |s| s.start),
                    device: request.device,
                    rule: request.rule,
                    expected: request.expected,
                    actual: now.since(request.asked_at),
                    price,
                    runners_up,
                    paid,
                    rank,
                    claimer,
                });
            }
        }
    }
}
