//! QUIC, TCP or through a relay towards one device: measured on the first mebibytes of each, then the fastest that is worth
//! its price.
//!
//! QUIC is the default and the fallback. TCP is tried once it connects; before a trial what is outstanding on the other
//! carriers is waited for, so that no measurement contains another's traffic. A relay carries what no direct way carries,
//! and beside one only what the direct way was measured to be too slow for. Pure.

use crate::rate::RateEstimator;
use crate::time::Time;
use std::time::Duration;

/// What carries a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// QUIC over UDP.
    Quic,
    /// TLS 1.3 over TCP.
    Tcp,
    /// A circuit through a relay.
    Relayed,
}

impl Carrier {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Quic, Self::Tcp, Self::Relayed];
}

/// Bytes after which a carrier counts as measured: enough to be out of slow start on a LAN.
const TRIAL_BYTES: u64 = 8 << 20;
/// How much faster the other carrier must have been to be preferred: noise must not flip the choice.
const ADVANTAGE: f64 = 1.1;
/// A carrier that failed is left alone for this long.
const REST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct State {
    rate: RateEstimator,
    available: bool,
    failed_until: Option<Time>,
    outstanding: u64,
}

/// The choice for one device.
#[derive(Debug)]
pub struct CarrierChoice {
    quic: State,
    tcp: State,
    relayed: State,
    /// A direct way that is slower than this, bytes per second, is not worth what the relay costs more.
    worth: f64,
}

impl Default for CarrierChoice {
    fn default() -> Self {
        let [quic, tcp, relayed] = Default::default();
        Self { quic, tcp, relayed, worth: f64::INFINITY }
    }
}

impl CarrierChoice {
    const fn of(&self, carrier: Carrier) -> &State {
        match carrier {
            Carrier::Quic => &self.quic,
            Carrier::Tcp => &self.tcp,
            Carrier::Relayed => &self.relayed,
        }
    }

    const fn state(&mut self, carrier: Carrier) -> &mut State {
        match carrier {
            Carrier::Quic => &mut self.quic,
            Carrier::Tcp => &mut self.tcp,
            Carrier::Relayed => &mut self.relayed,
        }
    }

    /// Below which rate of the direct way a faster relay is worth its price, bytes per second.
    pub const fn set_worth(&mut self, rate: f64) {
        self.worth = rate;
    }

    /// Whether it can be reached through a relay.
    pub const fn has_relayed(&self) -> bool {
        self.relayed.available
    }

    /// A carrier connects now, or does not any more.
    pub fn set_available(&mut self, carrier: Carrier, available: bool) {
        self.state(carrier).available = available;
    }

    /// A request over this carrier broke.
    pub fn failed(&mut self, carrier: Carrier, now: Time) {
        self.state(carrier).failed_until = Some(now + REST);
    }

    /// `bytes` were asked for over this carrier.
    pub fn asked(&mut self, carrier: Carrier, bytes: u64, now: Time) {
        let state = self.state(carrier);
        if state.outstanding == 0 {
            state.rate.busy(now);
        }
        state.outstanding += bytes;
    }

    /// `bytes` that were asked for arrived.
    pub fn arrived(&mut self, carrier: Carrier, bytes: u64, now: Time) {
        let state = self.state(carrier);
        state.rate.arrived(bytes, now);
        self.settle(carrier, bytes, now);
    }

    /// `bytes` that were asked for will not come.
    pub fn given_up(&mut self, carrier: Carrier, bytes: u64, now: Time) {
        self.settle(carrier, bytes, now);
    }

    fn settle(&mut self, carrier: Carrier, bytes: u64, now: Time) {
        let state = self.state(carrier);
        state.outstanding = state.outstanding.saturating_sub(bytes);
        if state.outstanding == 0 {
            state.rate.idle(now);
        }
    }

    /// Bytes asked for and not yet received, over all.
    pub const fn outstanding(&self) -> u64 {
        self.quic.outstanding + self.tcp.outstanding + self.relayed.outstanding
    }

    /// The carrier to ask over now; `None`: wait for what is outstanding on another one first.
    pub fn pick(&self, now: Time) -> Option<Carrier> {
        let choice = self.prefer(now);
        (self.outstanding() == self.of(choice).outstanding).then_some(choice)
    }

    /// The carrier that is best now.
    pub fn prefer(&self, now: Time) -> Carrier {
        let usable =
            |c: Carrier| self.of(c).available && self.of(c).failed_until.is_none_or(|until| until <= now);
        let direct = match (usable(Carrier::Quic), usable(Carrier::Tcp)) {
            (true, true) => Some(self.direct()),
            (true, false) => Some(Carrier::Quic),
            (false, true) => Some(Carrier::Tcp),
            (false, false) => None,
        };
        match (direct, usable(Carrier::Relayed)) {
            (Some(direct), true) if self.is_outdone(direct) => Carrier::Relayed,
            (Some(direct), _) => direct,
            (None, true) => Carrier::Relayed,
            // All rest: whichever is there at all.
            (None, false) if self.quic.available => Carrier::Quic,
            (None, false) if self.tcp.available => Carrier::Tcp,
            (None, false) if self.relayed.available => Carrier::Relayed,
            (None, false) => Carrier::Quic,
        }
    }

    /// QUIC or TCP, where both can be used.
    fn direct(&self) -> Carrier {
        // The trial of TCP comes first as soon as TCP is there: it is the likely winner (half the CPU per byte).
        if self.tcp.rate.total() < TRIAL_BYTES {
            return Carrier::Tcp;
        }
        if self.quic.rate.total() < TRIAL_BYTES {
            return Carrier::Quic;
        }
        match (self.quic.rate.measured(), self.tcp.rate.measured()) {
            (Some(quic), Some(tcp)) if tcp > quic * ADVANTAGE => Carrier::Tcp,
            _ => Carrier::Quic,
        }
    }

