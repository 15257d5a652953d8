//! Handing idle spans to sources with room, by the policy's choice.

use crate::command::{Command, RequestId};
use crate::fetch::Fetch;
use crate::journal::{Paid, RunnerUp};
use crate::policy::{Decision, Policy, Rule, SelectionContext, SourceFacts};
use crate::request::{Reasons, Request};
use crate::site::SiteId;
use crate::source::Source;
use crate::span_selection::Pick;
use crate::spans::runs;
use crate::time::Time;
use hither_proto::{DeviceId, Space};
use std::collections::BTreeSet;
use std::time::Duration;

impl Fetch {
    /// A source that may be asked for more now, behind what is asked of it already: the least
    /// loaded comes first.
    fn load(
        &self,
        source: &Source,
        version: u64,
        space: Space,
        now: Time,
    ) -> Option<(u64, DeviceId)> {
        let facts = source
            .usable(version, space, now)
            .then(|| self.facts_of(source, now))?;
        (facts.room > 0).then_some((facts.outstanding, facts.device))
    }

    /// Gives out work until no source can take more.
    pub(crate) fn schedule(
        &mut self,
        policy: &dyn Policy,
        now: Time,
        next: &mut u64,
        commands: &mut Vec<Command>,
    ) {
        let (Some(version), Some(space)) = (self.version, self.space()) else {
            return;
        };
        self.update_neighbourhood(version, space, now);
        self.reckon(space, now, commands);
        self.look_around(space);
        // Who stands in here is asked what it could give next. Every round changes only the source
        // that is asked, so that the others need no second look: with many sources, that
        // look would be most of the work of a fetch.
        let mut ready: BTreeSet<(u64, DeviceId)> = match self.spans.none_idle() {
            true => BTreeSet::new(),
            false => self
                .sources
                .values()
                .filter_map(|s| self.load(s, version, space, now))
                .collect(),
        };
        let mut unused = false;
        while let Some((_, device)) = ready.first().copied() {
            let (index, rule) = match self.pick_for(device, space, now) {
                Some(Pick::Take(index, rule)) => (index, rule),
                Some(Pick::Wish(index)) if self.wish(index, now) => continue,
                Some(Pick::Wish(_)) | None => {
                    unused |= self.could_give(device, version, space);
                    ready.pop_first();
                    continue;
                }
            };
            let context = self.context_for(rule, index, version, space, now);
            let Some(decision) = policy.choose(&context) else {
                ready.pop_first();
                continue;
            };
            let claimer = self.claim(index, space, rule, now);
            let rank = rule
                .filter(|rule| *rule != Rule::LocalCopy)
                .and_then(|_| self.rank(index));
            // Before the neighbourhood's rule takes the place of the policy's: what made it worth its price
            // is told in a neighbourhood too.
            let reasons = Reasons {
                claimer,
                rank,
                ..context.reasons(&decision)
            };
            let decision = Decision {
                rule: rule.unwrap_or(decision.rule),
                ..decision
            };
            self.ask(
                index, space, version, &context, &decision, reasons, now, next, commands,
            );
            let chosen = &context.holders[decision.source];
            let (asked, site) = ((chosen.outstanding, chosen.device), chosen.site);
            if ready.remove(&asked) {
                let again = self
                    .sources
                    .get(&asked.1)
                    .and_then(|s| self.load(s, version, space, now));
                ready.extend(again);
            }
            // Its site has that much less room: who stands there for it is looked at when the turn
            // comes.
            if site.is_some() {
                self.stand_aside(&mut ready, site, version, space, now);
            }
        }
        self.endgame = unused || self.spans.none_idle();
        self.neighbourhood.own.expire(now);
    }

    /// Sources of a site that has no room any more leave the queue.
    fn stand_aside(
        &self,
        ready: &mut BTreeSet<(u64, DeviceId)>,
        site: Option<SiteId>,
        version: u64,
        space: Space,
        now: Time,
    ) {
        let of_site = |device: &DeviceId| {
            self.sources
                .get(device)
                .filter(|source| source.site() == site)
        };
        let full = |(_, device): &(u64, DeviceId)| {
            of_site(device).is_some_and(|source| self.load(source, version, space, now).is_none())
        };
        ready.retain(|entry| !full(entry));
    }

    /// Whether a source that was not asked for anything has something that is missing: all of it is
    /// in flight already.
    fn could_give(&self, device: DeviceId, version: u64, space: Space) -> bool {
        let source = self
            .sources
            .get(&device)
            .filter(|s| !self.is_member(s.device) && self.is_gateway_to(s));
        source.is_some_and(|source| source.offers(version, space, self.spans.missing()))
    }

    /// Says that a span is wanted; `false` when enough is wanted already.
    fn wish(&mut self, index: u32, now: Time) -> bool {
        self.wishes += 1;
        self.neighbourhood.own.wish(index, now)
    }

    /// A first copy is being got: the others need not, also those who join later. Whose claim is
    /// taken over, if one is.
    fn claim(
        &mut self,
        index: u32,
        space: Space,
        rule: Option<Rule>,
        now: Time,
    ) -> Option<DeviceId> {
        if rule == Some(Rule::LocalCopy) || space != Space::Data {
            return None;
        }
        let claimer = self
            .claimed(index, now)
            .filter(|_| rule == Some(Rule::Takeover))
            .map(|(d, _)| d);
        claimer.into_iter().for_each(|device| self.strike(device));
        self.neighbourhood.own.get(index, now);
        claimer
    }

