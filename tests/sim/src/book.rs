//! The requests of one device, kept apart from the engine's own records, and the rules that it
//! must keep.

use super::content::Content;
use super::event::{At, SECOND};
use hither_engine::{Carrier, RequestId, SPAN_BYTES};
use hither_proto::Space;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;

/// Most bytes that may be in flight to one source, beyond the span that may stand over its edge.
const MAX_WINDOW: u64 = 16 * SPAN_BYTES;
/// Most wake-ups of an engine in a second: ten looks at requests, what is held and what is claimed
/// told every 10 ms each, and eight wishes that stand for 50 ms each; room for retries. An engine
/// that spins is woken thousands of times.
const MAX_WAKES: u32 = 10 + 100 + 100 + 8 * 20 + 30;

/// A request that is in flight.
#[derive(Debug)]
pub(crate) struct Flight {
    to: usize,
    carrier: Carrier,
    space: Space,
    positions: RoaringBitmap,
    bytes: u64,
}

impl Flight {
    /// A request for positions, whose `lengths` are given for the whole space.
    pub fn new(
        to: usize,
        carrier: Carrier,
        space: Space,
        positions: RoaringBitmap,
        lengths: &[u32],
    ) -> Self {
        let bytes = positions
            .iter()
            .map(|p| u64::from(lengths[p as usize]))
            .sum();
        Self {
            to,
            carrier,
            space,
            positions,
            bytes,
        }
    }
}

/// Requests in flight and the rate of wake-ups.
#[derive(Debug, Default)]
pub(crate) struct Book {
    flights: BTreeMap<RequestId, Flight>,
    last: u64,
    second: At,
    wakes: u32,
}

impl Book {
    /// A request is made. Fails when it breaks a rule.
    pub fn asked(&mut self, request: RequestId, new: Flight) -> Result<(), String> {
        let (to, bytes) = (new.to, new.bytes);
        if request.0 <= self.last {
            return Err(format!("request {} is not a new number", request.0));
        }
        self.last = request.0;
        let mut once = RoaringBitmap::new();
        for flight in self.flights.values().filter(|f| f.space == new.space) {
            let again = &flight.positions & &new.positions;
            if flight.to == to && !again.is_empty() {
                return Err(format!("positions {again:?} were asked of d{to} twice"));
            }
            if !again.is_disjoint(&once) {
                return Err(format!(
                    "positions {:?} were asked of a third source",
                    again & once
                ));
            }
            once |= again;
        }
        let flying: u64 = self
            .flights
            .values()
            .filter(|f| f.to == to)
            .map(|f| f.bytes)
            .sum();
        if flying >= MAX_WINDOW {
            return Err(format!(
                "{flying} bytes are in flight to d{to} and {bytes} more are asked for"
            ));
        }
        self.flights.insert(request, new);
        Ok(())
    }

    /// A chunk of a request arrived.
    pub fn arrived(&mut self, request: RequestId, position: u32, length: u32) {
        if let Some(flight) = self.flights.get_mut(&request)
            && flight.positions.remove(position)
        {
            flight.bytes -= u64::from(length);
        }
    }

    /// A source said that it lacks some of a request.
    pub fn not_held(&mut self, request: RequestId, positions: &RoaringBitmap, content: &Content) {
        if let Some(flight) = self.flights.get_mut(&request) {
            let gone = &flight.positions & positions;
            let lengths = content.lengths(flight.space);
            flight.bytes -= gone
                .iter()
                .map(|p| u64::from(lengths[p as usize]))
                .sum::<u64>();
            flight.positions -= gone;
        }
    }

    /// A request ended, or was taken back. `false` when it was never made.
    pub fn ended(&mut self, request: RequestId) -> bool {
        self.flights.remove(&request);
        request.0 <= self.last
    }

    /// Nothing more comes from a device (over one carrier, or at all).
    pub fn lost(&mut self, to: usize, carrier: Option<Carrier>) {
        self.flights
            .retain(|_, f| f.to != to || carrier.is_some_and(|c| c != f.carrier));
    }

    pub fn clear(&mut self) {
        self.flights.clear();
    }

    /// The engine was woken because it wanted to be.
    pub fn woken(&mut self, now: At) -> Result<(), String> {
        if now / SECOND != self.second {
            self.second = now / SECOND;
            self.wakes = 0;
        }
        self.wakes += 1;
        if self.wakes > MAX_WAKES {
            Err("the engine spins: too many wake-ups in a second".into())
        } else {
            Ok(())
        }
    }
}
