//! The chunks of one fetch: as they arrive, are stored, turn out to be damaged or are lost.

use super::{Arrival, Fetch};
use crate::carrier_choice::Carrier;
use crate::command::{Command, RequestId};
use crate::journal::JournalEvent;
use crate::round::Round;
use crate::time::Time;
use hither_proto::{DeviceId, Space};
use roaring::RoaringBitmap;

impl Fetch {
    /// Notes that a chunk begins to arrive; returns what to do with it.
    pub fn arrival(
        &mut self,
        device: DeviceId,
        id: RequestId,
        position: u32,
        now: Time,
    ) -> Arrival {
        let Some(request) = self.requests.get_mut(id) else {
            self.came_in_vain(device, position);
            return Arrival::Unneeded;
        };
        if request.device != device {
            return Arrival::Unsolicited;
        }
        if !request.awaited.remove(position) {
            // Chunks that were given up may have been on their way already; anything else was never
            // requested.
            if !request.given_up.remove(position) {
                return Arrival::Unsolicited;
            }
            self.came_in_vain(device, position);
            return Arrival::Unneeded;
        }
        let wanted = self.spans.is_missing(position);
        if wanted {
            request.arrived.insert(position);
        }
        let carrier = request.carrier;
        let length = u64::from(self.spans.length(position).unwrap_or(0));
        if let Some(source) = self.sources.get_mut(device) {
            source.last_progress = now;
        }
        self.sources.arrived(device, carrier, length, now);
        self.pay(device, carrier, length, now);
        if wanted {
            return Arrival::Wanted;
        }
        if self.space() == Some(Space::Data) {
            self.journal.wasted(device, length);
        }
        self.end_if_done(id, now);
        Arrival::Unneeded
    }

    /// Records a chunk that was given up and came after all, in vain.
    fn came_in_vain(&mut self, device: DeviceId, position: u32) {
        let length = self
            .spans
            .length(position)
            .filter(|_| self.space() == Some(Space::Data));
        if let Some(length) = length {
            self.journal.wasted(device, u64::from(length));
        }
    }

    /// Records the cost of `bytes` that came from a source.
    fn pay(&mut self, device: DeviceId, carrier: Carrier, bytes: u64, now: Time) {
        if self.space() != Some(Space::Data) {
            return;
        }
        let Some(source) = self.sources.get_mut(device) else {
            return;
        };
        source.recent.arrived(bytes, now);
        let relayed = carrier == Carrier::Relayed;
        let price = source.price_over(relayed, self.spending.prices());
        if !price.is_free() {
            self.journal.cost(device, price.of(bytes), relayed);
        }
    }

    /// Notes that bytes of a chunk that was asked for are coming from a device.
    pub fn moving(&mut self, device: DeviceId, now: Time) {
        if let Some(source) = self.sources.get_mut(device) {
            source.last_moved = now;
        }
    }

    /// Notes that chunks were verified and written: those of a request, or (`None`) copies of what
    /// was here.
    pub fn stored(&mut self, id: Option<RequestId>, positions: &[u32], round: &mut Round<'_>) {
        if let Some(id) = id {
            if self.requests.get(id).is_none() {
                // A late copy of something planned before: its positions mean something else now.
                return;
            }
            self.stored_of(id, positions);
            self.end_if_done(id, round.now);
        } else {
            for position in positions {
                if self.spans.got(*position) && self.space() == Some(Space::Data) {
                    self.providers.copied(self.spans.index_of(*position));
                }
            }
        }
        self.cancel_needless(positions, round);
        self.finish_space(round);
    }

    /// The same for the chunks of one request.
    fn stored_of(&mut self, id: RequestId, positions: &[u32]) {
        let data = self.space() == Some(Space::Data);
        let Some(request) = self.requests.get_mut(id) else {
            return;
        };
        let (device, relayed) = (request.device, request.carrier == Carrier::Relayed);
        for &position in positions {
            let length = u64::from(self.spans.length(position).unwrap_or(0));
            let new = self.spans.got(position);
            // Positions that were not asked for are repeats of one that was: nobody sent them.
            let sent = request.arrived.contains(position);
            if !data {
                continue;
            }
            let span = self.spans.index_of(position);
            match (new, sent) {
                (true, true) => {
                    self.providers.gave(span, device);
                    self.journal.kept(device, length, relayed);
                }
                (true, false) => self.providers.copied(span),
                (false, true) => self.journal.wasted(device, length),
                (false, false) => {}
            }
        }
        for position in positions {
            request.arrived.remove(*position);
        }
        // Serving root and manifest proves nothing about the data: a liar would get a full window
        // for it.
        if let Some(source) = self.sources.get_mut(device).filter(|_| data) {
            source.proven = true;
        }
    }

    /// Takes back requests of which nothing is missing any more: another copy came first.
    fn cancel_needless(&mut self, positions: &[u32], round: &mut Round<'_>) {
        for (request, device) in self.requests.needless(positions, &self.spans) {
            round.command(Command::Cancel {
                share: self.share,
                device,
                request,
            });
            self.abandon(request, round.now);
        }
    }

    /// Shows positions that were copied from what is on this device as such, if they are data that
    /// is not missing.
    pub fn copied(&mut self, positions: &RoaringBitmap) {
        for position in positions.iter().filter(|p| !self.spans.is_missing(*p)) {
            self.providers.copied(self.spans.index_of(position));
        }
    }

    /// Bans the source of a chunk whose bytes do not match its id.
    pub fn damaged(&mut self, id: RequestId, round: &mut Round<'_>) {
        let Some(request) = self.requests.get_mut(id) else {
            return;
        };
        request.damaged += 1;
        let device = request.device;
        self.ban(device, round);
    }

    /// Does not ask a device again for this share: there is local evidence against it.
    fn ban(&mut self, device: DeviceId, round: &mut Round<'_>) {
        self.journal.note(round.now, device, JournalEvent::Lied);
        self.drop_requests_of(device, round.now);
        if let Some(source) = self.sources.get_mut(device) {
            source.banned = true;
            round.command(Command::CloseSession {
                share: self.share,
                device,
            });
        }
    }

    /// Gets chunks again that could not be written.
    pub fn lost(&mut self, positions: &RoaringBitmap) {
        positions.iter().for_each(|p| self.spans.lost(p));
        self.requests.lost(positions);
    }
}