    /// Whether the relay was measured to be faster than a direct carrier, and that one is slow enough to pay for it.
    fn is_outdone(&self, direct: Carrier) -> bool {
        let (direct, relayed) = (self.of(direct), &self.relayed);
        let tried = direct.rate.total().min(relayed.rate.total()) >= TRIAL_BYTES;
        match (direct.rate.measured(), relayed.rate.measured()) {
            (Some(direct), Some(relayed)) => tried && relayed > direct * ADVANTAGE && direct < self.worth,
            _ => false,
        }
    }

    /// Measured rate of the carrier in use (of another one, while it was not measured itself), bytes per second.
    pub fn rate(&self, now: Time) -> Option<f64> {
        self.measured(now)?.measured()
    }

    /// Whether what [`Self::rate`] says was measured more than once.
    pub fn is_settled(&self, now: Time) -> bool {
        self.measured(now).is_some_and(RateEstimator::is_settled)
    }

    fn measured(&self, now: Time) -> Option<&RateEstimator> {
        let carriers = std::iter::once(self.prefer(now)).chain(Carrier::ALL);
        carriers.map(|carrier| &self.of(carrier).rate).find(|rate| rate.measured().is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_start(Duration::from_millis(ms))
    }

    /// Moves `mib` MiB over whatever the choice picks, each in so many ms by carrier, and returns the carriers used.
    fn run(choice: &mut CarrierChoice, start: u64, mib: u64, ms: [u64; 3]) -> Vec<Carrier> {
        let mut now = start;
        let one = |_| {
            let carrier = choice.pick(at(now)).unwrap();
            choice.asked(carrier, 1 << 20, at(now));
            now += ms[carrier as usize];
            choice.arrived(carrier, 1 << 20, at(now));
            carrier
        };
        (0..mib).map(one).collect()
    }

    #[test]
    fn quic_until_tcp_connects_then_the_faster_one() {
        let mut choice = CarrierChoice::default();
        choice.set_available(Carrier::Quic, true);
        assert!(run(&mut choice, 0, 20, [40, 20, 0]).iter().all(|c| *c == Carrier::Quic));
        choice.set_available(Carrier::Tcp, true);
        assert!(run(&mut choice, 1000, 30, [40, 20, 0]).iter().all(|c| *c == Carrier::Tcp));
    }

    #[test]
    fn a_slower_tcp_is_left_after_its_trial() {
        let mut choice = CarrierChoice::default();
        choice.set_available(Carrier::Quic, true);
        choice.set_available(Carrier::Tcp, true);
        let used = run(&mut choice, 0, 40, [30, 60, 0]);
        assert_eq!(used.iter().filter(|c| **c == Carrier::Tcp).count(), 8);
        assert_eq!(used.last(), Some(&Carrier::Quic));
    }

    #[test]
    fn a_switch_waits_for_what_is_outstanding() {
        let mut choice = CarrierChoice::default();
        choice.set_available(Carrier::Quic, true);
        choice.asked(Carrier::Quic, 1000, at(0));
        choice.set_available(Carrier::Tcp, true);
        assert_eq!(choice.pick(at(1)), None);
        choice.given_up(Carrier::Quic, 1000, at(2));
        assert_eq!(choice.pick(at(2)), Some(Carrier::Tcp));
    }

    #[test]
    fn a_failed_carrier_rests() {
        let mut choice = CarrierChoice::default();
        choice.set_available(Carrier::Quic, true);
        choice.set_available(Carrier::Tcp, true);
        choice.failed(Carrier::Tcp, at(0));
        assert_eq!(choice.pick(at(1)), Some(Carrier::Quic));
        assert_eq!(choice.pick(at(30_001)), Some(Carrier::Tcp));
    }

    #[test]
    fn a_relay_carries_what_no_direct_way_does_and_is_left_when_there_is_one() {
        let mut choice = CarrierChoice::default();
        choice.set_available(Carrier::Relayed, true);
        assert!(run(&mut choice, 0, 20, [40, 20, 50]).iter().all(|c| *c == Carrier::Relayed));
        choice.asked(Carrier::Relayed, 1000, at(1100));
        choice.set_available(Carrier::Quic, true);
        assert_eq!(choice.pick(at(1100)), None, "what is on its way comes first");
        choice.arrived(Carrier::Relayed, 1000, at(1101));
        assert!(run(&mut choice, 1200, 20, [40, 20, 50]).iter().all(|c| *c == Carrier::Quic));
        // It stays ready.
        choice.failed(Carrier::Quic, at(3000));
        assert_eq!(choice.pick(at(3001)), Some(Carrier::Relayed));
    }

    #[test]
    fn a_faster_relay_is_used_beside_a_slow_direct_way_where_it_is_worth_its_price() {
        let measured = || {
            let mut choice = CarrierChoice::default();
            choice.set_available(Carrier::Relayed, true);
            run(&mut choice, 0, 10, [400, 20, 50]);
            choice.set_available(Carrier::Quic, true);
            let used = run(&mut choice, 1000, 40, [400, 20, 50]);
            (choice, used)
        };
        let (mut choice, used) = measured();
        assert_eq!(used.iter().filter(|c| **c == Carrier::Quic).count(), 8, "its trial");
        assert_eq!(used.last(), Some(&Carrier::Relayed));
        // 2.6 MB/s directly are enough for who would not pay for more than 1 MB/s.
        choice.set_worth(1e6);
        assert_eq!(choice.pick(at(30_000)), Some(Carrier::Quic));
        choice.set_worth(1e7);
        assert_eq!(choice.pick(at(30_000)), Some(Carrier::Relayed));
    }
}
