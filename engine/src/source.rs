//! One device or store as a source of one fetch: its session, what it holds, how it behaves.
//!
//! Invariant: nothing here is believed beyond costing time; a chunk counts only when its bytes
//! verified.

use crate::carrier_choice::{Carrier, CarrierChoice};
use crate::claims::PeerClaims;
use crate::distance::Distance;
use crate::price::Prices;
use crate::rate::Recent;
use crate::site_id::SiteId;
use crate::target::Target;
use crate::time::Time;
use hither_proto::{Announcement, Claims, Delta, DeviceId, HolderKind, Price, Space, Terms};
use roaring::RoaringBitmap;
use std::time::Duration;

/// First and longest pause before a session is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Shortest and longest time that a busy source may ask for.
const BUSY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));
/// First and longest time that a source which stalled is left alone (source-selection design, rule
/// 6).
const REST: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// How often the time that a source may be silent doubles: a chunk of 16 MiB from a link of 1
/// Mbit/s must be able to come.
pub(crate) const MAX_PATIENCE: u32 = 4;

/// The state of the control session with a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    /// To be opened at that time.
    Closed { retry_at: Time },
    /// Being opened.
    Opening,
    /// Open.
    Open,
}

/// A device that may have what is fetched.
#[derive(Debug)]
pub(crate) struct Source {
    pub device: DeviceId,
    pub kind: HolderKind,
    pub session: Session,
    /// Latest version of the share known there, by a signed head; 0 while nothing is known.
    pub head_version: u64,
    /// Version that the holdings below belong to; 0 before the first announcement.
    version: u64,
    complete: bool,
    held: RoaringBitmap,
    has_manifest: bool,
    epoch: u64,
    seq: u64,
    pub distance: Distance,
    /// The terms that it announced.
    terms: Terms,
    /// Its price here, by its terms, its kind and its distance.
    pub price: Price,
    /// Requests to it go through a relay now.
    over_relay: bool,
    /// When a relay to it may be looked for again.
    look_again_at: Option<Time>,
    /// Its recent rate.
    pub recent: Recent,
    /// Its claims, once it announced that it fetches the share too.
    pub theirs: Option<PeerClaims>,
    pub carriers: CarrierChoice,
    pub last_progress: Time,
    pub last_moved: Time,
    /// Has given at least one verified chunk.
    pub proven: bool,
    /// Requests that have not ended: what they bring may still turn out to be wrong.
    pub requests: u32,
    pub banned: bool,
    pub strikes: u32,
    failures: u32,
    /// Left alone because it stalled.
    rests_until: Option<Time>,
    /// Left alone because it asked for it.
    busy_until: Option<Time>,
}

/// The result of applying a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Continuity {
    Applied,
    /// A delta is missing: only a new announcement helps.
    Gap,
}

impl Source {
    pub fn new(device: DeviceId, kind: HolderKind, now: Time) -> Self {
        Self {
            device,
            kind,
            session: Session::Closed { retry_at: now },
            head_version: 0,
            version: 0,
            complete: false,
            held: RoaringBitmap::new(),
            has_manifest: false,
            epoch: 0,
            seq: 0,
            distance: Duration::from_millis(1).into(),
            terms: Terms::default(),
            price: Price::FREE,
            over_relay: false,
            look_again_at: None,
            recent: Recent::default(),
            theirs: None,
            carriers: CarrierChoice::default(),
            last_progress: now,
            last_moved: now,
            proven: false,
            requests: 0,
            banned: false,
            strikes: 0,
            failures: 0,
            rests_until: None,
            busy_until: None,
        }
    }

    pub fn opened(&mut self, head_version: u64, distance: Distance, now: Time) {
        self.session = Session::Open;
        // A still newer one may have come over the session that it opened here.
        self.head_version = self.head_version.max(head_version);
        self.set_distance(distance);
        self.failures = 0;
        self.look_again_at = None;
        self.last_progress = now;
    }

    /// Sets its distance.
    pub fn set_distance(&mut self, distance: Distance) {
        self.distance = distance;
        self.carriers.set_far(!distance.is_near());
    }

    /// Closes the session, which ended or could not be opened; it is tried again after `at_least`,
    /// later each time.
    pub fn closed(&mut self, now: Time, at_least: Duration) {
        let pause = RETRY
            .0
            .saturating_mul(1 << self.failures.min(6))
            .clamp(at_least.min(RETRY.1), RETRY.1);
        self.failures += 1;
        self.session = Session::Closed {
            retry_at: now + pause,
        };
        self.head_version = 0;
        self.version = 0;
        self.held.clear();
        self.complete = false;
        self.has_manifest = false;
        self.theirs = None;
        self.terms = Terms::default();
    }

