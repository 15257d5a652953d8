//! How much of an upload is on its way: what the store takes in some seconds, and no more.
//!
//! A carrier takes tens of megabytes into its buffers. On a thin line they would stand before
//! everything that somebody waits for, long after the upload has learnt to give way.

use hither_util::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Bytes that are on their way before the store has reported any.
const FIRST: u64 = 4 << 20;
/// Fewest that may be, unless one chunk is longer.
const LEAST: u64 = 1 << 20;
/// The amount on its way, as seconds of the store's pace: reports come twice a second.
const SECONDS: f64 = 2.0;
/// Time over which a rate is measured, at least.
const MEASURED: Duration = Duration::from_millis(400);

#[derive(Debug)]
struct State {
    written: u64,
    /// The bytes that the store reported, and had at first.
    stored: u64,
    at_first: Option<u64>,
    /// Bytes a second, as measured last, and since when and what it is measured anew.
    rate: Option<f64>,
    since: (Instant, u64),
}

impl State {
    fn is_room(&self, bytes: u64) -> bool {
        let there = self.stored - self.at_first.unwrap_or(self.stored).min(self.stored);
        let on_its_way = self.written.saturating_sub(there);
        let most = match self.rate {
            Some(rate) => ((rate * SECONDS) as u64).max(LEAST),
            None => FIRST,
        };
        on_its_way == 0 || on_its_way + bytes <= most
    }
}

/// The bytes on their way over one carrier.
#[derive(Debug)]
pub(super) struct Ahead {
    state: Mutex<State>,
    changed: Notify,
}

impl Ahead {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                written: 0,
                stored: 0,
                at_first: None,
                rate: None,
                since: (Instant::now(), 0),
            }),
            changed: Notify::new(),
        }
    }

    /// The store reports to have so many bytes of the version.
    pub(super) fn stored(&self, bytes: u64) {
        let mut state = self.state.lock();
        let now = Instant::now();
        if state.at_first.is_none() {
            state.at_first = Some(bytes);
            state.since = (now, bytes);
        }
        state.stored = bytes;
        let (since, before) = state.since;
        let elapsed = now - since;
        if elapsed >= MEASURED && bytes > before {
            state.rate = Some((bytes - before) as f64 / elapsed.as_secs_f64());
            state.since = (now, bytes);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Counts so many bytes more as on their way, if they may be.
    pub(super) fn takes(&self, bytes: usize) -> bool {
        let mut state = self.state.lock();
        let is_room = state.is_room(bytes as u64);
        if is_room {
            state.written += bytes as u64;
        }
        is_room
    }

    /// Waits until so many bytes more may be on their way, and counts them. For one task.
    pub(super) async fn room(&self, bytes: usize) {
        while !self.takes(bytes) {
            self.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::time::sleep;

    /// Uploads `total` bytes in chunks of 256 KiB to a store that takes `rate` bytes a second and
    /// reports twice a second; the most that was on its way after the first 2 s, and how long it
    /// took.
    async fn upload(total: u64, rate: u64) -> (u64, f64) {
        const CHUNK: usize = 256 << 10;
        let ahead = Arc::new(Ahead::new());
        let line = Arc::new(Mutex::new((0_u64, 0_u64, 0_u64)));
        let (of, to) = (Arc::clone(&ahead), Arc::clone(&line));
        ahead.stored(0);
        let began = Instant::now();
        let writer = tokio::spawn(async move {
            for _ in 0..total / CHUNK as u64 {
                of.room(CHUNK).await;
                let mut line = to.lock();
                line.0 += CHUNK as u64;
                if began.elapsed() > Duration::from_secs(2) {
                    line.2 = line.2.max(line.0 - line.1);
                }
            }
        });
        while line.lock().1 < total {
            sleep(Duration::from_millis(500)).await;
            let stored = {
                let mut line = line.lock();
                line.1 = line.0.min(line.1 + rate / 2);
                line.1
            };
            ahead.stored(stored);
        }
        writer.await.unwrap();
        let most = line.lock().2;
        (most, began.elapsed().as_secs_f64())
    }

    #[tokio::test(start_paused = true)]
    async fn a_thin_line_has_two_seconds_of_it_on_its_way() {
        let (most, took) = upload(32 << 20, 1 << 20).await;
        assert!(most <= 4 << 20, "{most}");
        assert!((31.0..34.0).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_one_is_filled_soon() {
        let (_, took) = upload(1 << 30, 256 << 20).await;
        assert!(took < 8.0, "{took} s for 4 s of data");
    }
}
