//! Requests for chunks: the engine's, and the parts in which they are made, on a stream or by HTTP.

use super::Share;
use crate::context::Context;
use hither_engine::{Arrival, RequestId};
use hither_proto::{DeviceId, HolderKind, Message, PositionRange, Ranges, Space};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::time::Duration;

/// A request of the engine.
#[derive(Debug)]
pub(super) struct Want {
    pub device: DeviceId,
    pub request: RequestId,
    pub space: Space,
    pub version: u64,
    pub ranges: Ranges,
}

/// A part of a request that is on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub device: DeviceId,
    pub request: RequestId,
    pub space: Space,
    pub version: u64,
    /// It was asked for on the stream for chunks.
    pub on_stream: bool,
}

/// All requests of one share. Bounded by what the engine has in flight.
#[derive(Debug, Default)]
pub(super) struct Wants {
    queue: Vec<Want>,
    parts: BTreeMap<u64, Part>,
    next: u64,
}

impl Wants {
    pub fn add(&mut self, want: Want) {
        self.queue.push(want);
    }

    /// Remembers a part; returns its number, unique for the life of the share.
    pub fn begin(&mut self, part: Part) -> u64 {
        self.next += 1;
        self.parts.insert(self.next, part);
        self.next
    }

    pub fn get(&self, part: u64) -> Option<Part> {
        self.parts.get(&part).copied()
    }

    /// Forgets a part.
    pub fn remove(&mut self, part: u64) -> Option<Part> {
        self.parts.remove(&part)
    }

    fn has_request(&self, request: RequestId) -> bool {
        self.parts.values().any(|part| part.request == request)
    }

    fn of(&self, matches: impl Fn(&Part) -> bool) -> Vec<(u64, Part)> {
        let parts = self.parts.iter().filter(|(_, part)| matches(part));
        parts.map(|(number, part)| (*number, *part)).collect()
    }
}

impl Share {
    /// Makes the requests that the engine wants.
    pub(super) fn send_wants(&mut self, context: &mut Context<'_>) {
        for want in std::mem::take(&mut self.wants.queue) {
            let by_get = want.space != Space::Root
                && self
                    .holders
                    .get(want.device)
                    .is_some_and(|holder| holder.kind == HolderKind::Store)
                && self.get_chunks(&want, context);
            if !by_get {
                self.ask_on_stream(&want, context);
            }
        }
    }

    /// Asks on the stream for chunks.
    pub(super) fn ask_on_stream(&mut self, want: &Want, context: &mut Context<'_>) {
        let part = self.wants.begin(Part {
            device: want.device,
            request: want.request,
            space: want.space,
            version: want.version,
            on_stream: true,
        });
        let message = Message::Want(hither_proto::Want {
            request: part,
            space: want.space,
            version: want.version,
            ranges: want.ranges.clone(),
        });
        if !(self.ensure_bulk(want.device, context) && self.lanes.send_bulk(want.device, message)) {
            self.bulk_failed(want.device, context);
        }
    }

    /// Takes a request back.
    pub(super) fn cancel(
        &mut self,
        device: DeviceId,
        request: RequestId,
        context: &mut Context<'_>,
    ) {
        self.wants.queue.retain(|want| want.request != request);
        for (number, part) in self.wants.of(|part| part.request == request) {
            self.take_back(number, part, context);
            if part.on_stream {
                let message = Message::Cancel { request: number };
                self.lanes.send_bulk(device, message);
            }
        }
    }

    fn take_back(&mut self, number: u64, part: Part, context: &mut Context<'_>) {
        self.wants.remove(number);
        if !part.on_stream {
            self.gets.cancel_part(number, context);
        }
    }

    /// Forgets what was asked of a holder: its session has ended, which the engine knows.
    pub(super) fn drop_requests(&mut self, device: DeviceId, context: &mut Context<'_>) {
        self.wants.queue.retain(|want| want.device != device);
        for (number, part) in self.wants.of(|part| part.device == device) {
            self.take_back(number, part, context);
        }
        self.gets.forget_token(device);
    }

    /// The stream for chunks is gone: the session begins anew.
    pub(super) fn bulk_failed(&mut self, device: DeviceId, context: &mut Context<'_>) {
        self.close_session(device, context);
        let now = context.now;
        self.with_engine(|engine, share| engine.handle_session_failed(share, device, now));
    }