    /// Tries again after the pause that it asked for: no reason to wait longer each time.
    pub fn come_back(&mut self, now: Time, pause: Duration) {
        self.failures = 0;
        self.session = Session::Closed {
            retry_at: now + pause.clamp(BUSY.0, BUSY.1),
        };
    }

    /// Tries at once: something about the device changed (it was just seen).
    pub fn retry_now(&mut self, now: Time) {
        // While one is being opened too: that try may have begun before the device was back.
        self.failures = 0;
        if let Session::Closed { retry_at } = &mut self.session {
            *retry_at = now.min(*retry_at);
        }
    }

    /// Forgets its stalls and tries again after a change of the network: the old one may have been
    /// the cause.
    pub fn network_changed(&mut self, now: Time) {
        (self.strikes, self.rests_until) = (0, None);
        self.retry_now(now);
    }

    /// Sets its claims, or removes them when it does not fetch any more.
    pub fn claims(&mut self, said: &Claims, now: Time) {
        if self.session != Session::Open {
            return;
        }
        if said.fetching {
            self.theirs.get_or_insert_default().said(said, now);
        } else {
            self.theirs = None;
        }
    }

    /// Notes that a claim of it was taken over.
    pub fn claim_taken_over(&mut self) {
        if let Some(theirs) = &mut self.theirs {
            theirs.struck();
        }
    }

    /// Notes that it is asked for something.
    pub fn asked(&mut self, now: Time) {
        if self.carriers.outstanding() == 0 {
            self.last_progress = now;
        }
        self.requests += 1;
    }

    /// Notes that a request to it ended.
    pub const fn request_ended(&mut self) {
        self.requests = self.requests.saturating_sub(1);
    }

    /// Forgets the requests to it: something else is planned.
    pub const fn forget_requests(&mut self) {
        self.requests = 0;
    }

    /// Sets the terms on which it serves.
    pub fn set_terms(&mut self, terms: Terms, prices: &Prices) {
        self.terms = terms;
        self.reprice(prices);
    }

    /// Updates its price.
    pub fn reprice(&mut self, prices: &Prices) {
        self.price = self.price_over(self.over_relay, prices);
    }

    /// Its price through a relay, or directly.
    pub fn price_over(&self, relay: bool, prices: &Prices) -> Price {
        let store = if self.kind == HolderKind::Store {
            prices.store
        } else {
            Price::FREE
        };
        let relayed = if relay { prices.relayed } else { Price::FREE };
        let link = if self.distance.is_near() {
            Price::FREE
        } else {
            prices.link
        };
        self.terms.price.plus(store).plus(relayed).plus(link)
    }

    /// Chooses its carrier anew, and updates its price.
    pub fn update_carrier(&mut self, prices: &Prices, now: Time) {
        self.over_relay = self.carriers.prefer(now) == Carrier::Relayed;
        self.reprice(prices);
    }

    /// Returns whether a relay to it should be looked for now; if so, not again for `pause`.
    pub fn misses_relay(&mut self, now: Time, pause: Duration) -> bool {
        let due = self.look_again_at.is_none_or(|at| at <= now);
        let misses = due && self.session == Session::Open && self.carriers.is_slow(now);
        if misses {
            self.look_again_at = Some(now + pause);
        }
        misses
    }

    /// Returns whether it has not stalled, or has given something since.
    pub const fn is_trusted(&self) -> bool {
        self.proven || self.strikes == 0
    }

    /// The site that it belongs to; a neighbour belongs to none, and a store has its link for
    /// itself.
    pub fn site(&self) -> Option<SiteId> {
        self.distance
            .site
            .filter(|_| self.kind == HolderKind::Device && !self.distance.is_near())
    }

    /// Returns whether it would rather not give.
    pub const fn is_reluctant(&self) -> bool {
        self.terms.reluctant
    }

    /// A device on the same network that fetches this version too, and shares what it gets.
    pub fn is_neighbour(&self, version: u64, now: Time) -> bool {
        let fetches = self
            .theirs
            .as_ref()
            .is_some_and(|theirs| theirs.version() == version && theirs.counts());
        let serves = !self.stalls_again() && !self.rests_after_stall(now);
        fetches
            && serves
            && self.session == Session::Open
            && !self.banned
            && self.distance.is_near()
    }

    fn progressed(&mut self, now: Time) {
        if let Some(theirs) = &mut self.theirs {
            theirs.progressed(now);
        }
    }

