//! Handing idle spans to sources with room, by the policy's choice.

use crate::command::{Command, RequestId};
use crate::fetch::Fetch;
use crate::policy::{Decision, Policy, Rule, Situation, SourceFacts};
use crate::request::Request;
use crate::source::{Session, Source};
use crate::spans::runs;
use crate::time::Time;
use hither_proto::{DeviceId, HolderKind, Space};
use std::collections::BTreeSet;

/// Places tried for a span that no neighbour has.
const PLACES: u64 = 8;

/// A source that may be asked for more now, behind what is asked of it already: the least loaded comes first.
fn load(source: &Source, version: u64, space: Space, now: Time) -> Option<(u64, DeviceId)> {
    let facts = source.usable(version, space, now).then(|| source.facts(now))?;
    (facts.room > 0).then_some((facts.outstanding, facts.device))
}

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
        // Who stands in here is asked what it could give next. Every round changes only the source that is asked, so that
        // the others need no second look: with many sources, that look would be most of the work of a fetch.
        let mut ready: BTreeSet<(u64, DeviceId)> = match self.spans.none_idle() {
            true => BTreeSet::new(),
            false => self.sources.values().filter_map(|s| load(s, version, space, now)).collect(),
        };
        while let Some((_, device)) = ready.first().copied() {
            let Some(index) = self.next_span_for(device, space) else {
                ready.pop_first();
                continue;
            };
            let situation = self.situation(index, version, space, now);
            let Some(decision) = policy.choose(&situation) else {
                ready.pop_first();
                continue;
            };
            self.ask(index, space, version, &situation, &decision, now, next, commands);
            let chosen = &situation.holders[decision.source];
            if ready.remove(&(chosen.outstanding, chosen.device)) {
                ready.extend(self.sources.get(&chosen.device).and_then(|s| load(s, version, space, now)));
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

    /// The devices: stores fetch nothing.
    fn devices(&self) -> impl Iterator<Item = &Source> {
        self.sources.values().filter(|s| s.kind == HolderKind::Device)
    }

    /// Whether a neighbour that fetches too has something of this span.
    fn nearby(&self, index: u32, space: Space) -> bool {
        let partial = self.devices().filter(|s| s.session == Session::Open);
        partial.filter_map(|s| s.held(space)).any(|held| self.spans.is_wanted_of(index, held))
    }

    /// Whether no other device seems to be fetching too: then the share is read from its beginning, which disks and
    /// people who watch like best. Otherwise everyone begins elsewhere, so that all have something to give.
    fn alone(&self, space: Space) -> bool {
        self.devices().all(|s| s.has_all(space) || s.held(space).is_none_or(|h| h.is_empty()))
            && !self.devices().any(|s| s.session == Session::Open && s.held(space).is_some())
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

#[cfg(test)]
mod tests {
    use crate::testing::{device, facts_made};
    use crate::{Command, Engine, EngineConfig, Plan, Time};
    use hither_proto::{Announcement, DeviceId, PositionRange, ShareSecret, Space};
    use std::time::Duration;

    /// Many devices have room and nothing that is missing: whatever happens, each of them is looked at once.
    #[test]
    fn the_work_grows_with_the_sources_and_not_with_their_square() {
        const SOURCES: u8 = 70;
        let share = ShareSecret::new([1; 16]).share_id();
        let mut engine = Engine::new(EngineConfig::new(device(0)));
        let start = Time::default();
        let all: Vec<DeviceId> = (1..=SOURCES).map(device).collect();
        engine.start_fetch(share, all[0], None, None);
        for source in &all {
            engine.handle_device_seen(share, *source, start);
            engine.handle_session_opened(share, *source, 1, Duration::from_millis(1), start);
            let held = PositionRange::new(0, 1).into_iter().collect();
            let said =
                Announcement { version: 1, epoch: 1, seq: 1, complete: false, held, has_manifest: true };
            engine.handle_announced(share, *source, said, start);
        }
        let lengths = vec![1 << 20; 8];
        engine.plan(share, Plan { version: 1, space: Space::Data, lengths, wanted: (0..8).collect() }, start);
        let asked = std::iter::from_fn(|| engine.poll_command());
        assert_eq!(asked.filter(|command| matches!(command, Command::Want { .. })).count(), 1);
        let before = facts_made();
        engine.handle_timeout(start + Duration::from_millis(1));
        assert!(facts_made() - before <= 2 * u64::from(SOURCES), "{} looks", facts_made() - before);
    }
}
