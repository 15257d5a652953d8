//! QUIC, TCP or through a relay towards one device: measured on the first mebibytes of each, then
//! the fastest that is worth its price.
//!
//! QUIC is the default and the fallback. TCP is tried once it connects: before QUIC on the own
//! network, where it takes half the processor time, and after QUIC towards devices far away, where
//! several TCP connections through one shallow queue were measured to leave a third of the link
//! unused. A trial ends soon where it shows that the one before was faster. Before a trial what is
//! outstanding on the other carriers is waited for, so that no measurement contains another's
//! traffic. On a thin link that would take long: there the one tried before goes on beside the
//! trial.
//!
//! A relay carries what no direct way carries. Beside one it is tried when the direct way was
//! measured to be too slow, and used when it is clearly faster. Pure.

use crate::rate::RateEstimator;
use crate::time::Time;
use std::time::Duration;

/// A carrier of a link.
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
/// After so much time a carrier that is too slow for that many bytes counts as measured too, beside
/// another one.
const TRIAL_TIME: Duration = Duration::from_secs(3);
/// After so much time a carrier that is slower than the one tried before has had its trial.
const TRIAL_BRIEF: Duration = Duration::from_secs(1);
/// If the direct carrier tried before is slower than this, bytes per second, the next one is tried
/// beside it, with one request at a time. It seems slower than it is then, and has to be about as
/// fast all the same.
const THIN: f64 = 1e7;
/// How much faster the other carrier must have been to be preferred: noise must not flip the
/// choice.
const ADVANTAGE: f64 = 1.1;
/// The same for a relay beside a direct way: its traffic costs somebody something.
const ADVANTAGE_RELAYED: f64 = 1.5;
/// A carrier that failed is left alone for this long.
const REST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct State {
    rate: RateEstimator,
    available: bool,
    failed_until: Option<Time>,
    outstanding: u64,
}

impl State {
    fn is_usable(&self, now: Time) -> bool {
        self.available && self.failed_until.is_none_or(|until| until <= now)
    }

    fn is_tried(&self) -> bool {
        self.rate.total() >= TRIAL_BYTES || self.rate.measured_for() >= TRIAL_TIME
    }
}

/// The choice for one device.
#[derive(Debug)]
pub struct CarrierChoice {
    quic: State,
    tcp: State,
    relayed: State,
    /// A direct way that is slower than this, bytes per second, is not worth what the relay costs
    /// more.
    worth: f64,
    /// It is far away.
    far: bool,
}

impl Default for CarrierChoice {
    fn default() -> Self {
        let [quic, tcp, relayed] = Default::default();
        Self {
            quic,
            tcp,
            relayed,
            worth: f64::INFINITY,
            far: false,
        }
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

    /// Sets the rate of the direct way below which a faster relay is worth its price, bytes per
    /// second.
    pub const fn set_worth(&mut self, rate: f64) {
        self.worth = rate;
    }

    /// Sets whether the device is far away.
    pub const fn set_far(&mut self, far: bool) {
        self.far = far;
    }

    /// Returns whether it can be reached through a relay.
    pub const fn has_relayed(&self) -> bool {
        self.relayed.available
    }

    /// Sets whether a carrier connects.
    pub fn set_available(&mut self, carrier: Carrier, available: bool) {
        self.state(carrier).available = available;
    }

    /// Notes that a request over this carrier broke.
    pub fn failed(&mut self, carrier: Carrier, now: Time) {
        // Beside a direct way nothing waits for a relay: whether there is one is found out first.
        let beside = carrier == Carrier::Relayed && (self.quic.available || self.tcp.available);
        let state = self.state(carrier);
        state.failed_until = Some(now + REST);
        state.available &= !beside;
    }

    /// Notes that `bytes` were asked for over this carrier.
    pub fn asked(&mut self, carrier: Carrier, bytes: u64, now: Time) {
        let state = self.state(carrier);
        if state.outstanding == 0 {
            state.rate.busy(now);
        }
        state.outstanding += bytes;
    }

    /// Notes that `bytes` that were asked for arrived.
    pub fn arrived(&mut self, carrier: Carrier, bytes: u64, now: Time) {
        let state = self.state(carrier);
        state.rate.arrived(bytes, now);
        self.settle(carrier, bytes, now);
    }

    /// Notes that `bytes` that were asked for will not come.
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
        let state = self.of(choice);
        if state.is_tried() {
            return Some(choice);
        }
        match self.thin_beside(choice, now) {
            Some(tried) => Some(if state.outstanding == 0 {
                choice
            } else {
                tried
            }),
            None => (self.outstanding() == state.outstanding).then_some(choice),
        }
    }

    /// Returns whether a carrier on trial beside another one waits for a request: it gets one,
    /// whatever is asked of the other.
    pub fn waits_on_trial(&self, now: Time) -> bool {
        let choice = self.prefer(now);
        let state = self.of(choice);
        !state.is_tried() && state.outstanding == 0 && self.thin_beside(choice, now).is_some()
    }