    /// All of a part has come that will come.
    pub(super) fn part_over(&mut self, number: u64, context: &Context<'_>) {
        let Some(part) = self.wants.remove(number) else {
            return;
        };
        if !self.wants.has_request(part.request) {
            let now = context.now;
            self.with_engine(|engine, share| {
                engine.handle_served(share, part.device, part.request, now);
            });
        }
    }

    /// Some of a part is not held there.
    pub(super) fn not_held(&mut self, number: u64, ranges: &Ranges, context: &Context<'_>) {
        if let Some(part) = self.wants.get(number) {
            let now = context.now;
            self.with_engine(|engine, share| {
                engine.handle_not_held(share, part.device, part.request, ranges, now);
            });
        }
    }

    /// A part was not taken: later.
    pub(super) fn busy(&mut self, number: u64, retry_after_ms: u32, context: &mut Context<'_>) {
        let Some(part) = self.wants.get(number) else {
            return;
        };
        for (number, part) in self.wants.of(|other| other.request == part.request) {
            self.take_back(number, part, context);
        }
        let (now, pause) = (
            context.now,
            Duration::from_millis(u64::from(retry_after_ms)),
        );
        self.with_engine(|engine, share| {
            engine.handle_busy(share, part.device, part.request, pause, now);
        });
    }

    /// An answer on the stream for chunks.
    pub(super) fn answered(
        &mut self,
        device: DeviceId,
        message: Message,
        context: &mut Context<'_>,
    ) {
        let is_of = |wants: &Wants, part: u64| wants.get(part).is_some_and(|p| p.device == device);
        match message {
            Message::Served { request } if is_of(&self.wants, request) => {
                self.part_over(request, context);
            }
            Message::NotHeld { request, ranges } if is_of(&self.wants, request) => {
                self.not_held(request, &ranges, context);
            }
            Message::Busy {
                request,
                retry_after_ms,
            } if is_of(&self.wants, request) => self.busy(request, retry_after_ms, context),
            Message::ChunkToken { token, lives_ms } => {
                self.gets.token(device, token, lives_ms, context.now);
            }
            _ => {}
        }
    }

    /// A chunk has come on a stream; `false`: nobody asked for it there.
    pub(super) fn chunk(
        &mut self,
        device: DeviceId,
        part: u64,
        position: u32,
        sealed: Vec<u8>,
        context: &Context<'_>,
    ) -> bool {
        match self.wants.get(part) {
            Some(of) if of.device == device => self.arrived(of, position, sealed, context),
            // A part that was taken back may have been on its way.
            None => (1..=self.wants.next).contains(&part),
            Some(_) => false,
        }
    }

    /// A chunk has come, on whatever way; `false`: it was not asked for.
    pub(super) fn arrived(
        &mut self,
        part: Part,
        position: u32,
        sealed: Vec<u8>,
        context: &Context<'_>,
    ) -> bool {
        let (now, length) = (context.now, sealed.len() as u64);
        let arrival = self.with_engine(|engine, share| {
            engine.handle_arrival(share, part.device, part.request, position, now)
        });
        match arrival {
            Some(Arrival::Wanted) => {}
            Some(Arrival::Unneeded) | None => return true,
            Some(Arrival::Unsolicited) => return false,
        }
        if self.accept(part.space, position, sealed) {
            self.holders.gave(part.device, length);
            self.with_engine(|engine, share| {
                engine.stored(share, Some(part.request), &[position], now);
            });
        } else {
            self.with_engine(|engine, share| engine.damaged(share, part.request, now));
        }
        true
    }
}

/// The runs of a set of positions, each of at most `max` positions.
pub(super) fn runs(ranges: &Ranges, max: u32) -> Vec<PositionRange> {
    let mut runs = Vec::new();
    for range in ranges.as_slice() {
        let mut start = range.start();
        while start < range.end() {
            let count = (range.end() - start).min(max);
            runs.extend(PositionRange::new(start, count));
            start += count;
        }
    }
    runs
}

/// A run of positions as ranges.
pub(super) fn ranges_of(run: std::ops::Range<u32>) -> Ranges {
    let mut positions = RoaringBitmap::new();
    positions.insert_range(run);
    Ranges::from_bitmap(&positions)
}
