//! A memory of the rates that links were found to carry: a connection that is made may carry little
//! all the same.
//!
//! A network may let through little of UDP and all of TCP, or the other way round; short packets
//! and no long ones; or nothing any more of what it let through a moment ago. The users of a link
//! report what it carried ([`Gauge`]), and a dial looks up here which carrier goes first and how
//! long the segments of TCP may be.
//!
//! Kept by network and remote, for [`AGE`], in memory only: to find it out anew costs a second or
//! two, what was true before a restart is wrong as often as not, and a file would list where this
//! device was and whom it met. Bound: [`MAX_KNOWN`] remotes, the one that was not used for longest
//! is forgotten.

use crate::carrier_kind::CarrierKind;
use crate::gauge::Gauge;
use hither_proto::DeviceId;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most remotes of which something is remembered, over all networks.
const MAX_KNOWN: usize = 256;
/// The time for which something counts: networks are repaired, and change at other ends than this
/// one.
const AGE: Duration = Duration::from_secs(1800);
/// The factor by which more a carrier must have carried to go before another one: noise must not
/// flip the choice.
const ADVANTAGE: f64 = 1.5;
/// The same where the other one carried little as well: the line is thin, its rate at one moment
/// means little, and transfers begin anew with each change.
const ADVANTAGE_ON_A_THIN_LINE: f64 = 4.0;
/// Segments of TCP where longer packets are lost, bytes without headers: what fits into the 1280
/// bytes that every path of IPv6 takes (RFC 8200, section 5), and what is assumed of any host (RFC
/// 9293, section 3.7.1).
const SEGMENTS: [u32; 2] = [1220, 536];

/// One carrier towards one remote.
#[derive(Debug, Clone, Copy, Default)]
struct Carried {
    /// Bytes per second, and when.
    rate: Option<(f64, Instant)>,
    /// Nothing came through when something should have.
    stalled: Option<Instant>,
}

impl Carried {
    fn forget_old(&mut self, now: Instant) {
        self.rate = self.rate.filter(|(_, at)| is_young(*at, now));
        self.stalled = self.stalled.filter(|at| is_young(*at, now));
    }
}

/// The ways to one remote from one network.
#[derive(Debug, Clone, Copy)]
struct Path {
    quic: Carried,
    tcp: Carried,
    /// The carrier that is to be tried next, because the other one was found to carry little.
    next: Option<CarrierKind>,
    /// The number of [`SEGMENTS`] that were too long, and the time at which that was found.
    shortened: Option<(usize, Instant)>,
    /// QUIC was dialled and did not answer where TCP did.
    unanswered: Option<Instant>,
    used: Instant,
}

impl Path {
    const fn new(now: Instant) -> Self {
        let nothing = Carried {
            rate: None,
            stalled: None,
        };
        Self {
            quic: nothing,
            tcp: nothing,
            next: None,
            shortened: None,
            unanswered: None,
            used: now,
        }
    }

    const fn of(&self, carrier: CarrierKind) -> &Carried {
        match carrier {
            CarrierKind::Tcp => &self.tcp,
            CarrierKind::Quic | CarrierKind::Relayed => &self.quic,
        }
    }

    const fn change(&mut self, carrier: CarrierKind) -> &mut Carried {
        match carrier {
            CarrierKind::Tcp => &mut self.tcp,
            CarrierKind::Quic | CarrierKind::Relayed => &mut self.quic,
        }
    }

    fn first(&self) -> Option<CarrierKind> {
        let (quic, tcp) = (&self.quic, &self.tcp);
        match (quic.stalled, tcp.stalled) {
            (Some(_), None) => return Some(CarrierKind::Tcp),
            (None, Some(_)) => return Some(CarrierKind::Quic),
            _ => {}
        }
        if let (Some((quic, _)), Some((tcp, _))) = (quic.rate, tcp.rate) {
            return match () {
                () if tcp > quic * ADVANTAGE => Some(CarrierKind::Tcp),
                () if quic > tcp * ADVANTAGE => Some(CarrierKind::Quic),
                () => None,
            };
        }
        // The packets that QUIC needs (1228 bytes, RFC 9000, section 14) are longer than those that
        // get through.
        let short = self
            .shortened
            .is_some_and(|(step, _)| Segment(step) == Segment::SHORTEST);
        self.next.or(short.then_some(CarrierKind::Tcp))
    }

    fn forget_old(&mut self, now: Instant) {
        self.quic.forget_old(now);
        self.tcp.forget_old(now);
        self.shortened = self.shortened.filter(|(_, at)| is_young(*at, now));
        self.unanswered = self.unanswered.filter(|at| is_young(*at, now));
        if self.quic.rate.is_none() && self.tcp.rate.is_none() {
            self.next = None;
        }
    }
}