    pub fn announced(&mut self, announcement: Announcement, now: Time) {
        if self.is_past(announcement.version, announcement.epoch, announcement.seq) {
            return;
        }
        self.progressed(now);
        self.version = announcement.version;
        self.complete = announcement.complete;
        self.held = announcement.held.to_bitmap();
        self.has_manifest = announcement.has_manifest;
        self.epoch = announcement.epoch;
        self.seq = announcement.seq;
    }

    /// Returns whether this is older than what is known: with a session in each direction
    /// everything arrives twice, and one of the two streams is slower.
    fn is_past(&self, version: u64, epoch: u64, seq: u64) -> bool {
        version == self.version && epoch == self.epoch && seq <= self.seq
    }

    pub fn delta(&mut self, delta: &Delta, now: Time) -> Continuity {
        if self.version == 0 || self.is_past(delta.version, delta.epoch, delta.seq) {
            return Continuity::Applied; // Nothing it could change is known yet, or it is known already.
        }
        if delta.version != self.version
            || delta.epoch != self.epoch
            || delta.seq != self.seq.wrapping_add(1)
        {
            return Continuity::Gap;
        }
        self.seq = delta.seq;
        if !delta.added.is_empty() {
            self.progressed(now);
        }
        self.held |= delta.added.to_bitmap();
        self.held -= delta.removed.to_bitmap();
        if !delta.removed.is_empty() && self.complete {
            // "Complete" carries no bitmap to take from; the missing ones are learned by asking.
            return Continuity::Gap;
        }
        Continuity::Applied
    }

    /// Removes positions of a version that the source does not hold after all. It may have
    /// announced another version since.
    pub fn not_held(
        &mut self,
        version: u64,
        space: Space,
        positions: impl IntoIterator<Item = u32>,
        total: u32,
    ) {
        if self.version != version {
            return;
        }
        if space != Space::Data {
            self.has_manifest = false;
            return;
        }
        if std::mem::take(&mut self.complete) {
            self.held.insert_range(0..total);
        }
        for position in positions {
            self.held.remove(position);
        }
    }

    /// Returns whether it may be asked at all for this version and space now.
    pub fn usable(&self, target: Target, now: Time) -> bool {
        self.session == Session::Open
            && !self.banned
            && self.rests_until(now).is_none()
            && self.version == target.version
            && match target.space {
                Space::Root | Space::Manifest => self.has_manifest,
                Space::Data => self.has_any(),
            }
    }

    /// Returns whether its session is closed.
    pub const fn is_closed(&self) -> bool {
        matches!(self.session, Session::Closed { .. })
    }

    /// Returns whether its session is open.
    pub fn is_open(&self) -> bool {
        self.session == Session::Open
    }

    /// Returns whether it may be asked for this version and space now, or as soon as it is less
    /// busy.
    pub fn usable_soon(&self, version: Option<u64>, space: Space) -> bool {
        self.is_open()
            && !self.banned
            && Some(self.version) == version
            && (space != Space::Data || self.has_any())
    }

    fn has_any(&self) -> bool {
        self.complete || !self.held.is_empty()
    }

    /// Returns whether it announced something of `missing`, whether or not it can be asked now.
    pub fn offers(&self, target: Target, missing: &RoaringBitmap) -> bool {
        self.version == target.version
            && match target.space {
                Space::Root | Space::Manifest => self.has_manifest,
                Space::Data => self.complete || !self.held.is_disjoint(missing),
            }
    }

    /// Returns whether it announced a later version than this one, and has shown a head of it.
    pub fn has_newer_than(&self, version: u64) -> bool {
        self.version > version && self.head_version >= self.version
    }

    /// Returns whether it has every position of `space`.
    pub fn has_all(&self, space: Space) -> bool {
        space != Space::Data || self.complete
    }

    /// The positions it holds; `None` for all of them.
    pub fn held(&self, space: Space) -> Option<&RoaringBitmap> {
        if self.has_all(space) {
            None
        } else {
            Some(&self.held)
        }
    }

    /// Lets it rest after a stall, twice as long each time. Returns for how long.
    pub fn stalled(&mut self, now: Time) -> Duration {
        let rest = REST.0.saturating_mul(1 << self.strikes.min(8)).min(REST.1);
        self.strikes += 1;
        self.proven = false;
        self.rests_until = Some(now + rest);
        rest
    }

    /// Lets it rest for as long as it asked for, within bounds.
    pub fn busy(&mut self, now: Time, pause: Duration) {
        self.busy_until = Some(now + pause.clamp(BUSY.0, BUSY.1));
    }

