//! The neighbours that fetch the same version, seen as one: who belongs to them, what they have,
//! and whose part what is.
//!
//! A device belongs to the neighbourhood when it says on its session that it fetches this version, is near
//! by its handshake's round trip, and serves. Nothing else makes it a member, so that a claim costs
//! who made it some work and us only time.

use crate::claims::{ClaimState, OwnClaims, PeerClaims};
use crate::command::{Command, RequestId, SessionId};
use crate::fetch::Fetch;
use crate::request::Request;
use crate::source::Source;
use crate::time::Time;
use hither_proto::{Claims, DeviceId, HolderKind, Space, claim_weight};
use roaring::RoaringBitmap;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A neighbour slower than this part of the fastest source outside is not waited for. The
/// source-selection design, rule 1, has 0.1 of what is free outside; what is measured is the part
/// of it that this device gets beside its neighbours.
const TOO_SLOW: f64 = 0.2;
/// What a span is taken to last before one was got, and at most.
const USUAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The group of one fetch, without the device itself.
#[derive(Debug)]
pub(crate) struct Neighbourhood {
    /// Its other members, ascending.
    pub members: Vec<DeviceId>,
    /// The spans of this device's own part that may be missing still.
    pub mine: BTreeSet<u32>,
    /// What this device claims.
    pub own: OwnClaims,
    /// How long a first copy usually takes.
    pub usual: Duration,
    /// Plaintext bytes that nobody in the neighbourhood has.
    pub lacks: u64,
    /// Rate of the fastest source outside it, bytes per second.
    outside: f64,
    /// Who claims something of a span, or did until lately. Asking every member about every span
    /// would be most of the work of a fetch among many.
    claimers: BTreeMap<u32, Vec<DeviceId>>,
    /// What members that can be waited for have, found when it is first asked for in a round of
    /// the scheduler.
    near: OnceCell<Near>,
}

/// What is to be had nearby.
#[derive(Debug, Default)]
struct Near {
    everything: bool,
    held: RoaringBitmap,
    /// The idle spans of which something is in it, ascending; `None` where many are idle.
    idle: Option<Vec<u32>>,
}

impl Default for Neighbourhood {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            mine: BTreeSet::new(),
            own: OwnClaims::default(),
            usual: USUAL.0,
            lacks: u64::MAX,
            outside: 0.0,
            claimers: BTreeMap::new(),
            near: OnceCell::new(),
        }
    }
}

impl Neighbourhood {
    /// Something else is planned: nothing of before counts.
    pub fn reset(&mut self, now: Time) {
        self.members.clear();
        self.mine.clear();
        self.own.clear(now);
        self.claimers.clear();
        self.near = OnceCell::new();
        self.lacks = u64::MAX;
    }

    /// A first copy took so long.
    pub fn took(&mut self, time: Duration) {
        self.usual = ((self.usual * 3 + time) / 4).min(USUAL.1);
    }

    /// Number of devices in it, this one included.
    pub fn size(&self) -> u32 {
        self.members.len() as u32 + 1
    }
}

impl Fetch {
    /// Looks who belongs to the neighbourhood now; a change of members changes everybody's part.
    pub(crate) fn update_neighbourhood(&mut self, version: u64, space: Space, now: Time) {
        let members: Vec<DeviceId> = match space {
            Space::Data => {
                let near = self
                    .sources
                    .values()
                    .filter(|s| s.is_neighbour(version, now));
                near.map(|s| s.device).collect()
            }
            Space::Root | Space::Manifest => Vec::new(),
        };
        let outside = self
            .sources
            .values()
            .filter(|s| members.binary_search(&s.device).is_err());
        self.neighbourhood.near = OnceCell::new();
        self.neighbourhood.outside = outside
            .filter_map(|s| s.carriers.rate(now))
            .fold(0.0, f64::max);
        if members != self.neighbourhood.members {
            self.neighbourhood.members = members;
            self.neighbourhood.lacks = u64::MAX;
            self.neighbourhood.mine = match self.neighbourhood.members.is_empty() {
                true => BTreeSet::new(),
                false => (0..self.spans.len())
                    .filter(|index| self.is_first(*index))
                    .collect(),
            };
            self.gather_claims();
        }
    }

    /// Whether no member has more right to a span than this device.
    fn is_first(&self, index: u32) -> bool {
        let Some((start, _)) = self
            .spans
            .range_of(index)
            .filter(|_| !self.spans.is_done(index))
        else {
            return false;
        };
        let mine = claim_weight(self.device, self.share, start);
        self.neighbourhood
            .members
            .iter()
            .all(|member| claim_weight(*member, self.share, start) < mine)
    }

