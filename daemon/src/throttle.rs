//! The limits on what this device sends and receives: so many bytes a second over all streams together.
//!
//! A stream waits before it moves the next chunk, so that a chunk is never interrupted; the streams take turns in the order
//! in which they came. What stays on the local network is not limited unless the user says so.

use crate::links;
use hither_api::RateLimits;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// How much of a pause may be made up for.
const BURST: Duration = Duration::from_millis(200);

/// One way.
#[derive(Debug)]
pub(crate) struct Throttle {
    rate: NonZeroU64,
    /// When what was taken so far will have been moved at that rate.
    free_at: Mutex<Instant>,
}

impl Throttle {
    fn new(rate: NonZeroU64) -> Self {
        Self { rate, free_at: Mutex::new(Instant::now()) }
    }

    /// Waits until so many bytes may be moved. Whoever gives up waiting has taken nothing.
    async fn take(&self, bytes: usize) {
        let mut free_at = self.free_at.lock().await;
        sleep_until(*free_at).await;
        let takes = Duration::from_secs_f64(bytes as f64 / self.rate.get() as f64);
        let from = Instant::now().checked_sub(BURST).map_or(*free_at, |since| since.max(*free_at));
        *free_at = from + takes;
    }
}

/// Both ways, as the configuration has them.
#[derive(Debug, Default)]
pub(crate) struct Throttles {
    up: Option<Arc<Throttle>>,
    down: Option<Arc<Throttle>>,
    lan: bool,
}

impl Throttles {
    pub(crate) fn new(limits: &RateLimits) -> Self {
        let throttle = |rate: Option<NonZeroU64>| rate.map(|rate| Arc::new(Throttle::new(rate)));
        Self { up: throttle(limits.upload), down: throttle(limits.download), lan: limits.lan }
    }

    /// What limits sending to an address.
    pub(crate) fn up(&self, to: IpAddr) -> Limit {
        self.limit(&self.up, to)
    }

    /// What limits receiving from an address.
    pub(crate) fn down(&self, from: IpAddr) -> Limit {
        self.limit(&self.down, from)
    }

    fn limit(&self, throttle: &Option<Arc<Throttle>>, other: IpAddr) -> Limit {
        // Whether it is near is looked up only when it matters.
        Limit(throttle.clone().filter(|_| self.lan || !links::is_near(other)))
    }
}

/// What limits one stream, if anything does.
#[derive(Debug, Clone)]
pub(crate) struct Limit(Option<Arc<Throttle>>);

impl Limit {
    /// Waits until so many bytes may be moved.
    pub(crate) async fn take(&self, bytes: usize) {
        if let Some(throttle) = &self.0 {
            throttle.take(bytes).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttles(lan: bool) -> Throttles {
        let upload = NonZeroU64::new(1_000_000);
        Throttles::new(&RateLimits { upload, lan, ..RateLimits::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn streams_together_keep_to_the_rate() {
        let limit = throttles(true).up([192, 0, 2, 1].into());
        let began = Instant::now();
        let stream = |limit: Limit| async move {
            for _ in 0..10 {
                limit.take(100_000).await;
            }
        };
        tokio::join!(stream(limit.clone()), stream(limit));
        // The last chunk is let go when the others are through; a pause of 0.2 s before is made up for.
        let took = began.elapsed().as_secs_f64();
        assert!((1.65..1.95).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_limited_never_waits() {
        let began = Instant::now();
        throttles(true).down([192, 0, 2, 1].into()).take(1 << 30).await;
        throttles(false).up([127, 0, 0, 1].into()).take(1 << 30).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        throttles(false).up([192, 0, 2, 1].into()).take(1).await;
    }
}
