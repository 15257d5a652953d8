//! How far a transfer is and how fast it goes.

use hither_api::Phase;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The rate is that of the last seconds.
const WINDOW: Duration = Duration::from_secs(3);
/// Seconds of which the bytes are remembered one by one.
const HISTORY: usize = 60;
/// One of them.
const SECOND: Duration = Duration::from_secs(1);

/// Bytes, rate and phase.
#[derive(Debug)]
pub(crate) struct Meter {
    pub phase: Phase,
    pub bytes: u64,
    pub total: u64,
    pub files: u64,
    pub devices: u32,
    samples: VecDeque<(Instant, u64)>,
    history: History,
}

/// Bytes of the last seconds, one by one.
#[derive(Debug, Default)]
struct History {
    seconds: VecDeque<u64>,
    /// When the second that runs began, and how many bytes there were then.
    since: Option<(Instant, u64)>,
}

impl History {
    /// There are so many bytes now. A time without a look is spread over its seconds.
    fn look(&mut self, bytes: u64, now: Instant) {
        let Some((began, before)) = self.since else {
            self.since = Some((now, bytes));
            return;
        };
        let whole = now.duration_since(began).as_secs();
        if whole == 0 {
            return;
        }
        let each = bytes.saturating_sub(before) / whole;
        for _ in 0..whole.min(HISTORY as u64) {
            if self.seconds.len() == HISTORY {
                self.seconds.pop_front();
            }
            self.seconds.push_back(each);
        }
        self.since = Some((
            began + SECOND * u32::try_from(whole).unwrap_or(u32::MAX),
            bytes,
        ));
    }
}

impl Meter {
    pub(crate) fn new(phase: Phase) -> Self {
        Self {
            phase,
            bytes: 0,
            total: 0,
            files: 0,
            devices: 0,
            samples: VecDeque::new(),
            history: History::default(),
        }
    }

    /// Takes a sample for the rate.
    pub(crate) fn tick(&mut self) {
        let now = Instant::now();
        self.history.look(self.bytes, now);
        self.samples.push_back((now, self.bytes));
        while self.samples.len() > 2 && self.samples[1].0 + WINDOW < now {
            self.samples.pop_front();
        }
    }

    /// Excludes earlier bytes from the rate (copies of files that were here already).
    pub(crate) fn restart_rate(&mut self) {
        self.samples.clear();
        self.history = History::default();
        self.tick();
    }

    /// Bytes per second.
    pub(crate) fn rate(&self) -> u64 {
        match self.samples.front() {
            Some((at, bytes)) if at.elapsed() > Duration::from_millis(50) => {
                (self.bytes.saturating_sub(*bytes) as f64 / at.elapsed().as_secs_f64()) as u64
            }
            _ => 0,
        }
    }

    /// Expected seconds left, when that can be estimated.
    pub(crate) fn remaining(&self) -> Option<u64> {
        let (rate, left) = (self.rate(), self.total.saturating_sub(self.bytes));
        (rate > 0 && self.total > 0).then(|| left.div_ceil(rate))
    }

    /// Bytes of each of the last seconds, the oldest first; the second that runs is not among them.
    pub(crate) fn history(&self) -> Vec<u64> {
        self.history.seconds.iter().copied().collect()
    }

    /// As an event.
    pub(crate) fn event(&self) -> hither_api::Event {
        hither_api::Event::Progress {
            phase: self.phase,
            bytes: self.bytes,
            total: self.total,
            files: self.files,
            rate: self.rate(),
            remaining: self.remaining(),
            devices: self.devices,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_is_told_by_itself_and_a_minute_is_kept() {
        let (mut history, start) = (History::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        for (ms, bytes) in [
            (0, 100),
            (400, 150),
            (1100, 300),
            (1900, 500),
            (2050, 600),
            (5100, 900),
        ] {
            history.look(bytes, at(ms));
        }
        assert_eq!(
            history.seconds,
            [200, 300, 100, 100, 100],
            "the first look counts nothing"
        );
        history.look(0, at(7000)); // A new version begins: nothing is less than nothing.
        assert_eq!(history.seconds.back(), Some(&0));
        history.look(1, at(1_000_000));
        assert_eq!(history.seconds.len(), HISTORY);
    }
}
