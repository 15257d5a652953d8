//! QUIC or TCP towards one device: measured on the first mebibytes of each, then the faster one.
//!
//! QUIC is the default and the fallback. TCP is tried once it connects; before a trial what is outstanding on the other
//! carrier is waited for, so that neither measurement contains the other's traffic. Pure.

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
#[derive(Debug, Default)]
pub struct CarrierChoice {
    quic: State,
    tcp: State,
}

impl CarrierChoice {
    fn state(&mut self, carrier: Carrier) -> &mut State {
        match carrier {
            Carrier::Quic => &mut self.quic,
            Carrier::Tcp => &mut self.tcp,
        }
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

    /// Bytes asked for and not yet received, over both.
    pub const fn outstanding(&self) -> u64 {
        self.quic.outstanding + self.tcp.outstanding
    }

    /// The carrier to ask over now; `None`: wait for what is outstanding on the other one first.
    pub fn pick(&self, now: Time) -> Option<Carrier> {
        let choice = self.prefer(now);
        let other = match choice {
            Carrier::Quic => &self.tcp,
            Carrier::Tcp => &self.quic,
        };
        (other.outstanding == 0).then_some(choice)
    }

    fn prefer(&self, now: Time) -> Carrier {
        let usable = |s: &State| s.available && s.failed_until.is_none_or(|until| until <= now);
        match (usable(&self.quic), usable(&self.tcp)) {
            (true, false) => return Carrier::Quic,
            (false, true) => return Carrier::Tcp,
            (false, false) => {
                return if self.tcp.available && !self.quic.available { Carrier::Tcp } else { Carrier::Quic };
            }
            (true, true) => {}
        }
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

    /// Measured rate of the carrier in use, bytes per second.
    pub fn rate(&self, now: Time) -> Option<f64> {
        let (first, second) = match self.prefer(now) {
            Carrier::Quic => (&self.quic, &self.tcp),
            Carrier::Tcp => (&self.tcp, &self.quic),
        };
        first.rate.measured().or(second.rate.measured())
    }

    /// Whether what [`Self::rate`] says was measured more than once.
    pub fn is_settled(&self, now: Time) -> bool {
        let (quic, tcp) = (&self.quic.rate, &self.tcp.rate);
        let (first, second) = if self.prefer(now) == Carrier::Quic { (quic, tcp) } else { (tcp, quic) };
        if first.measured().is_some() { first.is_settled() } else { second.is_settled() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_start(Duration::from_millis(ms))
    }

    /// Moves `mib` MiB over whatever the choice picks, at the given MiB per ms, and returns the carriers used.
    fn run(choice: &mut CarrierChoice, start: u64, mib: u64, quic_ms: u64, tcp_ms: u64) -> Vec<Carrier> {
        let mut now = start;
        (0..mib)
            .map(|_| {
                let carrier = choice.pick(at(now)).unwrap();
                choice.asked(carrier, 1 << 20, at(now));
                now += if carrier == Carrier::Quic { quic_ms } else { tcp_ms };
                choice.arrived(carrier, 1 << 20, at(now));
                carrier
            })
            .collect()
    }

    #[test]
    fn quic_until_tcp_connects_then_the_faster_one() {
        let mut choice = CarrierChoice::default();
        choice.set_available(Carrier::Quic, true);
        assert!(run(&mut choice, 0, 20, 40, 20).iter().all(|c| *c == Carrier::Quic));
        choice.set_available(Carrier::Tcp, true);
        assert!(run(&mut choice, 1000, 30, 40, 20).iter().all(|c| *c == Carrier::Tcp));
    }

    #[test]
    fn a_slower_tcp_is_left_after_its_trial() {
        let mut choice = CarrierChoice::default();
        choice.set_available(Carrier::Quic, true);
        choice.set_available(Carrier::Tcp, true);
        let used = run(&mut choice, 0, 40, 30, 60);
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
}
