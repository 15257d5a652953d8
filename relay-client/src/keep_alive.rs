//! Pings on a long connection: when to send one, and when the other side counts as gone. Pure: time
//! is an argument.
//!
//! A ping has to be answered within a few round trips, at the latest by the time of the next one
//! (and the time that long messages before it take on a thin line). Whatever else arrives
//! shows as well that the relay is there: a pong may wait behind a long message on a thin line.

use std::time::{Duration, Instant};

/// Shortest patience with an ordinary ping: a busy machine, or a phone that changes cells, may be
/// silent for so long.
const PATIENCE: Duration = Duration::from_secs(3);
/// Shortest patience with a ping that was sent because the network changed.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);
/// Round trips (with four times their variation) that a pong may take.
const ROUND_TRIPS: u32 = 4;
/// The thinnest line that is allowed for, bytes per second: a pong waits behind what was sent
/// before its ping.
const THINNEST: u64 = 16 * 1024;

/// The action to take now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeepAliveAction {
    /// Send a ping with this nonce.
    Ping(u64),
    /// The relay is gone.
    Dead,
    /// Nothing until then, unless something arrives.
    Wait(Instant),
}

/// The question of a ping, beside whether the relay is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Nothing,
    /// It asks whether the old way still works.
    Way,
    /// It asks whether the way still works for long packets.
    LongPackets,
}

/// The pings of one connection.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    period: Duration,
    /// When the next ping is due.
    next: Instant,
    /// The nonce of the ping that waits for its pong, when it was sent, and by when something must
    /// arrive.
    waiting: Option<(u64, Instant, Instant)>,
    /// Since when no ping was answered.
    unanswered: Option<Instant>,
    /// The question of the next ping.
    asks: Asks,
    nonce: u64,
    /// Bytes sent since the last pong, as far as they may still be on their way.
    owed: u64,
    /// Smoothed round trip, and its variation (RFC 6298, section 2).
    rtt: Option<(Duration, Duration)>,
}

impl KeepAlive {
    /// Pings every `period`; the first one at once, for the round-trip time.
    pub(crate) fn new(period: Duration, now: Instant) -> Self {
        Self {
            period,
            next: now,
            waiting: None,
            unanswered: None,
            asks: Asks::Nothing,
            nonce: 0,
            owed: 0,
            rtt: None,
        }
    }

    /// Returns the action to take.
    pub(crate) fn poll(&mut self, now: Instant) -> KeepAliveAction {
        if self.waiting.is_some_and(|(_, _, deadline)| now >= deadline) {
            return KeepAliveAction::Dead;
        }
        if now >= self.next {
            return KeepAliveAction::Ping(self.send(now));
        }
        KeepAliveAction::Wait(
            self.waiting
                .map_or(self.next, |(_, _, deadline)| deadline.min(self.next)),
        )
    }

    /// A ping that is due while this device is too busy to listen: the relay is to know that it is
    /// there, and nothing is known about the relay.
    pub(crate) fn busy(&mut self, now: Instant) -> Option<u64> {
        (now >= self.next).then(|| self.send(now))
    }

    /// When the next ping is due.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// The nonce of a ping that is sent now.
    fn send(&mut self, now: Instant) -> u64 {
        self.nonce += 1;
        let deadline = now + self.patience();
        // A ping that was not answered yet keeps its deadline.
        let deadline = self
            .waiting
            .map_or(deadline, |(_, _, earlier)| earlier.min(deadline));
        self.waiting = Some((self.nonce, now, deadline));
        self.unanswered.get_or_insert(now);
        self.next = now + self.period;
        self.asks = Asks::Nothing;
        self.nonce
    }

    fn patience(&self) -> Duration {
        let trips = self.rtt.map_or(Duration::ZERO, |(rtt, variation)| {
            (rtt + variation * 4) * ROUND_TRIPS
        });
        let least = if self.asks == Asks::Nothing {
            PATIENCE
        } else {
            PROBE_PATIENCE
        };
        let owed = if self.asks == Asks::LongPackets {
            0
        } else {
            self.owed
        };
        let way_there = Duration::from_millis(owed.saturating_mul(1000) / THINNEST);
        trips.max(least).min(self.period) + way_there
    }

    /// So many bytes were sent that a thin line takes its time for.
    pub(crate) fn sent(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.owed = self.owed.saturating_add(bytes);
        if let Some((_, _, deadline)) = &mut self.waiting {
            *deadline += Duration::from_millis(bytes.saturating_mul(1000) / THINNEST);
        }
    }

