//! The neighbours that fetch the same version: which devices they are, what they have, and which
//! part of the share each of them gets.
//!
//! A device belongs to the neighbourhood when it announces on its session that it fetches this
//! version, is near by its handshake's round trip, and serves. Nothing else makes it a member, so
//! that a false claim costs its maker some work and this device only time.

use crate::claims::{ClaimState, OwnClaims, PeerClaims};
use crate::site_id::SiteId;
use crate::snapshot::Snapshot;
use crate::source::Source;
use crate::sources::Sources;
use crate::spans::SpanTable;
use crate::target::Target;
use crate::time::Time;
use hither_proto::{Claims, DeviceId, HolderKind, ShareId, Space, claim_weight};
use roaring::RoaringBitmap;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A neighbour slower than this part of the fastest source outside is not waited for. The
/// source-selection design, rule 1, has 0.1 of what is free outside; what is measured is the part
/// of it that this device gets beside its neighbours.
const TOO_SLOW: f64 = 0.2;
/// The time that a span is taken to last before one was got, and the longest one.
const USUAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The neighbourhood of one fetch, without the device itself.
#[derive(Debug)]
pub(crate) struct Neighbourhood {
    /// This device.
    device: DeviceId,
    share: ShareId,
    /// Its other members, ascending.
    members: Vec<DeviceId>,
    /// The spans of this device's own part that may be missing still.
    own_part: BTreeSet<u32>,
    /// The claims of this device.
    claims: OwnClaims,
    /// How long a first copy usually takes.
    usual: Duration,
    /// Plaintext bytes that no member has; `u64::MAX` before they are counted.
    lacks: u64,
    /// Rate of the fastest source outside it, bytes per second.
    outside: f64,
    /// By span: the members that claim something of it, or did until lately. To ask every member
    /// about every span would be most of the work of a fetch among many.
    claimers: BTreeMap<u32, Vec<DeviceId>>,
    /// The chunks of members that can be waited for, found when they are first needed in a round of
    /// the scheduler.
    near: OnceCell<Near>,
}

/// The chunks that are to be had nearby.
#[derive(Debug, Default)]
struct Near {
    everything: bool,
    held: RoaringBitmap,
    /// The idle spans of which something is in it, ascending; `None` where many are idle.
    idle: Option<Vec<u32>>,
}

impl Neighbourhood {
    /// A device without neighbours that fetches a share.
    pub fn new(device: DeviceId, share: ShareId) -> Self {
        Self {
            device,
            share,
            members: Vec::new(),
            own_part: BTreeSet::new(),
            claims: OwnClaims::default(),
            usual: USUAL.0,
            lacks: u64::MAX,
            outside: 0.0,
            claimers: BTreeMap::new(),
            near: OnceCell::new(),
        }
    }

    /// Begins another plan: nothing of before counts.
    pub fn reset(&mut self, now: Time) {
        self.members.clear();
        self.own_part.clear();
        self.claims.clear(now);
        self.claimers.clear();
        self.near = OnceCell::new();
        self.lacks = u64::MAX;
    }

    // --- its members ---

    /// Finds the members of now; a change of members changes everybody's part.
    pub fn update(&mut self, target: Target, at: &Snapshot<'_>) {
        let members: Vec<DeviceId> = match target.space {
            Space::Data => {
                let near = at
                    .sources
                    .iter()
                    .filter(|s| s.is_neighbour(target.version, at.now));
                near.map(|s| s.device).collect()
            }
            Space::Root | Space::Manifest => Vec::new(),
        };
        let outside = at
            .sources
            .iter()
            .filter(|s| members.binary_search(&s.device).is_err());
        self.near = OnceCell::new();
        self.outside = outside
            .filter_map(|s| s.carriers.rate(at.now))
            .fold(0.0, f64::max);
        if members != self.members {
            self.members = members;
            self.lacks = u64::MAX;
            self.own_part = match self.is_empty() {
                true => BTreeSet::new(),
                false => (0..at.spans.len())
                    .filter(|index| self.is_first(*index, at.spans))
                    .collect(),
            };
            self.gather_claims(at.sources, at.spans);
        }
    }

    /// Returns whether it has no other member.
    pub const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Number of devices in it, this one included.
    pub const fn size(&self) -> u32 {
        self.neighbours() + 1
    }

    /// Number of its other members.
    pub const fn neighbours(&self) -> u32 {
        self.members.len() as u32
    }

