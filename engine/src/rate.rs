//! The rate at which bytes come from one source over one carrier.
//!
//! An exponentially weighted mean (α = 0.3, source-selection design, rule 5) of samples taken while
//! something is outstanding, so that idle time never counts as slowness.

use crate::time::Time;
use std::time::Duration;

/// Weight of a new sample.
const ALPHA: f64 = 0.3;
/// Shortest stretch of time that makes a sample: shorter ones measure the receive buffer, not the
/// link.
const SAMPLE: Duration = Duration::from_millis(20);
/// Fewest bytes that make a sample: of a small answer (the root is a few hundred bytes) the round
/// trip is measured, not the link, and a source that looks slow is not asked again.
const SAMPLE_BYTES: u64 = 128 << 10;
/// After this time, this many are a sample too: the link is that slow.
const SLOW: (Duration, u64) = (Duration::from_millis(500), 16 << 10);
/// Assumed rate of an unmeasured LAN source: 400 Mbit/s (source-selection design, rule 5).
pub const UNMEASURED_LAN: f64 = 50_000_000.0;
/// Assumed rate of an unmeasured source beyond the LAN: 10 Mbit/s (the same rule).
pub const UNMEASURED_WAN: f64 = 1_250_000.0;
/// Over how long what came lately is averaged (source-selection design, rule 4).
const LATELY: Duration = Duration::from_secs(3);

/// Estimates a rate in bytes per second.
#[derive(Debug, Clone)]
pub struct RateEstimator {
    mean: Option<f64>,
    window_start: Time,
    window_bytes: u64,
    total: u64,
    samples: u32,
    measured_for: Duration,
}

impl RateEstimator {
    /// Starts with no measurement.
    pub const fn new() -> Self {
        Self {
            mean: None,
            window_start: Time::from_start(Duration::ZERO),
            window_bytes: 0,
            total: 0,
            samples: 0,
            measured_for: Duration::ZERO,
        }
    }

    /// Notes that something is outstanding again after nothing was.
    pub fn busy(&mut self, now: Time) {
        self.window_start = now;
        self.window_bytes = 0;
    }

    /// Notes that `bytes` arrived.
    pub fn arrived(&mut self, bytes: u64, now: Time) {
        self.window_bytes += bytes;
        self.total += bytes;
        let elapsed = now.since(self.window_start);
        if elapsed >= SAMPLE && self.tells(elapsed) {
            self.sample(elapsed);
            self.busy(now);
        }
    }

    /// Notes that nothing is outstanding any more: the open window is a sample too, if it is not
    /// absurdly short.
    pub fn idle(&mut self, now: Time) {
        let elapsed = now.since(self.window_start);
        if elapsed >= SAMPLE / 10 && self.tells(elapsed) && self.mean.is_none() {
            self.sample(elapsed);
        }
        self.busy(now);
    }

    /// Returns whether the bytes of this time measure the link.
    fn tells(&self, elapsed: Duration) -> bool {
        self.window_bytes >= SAMPLE_BYTES || (self.window_bytes >= SLOW.1 && elapsed >= SLOW.0)
    }

    fn sample(&mut self, elapsed: Duration) {
        let sample = self.window_bytes as f64 / elapsed.as_secs_f64();
        self.mean = Some(
            self.mean
                .map_or(sample, |mean| mean + ALPHA * (sample - mean)),
        );
        self.samples = self.samples.saturating_add(1);
        self.measured_for += elapsed;
    }

    /// Bytes per second, when anything was measured.
    pub const fn measured(&self) -> Option<f64> {
        self.mean
    }

    /// Returns whether more than one stretch of time was measured: in the first one, streams were
    /// opened too.
    pub const fn is_settled(&self) -> bool {
        self.samples > 1
    }

    /// How much time the measurements cover.
    pub const fn measured_for(&self) -> Duration {
        self.measured_for
    }

    /// Bytes that arrived in all.
    pub const fn total(&self) -> u64 {
        self.total
    }
}

/// The rate of the last seconds, idle time included: an average that fades with [`LATELY`], so that
/// it takes two numbers and no list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recent {
    rate: f64,
    at: Time,
}

impl Recent {
    /// Notes that `bytes` arrived.
    pub fn arrived(&mut self, bytes: u64, now: Time) {
        self.rate = self.faded(now) + bytes as f64 / LATELY.as_secs_f64();
        self.at = now;
    }

    /// Bytes per second lately. `since`: when it could have begun to give; without it a source that
    /// began a moment ago would look slow.
    pub fn rate(&self, since: Time, now: Time) -> f64 {
        let known = 1.0 - (-now.since(since).as_secs_f64() / LATELY.as_secs_f64()).exp();
        if known > 0.0 {
            self.faded(now) / known
        } else {
            0.0
        }
    }

    fn faded(&self, now: Time) -> f64 {
        self.rate * (-now.since(self.at).as_secs_f64() / LATELY.as_secs_f64()).exp()
    }
}

impl Default for RateEstimator {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_start(Duration::from_millis(ms))
    }

    #[test]
    fn a_steady_stream_is_measured_and_idle_time_does_not_count() {
        let mut rate = RateEstimator::new();
        rate.busy(at(0));
        for ms in (10..=1000).step_by(10) {
            rate.arrived(10_000, at(ms));
        }
        let before = rate.measured().unwrap();
        assert!((before - 1e6).abs() < 1e4, "{before}");
        rate.idle(at(1000));
        rate.busy(at(60_000));
        rate.arrived(20_000, at(60_020));
        assert!((rate.measured().unwrap() - 1e6).abs() < 1e4);
    }

    #[test]
    fn what_came_lately_is_right_from_the_start_and_fades() {
        let mut recent = Recent::default();
        for ms in (5010..=6000).step_by(10) {
            recent.arrived(10_000, at(ms));
        }
        let rate = |ms| recent.rate(at(5000), at(ms));
        assert!((rate(6000) - 1e6).abs() < 2e4, "{}", rate(6000));
        assert!(rate(9000) < 0.5e6 && rate(30_000) < 1e3);
        assert_eq!(Recent::default().rate(at(5), at(5)), 0.0);
    }

    #[test]
    fn a_small_answer_is_no_measurement_and_a_slow_link_is() {
        let mut rate = RateEstimator::new();
        rate.busy(at(0));
        rate.arrived(400, at(30));
        rate.idle(at(30));
        assert_eq!(rate.measured(), None);
        rate.busy(at(100));
        rate.arrived(20_000, at(1100));
        assert!((rate.measured().unwrap() - 2e4).abs() < 1.0);
    }

    #[test]
    fn a_short_first_answer_still_gives_an_estimate() {
        let mut rate = RateEstimator::new();
        rate.busy(at(0));
        rate.arrived(1_000_000, at(5));
        assert_eq!(rate.measured(), None);
        rate.idle(at(5));
        assert!((rate.measured().unwrap() - 2e8).abs() < 1.0);
    }
}