    /// Who may give a span under a rule: a local copy comes from a member, a first copy does not.
    fn context_for(
        &self,
        rule: Option<Rule>,
        index: u32,
        version: u64,
        space: Space,
        now: Time,
    ) -> SelectionContext {
        let mut context = self.context(index, version, space, now);
        match rule {
            None => {}
            Some(Rule::Liveness) => context.limit.urgent = true,
            Some(Rule::LocalCopy) => context.holders.retain(|facts| self.is_member(facts.device)),
            Some(_) => {
                context
                    .holders
                    .retain(|facts| !self.is_member(facts.device));
                // The group gets it together (source-selection design, rule 3).
                context.remaining = self.neighbourhood.lacks.min(context.remaining)
                    / u64::from(self.neighbourhood.size());
            }
        }
        context
    }

    /// Who holds (some of) a span, and how they stand.
    pub(crate) fn context(
        &self,
        index: u32,
        version: u64,
        space: Space,
        now: Time,
    ) -> SelectionContext {
        let size = self.spans.bytes_of(&self.spans.missing_in(index, None));
        let desperate = self.is_desperate(now);
        let holders: Vec<SourceFacts> = self
            .sources
            .values()
            .filter(|s| {
                size > 0 && s.usable(version, space, now) && (desperate || self.is_gateway_to(s))
            })
            .filter(|s| {
                s.held(space)
                    .is_none_or(|held| self.spans.is_wanted_of(index, held))
            })
            .map(|s| self.facts_of(s, now))
            .collect();
        let limit = self.limit();
        SelectionContext {
            size,
            remaining: self.spans.missing_bytes(),
            holders,
            limit,
            beside: None,
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one decision with all that it needs to become a request"
    )]
    pub(crate) fn ask(
        &mut self,
        index: u32,
        space: Space,
        version: u64,
        context: &SelectionContext,
        decision: &Decision,
        reasons: Reasons,
        now: Time,
        next: &mut u64,
        commands: &mut Vec<Command>,
    ) {
        let device = context.holders[decision.source].device;
        let Some(source) = self.sources.get_mut(&device) else {
            return;
        };
        let positions = self.spans.missing_in(index, source.held(space));
        let Some(carrier) = source.carriers.pick(now) else {
            return;
        };
        if source.carriers.outstanding() == 0 {
            source.last_progress = now;
        }
        source.requests += 1;
        self.asked_of(device, carrier, self.spans.bytes_of(&positions), now);
        self.spans.request_began(index);
        self.places = self.places.map(|count| count + 1);
        let id = RequestId(*next);
        *next += 1;
        let rule = match decision.rule {
            Rule::OnlyHolder | Rule::EarliestFinish | Rule::FirstCopy
                if self.moved.remove(&index) =>
            {
                Rule::Moved
            }
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
            asked: positions.len() as u64,
            awaited: positions.into_iter().collect(),
            arrived: roaring::RoaringBitmap::new(),
            given_up: roaring::RoaringBitmap::new(),
            damaged: 0,
            asked_at: now,
            rule,
            expected: decision.finish,
            reasons,
        };
        self.requests.insert(id, request);
    }
}

impl SelectionContext {
    /// What is remembered of a decision made here.
    pub(crate) fn reasons(&self, decision: &Decision) -> Reasons {
        let chosen = &self.holders[decision.source];
        let runner_up = |(index, expected): &(usize, Duration)| {
            let SourceFacts { device, price, .. } = self.holders[*index];
            RunnerUp {
                device,
                expected: *expected,
                price,
            }
        };
        let paid = Paid {
            cheaper: chosen.cheaper,
            threshold: self.limit.threshold(chosen.price),
        };
        Reasons {
            price: chosen.price,
            runners_up: decision.runners_up.iter().map(runner_up).collect(),
            paid: (decision.rule == Rule::Paid).then_some(paid),
            ..Reasons::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{device, facts_made};
    use crate::{Command, Engine, EngineConfig, Plan, Time};
    use hither_proto::{Announcement, DeviceId, PositionRange, ShareSecret, Space};
    use std::time::Duration;

    /// Many devices have room and nothing that is missing: whatever happens, each of them is looked
    /// at once.
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
            let said = Announcement {
                version: 1,
                epoch: 1,
                seq: 1,
                complete: false,
                held,
                has_manifest: true,
            };
            engine.handle_announced(share, *source, said, start);
        }
        let lengths = vec![1 << 20; 8];
        engine.plan(
            share,
            Plan {
                version: 1,
                space: Space::Data,
                lengths,
                wanted: (0..8).collect(),
            },
            start,
        );
        let asked = std::iter::from_fn(|| engine.poll_command());
        assert_eq!(
            asked
                .filter(|command| matches!(command, Command::Want { .. }))
                .count(),
            1
        );
        let before = facts_made();
        engine.handle_timeout(start + Duration::from_millis(1));
        assert!(
            facts_made() - before <= 2 * u64::from(SOURCES),
            "{} looks",
            facts_made() - before
        );
    }
}
