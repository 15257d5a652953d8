//! Other networks. Devices that reach this one over a link which all of them share count as one
//! source together (source-selection design, "Words"): asked as if each had a link of its own, they
//! would fill it with more than it can bring in time, and all of it would come late.

use crate::facts::{WINDOW, WINDOW_SLACK};
use crate::policy::SourceFacts;
use crate::rate::RateEstimator;
use crate::spans::SPAN_BYTES;
use crate::time::Time;
use std::time::Duration;

/// Longer than this a span should not be under way when nothing but it is (source-selection design,
/// rule 5).
const LONG: Duration = Duration::from_millis(1500);

/// The traffic from one site.
#[derive(Debug, Default)]
pub(crate) struct Site {
    rate: RateEstimator,
    outstanding: u64,
}

impl Site {
    pub(crate) fn asked(&mut self, bytes: u64, now: Time) {
        if self.outstanding == 0 {
            self.rate.busy(now);
        }
        self.outstanding += bytes;
    }

    pub(crate) fn arrived(&mut self, bytes: u64, now: Time) {
        self.rate.arrived(bytes, now);
        self.settled(bytes, now);
    }

    pub(crate) fn settled(&mut self, bytes: u64, now: Time) {
        self.outstanding = self.outstanding.saturating_sub(bytes);
        if self.outstanding == 0 {
            self.rate.idle(now);
        }
    }

    /// Most bytes in flight from all of it: one span until it was measured, and where one takes
    /// long; else what its link holds.
    fn window(&self, rtt: Duration) -> u64 {
        let Some(rate) = self.rate.measured() else {
            return SPAN_BYTES;
        };
        let least = if SPAN_BYTES as f64 / rate.max(1.0) > LONG.as_secs_f64() {
            SPAN_BYTES
        } else {
            WINDOW.0
        };
        ((rate * (rtt + WINDOW_SLACK).as_secs_f64()) as u64).clamp(least, WINDOW.1)
    }

    /// Limits the facts of one of its devices by those of all of it.
    pub(crate) fn limit(&self, facts: SourceFacts) -> SourceFacts {
        let room = self
            .window(facts.rtt)
            .saturating_sub(self.outstanding)
            .min(facts.room);
        let outstanding = self.outstanding.max(facts.outstanding);
        // Its link serves all devices that ask there: this device's part of its link is not its
        // devices' sum.
        let rate = self.rate.measured().unwrap_or(facts.rate);
        SourceFacts {
            rate,
            outstanding,
            room,
            ..facts
        }
    }
}
