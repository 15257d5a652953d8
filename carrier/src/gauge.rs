//! Measures what a stream carries while something is expected of it, from beside: by counters that
//! are looked at now and then.
//!
//! Pure: counters and time are arguments.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The interval at which a gauge is to be looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Over how long is measured. So long a silence is one, and after so long at most it shows that
/// little gets through.
const SPAN: Duration = Duration::from_secs(1);
/// The rate below which the other carrier is tried, bytes per second (2 Mbit/s). The rate that
/// providers let through of something that they take for a nuisance is less.
const LITTLE: f64 = 256.0 * 1024.0;
/// Bytes in a [`SPAN`] of work from which on a rate measures the line, and not a sender with little
/// to send.
const TELLING: u64 = 64 * 1024;

/// The finding of a look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Finding {
    /// Nothing is expected, or not for long enough.
    Nothing,
    /// It carries so much, bytes per second.
    Carries(f64),
    /// It carries so little, bytes per second, that another carrier may carry more.
    Little(f64),
    /// Nothing has come for a second.
    Silent,
}

/// Looks at one stream, or at a few that are one way.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Bytes so far at each look of the last [`SPAN`] in which something was expected all the
    /// time.
    looks: VecDeque<(Instant, u64)>,
}

impl Gauge {
    /// The interval at which to look.
    pub const LOOK: Duration = LOOK;
    /// The bound of little, bytes per second.
    pub const LITTLE: f64 = LITTLE;

    /// A look: `moved` bytes so far in all, and whether more is expected and nothing on this side
    /// keeps it from coming.
    pub fn look(&mut self, moved: u64, expected: bool, now: Instant) -> Finding {
        if !expected {
            self.looks.clear();
            return Finding::Nothing;
        }
        self.looks.push_back((now, moved));
        let span = |from: &(Instant, u64)| now.saturating_duration_since(from.0);
        while self.looks.get(1).is_some_and(|second| span(second) >= SPAN) {
            self.looks.pop_front();
        }
        let Some(first) = self.looks.front().filter(|first| span(first) >= SPAN) else {
            return Finding::Nothing;
        };
        let bytes = moved.saturating_sub(first.1);
        let rate = bytes as f64 / span(first).as_secs_f64();
        match bytes {
            0 => Finding::Silent,
            _ if rate < LITTLE => Finding::Little(rate),
            TELLING.. => Finding::Carries(rate),
            _ => Finding::Nothing,
        }
    }

    /// Resets the measurement: the next finding comes after a whole span.
    pub fn begin_anew(&mut self) {
        self.looks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every [`LOOK`] while so many bytes come each time.
    fn run(gauge: &mut Gauge, start: Instant, bytes: u64, looks: u32) -> Finding {
        (0..looks)
            .map(|n| gauge.look(u64::from(n) * bytes, true, start + LOOK * n))
            .last()
            .unwrap()
    }

    #[test]
    fn silence_and_little_show_after_a_second_of_expectation() {
        let (start, fast) = (Instant::now(), LITTLE as u64);
        assert_eq!(run(&mut Gauge::default(), start, 0, 4), Finding::Nothing);
        assert_eq!(run(&mut Gauge::default(), start, 0, 5), Finding::Silent);
        assert_eq!(
            run(&mut Gauge::default(), start, 25_000, 5),
            Finding::Little(100_000.0)
        );
        assert_eq!(
            run(&mut Gauge::default(), start, fast, 9),
            Finding::Carries(4.0 * LITTLE)
        );
    }

    #[test]
    fn only_the_last_second_counts() {
        let (start, mut gauge) = (Instant::now(), Gauge::default());
        run(&mut gauge, start, LITTLE as u64, 9);
        let all = 8 * LITTLE as u64;
        let found: Vec<_> = (9..13)
            .map(|n| gauge.look(all, true, start + LOOK * n))
            .collect();
        assert!(
            matches!(found[2], Finding::Carries(_) | Finding::Little(_)),
            "{found:?}"
        );
        assert_eq!(found[3], Finding::Silent);
    }

    #[test]
    fn where_nothing_is_expected_nothing_is_found() {
        let (start, mut gauge) = (Instant::now(), Gauge::default());
        run(&mut gauge, start, 0, 4);
        assert_eq!(gauge.look(0, false, start + LOOK * 4), Finding::Nothing);
        assert_eq!(gauge.look(0, true, start + LOOK * 5), Finding::Nothing);
        gauge.begin_anew();
        assert_eq!(gauge.look(0, true, start + LOOK * 9), Finding::Nothing);
    }
}