    /// The end of its rest, if it rests.
    pub fn rests_until(&self, now: Time) -> Option<Time> {
        self.rests_until
            .max(self.busy_until)
            .filter(|until| *until > now)
    }

    /// Returns whether it is left alone because it stalled.
    pub fn rests_after_stall(&self, now: Time) -> bool {
        self.rests_until.is_some_and(|until| until > now)
    }

    /// Returns whether it stalled more than once and has given nothing since.
    pub fn stalls_again(&self) -> bool {
        self.strikes > 1 && !self.proven
    }

    /// Ends its rest after a stall: no other source is left.
    pub fn end_rest(&mut self) {
        self.rests_until = None;
    }

    /// The factor by which its silence is waited for longer: a slow source is not given up for
    /// ever.
    pub fn patience(&self) -> u32 {
        1 << self.strikes.min(MAX_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;
    use hither_proto::{PositionRange, Ranges};

    const DATA: Target = Target {
        version: 1,
        space: Space::Data,
    };

    fn now() -> Time {
        Time::from_start(Duration::from_secs(1))
    }

    fn ranges(start: u32, count: u32) -> Ranges {
        PositionRange::new(start, count).into_iter().collect()
    }

    fn open() -> Source {
        let mut source = Source::new(device(1), HolderKind::Device, now());
        source.opened(1, Duration::from_millis(1).into(), now());
        source.announced(
            Announcement {
                version: 1,
                epoch: 7,
                seq: 1,
                complete: false,
                held: ranges(0, 4),
                has_manifest: true,
            },
            now(),
        );
        source
    }

    #[test]
    fn deltas_apply_in_order_and_gaps_are_told() {
        let mut source = open();
        let delta = |seq| Delta {
            version: 1,
            epoch: 7,
            seq,
            added: ranges(9, 1),
            removed: ranges(0, 1),
        };
        assert_eq!(source.delta(&delta(3), now()), Continuity::Gap);
        assert_eq!(source.delta(&delta(2), now()), Continuity::Applied);
        assert_eq!(
            source.held(Space::Data).unwrap().iter().collect::<Vec<_>>(),
            [1, 2, 3, 9]
        );
    }

    #[test]
    fn a_complete_source_that_lacks_something_after_all_is_believed() {
        let mut source = open();
        source.complete = true;
        source.not_held(2, Space::Data, [3], 5);
        assert!(source.has_all(Space::Data), "said of another version");
        source.not_held(1, Space::Data, [2], 5);
        assert_eq!(
            source.held(Space::Data).unwrap().iter().collect::<Vec<_>>(),
            [0, 1, 3, 4]
        );
    }

    #[test]
    fn stalls_make_it_rest_longer_each_time_and_end() {
        let mut source = open();
        assert!(source.usable(DATA, now()));
        assert_eq!(source.stalled(now()), Duration::from_secs(2));
        assert!(!source.usable(DATA, now()));
        assert!(source.usable(DATA, now() + Duration::from_secs(2)));
        assert_eq!(source.stalled(now()), Duration::from_secs(4));
        for _ in 0..20 {
            source.stalled(now());
        }
        assert_eq!(source.stalled(now()), Duration::from_secs(300));
    }

    #[test]
    fn another_network_is_another_chance() {
        let mut source = open();
        source.stalled(now());
        source.stalled(now());
        source.network_changed(now());
        assert!(source.usable(DATA, now()) && !source.stalls_again());
        source.closed(now(), Duration::from_secs(60));
        source.network_changed(now());
        assert_eq!(source.session, Session::Closed { retry_at: now() });
        source.banned = true;
        source.network_changed(now());
        assert!(
            !source.usable(DATA, now()) && source.banned,
            "a lie stays one"
        );
    }

    #[test]
    fn retries_back_off_and_a_sighting_resets_them() {
        let mut source = Source::new(device(1), HolderKind::Device, now());
        for pause in [1, 2, 4] {
            source.closed(now(), Duration::ZERO);
            assert_eq!(
                source.session,
                Session::Closed {
                    retry_at: now() + Duration::from_secs(pause)
                }
            );
        }
        source.retry_now(now());
        assert_eq!(source.session, Session::Closed { retry_at: now() });
        for _ in 0..5 {
            source.closed(now(), Duration::ZERO);
        }
        source.session = Session::Opening;
        source.retry_now(now());
        source.closed(now(), Duration::ZERO);
        assert_eq!(
            source.session,
            Session::Closed {
                retry_at: now() + Duration::from_secs(1)
            }
        );
    }
}
