//! The span that a source is asked for next.
//!
//! A device without neighbours reads the share onwards from some place. In a neighbourhood, a
//! member is asked for what it has, and all other sources for first copies: of this device's own
//! part, then, announced before, of the others' (source-selection design, rules 1, 2, 7).

use crate::claims::ClaimState;
use crate::policy::Rule;
use crate::reading_order::ReadingOrder;
use crate::selection::Selection;
use crate::snapshot::Snapshot;
use crate::source::Source;
use crate::spans::FEW_IDLE;
use crate::target::Target;
use hither_proto::{DeviceId, Space};

/// Most spans looked at for one decision.
const LOOKS: usize = 256;
// A few idle spans are all looked at from one place: no other place shows more.
const _: () = assert!(LOOKS >= FEW_IDLE);

/// The action for a source with room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// Ask for the span; the rule that allows it, where a neighbourhood has one.
    Take(u32, Option<Rule>),
    /// Announce that the span is wanted, and wait.
    Wish(u32),
}

/// The choice of spans at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanSelection<'a> {
    pub selection: Selection<'a>,
    pub order: &'a ReadingOrder,
}

impl SpanSelection<'_> {
    /// The next span for a source that has room.
    pub fn pick(&self, device: DeviceId) -> Option<Pick> {
        let (at, neighbourhood) = (self.at(), self.selection.neighbourhood);
        let (source, target) = (at.sources.get(device)?, at.target?);
        let alone = |rule| {
            self.next_alone(source, target)
                .map(|index| Pick::Take(index, rule))
        };
        if neighbourhood.is_empty() {
            return alone(None);
        }
        if self.selection.desperate {
            return alone(Some(Rule::Liveness));
        }
        match neighbourhood.contains(device) {
            true if !neighbourhood.is_local(device, at) => None,
            true => self
                .local_copy(source)
                .map(|index| Pick::Take(index, Some(Rule::LocalCopy))),
            false if !neighbourhood.is_gateway_to(source) => None,
            false => self.first_copy(source),
        }
    }

    const fn at(&self) -> &Snapshot<'_> {
        &self.selection.at
    }

    fn place(&self, n: u64) -> u32 {
        self.order.place(n, self.at().spans.len())
    }

    /// While devices outside the neighbourhood fetch too, every device takes spans in an order of
    /// its own, of several places the first that none of them has. Reading on in the same order,
    /// even from different places, would make all of them ask the only whole holder for the same
    /// spans at the same time from where they meet to the end.
    fn next_alone(&self, source: &Source, target: Target) -> Option<u32> {
        let spans = self.at().spans;
        if let Some(held) = source.held(target.space) {
            return spans.idle_of(held, self.place(0), u32::MAX, |_| true);
        }
        let mut idle =
            (0..self.order.places()).filter_map(|n| spans.idle_from(self.place(n)).next());
        let any = idle.next()?;
        let rare = std::iter::once(any)
            .chain(idle)
            .find(|index| !self.is_elsewhere(*index, target.space));
        rare.or(Some(any))
    }

    /// Returns whether a device outside the neighbourhood that fetches too has something of this
    /// span.
    fn is_elsewhere(&self, index: u32, space: Space) -> bool {
        let (at, neighbourhood) = (self.at(), self.selection.neighbourhood);
        neighbourhood
            .strangers(at.sources, space)
            .any(|held| at.spans.is_wanted_of(index, held))
    }

    /// Returns whether a device outside the neighbourhood that fetches too has something of this
    /// span, or is getting it.
    fn is_abroad(&self, index: u32) -> bool {
        let (at, neighbourhood) = (self.at(), self.selection.neighbourhood);
        let strangers = at
            .sources
            .iter()
            .filter(|s| s.is_open() && !neighbourhood.contains(s.device));
        self.is_elsewhere(index, Space::Data)
            || strangers
                .filter_map(|s| neighbourhood.claim_of(s, index, at))
                .any(|state| state != ClaimState::Stale)
    }

    /// A span that a member has: whole ones first, pieces of one that it is still getting only when
    /// there is nothing else.
    fn local_copy(&self, member: &Source) -> Option<u32> {
        let (at, neighbourhood) = (self.at(), self.selection.neighbourhood);
        let place = self.place(0);
        let Some(held) = member.held(Space::Data) else {
            return at.spans.idle_from(place).next();
        };
        let idle = |accept: &dyn Fn(u32) -> bool| match neighbourhood.idle_nearby(at) {
            Some(near) => {
                let (before, after) = near.split_at(near.partition_point(|index| *index < place));
                let has =
                    |index: &u32| at.spans.is_idle(*index) && at.spans.is_wanted_of(*index, held);
                after
                    .iter()
                    .chain(before)
                    .copied()
                    .filter(has)
                    .find(|index| accept(*index))
            }
            None => at.spans.idle_of(held, place, LOOKS as u32, accept),
        };
        let whole = |index: u32| at.spans.is_whole_of(index, held);
        idle(&whole).or_else(|| {
            let quiet = member.carriers.outstanding() == 0;
            let given_up =
                |index: u32| neighbourhood.claim_of(member, index, at) != Some(ClaimState::Active);
            quiet.then(|| idle(&given_up)).flatten()
        })
    }

    /// A span that no member has: a wish that was granted, then one of this device's own part, then
    /// a new wish.
    fn first_copy(&self, source: &Source) -> Option<Pick> {
        let (at, neighbourhood) = (self.at(), self.selection.neighbourhood);
        let held = source.held(Space::Data);
        let open = |index: u32| {
            at.spans.is_idle(index)
                && held.is_none_or(|held| at.spans.is_wanted_of(index, held))
                && !neighbourhood.is_near(index, at)
        };
        let mut granted = neighbourhood.own_claims().granted(at.now);
        if let Some(index) = granted.find(|index| open(*index)) {
            let rule = match neighbourhood.claimed(index, at) {
                Some((_, ClaimState::Stale)) => Rule::Takeover,
                _ => Rule::Steal,
            };
            return Some(Pick::Take(index, Some(rule)));
        }
        if let Some(index) = self.rarest(self.at_places(|n| self.own_part(n, &open))) {
            return Some(Pick::Take(index, Some(Rule::FirstCopy)));
        }
        self.rarest(self.at_places(|n| self.new_wish(n, &open)))
            .map(Pick::Wish)
    }

    /// A span of this device's own part that nobody claims.
    fn own_part(&self, n: u64, open: &impl Fn(u32) -> bool) -> Option<u32> {
        let (at, neighbourhood) = (self.at(), self.selection.neighbourhood);
        let free = |index: u32| open(index) && neighbourhood.claimed(index, at).is_none();
        let (place, mine) = (self.place(n), neighbourhood.own_part());
        if at.spans.few_idle() {
            return at
                .spans
                .idle_from(place)
                .find(|index| mine.contains(index) && free(*index));
        }
        let mine = mine.range(place..).chain(mine.range(..place)).copied();
        mine.take(LOOKS).find(|index| free(*index))
    }

    /// A span that is not wished for yet, and that no member with progress claims.
    fn new_wish(&self, n: u64, open: &impl Fn(u32) -> bool) -> Option<u32> {
        let (at, neighbourhood) = (self.at(), self.selection.neighbourhood);
        let wanted = |index: &u32| {
            let claimed = || {
                neighbourhood
                    .claimed(*index, at)
                    .is_some_and(|(_, state)| state != ClaimState::Stale)
            };
            !neighbourhood.own_claims().is_wished(*index) && open(*index) && !claimed()
        };
        let place = self.order.place_of_wish(n, at.spans.len());
        at.spans.idle_from(place).take(LOOKS).find(wanted)
    }

    /// The spans found from several places on. Where few spans are idle each place shows all of
    /// them: when the first one has nothing the others have nothing either.
    fn at_places(&self, find: impl Fn(u64) -> Option<u32>) -> impl Iterator<Item = u32> {
        let (few, mut ended) = (self.at().spans.few_idle(), false);
        let next = move |n| {
            let found = (!ended).then(|| find(n));
            ended |= few && found == Some(None);
            found
        };
        (0..self.order.places()).map_while(next).flatten()
    }

    /// Of several spans one that no other network has or is getting, if there is one: what they
    /// have can be had from them later, and need not cross the thinnest link twice.
    fn rarest(&self, mut spans: impl Iterator<Item = u32>) -> Option<u32> {
        let any = spans.next()?;
        Some(
            std::iter::once(any)
                .chain(spans)
                .find(|index| !self.is_abroad(*index))
                .unwrap_or(any),
        )
    }
}