    /// Something arrived that the other side had no other reason to say late.
    pub(crate) fn heard(&mut self, now: Instant) {
        let patience = self.patience();
        if let Some((_, _, deadline)) = &mut self.waiting {
            *deadline = now + patience;
        }
    }

    /// Returns whether a ping is unanswered that could have been answered.
    pub(crate) fn is_unanswered(&self, now: Instant) -> bool {
        self.unanswered
            .is_some_and(|since| now.saturating_duration_since(since) >= PROBE_PATIENCE)
    }

    /// A pong arrived.
    pub(crate) fn pong(&mut self, nonce: u64, now: Instant) {
        if let Some((_, sent, _)) = self.waiting.filter(|(waiting, _, _)| *waiting == nonce) {
            (self.waiting, self.unanswered) = (None, None);
            self.owed = 0;
            let measured = now.saturating_duration_since(sent);
            self.rtt = Some(match self.rtt {
                None => (measured, measured / 2),
                Some((rtt, variation)) => {
                    let off = rtt.abs_diff(measured);
                    ((rtt * 7 + measured) / 8, (variation * 3 + off) / 4)
                }
            });
        }
    }

    /// The network may be another one: pings at once, with little patience.
    pub(crate) fn probe(&mut self, now: Instant) {
        self.asks = Asks::Way;
        self.next = now;
    }

    /// Pings at once, because what was sent is not answered. `short`: what is long may be lost and
    /// segments can be made shorter, so that it is better to begin anew than to wait for a thin
    /// line.
    pub(crate) fn doubt(&mut self, short: bool, now: Instant) {
        self.asks = if short && self.owed > 0 {
            Asks::LongPackets
        } else {
            Asks::Way
        };
        self.next = now;
    }

