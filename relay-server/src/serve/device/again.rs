//! When to try again what failed for a reason that may pass: soon at first, then less and less
//! often.

use std::time::Duration;
use tokio::time::Instant;

/// Pause after the first failure; doubles with every further one.
const FIRST: Duration = Duration::from_millis(100);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(5);

/// The failures of one thing in a row.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// The pause after the last failure, and when it ends; `None`: it did not fail.
    pause: Option<(Duration, Instant)>,
}

impl Again {
    /// It failed.
    pub(super) fn failed(&mut self, now: Instant) {
        let pause = self
            .pause
            .map_or(FIRST, |(pause, _)| (pause * 2).min(LONGEST));
        self.pause = Some((pause, now + pause));
    }

    /// It was done.
    pub(super) fn worked(&mut self) {
        self.pause = None;
    }

    /// There is word that it may work by now: the pause is over, but the next one is no shorter for
    /// it.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let Some((_, until)) = &mut self.pause {
            *until = now.min(*until);
        }
    }

    /// Whether it may be tried.
    pub(super) fn may(&self, now: Instant) -> bool {
        self.pause.is_none_or(|(_, until)| until <= now)
    }

    /// When it may be tried again; `None`: it did not fail.
    pub(super) fn due(&self) -> Option<Instant> {
        self.pause.map(|(_, until)| until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_begin_anew_after_a_success() {
        let mut now = Instant::now();
        let mut again = Again::default();
        assert!(again.may(now));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            again.failed(now);
            assert!(!again.may(now));
            let due = again.due().unwrap();
            pauses.push((due - now).as_millis());
            now = due;
            assert!(again.may(now));
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        again.failed(now);
        again.hurry(now);
        assert!(again.may(now));
        again.failed(now);
        assert_eq!(again.due(), Some(now + LONGEST));
        again.worked();
        assert_eq!((again.due(), again.may(now)), (None, true));
    }
}
