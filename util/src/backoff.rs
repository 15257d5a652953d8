//! When to try again what failed for a reason that may pass: soon at first, then less often.
//!
//! [`Pauses`] is a sequence of lengths, for a loop that sleeps. [`Backoff`] adds the moment at
//! which the pause ends, for a state machine that takes time as an argument; its moments are of any
//! clock (`std`, `tokio`, virtual).

use std::ops::Add;
use std::time::Duration;

/// Pauses that double from the first to the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Pauses {
    /// No failure yet. `longest` bounds every pause, `first` too.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// Counts a failure and returns the pause after it.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        self.first.saturating_mul(factor).min(self.longest)
    }

    /// Forgets the failures: the next pause is the first.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The failures of one thing in a row, and when it may be tried again.
#[derive(Debug, Clone, Copy)]
pub struct Backoff<I> {
    pauses: Pauses,
    /// When the pause after the last failure ends; `None`: it did not fail.
    until: Option<I>,
}

impl<I: Copy + Ord + Add<Duration, Output = I>> Backoff<I> {
    /// No failure yet: it may be tried. Bounds as in [`Pauses::new`].
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            pauses: Pauses::new(first, longest),
            until: None,
        }
    }

    /// Counts a failure.
    pub fn failed(&mut self, now: I) {
        self.failed_at_least(now, Duration::ZERO);
    }

    /// Counts a failure after which the pause is no shorter than `least`, as where the other side
    /// named a time; `least` may exceed the longest pause.
    pub fn failed_at_least(&mut self, now: I, least: Duration) {
        let pause = self.pauses.next().max(least);
        self.until = Some(now + pause);
    }

    /// Forgets the failures.
    pub fn succeeded(&mut self) {
        self.pauses.reset();
        self.until = None;
    }

    /// Ends the pause, because something may have changed. The next one is no shorter for it.
    pub fn hurry(&mut self, now: I) {
        if let Some(until) = &mut self.until {
            *until = now.min(*until);
        }
    }

    /// Returns whether it may be tried.
    pub fn is_due(&self, now: I) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// When it may be tried again; `None`: it did not fail.
    pub fn due(&self) -> Option<I> {
        self.until
    }
}

/// Returns a pause of half to all of `pause`, so that many who lost the same thing do not come back
/// at once. `chance` is a random number from 0 to 1.
pub fn jittered(pause: Duration, chance: f64) -> Duration {
    pause / 2 + pause.mul_f64(chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew() {
        let mut pauses = Pauses::new(ms(100), ms(5000));
        let some: Vec<u128> = (0..8).map(|_| pauses.next().as_millis()).collect();
        assert_eq!(some, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        for _ in 0..100 {
            assert_eq!(pauses.next(), ms(5000));
        }
        pauses.reset();
        assert_eq!(pauses.next(), ms(100));
    }

    #[test]
    fn a_word_that_it_may_work_ends_the_pause_and_not_the_series() {
        let now = Instant::now();
        let mut backoff = Backoff::new(ms(100), ms(5000));
        assert!(backoff.is_due(now) && backoff.due().is_none());
        backoff.failed(now);
        assert!(!backoff.is_due(now) && backoff.is_due(now + ms(100)));
        backoff.hurry(now);
        assert!(backoff.is_due(now));
        backoff.failed(now);
        assert_eq!(backoff.due(), Some(now + ms(200)));
        backoff.succeeded();
        assert_eq!((backoff.due(), backoff.is_due(now)), (None, true));
    }

    #[test]
    fn what_the_other_side_asks_for_bounds_a_pause() {
        let now = Instant::now();
        let mut backoff = Backoff::new(ms(100), ms(5000));
        backoff.failed_at_least(now, ms(7000));
        assert_eq!(backoff.due(), Some(now + ms(7000)));
        backoff.failed_at_least(now, ms(50));
        assert_eq!(backoff.due(), Some(now + ms(200)));
        backoff.failed(now);
        assert_eq!(backoff.due(), Some(now + ms(400)));
    }

    #[test]
    fn chance_takes_away_half_at_most() {
        assert_eq!(jittered(ms(100), 0.0), ms(50));
        assert_eq!(jittered(ms(100), 1.0), ms(100));
        assert_eq!(jittered(ms(100), 7.0), ms(100));
    }
}
