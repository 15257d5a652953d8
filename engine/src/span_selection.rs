//! Which span a source is asked for next.
//!
//! Alone, the share is read onwards from some place. In a neighbourhood, a member is asked for what it has,
//! and everybody else for first copies: of this device's own part, then, said before, of the
//! others' (source-selection design, rules 1, 2, 7).

use crate::claims::ClaimState;
use crate::fetch::Fetch;
use crate::policy::Rule;
use crate::source::Source;
use crate::spans::FEW_IDLE;
use crate::time::Time;
use hither_proto::{DeviceId, HolderKind, Space};
use roaring::RoaringBitmap;

/// Places tried for a span that no other fetcher has.
const PLACES: u64 = 8;
/// Most spans looked at for one decision.
const LOOKS: usize = 256;
// Who looks at all of few from one place need not look from another.
const _: () = assert!(LOOKS >= FEW_IDLE);

/// What to do for a source with room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// Ask for the span; the rule that allows it, where a neighbourhood has one.
    Take(u32, Option<Rule>),
    /// Say that the span is wanted, and wait.
    Wish(u32),
}

impl Fetch {
    /// The next span for a source that has room.
    pub(crate) fn pick_for(&self, device: DeviceId, space: Space, now: Time) -> Option<Pick> {
        let source = self.sources.get(&device)?;
        if self.neighbourhood.members.is_empty() {
            return self
                .next_alone(source, space)
                .map(|index| Pick::Take(index, None));
        }
        if self.is_desperate(now) {
            return self
                .next_alone(source, space)
                .map(|index| Pick::Take(index, Some(Rule::Liveness)));
        }
        match self.is_member(device) {
            true if !self.is_local(device, now) => None,
            true => self
                .local_copy(source, now)
                .map(|index| Pick::Take(index, Some(Rule::LocalCopy))),
            false if !self.is_gateway_to(source) => None,
            false => self.first_copy(source, now),
        }
    }

    /// While others fetch too who are no members, every device takes spans in an order of its own,
    /// of several places the first that none of them has. Reading on in the same order, even
    /// from different places, would make all of them ask the only whole holder for the same
    /// spans at the same time from where they meet to the end.
    fn next_alone(&self, source: &Source, space: Space) -> Option<u32> {
        if let Some(held) = source.held(space) {
            return self.spans.idle_of(held, self.place(0), u32::MAX, |_| true);
        }
        let mut idle =
            (0..self.places()).filter_map(|n| self.spans.idle_from(self.place(n)).next());
        let any = idle.next()?;
        let rare = std::iter::once(any)
            .chain(idle)
            .find(|index| !self.is_elsewhere(*index, space));
        rare.or(Some(any))
    }

    /// How many places are worth a look.
    fn places(&self) -> u64 {
        if self.places.is_some() { PLACES } else { 1 }
    }

    /// The n-th place to look at: always the same while nobody outside the neighbourhood fetches, so that
    /// reading goes on in order.
    fn place(&self, n: u64) -> u32 {
        self.own_place(self.places.map_or(0, |count| count * PLACES + n))
    }

