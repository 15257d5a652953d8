//! Decides when a device is pinged, and when it counts as gone. Pure: time is an
//! argument.
//!
//! A device pings every period, so by then something is heard of one that lives. When nothing was,
//! it is asked, and when a patience after the time at which something was due nothing has come, it
//! is gone. Whatever arrives is a sign of life, also part of a long message on a thin line. When
//! this node was late itself, the device gets its time all the same.

use std::time::Duration;
use tokio::time::Instant;

/// Round trips that the answer of a device may take, when that is longer than the least patience.
const ROUND_TRIPS: u32 = 8;

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeepAliveAction {
    /// Ask the device with this nonce.
    Ping(u64),
    /// The device is gone.
    Gone,
    /// Nothing until then, unless something arrives.
    Wait(Instant),
}

/// The device was asked because it was silent.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// When, or when a part of a message was found to have come since.
    at: Instant,
    /// What had arrived of a message by then, bytes.
    arrived: usize,
}

/// The signs of life of one connection.
#[derive(Debug)]
pub(super) struct KeepAlive {
    period: Duration,
    least_patience: Duration,
    heard: Instant,
    asked: Option<Asked>,
    nonce: u64,
    /// When the last ping was sent, until it is answered.
    pinged: Option<Instant>,
    rtt: Option<Duration>,
}

impl KeepAlive {
    /// Of a device that was heard just now and pings every `period`; `patience` at least with what
    /// is late.
    pub(super) fn new(period: Duration, patience: Duration, now: Instant) -> Self {
        let least_patience = patience;
        Self {
            period,
            least_patience,
            heard: now,
            asked: None,
            nonce: 0,
            pinged: None,
            rtt: None,
        }
    }

    /// The nonce of a ping that is sent now.
    pub(super) fn ping(&mut self, now: Instant) -> u64 {
        self.nonce += 1;
        self.pinged = Some(now);
        self.nonce
    }

    /// A pong arrived; the round trip, if it answers the last ping.
    pub(super) fn pong(&mut self, nonce: u64, now: Instant) -> Option<Duration> {
        let sent = self.pinged.take_if(|_| nonce == self.nonce)?;
        self.rtt = Some(now.saturating_duration_since(sent));
        self.rtt
    }

    /// Something arrived.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// How long after the time at which it was due a sign of life may come.
    pub(super) fn patience(&self) -> Duration {
        let trips = self
            .rtt
            .map_or(Duration::ZERO, |rtt| rtt * ROUND_TRIPS)
            .min(self.period);
        trips.max(self.least_patience)
    }

    /// When to look again.
    pub(super) fn due(&self) -> Instant {
        let (expected, patience) = (self.heard + self.period, self.patience());
        match self.asked {
            // Late enough that a ping which is only a little late spares both the question.
            None => expected + patience / 3,
            Some(asked) => (expected + patience).max(asked.at + patience * 2 / 3),
        }
    }

    /// What to do; `arrived`: bytes of the message that is being read.
    pub(super) fn poll(&mut self, now: Instant, arrived: usize) -> KeepAliveAction {
        let due = self.due();
        if now < due {
            return KeepAliveAction::Wait(due);
        }
        match self.asked.replace(Asked { at: now, arrived }) {
            None => KeepAliveAction::Ping(self.ping(now)),
            Some(before) if arrived > before.arrived => KeepAliveAction::Wait(self.due()),
            Some(_) => KeepAliveAction::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(25);
    const PATIENCE: Duration = Duration::from_secs(3);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn keep_alive() -> (KeepAlive, Instant) {
        let start = Instant::now();
        (KeepAlive::new(PERIOD, PATIENCE, start), start)
    }

    #[test]
    fn a_device_that_pings_is_never_asked() {
        let (mut keep_alive, start) = keep_alive();
        for period in 1..10 {
            let late = start + PERIOD * period + ms(900);
            assert!(matches!(keep_alive.poll(late, 0), KeepAliveAction::Wait(_)));
            keep_alive.heard(late);
        }
    }

    #[test]
    fn silence_ends_a_patience_after_one_period() {
        let (mut keep_alive, start) = keep_alive();
        let mut now = start;
        let mut asked = 0;
        let gone = loop {
            match keep_alive.poll(now, 0) {
                KeepAliveAction::Wait(until) => now = until,
                KeepAliveAction::Ping(_) => asked += 1,
                KeepAliveAction::Gone => break now,
            }
        };
        assert_eq!((gone - start, asked), (PERIOD + PATIENCE, 1));
    }

    #[test]
    fn whatever_comes_after_the_question_is_life() {
        let (mut keep_alive, start) = keep_alive();
        let late = start + PERIOD + PATIENCE / 3;
        assert_eq!(keep_alive.poll(late, 0), KeepAliveAction::Ping(1));
        keep_alive.heard(late + ms(500));
        assert_eq!(keep_alive.pong(1, late + ms(500)), Some(ms(500)));
        assert_eq!(keep_alive.pong(1, late + ms(900)), None, "once");
        assert_eq!(keep_alive.patience(), ms(4000), "eight round trips");
        assert!(matches!(
            keep_alive.poll(start + PERIOD + PATIENCE, 0),
            KeepAliveAction::Wait(_)
        ));
    }

    #[test]
    fn part_of_a_long_message_is_life_as_long_as_more_of_it_comes() {
        let (mut keep_alive, start) = keep_alive();
        let mut now = start + PERIOD + PATIENCE / 3;
        assert_eq!(keep_alive.poll(now, 1000), KeepAliveAction::Ping(1));
        for arrived in 2..30 {
            now = keep_alive.due();
            assert!(
                matches!(
                    keep_alive.poll(now, arrived * 1000),
                    KeepAliveAction::Wait(_)
                ),
                "{arrived}"
            );
        }
        let last = now;
        now = keep_alive.due();
        assert_eq!(keep_alive.poll(now, 29_000), KeepAliveAction::Gone);
        assert!(now - last <= PATIENCE);
    }

    #[test]
    fn a_node_that_is_late_itself_still_asks_and_waits() {
        let (mut keep_alive, start) = keep_alive();
        let now = start + PERIOD * 4;
        assert_eq!(keep_alive.poll(now, 0), KeepAliveAction::Ping(1));
        assert!(matches!(
            keep_alive.poll(now + ms(1900), 0),
            KeepAliveAction::Wait(_)
        ));
        assert_eq!(keep_alive.poll(now + ms(2000), 0), KeepAliveAction::Gone);
    }

    #[test]
    fn a_long_way_prolongs_patience_by_a_period_at_most() {
        let (mut keep_alive, start) = keep_alive();
        let nonce = keep_alive.ping(start);
        keep_alive.pong(nonce, start + ms(10_000));
        assert_eq!(keep_alive.patience(), PERIOD);
        let mut quick = KeepAlive::new(ms(100), PATIENCE, start);
        let nonce = quick.ping(start);
        quick.pong(nonce, start + ms(10_000));
        assert_eq!(quick.patience(), PATIENCE);
    }
}