fn is_young(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < AGE
}

/// The other of the two direct carriers.
const fn other(carrier: CarrierKind) -> CarrierKind {
    match carrier {
        CarrierKind::Tcp => CarrierKind::Quic,
        CarrierKind::Quic | CarrierKind::Relayed => CarrierKind::Tcp,
    }
}

/// The length that segments of TCP may have towards a remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment(usize);

impl Segment {
    /// The shortest.
    const SHORTEST: Self = Self(SEGMENTS.len());

    /// The bound, bytes without headers; `None`: as long as the interfaces take.
    pub(crate) fn bytes(self) -> Option<u32> {
        self.0
            .checked_sub(1)
            .and_then(|step| SEGMENTS.get(step).copied())
    }

    /// The next shorter one.
    pub(crate) fn shorter(self) -> Option<Self> {
        (self.0 < SEGMENTS.len()).then_some(Self(self.0 + 1))
    }
}

/// The memory of one endpoint. All questions are about the network that the device is on now.
#[derive(Debug, Default)]
pub struct Paths(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    network: u64,
    known: HashMap<(u64, DeviceId), Path>,
}

impl Paths {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the addresses that the device has now: they identify the network. Of addresses of IPv6
    /// the first half counts, for the second one changes by itself (RFC 8981).
    pub fn set_network(&self, own: &BTreeSet<IpAddr>) {
        let parts: BTreeSet<u128> = own
            .iter()
            .map(|ip| match ip {
                IpAddr::V4(v4) => u128::from(v4.to_bits()),
                IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
            })
            .collect();
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        self.lock().network = hasher.finish();
    }

    fn look<R>(
        &self,
        remote: DeviceId,
        now: Instant,
        look: impl FnOnce(&Path) -> Option<R>,
    ) -> Option<R> {
        let mut state = self.lock();
        let key = (state.network, remote);
        let path = state.known.get_mut(&key)?;
        path.forget_old(now);
        path.used = now;
        look(path)
    }

    fn change(&self, remote: DeviceId, now: Instant, change: impl FnOnce(&mut Path)) {
        let mut state = self.lock();
        let key = (state.network, remote);
        if state.known.len() >= MAX_KNOWN && !state.known.contains_key(&key) {
            let oldest = state
                .known
                .iter()
                .min_by_key(|(_, path)| path.used)
                .map(|(key, _)| *key);
            oldest.map(|oldest| state.known.remove(&oldest));
        }
        let path = state.known.entry(key).or_insert(Path::new(now));
        path.forget_old(now);
        path.used = now;
        change(path);
    }

    /// The carrier that goes first towards a remote; `None`: neither is preferred.
    pub fn first(&self, remote: DeviceId) -> Option<CarrierKind> {
        self.look(remote, Instant::now(), Path::first)
    }

    /// Records a dial in which the carrier of [`first`](Self::first) went first, or QUIC where
    /// there was none, and which gave a link over `got`. A carrier that was to be had for a reason
    /// and was not had is no better than one that stalled; QUIC that did not answer at all is a
    /// sign that long packets are lost.
    pub fn dialled(&self, remote: DeviceId, first: Option<CarrierKind>, got: CarrierKind) {
        let wanted = first.unwrap_or(CarrierKind::Quic);
        if got == wanted {
            return;
        }
        let now = Instant::now();
        self.change(remote, now, |path| {
            if first.is_some() {
                *path.change(wanted) = Carried {
                    rate: None,
                    stalled: Some(now),
                };
            }
            if wanted == CarrierKind::Quic {
                path.unanswered = Some(now);
            }
        });
    }

    /// Records the rate of a carrier (QUIC or TCP), bytes per second, while more was to be sent.
    pub fn measured(&self, remote: DeviceId, carrier: CarrierKind, rate: f64) {
        let now = Instant::now();
        self.change(remote, now, |path| {
            if carrier == CarrierKind::Quic {
                path.unanswered = None;
            }
            *path.change(carrier) = Carried {
                rate: Some((rate, now)),
                stalled: None,
            };
        });
    }

    /// Records that nothing came through over a carrier (QUIC or TCP) although something should
    /// have.
    pub fn stalled(&self, remote: DeviceId, carrier: CarrierKind) {
        let now = Instant::now();
        self.change(remote, now, |path| {
            *path.change(carrier) = Carried {
                rate: None,
                stalled: Some(now),
            }
        });
        tracing::debug!(?remote, %carrier, "nothing gets through");
    }

    /// Records that a carrier (QUIC or TCP) that was thought to stall does not.
    pub fn lives(&self, remote: DeviceId, carrier: CarrierKind) {
        self.change(remote, Instant::now(), |path| {
            path.change(carrier).stalled = None;
            if carrier == CarrierKind::Quic {
                path.unanswered = None;
            }
        });
    }

