//! Data that people wait for goes before data that is sent in the background, on the same way out.
//!
//! A device that fetches from this one over more than the local network waits for it; an upload to a
//! store does not hurry. While chunks go to somebody who waits, the background gets a tenth of what
//! they get, so that it goes on and is not taken for dead; the moment that they stop, all of it.

use hither_util::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Nobody waits any more when nothing went to them for so long: a fetcher asks for the next chunks
/// a round trip after the last, which takes seconds where a thin line has much in its buffers.
const QUIET: Duration = Duration::from_secs(3);
/// The background may send a byte for so many that go to who waits.
const PART: u64 = 10;
/// Longest that one chunk of the background gives way: stores take who is silent for dead, and who
/// waits may take little because its own line is thin.
const LONGEST: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
struct Sent {
    /// Chunks that are being written to who waits.
    writing: usize,
    /// When the last one ended.
    last: Option<Instant>,
    /// Bytes that the background may send.
    credit: u64,
}

impl Sent {
    /// When nobody waits any more; `None`: now.
    fn quiet_at(&self, now: Instant) -> Option<Instant> {
        if self.writing > 0 {
            return Some(now + QUIET);
        }
        self.last
            .map(|last| last + QUIET)
            .filter(|quiet| *quiet > now)
    }
}

/// The record of data that is being sent to devices that wait for it.
#[derive(Debug, Default)]
pub struct Foreground {
    sent: Mutex<Sent>,
    changed: Notify,
}

/// A chunk that is being written to somebody who waits.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    of: &'a Foreground,
    bytes: u64,
}

impl Foreground {
    /// So many bytes are written to somebody who waits, until the turn is dropped.
    pub(crate) fn turn(&self, bytes: usize) -> Turn<'_> {
        self.sent.lock().writing += 1;
        Turn {
            of: self,
            bytes: bytes as u64,
        }
    }

    /// Waits until so many bytes may be sent in the background.
    pub async fn give_way(&self, bytes: usize) {
        let (began, bytes) = (Instant::now(), bytes as u64);
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let quiet = {
                let mut sent = self.sent.lock();
                let now = Instant::now();
                match sent.quiet_at(now) {
                    None => {
                        sent.credit = 0;
                        return;
                    }
                    Some(_) if sent.credit >= bytes || began + LONGEST <= now => {
                        sent.credit = sent.credit.saturating_sub(bytes);
                        return;
                    }
                    Some(quiet) => quiet.min(began + LONGEST),
                }
            };
            tokio::select! {
                () = changed => {}
                () = sleep_until(quiet) => {}
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut sent = self.of.sent.lock();
        sent.writing -= 1;
        sent.last = Some(Instant::now());
        sent.credit += self.bytes / PART;
        drop(sent);
        self.of.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::time::sleep;

    const CHUNK: usize = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn the_background_has_all_of_it_while_nobody_waits() {
        let foreground = Foreground::default();
        let began = Instant::now();
        for _ in 0..100 {
            foreground.give_way(CHUNK).await;
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        drop(foreground.turn(CHUNK));
        foreground.give_way(CHUNK).await;
        assert_eq!(began.elapsed(), QUIET, "and again soon after somebody did");
    }

    #[tokio::test(start_paused = true)]
    async fn it_gets_a_tenth_beside_who_waits() {
        let foreground = Arc::new(Foreground::default());
        let of = Arc::clone(&foreground);
        let background = tokio::spawn(async move {
            let mut chunks = 0_u32;
            loop {
                of.give_way(CHUNK).await;
                chunks += 1;
                if chunks == 8 {
                    return Instant::now();
                }
            }
        });
        let began = Instant::now();
        // A chunk every 100 ms, for 10 s.
        for _ in 0..100 {
            let turn = foreground.turn(CHUNK);
            sleep(Duration::from_millis(100)).await;
            drop(turn);
        }
        let eighth = background.await.unwrap() - began;
        // The first one went before anybody was there or has to wait for its credit like the others.
        assert!(
            (Duration::from_secs(7)..Duration::from_secs(9)).contains(&eighth),
            "{eighth:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_never_silent_for_long() {
        let foreground = Arc::new(Foreground::default());
        // Somebody whose line takes nothing.
        let turn = foreground.turn(CHUNK);
        let began = Instant::now();
        foreground.give_way(CHUNK).await;
        assert_eq!(began.elapsed(), LONGEST);
        drop(turn);
    }
}