    /// The direct carrier that goes on beside the trial of another one, where the link is thin.
    fn thin_beside(&self, choice: Carrier, now: Time) -> Option<Carrier> {
        let goes_on = |carrier: &Carrier| {
            let state = self.of(*carrier);
            let thin = state.rate.measured().is_some_and(|rate| rate < THIN);
            *carrier != choice && state.is_usable(now) && state.is_tried() && thin
        };
        [Carrier::Tcp, Carrier::Quic].into_iter().find(goes_on)
    }

    /// The carrier that is best now.
    pub fn prefer(&self, now: Time) -> Carrier {
        match (self.direct(now), self.relayed.is_usable(now)) {
            (Some(_), true) if self.is_outdone(now) => Carrier::Relayed,
            (Some(direct), _) => direct,
            (None, true) => Carrier::Relayed,
            // All rest: any that is there.
            (None, false) if self.quic.available => Carrier::Quic,
            (None, false) if self.tcp.available => Carrier::Tcp,
            (None, false) if self.relayed.available => Carrier::Relayed,
            (None, false) => Carrier::Quic,
        }
    }

    /// Returns whether the direct way was measured, and is too slow.
    pub fn is_slow(&self, now: Time) -> bool {
        self.too_slow(now).is_some()
    }

    /// QUIC or TCP, whichever is better of those that can be used.
    fn direct(&self, now: Time) -> Option<Carrier> {
        match (self.quic.is_usable(now), self.tcp.is_usable(now)) {
            (true, true) => Some(self.quic_or_tcp()),
            (true, false) => Some(Carrier::Quic),
            (false, true) => Some(Carrier::Tcp),
            (false, false) => None,
        }
    }

    fn quic_or_tcp(&self) -> Carrier {
        let (first, second) = if self.far {
            (Carrier::Quic, Carrier::Tcp)
        } else {
            (Carrier::Tcp, Carrier::Quic)
        };
        // With little traffic there is no second trial, however long it takes: many neighbours at
        // once would only have more to do.
        if self.of(first).rate.total() < TRIAL_BYTES {
            return first;
        }
        let (Some(quic), Some(tcp)) = (self.quic.rate.measured(), self.tcp.rate.measured()) else {
            return second;
        };
        let better = if tcp > quic * ADVANTAGE {
            Carrier::Tcp
        } else {
            Carrier::Quic
        };
        let state = self.of(second);
        let tried =
            state.is_tried() || (better == first && state.rate.measured_for() >= TRIAL_BRIEF);
        if tried { better } else { second }
    }

    /// The rate of the direct way, where it was measured and is slow enough to pay for a relay.
    /// That another carrier is still to be tried changes nothing: it has the same line.
    fn too_slow(&self, now: Time) -> Option<f64> {
        let tried = [&self.quic, &self.tcp]
            .into_iter()
            .filter(|state| state.is_usable(now) && state.is_tried());
        tried
            .filter_map(|state| state.rate.measured())
            .reduce(f64::max)
            .filter(|rate| *rate < self.worth)
    }

    /// Returns whether the relay takes the place of a direct way that is too slow: it was measured
    /// to be faster, or is to be.
    fn is_outdone(&self, now: Time) -> bool {
        let Some(direct) = self.too_slow(now) else {
            return false;
        };
        let (relayed, tried) = (&self.relayed.rate, self.relayed.is_tried());
        relayed.measured().is_none_or(|rate| {
            let promises = rate > direct || relayed.measured_for() < TRIAL_BRIEF;
            rate > direct * ADVANTAGE_RELAYED || (promises && !tried)
        })
    }

    /// Measured rate of the carrier in use (of another one, while it was not measured itself),
    /// bytes per second.
    pub fn rate(&self, now: Time) -> Option<f64> {
        self.measured(now)?.measured()
    }

    /// Returns whether [`Self::rate`] was measured more than once.
    pub fn is_settled(&self, now: Time) -> bool {
        self.measured(now).is_some_and(RateEstimator::is_settled)
    }

