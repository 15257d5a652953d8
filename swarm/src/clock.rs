//! The daemon's clocks: monotonic time for the engine, Unix time for people and records.

use hither_engine::Time;
use std::time::{Duration, Instant};

/// Monotonic time since the daemon started.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// The engine's time now.
    pub fn now(self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    /// The engine's moment as one that tokio can sleep until.
    pub(crate) fn instant(self, time: Time) -> Instant {
        self.start + time.since_start()
    }

    /// How long the daemon has run.
    pub fn uptime(self) -> Duration {
        self.start.elapsed()
    }
}