    /// Returns whether a source is a member.
    pub fn contains(&self, device: DeviceId) -> bool {
        self.members.binary_search(&device).is_ok()
    }

    /// The members as sources.
    fn sources<'a>(&'a self, all: &'a Sources) -> impl Iterator<Item = &'a Source> {
        self.members.iter().filter_map(|device| all.get(*device))
    }

    /// The chunks of devices outside it that fetch too: stores fetch nothing.
    pub fn strangers<'a>(
        &'a self,
        all: &'a Sources,
        space: Space,
    ) -> impl Iterator<Item = &'a RoaringBitmap> {
        all.iter()
            .filter(|s| s.kind == HolderKind::Device && s.is_open() && !self.contains(s.device))
            .filter_map(move |s| s.held(space))
    }

    /// Returns whether a member gives so little that it is not worth waiting for.
    fn is_too_slow(&self, member: &Source, now: Time) -> bool {
        // A packet that was lost while its stream was opened is no verdict: what it has would be
        // got from outside again.
        member.carriers.is_settled(now) && member.rate(now) < self.outside * TOO_SLOW
    }

    /// Returns whether what a source has is to come from members only, and not over a thin link
    /// again because it takes its time.
    pub fn is_local(&self, device: DeviceId, at: &Snapshot<'_>) -> bool {
        let source = at.sources.get(device).filter(|_| self.contains(device));
        source.is_some_and(|source| !self.is_too_slow(source, at.now))
    }

    /// Returns whether this device is the member that takes first copies from a source's site. One
    /// device fills a thin link as well as all of them would, and knows how fast it is.
    pub fn is_gateway_to(&self, source: &Source) -> bool {
        let Some(SiteId(site)) = source.site() else {
            return true;
        };
        let place = (site ^ (site >> 32)) as u32;
        self.outranks_all(place)
    }

    // --- their parts ---

    fn weight(&self, device: DeviceId, start: u32) -> u64 {
        claim_weight(device, self.share, start)
    }

    fn outranks_all(&self, start: u32) -> bool {
        let mine = self.weight(self.device, start);
        self.members
            .iter()
            .all(|member| self.weight(*member, start) < mine)
    }

    /// Returns whether no member has more right to a span than this device.
    fn is_first(&self, index: u32, spans: &SpanTable) -> bool {
        let range = spans.range_of(index).filter(|_| !spans.is_done(index));
        range.is_some_and(|(start, _)| self.outranks_all(start))
    }

    /// Returns how many members have more right to a span than this device; `None` without any
    /// members.
    pub fn rank(&self, index: u32, spans: &SpanTable) -> Option<u32> {
        let (start, _) = spans.range_of(index).filter(|_| !self.is_empty())?;
        let mine = self.weight(self.device, start);
        let above = |member: &&DeviceId| self.weight(**member, start) > mine;
        Some(self.members.iter().filter(above).count() as u32)
    }

    /// The spans of this device's own part.
    pub const fn own_part(&self) -> &BTreeSet<u32> {
        &self.own_part
    }

    /// Notes how long a first copy took.
    pub fn took(&mut self, time: Duration) {
        self.usual = ((self.usual * 3 + time) / 4).min(USUAL.1);
    }

    // --- what they have ---

    /// Returns whether a member that can be waited for has something of a span that is missing
    /// here.
    pub fn is_near(&self, index: u32, at: &Snapshot<'_>) -> bool {
        let near = self.near(at);
        near.everything || at.spans.is_wanted_of(index, &near.held)
    }

    /// The spans that were idle when this round began and of which a member has something,
    /// ascending; `None` where many are idle: they have to be looked at one by one.
    pub fn idle_nearby(&self, at: &Snapshot<'_>) -> Option<&[u32]> {
        self.near(at).idle.as_deref()
    }

    fn near(&self, at: &Snapshot<'_>) -> &Near {
        self.near.get_or_init(|| self.gather_near(at))
    }

    fn gather_near(&self, at: &Snapshot<'_>) -> Near {
        let mut near = Near::default();
        let version = at.target.map(|target| target.version);
        let usable =
            |s: &&Source| s.usable_soon(version, Space::Data) && !self.is_too_slow(s, at.now);
        for source in self.sources(at.sources).filter(usable) {
            match source.held(Space::Data) {
                None => near.everything = true,
                Some(held) => near.held |= held,
            }
        }
        if at.spans.few_idle() && !near.everything {
            let has = |index: &u32| at.spans.is_wanted_of(*index, &near.held);
            near.idle = Some(at.spans.idle_from(0).filter(has).collect());
        }
        near
    }

    /// Counts the bytes that no member has.
    pub fn recount(&mut self, sources: &Sources, spans: &SpanTable) {
        if self.is_empty() {
            return;
        }
        let mut lacking = spans.missing().clone();
        let total = lacking.len().max(1);
        for held in self.sources(sources).filter_map(|s| s.held(Space::Data)) {
            lacking -= held;
        }
        let part = lacking.len() as f64 / total as f64;
        self.lacks = (spans.missing_bytes() as f64 * part) as u64;
    }

    /// This device's part of the `missing` bytes that the neighbourhood gets together
    /// (source-selection design, rule 3).
    pub fn part_of(&self, missing: u64) -> u64 {
        self.lacks.min(missing) / u64::from(self.size())
    }

    // --- what they claim ---

    /// Collects the claims of the members.
    pub fn gather_claims(&mut self, sources: &Sources, spans: &SpanTable) {
        let mut claimers: BTreeMap<u32, Vec<DeviceId>> = BTreeMap::new();
        for source in self.sources(sources) {
            for range in source.theirs.iter().flat_map(PeerClaims::ranges) {
                // Claims are of one span each; of what is claimed otherwise the first counts, as it
                // is only a hint.
                let of_span = claimers.entry(spans.index_of(range.start)).or_default();
                if of_span.last() != Some(&source.device) {
                    of_span.push(source.device);
                }
            }
        }
        self.claimers = claimers;
    }

    /// The members that claim, or claimed until lately, something of a span, and the states of
    /// their claims.
    fn claims_on(
        &self,
        index: u32,
        at: &Snapshot<'_>,
    ) -> impl Iterator<Item = (DeviceId, ClaimState)> {
        let claimers = self.claimers.get(&index).map_or(&[][..], Vec::as_slice);
        claimers.iter().filter_map(move |device| {
            let source = at.sources.get(*device)?;
            Some((*device, self.claim_of(source, index, at)?))
        })
    }

    /// The state of a source's claim on a span, if it has one.
    pub fn claim_of(&self, source: &Source, index: u32, at: &Snapshot<'_>) -> Option<ClaimState> {
        let span = at.spans.span(index)?;
        source.theirs.as_ref()?.state(span, self.usual, at.now)
    }

    /// The strongest claim of a member on a span, and the member.
    pub fn claimed(&self, index: u32, at: &Snapshot<'_>) -> Option<(DeviceId, ClaimState)> {
        self.claims_on(index, at)
            .max_by_key(|(_, state)| match state {
                ClaimState::Stale => 0,
                ClaimState::Tentative => 1,
                ClaimState::Active => 2,
            })
    }

    /// Returns whether this device gives way: a member is getting a span that this device only
    /// wishes for, or wants the same with more right.
    pub fn must_give_way(&self, index: u32, wish: bool, at: &Snapshot<'_>) -> bool {
        let Some((start, _)) = at.spans.range_of(index) else {
            return true;
        };
        let mine = self.weight(self.device, start);
        self.claims_on(index, at).any(|(device, state)| {
            let outranked = || self.weight(device, start) > mine;
            match state {
                ClaimState::Active => wish || outranked(),
                ClaimState::Tentative => wish && outranked(),
                ClaimState::Stale => false,
            }
        })
    }

    // --- what this device claims ---

    /// The claims of this device.
    pub const fn own_claims(&self) -> &OwnClaims {
        &self.claims
    }

    /// The same, to change them.
    pub const fn own_claims_mut(&mut self) -> &mut OwnClaims {
        &mut self.claims
    }

    /// Gives up the wishes that members have the better right to.
    pub fn give_up_wishes(&mut self, at: &Snapshot<'_>) {
        for index in self.claims.wishes() {
            if self.must_give_way(index, true, at) {
                self.claims.release(index, at.now);
            }
        }
    }

    /// Ends the claims on spans that are held here, and announced next.
    pub fn announced(&mut self, held: &RoaringBitmap, spans: &SpanTable, now: Time) {
        let is_held = |(from, to): (u32, u32)| held.contains_range(from..to);
        let done: Vec<u32> = self
            .claims
            .getting()
            .filter(|index| spans.is_done(*index) && spans.range_of(*index).is_none_or(is_held))
            .collect();
        for index in done {
            self.claims.release(index, now);
        }
    }

    /// The message that announces this device's claims.
    pub fn claims_of(&self, version: u64, spans: &SpanTable) -> Claims {
        self.claims.told(version, |index| spans.range_of(index))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::device;
    use crate::{Command, Engine, EngineConfig, Plan, RequestId, SessionId, Time};
    use hither_proto::{Announcement, Claims, DeviceId, HolderKind, ShareId, ShareSecret, Space};
    use roaring::RoaringBitmap;
    use std::collections::BTreeMap;
    use std::time::Duration;

    const CHUNKS: u32 = 16;

    fn at(ms: u64) -> Time {
        Time::from_start(Duration::from_millis(ms))
    }

    fn share() -> ShareId {
        ShareSecret::new([1; 16]).share_id()
    }

    /// A fetcher (0) with a neighbour (1) that fetches too, both of which ask a whole holder far
    /// away (2) for spans of one chunk.
    fn beside_a_neighbour() -> Engine {
        let mut engine = Engine::new(EngineConfig::new(device(0)));
        engine.start_fetch(share(), device(2), None, None);
        engine.hold(share(), 1, CHUNKS, RoaringBitmap::new(), at(0));
        engine.handle_subscribed(SessionId(1), share());
        meets(&mut engine, device(2), 30, true);
        meets(&mut engine, device(1), 1, false);
        let claims = Claims {
            version: 1,
            fetching: true,
            ..Claims::default()
        };
        engine.handle_claims(share(), device(1), &claims, at(1));
        let lengths = vec![1 << 20; CHUNKS as usize];
        let wanted = (0..CHUNKS).collect();
        engine.plan(
            share(),
            Plan {
                version: 1,
                space: Space::Data,
                lengths,
                wanted,
            },
            at(1),
        );
        engine
    }

    fn meets(engine: &mut Engine, other: DeviceId, rtt_ms: u64, complete: bool) {
        engine.handle_holder_seen(share(), other, HolderKind::Device, at(0));
        engine.handle_session_opened(share(), other, 1, Duration::from_millis(rtt_ms), at(0));
        let held = Default::default();
        let said = Announcement {
            version: 1,
            epoch: 1,
            seq: 1,
            complete,
            held,
            has_manifest: true,
        };
        engine.handle_announced(share(), other, said, at(0));
    }

    /// The commands of the engine until then, in their order. The chunks that it asks for come 7 ms
    /// later and are durable 4 ms after that: then something else is claimed already, and about to
    /// be announced.
    fn told(engine: &mut Engine, until: u64) -> Vec<Command> {
        let (mut said, mut coming) = (Vec::new(), BTreeMap::<u64, Vec<(RequestId, u32)>>::new());
        let mut written = BTreeMap::<u64, RoaringBitmap>::new();
        for ms in 2..until {
            engine.handle_timeout(at(ms));
            for (request, chunk) in coming.remove(&ms).unwrap_or_default() {
                engine.stored(share(), Some(request), &[chunk], at(ms));
                written.entry(ms + 4).or_default().insert(chunk);
            }
            if let Some(chunks) = written.remove(&ms) {
                engine.durable(share(), &chunks, at(ms));
            }
            while let Some(command) = engine.poll_command() {
                if let Command::Want {
                    request, ranges, ..
                } = &command
                {
                    let chunks = ranges.positions().map(|chunk| (*request, chunk));
                    coming.entry(ms + 7).or_default().extend(chunks);
                }
                said.push(command);
            }
        }
        said
    }

    /// A device that learns that a span is not being fetched any more, and not that it is held,
    /// would fetch it again.
    #[test]
    fn a_claim_ends_only_when_the_others_know_what_came_of_it() {
        let mut engine = beside_a_neighbour();
        let (mut active, mut held, mut ended) = (RoaringBitmap::new(), RoaringBitmap::new(), 0);
        for command in told(&mut engine, 400) {
            match command {
                Command::Delta { delta, .. } => held |= delta.added.to_bitmap(),
                // An announcement of a complete share lists no positions.
                Command::Announce { announcement, .. } if announcement.complete => {
                    held.insert_range(0..CHUNKS);
                }
                Command::Announce { announcement, .. } => held |= announcement.held.to_bitmap(),
                Command::Claims { claims, .. } => {
                    let now = claims.active.to_bitmap();
                    let gone = &active - &now;
                    assert!(
                        gone.is_subset(&held),
                        "{gone:?} is claimed no more, and only {held:?} is known"
                    );
                    ended += gone.len();
                    active = now;
                }
                _ => {}
            }
        }
        assert!(ended >= 4, "only {ended} claims ended: nothing was shown");
    }
}