    /// Shortens the segments of TCP, because long ones seem to be lost on the way; where QUIC does
    /// not get through either, to the shortest at once. Returns `false` when they are the shortest
    /// already.
    pub fn shorten(&self, remote: DeviceId) -> bool {
        let now = Instant::now();
        let mut shorter = false;
        self.change(remote, now, |path| {
            let before = Segment(path.shortened.map_or(0, |(step, _)| step));
            let next = if path.unanswered.is_some() {
                Some(Segment::SHORTEST)
            } else {
                before.shorter()
            };
            let after = before.shorter().and(next);
            shorter = after.is_some();
            path.shortened = Some((after.unwrap_or(before).0, now));
            if shorter {
                // The measurement counts for longer ones.
                path.tcp.rate = None;
                path.next = None;
            }
        });
        tracing::debug!(?remote, shorter, "segments of TCP are shortened");
        shorter
    }

    /// Returns whether segments of TCP can be made shorter still.
    pub fn may_shorten(&self, remote: DeviceId) -> bool {
        self.segment(remote).shorter().is_some()
    }

    /// Forgets a remote that is somewhere else now.
    pub fn forget(&self, remote: DeviceId) {
        self.lock().known.retain(|(_, of), _| *of != remote);
    }

    /// Records that a carrier carries little at `rate`, bytes per second; returns whether the other
    /// one is to be tried instead. It is when nothing is known of it, or when it is known to carry
    /// more.
    pub fn outdone(&self, remote: DeviceId, carrier: CarrierKind, rate: f64) -> bool {
        let now = Instant::now();
        let (mut outdone, mut news) = (false, false);
        self.change(remote, now, |path| {
            let another = other(carrier);
            let known = path.of(another);
            let carries_more = |known: f64| {
                let is_thin = known < Gauge::LITTLE;
                known
                    > rate
                        * if is_thin {
                            ADVANTAGE_ON_A_THIN_LINE
                        } else {
                            ADVANTAGE
                        }
            };
            outdone =
                known.stalled.is_none() && known.rate.is_none_or(|(known, _)| carries_more(known));
            path.change(carrier).rate = Some((rate, now));
            if outdone {
                news = path.next.replace(another) != Some(another);
            }
        });
        if news {
            tracing::debug!(?remote, %carrier, rate, "little gets through: the other carrier is tried");
        }
        outdone
    }

    /// Returns the length that segments of TCP may have.
    pub(crate) fn segment(&self, remote: DeviceId) -> Segment {
        let step = self.look(remote, Instant::now(), |path| {
            path.shortened.map(|(step, _)| step)
        });
        Segment(step.unwrap_or(0))
    }

