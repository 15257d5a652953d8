//! Handing idle spans to sources with room, by the policy's choice.

use crate::command::{Command, RequestId};
use crate::fetch::Fetch;
use crate::policy::{Decision, Policy, Rule, Situation, SourceFacts};
use crate::request::Request;
use crate::source::Session;
use crate::spans::runs;
use crate::time::Time;
use hither_proto::{DeviceId, Space};
use std::collections::BTreeSet;

/// Places tried for a span that no neighbour has.
const PLACES: u64 = 8;

impl Fetch {
    /// Gives out work until no source can take more.
    pub(crate) fn schedule(
        &mut self,
        policy: &dyn Policy,
        now: Time,
        next: &mut u64,
        commands: &mut Vec<Command>,
    ) {
        let (Some(version), Some(space)) = (self.version, self.space()) else { return };
        if !self.alone(space) {
            self.places.get_or_insert(0);
        }
        let mut skipped: BTreeSet<DeviceId> = BTreeSet::new();
        loop {
            let ready = self
                .sources
                .values()
                .filter(|s| !skipped.contains(&s.device) && s.usable(version, space, now))
                .map(|s| s.facts(now))
                .filter(|facts| facts.room > 0)
                .min_by_key(|facts| facts.outstanding);
            let Some(ready) = ready else { break };
            let Some(index) = self.next_span_for(ready.device, space) else {
                skipped.insert(ready.device);
                continue;
            };
            let situation = self.situation(index, version, space, now);
            match policy.choose(&situation) {
                Some(decision) => self.ask(index, space, version, &situation, &decision, now, next, commands),
                None => drop(skipped.insert(ready.device)),
            }
        }
        self.watch(now);
    }

    /// An idle span of which the source holds something.
    ///
    /// While others fetch too, every device takes spans in an order of its own, of several places the first that no
    /// neighbour has. Reading on in the same order, even from different places, would make all of them ask the only whole
    /// holder for the same spans at the same time from where they meet to the end.
    fn next_span_for(&self, device: DeviceId, space: Space) -> Option<u32> {
        let source = self.sources.get(&device)?;
        let place = |n| self.places.map_or(0, |count| self.own_place(count * PLACES + n));
        if let Some(held) = source.held(space) {
            return self.spans.idle_of(held, place(0));
        }
        let mut idle = (0..PLACES).filter_map(|n| self.spans.idle_from(place(n)).next());
        let any = idle.next()?;
        let rare = std::iter::once(any).chain(idle).find(|index| !self.nearby(*index, space));
        rare.or(Some(any))
    }

    /// The n-th place of this device's own order.
    fn own_place(&self, n: u64) -> u32 {
        // SplitMix64: cheap, and neighbouring inputs give unrelated places.
        let mut z = (self.seed ^ n).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % u64::from(self.spans.len().max(1))) as u32
    }

    /// Whether a neighbour that fetches too has something of this span.
    fn nearby(&self, index: u32, space: Space) -> bool {
        let partial = self.sources.values().filter(|s| s.session == Session::Open);
        partial.filter_map(|s| s.held(space)).any(|held| self.spans.is_wanted_of(index, held))
    }

    /// Whether no other device seems to be fetching too: then the share is read from its beginning, which disks and
    /// people who watch like best. Otherwise everyone begins elsewhere, so that all have something to give.
    fn alone(&self, space: Space) -> bool {
        self.sources.values().all(|s| s.has_all(space) || s.held(space).is_none_or(|h| h.is_empty()))
            && !self.sources.values().any(|s| s.session == Session::Open && s.held(space).is_some())
    }

    /// Who holds (some of) a span, and how they stand.
    pub(crate) fn situation(&self, index: u32, version: u64, space: Space, now: Time) -> Situation {
        let size = self.spans.bytes_of(&self.spans.missing_in(index, None));
        let holders: Vec<SourceFacts> = self
            .sources
            .values()
            .filter(|s| size > 0 && s.usable(version, space, now))
            .filter(|s| s.held(space).is_none_or(|held| self.spans.is_wanted_of(index, held)))
            .map(|s| s.facts(now))
            .collect();
        Situation { size, remaining: self.spans.missing_bytes(), holders }
    }

    #[allow(clippy::too_many_arguments, reason = "one decision with all that it needs to become a request")]
    pub(crate) fn ask(
        &mut self,
        index: u32,
        space: Space,
        version: u64,
        situation: &Situation,
        decision: &Decision,
        now: Time,
        next: &mut u64,
        commands: &mut Vec<Command>,
    ) {
        let device = situation.holders[decision.source].device;
        let Some(source) = self.sources.get_mut(&device) else { return };
        let positions = self.spans.missing_in(index, source.held(space));
        let Some(carrier) = source.carriers.pick(now) else { return };
        if source.carriers.outstanding() == 0 {
            source.last_progress = now;
        }
        source.carriers.asked(carrier, self.spans.bytes_of(&positions), now);
        self.spans.request_began(index);
        self.places = self.places.map(|count| count + 1);
        let id = RequestId(*next);
        *next += 1;
        let rule = match decision.rule {
            Rule::OnlyHolder | Rule::EarliestFinish if self.moved.remove(&index) => Rule::Moved,
            rule => rule,
        };
        commands.push(Command::Want {
            share: self.share,
            device,
            carrier,
            request: id,
            space,
            version,
            ranges: runs(&positions),
        });
        let request = Request {
            device,
            carrier,
            span: index,
            awaited: positions.into_iter().collect(),
            arrived: roaring::RoaringBitmap::new(),
            given_up: roaring::RoaringBitmap::new(),
            damaged: 0,
            asked_at: now,
            rule,
            expected: decision.finish,
            runner_up: decision.runner_up.map(|(i, finish)| (situation.holders[i].device, finish)),
        };
        self.requests.insert(id, request);
    }
}
