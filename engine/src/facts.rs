//! A source as the policy sees it: its rate, its load, its price.

use crate::policy::SourceFacts;
use crate::rate::{UNMEASURED_LAN, UNMEASURED_WAN};
use crate::source::{MAX_PATIENCE, Source};
use crate::spans::SPAN_BYTES;
use crate::time::Time;
use hither_proto::HolderKind;
use std::time::Duration;

/// Fewest and most bytes in flight to a proven source (source-selection design, rule 5: 2 to 16
/// spans).
pub(crate) const WINDOW: (u64, u64) = (2 * SPAN_BYTES, 16 * SPAN_BYTES);
/// The window covers the bandwidth-delay product plus this much, for the time a request waits at
/// the source.
pub(crate) const WINDOW_SLACK: Duration = Duration::from_millis(100);

impl Source {
    /// Expected rate in bytes per second; an unmeasured device counts as one on the LAN, or, like a
    /// store, as one far away.
    pub fn rate(&self, now: Time) -> f64 {
        let unmeasured = match self.kind {
            HolderKind::Device if self.site().is_none() => UNMEASURED_LAN,
            HolderKind::Device | HolderKind::Store => UNMEASURED_WAN,
        };
        // A source that never gave anything in time is slower than that.
        let unmeasured = unmeasured / f64::from(1u32 << (2 * self.strikes.min(MAX_PATIENCE)));
        self.carriers.rate(now).unwrap_or(unmeasured).max(1.0)
    }

    /// The time that `bytes` take from it, when its rate was measured; zero otherwise.
    pub fn takes(&self, bytes: u64, now: Time) -> Duration {
        let seconds = self
            .carriers
            .rate(now)
            .map_or(0.0, |rate| bytes as f64 / rate.max(1.0));
        Duration::from_secs_f64(seconds.min(1e6))
    }

    /// Most bytes in flight: one request until proven, then twice what the link holds.
    fn window(&self, now: Time) -> u64 {
        if !self.proven {
            return if self.requests == 0 { SPAN_BYTES } else { 0 };
        }
        let product = self.rate(now) * (self.distance.rtt + WINDOW_SLACK).as_secs_f64();
        (product as u64).clamp(WINDOW.0, WINDOW.1)
    }

    /// The facts of the source. The rates of cheaper sources are not known to it: the fetch fills
    /// them in.
    pub fn facts(&self, now: Time) -> SourceFacts {
        #[cfg(test)]
        crate::testing::made_facts();
        let outstanding = self.carriers.outstanding();
        let room = if self.carriers.pick(now).is_some() {
            self.window(now).saturating_sub(outstanding)
        } else {
            0
        };
        SourceFacts {
            device: self.device,
            kind: self.kind,
            rtt: self.distance.rtt,
            near: self.distance.is_near(),
            site: None,
            outstanding,
            rate: self.rate(now),
            room,
            trusted: self.is_trusted(),
            measured: self.proven && self.carriers.rate(now).is_some(),
            price: self.price,
            reluctant: self.is_reluctant(),
            cheaper: 0.0,
        }
    }
}