    /// Smoothed round-trip time, once measured.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.rtt.map(|(rtt, _)| rtt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(15);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pings_at_its_period_and_measures() {
        let start = Instant::now();
        let mut keep_alive = KeepAlive::new(PERIOD, start);
        assert_eq!(keep_alive.poll(start), KeepAliveAction::Ping(1));
        keep_alive.heard(start + ms(40));
        keep_alive.pong(1, start + ms(40));
        assert_eq!(keep_alive.rtt(), Some(ms(40)));
        assert_eq!(
            keep_alive.poll(start + ms(40)),
            KeepAliveAction::Wait(start + PERIOD)
        );
        assert_eq!(keep_alive.poll(start + PERIOD), KeepAliveAction::Ping(2));
        keep_alive.pong(1, start + PERIOD);
        assert_eq!(keep_alive.rtt(), Some(ms(40)), "an old pong says nothing");
    }

    #[test]
    fn silence_is_death_within_a_few_round_trips_and_at_most_a_period() {
        let start = Instant::now();
        let mut keep_alive = KeepAlive::new(PERIOD, start);
        assert_eq!(keep_alive.poll(start), KeepAliveAction::Ping(1));
        assert_eq!(
            keep_alive.poll(start),
            KeepAliveAction::Wait(start + PATIENCE)
        );
        assert_eq!(
            keep_alive.poll(start + PATIENCE - ms(1)),
            KeepAliveAction::Wait(start + PATIENCE)
        );
        assert_eq!(keep_alive.poll(start + PATIENCE), KeepAliveAction::Dead);

        let mut far = KeepAlive::new(PERIOD, start);
        far.poll(start);
        far.pong(1, start + ms(2000));
        assert_eq!(far.poll(start + PERIOD), KeepAliveAction::Ping(2));
        assert_eq!(
            far.patience(),
            PERIOD,
            "four times two seconds and its variation, but a period at most"
        );

        let mut quick = KeepAlive::new(ms(200), start);
        assert_eq!(quick.poll(start), KeepAliveAction::Ping(1));
        assert_eq!(quick.poll(start + ms(200)), KeepAliveAction::Dead);
    }

    #[test]
    fn a_ping_that_waits_shows() {
        let start = Instant::now();
        let mut keep_alive = KeepAlive::new(PERIOD, start);
        assert!(!keep_alive.is_unanswered(start + PERIOD));
        keep_alive.poll(start);
        assert!(!keep_alive.is_unanswered(start + ms(900)));
        // A later one does not hide it.
        keep_alive.probe(start + ms(900));
        keep_alive.poll(start + ms(900));
        assert!(keep_alive.is_unanswered(start + PROBE_PATIENCE));
        keep_alive.pong(2, start + ms(1100));
        assert!(!keep_alive.is_unanswered(start + PERIOD));
    }

    #[test]
    fn whatever_arrives_shows_life() {
        let start = Instant::now();
        let mut keep_alive = KeepAlive::new(PERIOD, start);
        keep_alive.poll(start);
        keep_alive.heard(start + PATIENCE - ms(1));
        assert!(matches!(
            keep_alive.poll(start + PATIENCE),
            KeepAliveAction::Wait(_)
        ));
        assert_eq!(keep_alive.poll(start + PATIENCE * 2), KeepAliveAction::Dead);
    }

    #[test]
    fn another_network_is_probed_at_once_with_little_patience() {
        let start = Instant::now();
        let mut keep_alive = KeepAlive::new(PERIOD, start);
        keep_alive.poll(start);
        keep_alive.pong(1, start + ms(30));
        let now = start + ms(5000);
        keep_alive.probe(now);
        assert_eq!(keep_alive.poll(now), KeepAliveAction::Ping(2));
        assert_eq!(keep_alive.poll(now + PROBE_PATIENCE), KeepAliveAction::Dead);
    }

    #[test]
    fn a_long_message_on_a_thin_line_is_no_silence() {
        let start = Instant::now();
        let mut keep_alive = KeepAlive::new(PERIOD, start);
        keep_alive.poll(start);
        keep_alive.sent(256 * 1024);
        assert!(
            matches!(
                keep_alive.poll(start + ms(16_000)),
                KeepAliveAction::Ping(2)
            ),
            "sixteen seconds more"
        );
        assert_eq!(keep_alive.poll(start + ms(19_000)), KeepAliveAction::Dead);
        let mut keep_alive = KeepAlive::new(PERIOD, start);
        keep_alive.sent(32 * 1024);
        keep_alive.poll(start);
        assert!(matches!(
            keep_alive.poll(start + ms(4_900)),
            KeepAliveAction::Wait(_)
        ));
        keep_alive.pong(1, start + ms(4_900));
        assert!(
            keep_alive.patience() < PERIOD + ms(1),
            "what was owed has arrived"
        );
    }

    #[test]
    fn where_segments_can_be_shorter_nothing_long_is_waited_for() {
        let start = Instant::now();
        let dies_after = |short| {
            let mut keep_alive = KeepAlive::new(PERIOD, start);
            keep_alive.poll(start);
            keep_alive.pong(1, start + ms(30));
            keep_alive.sent(32 * 1024);
            keep_alive.doubt(short, start + ms(1000));
            assert_eq!(keep_alive.poll(start + ms(1000)), KeepAliveAction::Ping(2));
            (1..100)
                .find(|n| keep_alive.poll(start + ms(1000 + n * 100)) == KeepAliveAction::Dead)
                .map(|n| ms(n * 100))
        };
        assert_eq!(dies_after(true), Some(PROBE_PATIENCE));
        assert_eq!(
            dies_after(false),
            Some(PROBE_PATIENCE + ms(2000)),
            "a thin line takes two seconds for it"
        );
    }

    #[test]
    fn a_device_that_is_busy_pings_all_the_same_and_judges_nobody() {
        let start = Instant::now();
        let mut keep_alive = KeepAlive::new(PERIOD, start);
        keep_alive.poll(start);
        for period in 1..10 {
            let now = keep_alive.next();
            assert_eq!(now, start + PERIOD * period);
            assert_eq!(keep_alive.busy(now), Some(u64::from(period) + 1));
            assert_eq!(keep_alive.busy(now), None);
        }
        // The data that was waiting to be read is read now.
        let now = keep_alive.next();
        keep_alive.heard(now);
        assert!(!matches!(keep_alive.poll(now), KeepAliveAction::Dead));
    }

    #[test]
    fn a_later_ping_does_not_prolong_the_wait_for_an_earlier_one() {
        let start = Instant::now();
        let mut keep_alive = KeepAlive::new(PERIOD, start);
        keep_alive.poll(start);
        keep_alive.probe(start + ms(2500));
        assert_eq!(keep_alive.poll(start + ms(2500)), KeepAliveAction::Ping(2));
        assert_eq!(keep_alive.poll(start + PATIENCE), KeepAliveAction::Dead);
    }
}