    fn measured(&self, now: Time) -> Option<&RateEstimator> {
        let carriers = std::iter::once(self.prefer(now)).chain(Carrier::ALL);
        carriers
            .map(|carrier| &self.of(carrier).rate)
            .find(|rate| rate.measured().is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_start(Duration::from_millis(ms))
    }

    /// Moves `mib` MiB over whatever the choice picks, each in so many ms by carrier, and returns
    /// the carriers used.
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
        assert!(
            run(&mut choice, 0, 20, [40, 20, 0])
                .iter()
                .all(|c| *c == Carrier::Quic)
        );
        choice.set_available(Carrier::Tcp, true);
        assert!(
            run(&mut choice, 1000, 30, [40, 20, 0])
                .iter()
                .all(|c| *c == Carrier::Tcp)
        );
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
    fn on_a_thin_link_a_second_trial_takes_seconds_and_not_mebibytes() {
        let mut choice = CarrierChoice::default();
        choice.set_available(Carrier::Quic, true);
        choice.set_available(Carrier::Tcp, true);
        let used = run(&mut choice, 0, 20, [900, 500, 0]);
        let quic = used.iter().position(|c| *c == Carrier::Quic).unwrap();
        assert_eq!(quic, 8, "the trial of TCP");
        assert_eq!(
            used.iter().filter(|c| **c == Carrier::Quic).count(),
            2,
            "1 s"
        );
        // TCP goes on beside it, before and after.
        let mut choice = CarrierChoice::default();
        choice.set_available(Carrier::Quic, true);
        choice.set_available(Carrier::Tcp, true);
        run(&mut choice, 0, 8, [900, 500, 0]);
        choice.asked(Carrier::Tcp, 1 << 20, at(4000));
        assert!(choice.waits_on_trial(at(4001)));
        assert_eq!(choice.pick(at(4001)), Some(Carrier::Quic));
        choice.asked(Carrier::Quic, 1 << 20, at(4001));
        assert!(!choice.waits_on_trial(at(4002)));
        assert_eq!(choice.pick(at(4002)), Some(Carrier::Tcp), "one at a time");
        choice.arrived(Carrier::Quic, 1 << 20, at(4900));
        assert_eq!(choice.pick(at(4900)), Some(Carrier::Quic));
        choice.asked(Carrier::Quic, 1 << 20, at(4900));
        choice.arrived(Carrier::Quic, 1 << 19, at(5900));
        assert_eq!(
            choice.pick(at(5900)),
            Some(Carrier::Tcp),
            "nothing waits for what is still on its way"
        );
    }

    #[test]
    fn far_away_quic_comes_first_and_stays_unless_tcp_is_clearly_faster() {
        let used = |quic, tcp| {
            let mut choice = CarrierChoice::default();
            choice.set_far(true);
            choice.set_available(Carrier::Quic, true);
            choice.set_available(Carrier::Tcp, true);
            run(&mut choice, 0, 40, [quic, tcp, 0])
        };
        let thin = used(500, 500);
        assert_eq!(
            thin.iter().filter(|c| **c == Carrier::Tcp).count(),
            2,
            "1 s"
        );
        assert!(
            thin[..8].iter().all(|c| *c == Carrier::Quic) && thin.last() == Some(&Carrier::Quic)
        );
        let faster = used(500, 300);
        assert_eq!(faster.last(), Some(&Carrier::Tcp));
        assert_eq!(faster.iter().filter(|c| **c == Carrier::Quic).count(), 8);
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
        assert!(
            run(&mut choice, 0, 20, [40, 20, 50])
                .iter()
                .all(|c| *c == Carrier::Relayed)
        );
        choice.asked(Carrier::Relayed, 1000, at(1100));
        choice.set_available(Carrier::Quic, true);
        assert_eq!(
            choice.pick(at(1100)),
            None,
            "what is on its way comes first"
        );
        choice.arrived(Carrier::Relayed, 1000, at(1101));
        assert!(
            run(&mut choice, 1200, 20, [40, 20, 50])
                .iter()
                .all(|c| *c == Carrier::Quic)
        );
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
        assert_eq!(
            used.iter().filter(|c| **c == Carrier::Quic).count(),
            8,
            "its trial"
        );
        assert_eq!(used.last(), Some(&Carrier::Relayed));
        assert!(choice.is_slow(at(30_000)));
        // 2.6 MB/s directly are enough for a user who would not pay for more than 1 MB/s.
        choice.set_worth(1e6);
        assert_eq!(choice.pick(at(30_000)), Some(Carrier::Quic));
        assert!(!choice.is_slow(at(30_000)));
        choice.set_worth(1e7);
        assert_eq!(choice.pick(at(30_000)), Some(Carrier::Relayed));
        // When it breaks there is a way without it, until one is found again.
        choice.failed(Carrier::Relayed, at(30_000));
        assert_eq!(choice.pick(at(90_000)), Some(Carrier::Quic));
        assert!(!choice.has_relayed());
    }

    #[test]
    fn a_relay_beside_a_slow_direct_way_is_left_after_its_trial_if_it_is_hardly_faster() {
        let mut choice = CarrierChoice::default();
        choice.set_available(Carrier::Quic, true);
        run(&mut choice, 0, 2, [400, 0, 0]);
        assert!(!choice.is_slow(at(800)), "it was not tried for long");
        run(&mut choice, 800, 8, [400, 0, 0]);
        assert!(
            choice.is_slow(at(4000)),
            "and is too slow for any price of a relay that costs nothing"
        );
        choice.set_available(Carrier::Relayed, true);
        let used = run(&mut choice, 4000, 40, [400, 0, 300]);
        assert_eq!(
            used.iter().filter(|c| **c == Carrier::Relayed).count(),
            8,
            "its trial"
        );
        assert_eq!(used.last(), Some(&Carrier::Quic));
        // A trial of one that is slower ends soon.
        let mut choice = CarrierChoice::default();
        choice.set_available(Carrier::Quic, true);
        run(&mut choice, 0, 10, [400, 0, 0]);
        choice.set_available(Carrier::Relayed, true);
        let used = run(&mut choice, 4000, 40, [400, 0, 1500]);
        assert_eq!(used.iter().filter(|c| **c == Carrier::Relayed).count(), 1);
        assert_eq!(used.last(), Some(&Carrier::Quic));
    }
}
