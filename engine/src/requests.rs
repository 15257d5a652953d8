//! The requests of one fetch that are in flight.
//!
//! Invariants: a request ends exactly once, when everything it asked for is stored, refused,
//! damaged or given up; a position is asked for twice at most at any time, and twice only in the
//! endgame.

use crate::carrier_choice::Carrier;
use crate::command::RequestId;
use crate::request::Request;
use crate::spans::SpanTable;
use hither_proto::DeviceId;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, BTreeSet};

/// The requests to all sources.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    by_id: BTreeMap<RequestId, Request>,
    /// Spans that were taken away from a source.
    moved: BTreeSet<u32>,
}

/// A part of a request that will not come.
#[derive(Debug)]
pub(crate) struct GivenUp {
    pub device: DeviceId,
    pub carrier: Carrier,
    pub positions: RoaringBitmap,
}

impl Requests {
    /// Returns whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// All requests, by their ids.
    pub fn iter(&self) -> impl Iterator<Item = (RequestId, &Request)> {
        self.by_id.iter().map(|(id, request)| (*id, request))
    }

    /// The requests of which something has not come, by their ids.
    pub fn waiting(&self) -> impl Iterator<Item = (RequestId, &Request)> {
        self.iter().filter(|(_, request)| request.is_waiting())
    }

    /// One request.
    pub fn get(&self, id: RequestId) -> Option<&Request> {
        self.by_id.get(&id)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, id: RequestId) -> Option<&mut Request> {
        self.by_id.get_mut(&id)
    }

    /// One request, if it was made to this device.
    pub fn get_of(&mut self, device: DeviceId, id: RequestId) -> Option<&mut Request> {
        self.get_mut(id).filter(|request| request.device == device)
    }

    /// Adds a request.
    pub fn insert(&mut self, id: RequestId, request: Request) {
        self.by_id.insert(id, request);
    }

    /// Removes all requests, and forgets which spans were taken away from a source.
    pub fn take_all(&mut self) -> BTreeMap<RequestId, Request> {
        self.moved.clear();
        std::mem::take(&mut self.by_id)
    }

    /// Removes a request if nothing more happens to it.
    pub fn take_done(&mut self, id: RequestId) -> Option<Request> {
        let done = self.get(id).is_some_and(Request::is_done);
        done.then(|| self.by_id.remove(&id)).flatten()
    }

    /// Gives up what has not arrived of a request; what arrived is still being stored.
    pub fn give_up(&mut self, id: RequestId) -> Option<GivenUp> {
        let request = self.get_mut(id)?;
        let positions = std::mem::take(&mut request.awaited);
        request.given_up |= &positions;
        Some(GivenUp {
            device: request.device,
            carrier: request.carrier,
            positions,
        })
    }

    /// Marks the spans asked of a device as taken away from it; returns the requests.
    pub fn move_from(&mut self, device: DeviceId) -> Vec<RequestId> {
        let of_device = self.by_id.iter().filter(|(_, r)| r.device == device);
        let (ids, spans): (Vec<RequestId>, Vec<u32>) =
            of_device.map(|(id, r)| (*id, r.span)).unzip();
        self.moved.extend(spans);
        ids
    }

    /// Returns whether a span was taken away from a source, once.
    pub fn take_moved(&mut self, span: u32) -> bool {
        self.moved.remove(&span)
    }

    /// The requests made to a device over this carrier.
    pub fn over(&self, device: DeviceId, carrier: Carrier) -> Vec<RequestId> {
        self.iter()
            .filter(|(_, r)| r.device == device && r.carrier == carrier)
            .map(|(id, _)| id)
            .collect()
    }

    /// Returns whether a request runs for this span.
    pub fn has_span(&self, span: u32) -> bool {
        self.by_id.values().any(|request| request.span == span)
    }

    /// Returns whether another request than `id` runs for this span.
    pub fn has_second(&self, id: RequestId, span: u32) -> bool {
        self.iter()
            .any(|(other, request)| other != id && request.span == span)
    }

    /// The requests for the spans of some positions of which nothing is missing any more.
    pub fn needless(&self, positions: &[u32], table: &SpanTable) -> Vec<(RequestId, DeviceId)> {
        let spans: BTreeSet<u32> = positions.iter().map(|p| table.index_of(*p)).collect();
        self.waiting()
            .filter(|(_, r)| spans.contains(&r.span))
            .filter(|(_, r)| r.awaited.is_disjoint(table.missing()))
            .map(|(id, r)| (id, r.device))
            .collect()
    }

    /// Forgets that these positions arrived: they could not be written.
    pub fn lost(&mut self, positions: &RoaringBitmap) {
        self.by_id
            .values_mut()
            .for_each(|request| request.arrived -= positions);
    }

    /// The devices that were asked for something and are not done.
    pub fn devices(&self) -> BTreeSet<DeviceId> {
        self.by_id.values().map(|request| request.device).collect()
    }

    /// By span: a device that was asked for something of it that has not come.
    pub fn asked_spans(&self) -> BTreeMap<u32, DeviceId> {
        self.waiting().map(|(_, r)| (r.span, r.device)).collect()
    }
}