    /// Records that segments of that length came through where longer ones did not.
    pub(crate) fn passes(&self, remote: DeviceId, segment: Segment) {
        let now = Instant::now();
        self.change(remote, now, |path| path.shortened = Some((segment.0, now)));
        tracing::debug!(?remote, bytes = ?segment.bytes(), "short segments of TCP get through");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    fn remote() -> DeviceId {
        Identity::generate().unwrap().device_id()
    }

    fn network(paths: &Paths, own: &[&str]) {
        paths.set_network(&own.iter().map(|text| text.parse().unwrap()).collect());
    }

    #[test]
    fn what_carries_clearly_more_goes_first() {
        let (paths, relay) = (Paths::default(), remote());
        assert_eq!(paths.first(relay), None);
        paths.measured(relay, CarrierKind::Quic, 1e6);
        assert_eq!(paths.first(relay), None, "nothing to compare it with");
        paths.measured(relay, CarrierKind::Tcp, 1.2e6);
        assert_eq!(paths.first(relay), None, "noise");
        paths.measured(relay, CarrierKind::Tcp, 2e6);
        assert_eq!(paths.first(relay), Some(CarrierKind::Tcp));
        paths.measured(relay, CarrierKind::Quic, 8e6);
        assert_eq!(paths.first(relay), Some(CarrierKind::Quic));
        assert_eq!(paths.first(remote()), None);
    }

    #[test]
    fn on_a_line_that_is_thin_for_all_the_other_carrier_is_tried_once() {
        let (paths, store) = (Paths::default(), remote());
        assert!(paths.outdone(store, CarrierKind::Quic, 1e5));
        assert_eq!(paths.first(store), Some(CarrierKind::Tcp));
        assert!(
            !paths.outdone(store, CarrierKind::Tcp, 1.1e5),
            "it is no worse than the one before"
        );
        assert!(!paths.outdone(store, CarrierKind::Quic, 1e5));
        assert_eq!(paths.first(store), None);
        assert!(
            !paths.outdone(store, CarrierKind::Tcp, 3e4),
            "what a thin line carries at a moment says little"
        );
        // Until the line of one of them is known to be better.
        paths.measured(store, CarrierKind::Tcp, 1e6);
        assert!(paths.outdone(store, CarrierKind::Quic, 1e5));
    }

    #[test]
    fn what_stalled_comes_second_until_it_carries_again() {
        let (paths, device) = (Paths::default(), remote());
        paths.measured(device, CarrierKind::Tcp, 1e8);
        paths.measured(device, CarrierKind::Quic, 1e5);
        paths.stalled(device, CarrierKind::Tcp);
        assert_eq!(paths.first(device), Some(CarrierKind::Quic));
        assert!(
            !paths.outdone(device, CarrierKind::Quic, 1e5),
            "the other one is no better"
        );
        paths.stalled(device, CarrierKind::Quic);
        assert_eq!(paths.first(device), None);
        paths.measured(device, CarrierKind::Tcp, 1e6);
        assert_eq!(paths.first(device), Some(CarrierKind::Tcp));
        paths.lives(device, CarrierKind::Quic);
        assert_eq!(paths.first(device), None);
    }

    #[test]
    fn segments_become_shorter_within_bounds() {
        let (paths, device) = (Paths::default(), remote());
        assert_eq!(paths.segment(device).bytes(), None);
        for bytes in [1220, 536, 536] {
            let before = paths.segment(device).bytes();
            assert_eq!(paths.shorten(device), before != Some(bytes));
            assert_eq!(paths.segment(device).bytes(), Some(bytes));
        }
        assert_eq!(paths.segment(device).shorter(), None);
        let other = remote();
        let shorter = paths.segment(other).shorter().unwrap();
        paths.passes(other, shorter);
        assert_eq!(paths.segment(other).bytes(), Some(1220));
    }

    #[test]
    fn where_quic_does_not_answer_segments_are_the_shortest_at_once_and_tcp_goes_first() {
        let (paths, relay) = (Paths::default(), remote());
        paths.dialled(relay, None, CarrierKind::Tcp);
        assert_eq!(paths.first(relay), None, "once says nothing");
        assert!(paths.outdone(relay, CarrierKind::Tcp, 8.0));
        assert!(paths.shorten(relay));
        assert_eq!(paths.segment(relay).bytes(), Some(536));
        assert!(!paths.shorten(relay));
        assert_eq!(paths.first(relay), Some(CarrierKind::Tcp));
        let other = remote();
        paths.dialled(other, None, CarrierKind::Tcp);
        paths.measured(other, CarrierKind::Quic, 1e6);
        assert!(paths.shorten(other));
        assert_eq!(
            paths.segment(other).bytes(),
            Some(1220),
            "QUIC gets through"
        );
    }

    #[test]
    fn what_was_to_be_had_and_was_not_is_not_tried_again_and_again() {
        let (paths, relay) = (Paths::default(), remote());
        assert!(paths.outdone(relay, CarrierKind::Tcp, 1e5));
        paths.dialled(relay, paths.first(relay), CarrierKind::Tcp);
        assert!(!paths.outdone(relay, CarrierKind::Tcp, 1e5));
        assert_eq!(paths.first(relay), Some(CarrierKind::Tcp));
        paths.dialled(relay, paths.first(relay), CarrierKind::Quic);
        assert_eq!(paths.first(relay), None, "neither was had");
    }

    #[test]
    fn every_network_is_known_by_itself_and_known_again() {
        let (paths, device) = (Paths::default(), remote());
        network(&paths, &["192.168.1.7", "2001:db8::1"]);
        paths.stalled(device, CarrierKind::Quic);
        network(&paths, &["10.0.0.9"]);
        assert_eq!(paths.first(device), None);
        network(&paths, &["2001:db8::77:1", "192.168.1.7"]);
        assert_eq!(
            paths.first(device),
            Some(CarrierKind::Tcp),
            "only the second half of an address is another one"
        );
    }

    #[test]
    fn what_is_old_is_forgotten_and_there_is_a_bound() {
        let (paths, device) = (Paths::default(), remote());
        paths.stalled(device, CarrierKind::Quic);
        paths.shorten(device);
        let later = Instant::now() + AGE;
        assert_eq!(paths.look(device, later, Path::first), None);
        assert_eq!(paths.segment(device).bytes(), None);
        paths.stalled(device, CarrierKind::Tcp);
        for _ in 0..MAX_KNOWN + 10 {
            assert_eq!(paths.first(device), Some(CarrierKind::Quic), "it is in use");
            paths.measured(remote(), CarrierKind::Quic, 1e6);
        }
        assert_eq!(paths.lock().known.len(), MAX_KNOWN);
    }
}
