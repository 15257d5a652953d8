//! The pings of one connection, as both of its sides count them: nonces, and round-trip times.
//!
//! When a side pings and how long it waits is its own decision: a device pings every period, a
//! relay asks only a device that is silent. Pure: time is an argument, of any clock.

use std::ops::Sub;
use std::time::Duration;

/// The pings that one side sends. One at a time is measured: a pong answers the last ping or
/// counts for nothing.
#[derive(Debug, Clone, Copy)]
pub struct Pings<I> {
    nonce: u64,
    /// When the last ping was sent, until it is answered.
    sent: Option<I>,
    round_trip: Option<RoundTrip>,
}

/// Round-trip times of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundTrip {
    /// The last one.
    pub last: Duration,
    /// Their smoothed mean (RFC 6298, section 2).
    pub smoothed: Duration,
    /// Their smoothed variation, likewise.
    pub variation: Duration,
}

impl<I> Default for Pings<I> {
    fn default() -> Self {
        Self {
            nonce: 0,
            sent: None,
            round_trip: None,
        }
    }
}

impl<I: Copy + Sub<I, Output = Duration>> Pings<I> {
    /// Returns the nonce of a ping that is sent now; nonces begin at 1.
    pub fn send(&mut self, now: I) -> u64 {
        self.nonce += 1;
        self.sent = Some(now);
        self.nonce
    }

    /// Takes a pong. Returns its round-trip time if it answers the last ping for the first time.
    pub fn pong(&mut self, nonce: u64, now: I) -> Option<Duration> {
        let sent = self.sent.take_if(|_| nonce == self.nonce)?;
        let measured = now - sent;
        self.round_trip = Some(match self.round_trip {
            None => RoundTrip {
                last: measured,
                smoothed: measured,
                variation: measured / 2,
            },
            Some(before) => RoundTrip {
                last: measured,
                smoothed: (before.smoothed * 7 + measured) / 8,
                variation: (before.variation * 3 + before.smoothed.abs_diff(measured)) / 4,
            },
        });
        Some(measured)
    }

    /// When the ping that waits for its pong was sent.
    pub fn waiting_since(&self) -> Option<I> {
        self.sent
    }

    /// Round-trip times, once one was measured.
    pub fn round_trip(&self) -> Option<RoundTrip> {
        self.round_trip
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn only_the_last_ping_is_measured_and_once() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut pings = Pings::default();
        assert_eq!((pings.send(start), pings.send(start + ms(10))), (1, 2));
        assert_eq!(pings.pong(1, start + ms(50)), None);
        assert_eq!(pings.pong(2, start + ms(50)), Some(ms(40)));
        assert_eq!(pings.pong(2, start + ms(60)), None);
        assert_eq!(pings.waiting_since(), None);
        pings.send(start + ms(100));
        assert_eq!(pings.pong(3, start + ms(220)), Some(ms(120)));
        assert_eq!(
            pings.round_trip(),
            Some(RoundTrip {
                last: ms(120),
                smoothed: ms(50),
                variation: ms(35),
            })
        );
    }
}
