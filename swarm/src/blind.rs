//! How much work strangers get for asking what is known here without naming it.
//!
//! A blind query is compared with every share, one keyed hash each. Any device on the network may
//! send one, so that all of them together get [`REFILL`] comparisons a second and no more: about 2
//! % of a processor core. At the bound the answer is "busy, ask again"; devices that were named as
//! holders do not ask this way.

use hither_util::sync::Mutex;
use std::time::Instant;

/// Comparisons per second.
const REFILL: u32 = 100_000;
/// Comparisons that may be saved up: a query at a device with 20,000 shares, ten times over.
const MOST: f64 = 200_000.0;
/// When to ask again, milliseconds.
const LATER: u32 = 500;

/// A token bucket of comparisons.
#[derive(Debug)]
pub(crate) struct Budget(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    left: f64,
    filled: Instant,
}

impl Default for Budget {
    fn default() -> Self {
        Self(Mutex::new(Bucket {
            left: MOST,
            filled: Instant::now(),
        }))
    }
}

impl Budget {
    /// Takes one query's comparisons. A query that alone would cost more than there can ever be is
    /// granted when the bucket is full.
    ///
    /// Errors: milliseconds after which asking again is worth it.
    pub(crate) fn spend(&self, comparisons: usize) -> Result<(), u32> {
        self.spend_at(comparisons, Instant::now())
    }

    fn spend_at(&self, comparisons: usize, now: Instant) -> Result<(), u32> {
        let mut bucket = self.0.lock();
        let gained = now.saturating_duration_since(bucket.filled).as_secs_f64() * f64::from(REFILL);
        bucket.left = (bucket.left + gained).min(MOST);
        bucket.filled = now;
        // The daemon may have no share at all: a query costs something all the same.
        let cost = (comparisons.max(1) as f64).min(MOST);
        if bucket.left < cost {
            return Err(LATER);
        }
        bucket.left -= cost;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn strangers_get_so_many_comparisons_and_no_more() {
        let (budget, start) = (Budget::default(), Instant::now());
        let granted = |at: Duration| {
            (0..100)
                .filter(|_| budget.spend_at(50_000, start + at).is_ok())
                .count()
        };
        assert_eq!(granted(Duration::ZERO), 4, "what was saved up");
        assert_eq!(granted(Duration::from_secs(1)), 2, "a second later");
        assert_eq!(
            granted(Duration::from_secs(3600)),
            4,
            "never more than fits"
        );
    }

    #[test]
    fn a_device_with_very_many_shares_still_answers() {
        let (budget, start) = (Budget::default(), Instant::now());
        assert_eq!(budget.spend_at(10_000_000, start), Ok(()));
        assert_eq!(
            budget.spend_at(10_000_000, start + Duration::from_millis(500)),
            Err(LATER)
        );
        assert_eq!(
            budget.spend_at(10_000_000, start + Duration::from_secs(2)),
            Ok(())
        );
    }
}