    /// How many members have more right to a span than this device; `None` without any.
    pub(crate) fn rank(&self, index: u32) -> Option<u32> {
        let (start, _) = self
            .spans
            .range_of(index)
            .filter(|_| !self.neighbourhood.members.is_empty())?;
        let mine = claim_weight(self.device, self.share, start);
        let above = |member: &&DeviceId| claim_weight(**member, self.share, start) > mine;
        Some(self.neighbourhood.members.iter().filter(above).count() as u32)
    }

    /// The members as sources.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Source> {
        self.neighbourhood
            .members
            .iter()
            .filter_map(|device| self.sources.get(device))
    }

    /// Whether a source is a member.
    pub(crate) fn is_member(&self, device: DeviceId) -> bool {
        self.neighbourhood.members.binary_search(&device).is_ok()
    }

    /// Whether a member that can be waited for has something of a span that is missing here.
    pub(crate) fn is_near(&self, index: u32, now: Time) -> bool {
        let near = self.near(now);
        near.everything || self.spans.is_wanted_of(index, &near.held)
    }

    /// The spans that were idle when this round began and that some member has something of,
    /// ascending; `None`: there are many, look for yourself.
    pub(crate) fn idle_nearby(&self, now: Time) -> Option<&[u32]> {
        self.near(now).idle.as_deref()
    }

    fn near(&self, now: Time) -> &Near {
        self.neighbourhood
            .near
            .get_or_init(|| self.gather_near(now))
    }

    fn gather_near(&self, now: Time) -> Near {
        let mut near = Near::default();
        let usable =
            |s: &&Source| s.usable_soon(self.version, Space::Data) && !self.is_too_slow(s, now);
        for source in self.members().filter(usable) {
            match source.held(Space::Data) {
                None => near.everything = true,
                Some(held) => near.held |= held,
            }
        }
        if self.spans.few_idle() && !near.everything {
            let has = |index: &u32| self.spans.is_wanted_of(*index, &near.held);
            near.idle = Some(self.spans.idle_from(0).filter(has).collect());
        }
        near
    }

    /// Notes what members claim.
    fn gather_claims(&mut self) {
        let mut claimers: BTreeMap<u32, Vec<DeviceId>> = BTreeMap::new();
        for source in self.members() {
            for range in source.theirs.iter().flat_map(PeerClaims::ranges) {
                // Claims are of one span each; of what is claimed otherwise the first counts, as it
                // is only a hint.
                let of_span = claimers
                    .entry(self.spans.index_of(range.start))
                    .or_default();
                if of_span.last() != Some(&source.device) {
                    of_span.push(source.device);
                }
            }
        }
        self.neighbourhood.claimers = claimers;
    }

    /// The members that claim, or claimed until lately, something of a span, and how they stand.
    fn claims_on(
        &self,
        index: u32,
        now: Time,
    ) -> impl Iterator<Item = (DeviceId, ClaimState)> + '_ {
        let span = self.spans.span(index);
        let claimers = self
            .neighbourhood
            .claimers
            .get(&index)
            .map_or(&[][..], Vec::as_slice);
        claimers.iter().filter_map(move |device| {
            let theirs = self.sources.get(device)?.theirs.as_ref()?;
            Some((*device, theirs.state(span?, self.neighbourhood.usual, now)?))
        })
    }

    /// Whether a member gives so little that it is not worth waiting for.
    fn is_too_slow(&self, member: &Source, now: Time) -> bool {
        // A packet that was lost while its stream was opened is no verdict: what it has would be
        // got from outside again.
        member.carriers.is_settled(now) && member.rate(now) < self.neighbourhood.outside * TOO_SLOW
    }

    /// Whether what a source has is to come from members only, and not over a thin link again
    /// because it takes its time.
    pub(crate) fn is_local(&self, device: DeviceId, now: Time) -> bool {
        let source = self.sources.get(&device).filter(|_| self.is_member(device));
        source.is_some_and(|source| !self.is_too_slow(source, now))
    }

    /// The strongest claim of a member on a span, and whose it is.
    pub(crate) fn claimed(&self, index: u32, now: Time) -> Option<(DeviceId, ClaimState)> {
        self.claims_on(index, now)
            .max_by_key(|(_, state)| match state {
                ClaimState::Stale => 0,
                ClaimState::Tentative => 1,
                ClaimState::Active => 2,
            })
    }

    /// Whether this device must give way: somebody is getting a span that it only wishes for, or
    /// wants the same with more right.
    fn must_give_way(&self, index: u32, wish: bool, now: Time) -> bool {
        let Some((start, _)) = self.spans.range_of(index) else {
            return true;
        };
        let mine = claim_weight(self.device, self.share, start);
        self.claims_on(index, now).any(|(device, state)| {
            let outranked = || claim_weight(device, self.share, start) > mine;
            match state {
                ClaimState::Active => wish || outranked(),
                ClaimState::Tentative => wish && outranked(),
                ClaimState::Stale => false,
            }
        })
    }

    /// Gives up the wishes that others have the better right to, and what two have begun to get:
    /// while they did not know of each other yet, that happens.
    pub(crate) fn give_way(&mut self, now: Time, commands: &mut Vec<Command>) {
        if self.space() != Some(Space::Data) {
            return self.neighbourhood.own.forget_wishes(now);
        }
        if self.neighbourhood.members.is_empty() {
            return;
        }
        for index in self.neighbourhood.own.wishes() {
            if self.must_give_way(index, true, now) {
                self.neighbourhood.own.release(index, now);
            }
        }
        let untouched = |r: &Request| !self.is_member(r.device) && r.is_untouched();
        let begun: Vec<(RequestId, u32, DeviceId)> = self
            .requests
            .iter()
            .filter(|(_, r)| untouched(r) && self.must_give_way(r.span, false, now))
            .map(|(id, r)| (*id, r.span, r.device))
            .collect();
        for (request, index, device) in begun {
            commands.push(Command::Cancel {
                share: self.share,
                device,
                request,
            });
            self.abandon(request, now);
            self.neighbourhood.own.release(index, now);
        }
    }

    /// What is held (and announced next) needs no claim any more.
    pub(crate) fn announced_here(&mut self, held: &RoaringBitmap, now: Time) {
        let is_held = |(from, to): (u32, u32)| held.contains_range(from..to);
        let done: Vec<u32> = self
            .neighbourhood
            .own
            .getting()
            .filter(|index| {
                self.spans.is_done(*index) && self.spans.range_of(*index).is_none_or(is_held)
            })
            .collect();
        for index in done {
            self.neighbourhood.own.release(index, now);
        }
    }

    /// A request for a span ended; what did not come is for everybody again.
    pub(crate) fn claim_ended(&mut self, index: u32, now: Time) {
        if !self.spans.is_done(index) && !self.requests.values().any(|r| r.span == index) {
            self.neighbourhood.own.release(index, now);
        }
    }

    /// Counts what nobody in the neighbourhood has.
    pub(crate) fn recount(&mut self) {
        if self.neighbourhood.members.is_empty() {
            return;
        }
        let mut lacking = self.spans.missing().clone();
        let total = lacking.len().max(1);
        for held in self.members().filter_map(|s| s.held(Space::Data)) {
            lacking -= held;
        }
        let part = lacking.len() as f64 / total as f64;
        self.neighbourhood.lacks = (self.spans.missing_bytes() as f64 * part) as u64;
    }

    /// What is told of this fetch's claims; `None` while there is nothing to share yet.
    pub(crate) fn claims(&self) -> Option<Claims> {
        let version = self
            .version
            .filter(|_| self.space() == Some(Space::Data) || self.data_done)?;
        Some(
            self.neighbourhood
                .own
                .told(version, |index| self.spans.range_of(index)),
        )
    }

    /// A device says what it claims.
    pub fn claims_said(&mut self, device: DeviceId, said: &Claims, now: Time) {
        if let Some(source) = self
            .sources
            .get_mut(&device)
            .filter(|s| s.kind == HolderKind::Device)
        {
            source.claims(said, now);
        }
        if self.is_member(device) {
            self.gather_claims();
        }
    }

    /// A claim of a member was taken over.
    pub(crate) fn strike(&mut self, device: DeviceId) {
        if let Some(theirs) = self
            .sources
            .get_mut(&device)
            .and_then(|s| s.theirs.as_mut())
        {
            PeerClaims::struck(theirs);
        }
    }

    /// Tells what is due.
    pub(crate) fn tell_claims(
        &mut self,
        sessions: &[SessionId],
        now: Time,
        commands: &mut Vec<Command>,
    ) {
        if !self.neighbourhood.own.take_due(now) {
            return;
        }
        if let Some(claims) = self.claims() {
            let claims = |session| Command::Claims {
                session,
                claims: claims.clone(),
            };
            commands.extend(sessions.iter().copied().map(claims));
        }
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

    /// What the engine says until then, in its order. What it asks for comes 7 ms later and is
    /// durable 4 ms after that: then something else is claimed already, and about to be told.
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

    /// Who hears that a span is not being got any more, and not that it is held, would get it
    /// again.
    #[test]
    fn a_claim_ends_only_when_the_others_know_what_came_of_it() {
        let mut engine = beside_a_neighbour();
        let (mut active, mut held, mut ended) = (RoaringBitmap::new(), RoaringBitmap::new(), 0);
        for command in told(&mut engine, 400) {
            match command {
                Command::Delta { delta, .. } => held |= delta.added.to_bitmap(),
                // Of who has everything no positions are told.
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