    /// The n-th place of this device's own order.
    fn own_place(&self, n: u64) -> u32 {
        // SplitMix64: cheap, and neighbouring inputs give unrelated places.
        let mut z = (self.seed ^ n).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % u64::from(self.spans.len().max(1))) as u32
    }

    /// Devices outside the neighbourhood that fetch too: stores fetch nothing.
    fn strangers(&self, space: Space) -> impl Iterator<Item = &RoaringBitmap> {
        let open = self
            .sources
            .values()
            .filter(|s| s.kind == HolderKind::Device && s.is_open());
        open.filter(|s| !self.is_member(s.device))
            .filter_map(move |s| s.held(space))
    }

    /// Whether a stranger that fetches too has something of this span.
    fn is_elsewhere(&self, index: u32, space: Space) -> bool {
        self.strangers(space)
            .any(|held| self.spans.is_wanted_of(index, held))
    }

    /// Whether somebody outside the neighbourhood who fetches too has something of this span, or is getting
    /// it.
    fn is_abroad(&self, index: u32, now: Time) -> bool {
        let strangers = self
            .sources
            .values()
            .filter(|s| s.is_open() && !self.is_member(s.device));
        let gets = |s: &Source| {
            let span = self.spans.span(index)?;
            s.theirs
                .as_ref()?
                .state(span, self.neighbourhood.usual, now)
        };
        self.is_elsewhere(index, Space::Data)
            || strangers.filter_map(gets).any(|s| s != ClaimState::Stale)
    }

    /// From now on spans are taken from many places, if somebody outside the neighbourhood seems to be
    /// fetching too.
    pub(crate) fn look_around(&mut self, space: Space) {
        if self.places.is_none() && self.strangers(space).next().is_some() {
            self.places = Some(0);
        }
    }

    /// A span that a member has: whole ones first, pieces of one that it is still getting only when
    /// there is nothing else.
    fn local_copy(&self, member: &Source, now: Time) -> Option<u32> {
        let place = self.place(0);
        let Some(held) = member.held(Space::Data) else {
            return self.spans.idle_from(place).next();
        };
        let idle = |accept: &dyn Fn(u32) -> bool| match self.idle_nearby(now) {
            Some(near) => {
                let (before, after) = near.split_at(near.partition_point(|index| *index < place));
                let has = |index: &u32| {
                    self.spans.is_idle(*index) && self.spans.is_wanted_of(*index, held)
                };
                after
                    .iter()
                    .chain(before)
                    .copied()
                    .filter(has)
                    .find(|index| accept(*index))
            }
            None => self.spans.idle_of(held, place, LOOKS as u32, accept),
        };
        let whole = |index: u32| self.spans.is_whole_of(index, held);
        idle(&whole).or_else(|| {
            let quiet = member.carriers.outstanding() == 0;
            let given_up = |index: u32| {
                let span = self.spans.span(index);
                let claim = span.and_then(|s| {
                    member
                        .theirs
                        .as_ref()?
                        .state(s, self.neighbourhood.usual, now)
                });
                claim != Some(ClaimState::Active)
            };
            quiet.then(|| idle(&given_up)).flatten()
        })
    }

    /// A span that no member has.
    fn first_copy(&self, source: &Source, now: Time) -> Option<Pick> {
        let held = source.held(Space::Data);
        let has = |index: u32| held.is_none_or(|held| self.spans.is_wanted_of(index, held));
        let open =
            |index: u32| self.spans.is_idle(index) && has(index) && !self.is_near(index, now);
        if let Some(index) = self
            .neighbourhood
            .own
            .granted(now)
            .find(|index| open(*index))
        {
            let taken_over = self
                .claimed(index, now)
                .is_some_and(|(_, state)| state == ClaimState::Stale);
            return Some(Pick::Take(
                index,
                Some(if taken_over {
                    Rule::Takeover
                } else {
                    Rule::Steal
                }),
            ));
        }
        let free = |index: u32| open(index) && self.claimed(index, now).is_none();
        let own = |n| {
            let (place, mine) = (self.place(n), &self.neighbourhood.mine);
            if self.spans.few_idle() {
                return self
                    .spans
                    .idle_from(place)
                    .find(|index| mine.contains(index) && free(*index));
            }
            let mine = mine.range(place..).chain(mine.range(..place)).copied();
            mine.take(LOOKS).find(|index| free(*index))
        };
        if let Some(index) = self.rarest(self.at_places(own), now) {
            return Some(Pick::Take(index, Some(Rule::FirstCopy)));
        }
        let wanted = |index: &u32| {
            let claimed = || {
                self.claimed(*index, now)
                    .is_some_and(|(_, state)| state != ClaimState::Stale)
            };
            !self.neighbourhood.own.is_wished(*index) && open(*index) && !claimed()
        };
        let wished = |n| {
            let place = self.own_place(self.wishes * PLACES + n);
            self.spans.idle_from(place).take(LOOKS).find(wanted)
        };
        self.rarest(self.at_places(wished), now).map(Pick::Wish)
    }

    /// What is found from several places on. Where few spans are idle each place shows all of them:
    /// when the first one has nothing the others have nothing either.
    fn at_places(&self, find: impl Fn(u64) -> Option<u32>) -> impl Iterator<Item = u32> {
        let (few, mut ended) = (self.spans.few_idle(), false);
        let next = move |n| {
            let found = (!ended).then(|| find(n));
            ended |= few && found == Some(None);
            found
        };
        (0..self.places()).map_while(next).flatten()
    }

    /// Of several spans one that no other network has or is getting, if there is one: what they
    /// have can be had from them later, and need not cross the thinnest link twice.
    fn rarest(&self, mut spans: impl Iterator<Item = u32>, now: Time) -> Option<u32> {
        let any = spans.next()?;
        Some(
            std::iter::once(any)
                .chain(spans)
                .find(|index| !self.is_abroad(*index, now))
                .unwrap_or(any),
        )
    }
}
