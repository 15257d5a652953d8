//! How requests end.

use super::Fetch;
use crate::carrier_choice::Carrier;
use crate::command::{Command, RequestId};
use crate::journal::JournalEvent;
use crate::policy::Rule;
use crate::request::Request;
use crate::round::Round;
use crate::snapshot::Snapshot;
use crate::time::Time;
use hither_proto::{DeviceId, Ranges, Space};
use roaring::RoaringBitmap;
use std::time::Duration;

impl Fetch {
    /// Ends a request of which a device has sent all that it will.
    pub fn served(&mut self, device: DeviceId, id: RequestId, now: Time) {
        let Some(request) = self.requests.get_of(device, id) else {
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

    /// Takes note that a device does not hold some of a request.
    pub fn not_held(&mut self, device: DeviceId, id: RequestId, ranges: &Ranges, now: Time) {
        let Some(request) = self.requests.get_of(device, id) else {
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
        let Some(target) = self.target() else {
            return;
        };
        self.journal.note(now, device, JournalEvent::NotHeld);
        let total = self.spans.positions();
        if let Some(source) = self.sources.get_mut(device) {
            source.not_held(target.version, target.space, positions, total);
        }
    }

    /// Gives up a request that a device is too busy for; it is left alone for `pause`.
    pub fn busy(&mut self, device: DeviceId, id: RequestId, pause: Duration, now: Time) {
        if self.requests.get_of(device, id).is_some() {
            self.abandon(id, now);
            if let Some(source) = self.sources.get_mut(device) {
                source.busy(now, pause);
            }
        }
    }

    /// Gives up what was asked over a carrier whose stream broke: it is idle again.
    pub fn carrier_failed(&mut self, device: DeviceId, carrier: Carrier, now: Time) {
        for id in self.requests.over(device, carrier) {
            self.abandon(id, now);
        }
        if let Some(source) = self.sources.get_mut(device) {
            source.carriers.failed(carrier, now);
            source.update_carrier(self.spending.prices(), now);
        }
    }

    /// Gives up on sources that are silent, when it is time to look; returns whether it was.
    pub(super) fn give_up_stalled(&mut self, round: &mut Round<'_>) -> bool {
        if !self.stalls.take_due(round.now) || self.target().is_none() {
            return false;
        }
        for device in self.selection(round.now).silent(&self.requests) {
            self.give_up_on(device, round);
        }
        self.neighbourhood.recount(&self.sources, &self.spans);
        true
    }

    fn give_up_on(&mut self, device: DeviceId, round: &mut Round<'_>) {
        self.journal.note(round.now, device, JournalEvent::Stalled);
        for (request, _) in self.requests.waiting().filter(|(_, r)| r.device == device) {
            round.command(Command::Cancel {
                share: self.share,
                device,
                request,
            });
        }
        self.drop_requests_of(device, round.now);
        if let Some(source) = self.sources.get_mut(device) {
            source.stalled(round.now);
        }
    }

    /// Gives up the wishes that members have the better right to, and what two devices have begun
    /// to get: while they did not know of each other yet, that happens.
    pub(super) fn give_way(&mut self, round: &mut Round<'_>) {
        let now = round.now;
        if self.space() != Some(Space::Data) {
            return self.neighbourhood.own_claims_mut().forget_wishes(now);
        }
        if self.neighbourhood.is_empty() {
            return;
        }
        let at = Snapshot::new(&self.sources, &self.spans, self.target(), now);
        self.neighbourhood.give_up_wishes(&at);
        let gives_way = |r: &Request| {
            !self.neighbourhood.contains(r.device)
                && r.is_untouched()
                && self.neighbourhood.must_give_way(r.span, false, &at)
        };
        let begun: Vec<(RequestId, u32, DeviceId)> = self
            .requests
            .iter()
            .filter(|(_, r)| gives_way(r))
            .map(|(id, r)| (id, r.span, r.device))
            .collect();
        for (request, span, device) in begun {
            round.command(Command::Cancel {
                share: self.share,
                device,
                request,
            });
            self.abandon(request, now);
            self.neighbourhood.own_claims_mut().release(span, now);
        }
    }

    pub(super) fn drop_requests_of(&mut self, device: DeviceId, now: Time) {
        for id in self.requests.move_from(device) {
            self.abandon(id, now);
        }
    }

    /// Gives up what has not arrived of a request; what arrived is still being stored.
    pub(super) fn abandon(&mut self, id: RequestId, now: Time) {
        if let Some(given_up) = self.requests.give_up(id) {
            self.settle_bytes(given_up.device, given_up.carrier, &given_up.positions, now);
            self.end_if_done(id, now);
        }
    }

    pub(super) fn settle_bytes(
        &mut self,
        device: DeviceId,
        carrier: Carrier,
        positions: &RoaringBitmap,
        now: Time,
    ) {
        let bytes = self.spans.bytes_in(positions);
        self.sources.given_up(device, carrier, bytes, now);
    }

    /// Ends a request to which nothing more happens.
    pub(super) fn end_if_done(&mut self, id: RequestId, now: Time) {
        let Some(request) = self.requests.take_done(id) else {
            return;
        };
        let span = request.span;
        let damaged = self.spans.bytes_in(&request.arrived);
        if damaged > 0 {
            self.journal.wasted(request.device, damaged);
        }
        self.spans.request_ended(span);
        if let Some(source) = self.sources.get_mut(request.device) {
            source.request_ended();
        }
        if request.rule != Rule::LocalCopy {
            self.neighbourhood.took(now.since(request.asked_at));
        }
        // The chunks that did not come are for all members again.
        if !self.spans.is_done(span) && !self.requests.has_span(span) {
            self.neighbourhood.own_claims_mut().release(span, now);
        }
        if self.space() == Some(Space::Data) {
            let start = self.spans.span(span).map_or(0, |s| s.start);
            self.journal.span(request.into_story(start, now));
        }
    }
}
