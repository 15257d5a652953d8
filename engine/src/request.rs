//! One request in flight: what was asked of whom, and what has come of it.

use crate::carrier_choice::Carrier;
use crate::policy::Rule;
use crate::time::Time;
use hither_proto::DeviceId;
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
    pub runner_up: Option<(DeviceId, Duration)>,
}

impl Request {
    /// Whether nothing of it has come.
    pub fn is_untouched(&self) -> bool {
        self.awaited.len() == self.asked
    }
}
