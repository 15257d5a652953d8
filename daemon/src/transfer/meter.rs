//! How far a transfer is and how fast it goes.

use hither_api::Phase;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The rate is that of the last seconds.
const WINDOW: Duration = Duration::from_secs(3);

/// Bytes, rate and phase.
#[derive(Debug)]
pub(crate) struct Meter {
    pub phase: Phase,
    pub bytes: u64,
    pub total: u64,
    pub files: u64,
    pub devices: u32,
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    pub(crate) fn new(phase: Phase) -> Self {
        Self { phase, bytes: 0, total: 0, files: 0, devices: 0, samples: VecDeque::new() }
    }

    /// Takes a sample for the rate.
    pub(crate) fn tick(&mut self) {
        let now = Instant::now();
        self.samples.push_back((now, self.bytes));
        while self.samples.len() > 2 && self.samples[1].0 + WINDOW < now {
            self.samples.pop_front();
        }
    }

    /// What came before does not count towards the rate (copies of what was here already).
    pub(crate) fn restart_rate(&mut self) {
        self.samples.clear();
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

    /// As an event.
    pub(crate) fn event(&self) -> hither_api::Event {
        let rate = self.rate();
        let left = self.total.saturating_sub(self.bytes);
        hither_api::Event::Progress {
            phase: self.phase,
            bytes: self.bytes,
            total: self.total,
            files: self.files,
            rate,
            remaining: (rate > 0 && self.total > 0).then(|| left.div_ceil(rate)),
            devices: self.devices,
        }
    }
}
