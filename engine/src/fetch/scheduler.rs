//! Handing idle spans to sources with room, by the policy's choice.

use super::Fetch;
use crate::command::Command;
use crate::policy::{Decision, Rule, SelectionContext};
use crate::request::{Reasons, Request};
use crate::round::Round;
use crate::selection::Selection;
use crate::site_id::SiteId;
use crate::snapshot::Snapshot;
use crate::span_selection::{Pick, SpanSelection};
use crate::spans::runs;
use crate::target::Target;
use crate::time::Time;
use hither_proto::{DeviceId, Space};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use std::time::Duration;

/// A span that is to be asked of a source.
#[derive(Debug)]
pub(super) struct Assignment {
    pub span: u32,
    pub target: Target,
    pub device: DeviceId,
    pub rule: Rule,
    /// How long it is expected to take.
    pub expected: Duration,
    pub reasons: Reasons,
}

/// The sources with room, the least loaded first.
type Ready = BTreeSet<(u64, DeviceId)>;

impl Fetch {
    /// Gives out work until no source can take more.
    pub(super) fn schedule(&mut self, round: &mut Round<'_>) {
        let Some(target) = self.target() else {
            return;
        };
        let now = round.now;
        self.update_neighbourhood(target, now);
        self.update_spending(target, round);
        self.spread_order(target.space);
        let mut ready = self.ready(now);
        let mut unused = false;
        while let Some((_, device)) = ready.first().copied() {
            let (span, rule) = match self.span_selection(now).pick(device) {
                Some(Pick::Take(span, rule)) => (span, rule),
                Some(Pick::Wish(span)) if self.wish(span, now) => continue,
                Some(Pick::Wish(_)) | None => {
                    unused |= self.selection(now).could_give(device);
                    ready.pop_first();
                    continue;
                }
            };
            let context = self.selection(now).context_for(rule, span);
            let Some(decision) = round.policy.choose(&context) else {
                ready.pop_first();
                continue;
            };
            let chosen = &context.holders[decision.source];
            let (asked, site) = ((chosen.outstanding, chosen.device), chosen.site);
            let assignment = self.assignment(target, span, rule, (&context, &decision), now);
            self.ask(assignment, round);
            self.requeue(&mut ready, asked, site, now);
        }
        self.endgame = unused || self.spans.none_idle();
        self.neighbourhood.own_claims_mut().expire(now);
    }

    /// Takes spans from many places from now on, if a device outside the neighbourhood seems to be
    /// fetching too.
    fn spread_order(&mut self, space: Space) {
        let mut strangers = self.neighbourhood.strangers(&self.sources, space);
        if !self.order.is_spread() && strangers.next().is_some() {
            self.order.spread();
        }
    }

    /// The sources that have room now. Every step changes only the source that is asked, so that
    /// the others need no second look: with many sources, that look would be most of the work of a
    /// fetch.
    fn ready(&self, now: Time) -> Ready {
        if self.spans.none_idle() {
            return Ready::new();
        }
        let selection = self.selection(now);
        self.sources
            .iter()
            .filter_map(|source| selection.load(source))
            .collect()
    }

    /// Puts a source that was asked back in line, if it has room still. Its site has that much less
    /// room: the other sources of a site without room leave the line.
    fn requeue(&self, ready: &mut Ready, asked: (u64, DeviceId), site: Option<SiteId>, now: Time) {
        let selection = self.selection(now);
        if ready.remove(&asked) {
            let again = self.sources.get(asked.1);
            ready.extend(again.and_then(|source| selection.load(source)));
        }
        if site.is_some() {
            let of_site = |device| self.sources.get(device).filter(|s| s.site() == site);
            let full = |(_, device): &(u64, DeviceId)| {
                of_site(*device).is_some_and(|source| selection.load(source).is_none())
            };
            ready.retain(|entry| !full(entry));
        }
    }

    fn span_selection(&self, now: Time) -> SpanSelection<'_> {
        SpanSelection {
            selection: self.selection(now),
            order: &self.order,
        }
    }

    /// Everything that the choice of a source depends on, at this moment.
    pub(super) fn selection(&self, now: Time) -> Selection<'_> {
        Selection {
            at: self.snapshot(now),
            neighbourhood: &self.neighbourhood,
            spending: &self.spending,
            journal: &self.journal,
            desperate: self.stalls.is_desperate(now),
        }
    }

    /// Finds what sources give and cost now, and asks for relays to those that are too slow.
    fn update_spending(&mut self, target: Target, round: &mut Round<'_>) {
        let limit = self.selection(round.now).limit();
        let data = target.space == Space::Data;
        let missing = data.then(|| self.spans.missing_bytes());
        let slow = self
            .spending
            .compare_carriers(&mut self.sources, &limit, missing, round.now);
        for device in slow {
            round.command(Command::FindRelay {
                share: self.share,
                device,
            });
        }
        let at = Snapshot::new(&self.sources, &self.spans, Some(target), round.now);
        self.spending.update_rates(&self.neighbourhood, &at);
    }

    /// Announces that a span is wanted; returns `false` when enough is wanted already.
    fn wish(&mut self, span: u32, now: Time) -> bool {
        self.order.wished();
        self.neighbourhood.own_claims_mut().wish(span, now)
    }

    /// Claims a span for which a source was chosen; returns what is to be asked.
    fn assignment(
        &mut self,
        target: Target,
        span: u32,
        rule: Option<Rule>,
        (context, decision): (&SelectionContext, &Decision),
        now: Time,
    ) -> Assignment {
        let claimer = self.claim(span, target.space, rule, now);
        let rank = rule
            .filter(|rule| *rule != Rule::LocalCopy)
            .and_then(|_| self.neighbourhood.rank(span, &self.spans));
        // The reasons are found before the neighbourhood's rule takes the place of the policy's:
        // what made a source worth its price is recorded among neighbours too.
        let reasons = Reasons {
            claimer,
            rank,
            ..context.reasons(decision)
        };
        Assignment {
            span,
            target,
            device: context.holders[decision.source].device,
            rule: rule.unwrap_or(decision.rule),
            expected: decision.finish,
            reasons,
        }
    }

    /// Claims a first copy, so that neighbours need not get it, also those that join later. Returns
    /// the device whose claim is taken over, if one is.
    fn claim(
        &mut self,
        span: u32,
        space: Space,
        rule: Option<Rule>,
        now: Time,
    ) -> Option<DeviceId> {
        if rule == Some(Rule::LocalCopy) || space != Space::Data {
            return None;
        }
        let claimed = || self.neighbourhood.claimed(span, &self.snapshot(now));
        let claimer = (rule == Some(Rule::Takeover))
            .then(claimed)
            .flatten()
            .map(|(device, _)| device);
        if let Some(source) = claimer.and_then(|device| self.sources.get_mut(device)) {
            source.claim_taken_over();
        }
        self.neighbourhood.own_claims_mut().get(span, now);
        claimer
    }

    /// Asks a source for what is missing of a span.
    pub(super) fn ask(&mut self, assignment: Assignment, round: &mut Round<'_>) {
        let Assignment {
            span,
            target,
            device,
            rule,
            expected,
            reasons,
        } = assignment;
        let now = round.now;
        let Some(source) = self.sources.get_mut(device) else {
            return;
        };
        let positions = self.spans.missing_in(span, source.held(target.space));
        let Some(carrier) = source.carriers.pick(now) else {
            return;
        };
        source.asked(now);
        self.sources
            .asked(device, carrier, self.spans.bytes_of(&positions), now);
        self.spans.request_began(span);
        self.order.asked();
        let request = round.request_id();
        round.command(Command::Want {
            share: self.share,
            device,
            carrier,
            request,
            space: target.space,
            version: target.version,
            ranges: runs(&positions),
        });
        let rule = self.rule_of(span, rule);
        self.requests.insert(
            request,
            Request {
                device,
                carrier,
                span,
                asked: positions.len() as u64,
                awaited: positions.into_iter().collect(),
                arrived: RoaringBitmap::new(),
                given_up: RoaringBitmap::new(),
                damaged: 0,
                asked_at: now,
                rule,
                expected,
                reasons,
            },
        );
    }

    /// The rule to record: a span that was taken away from a source was moved.
    fn rule_of(&mut self, span: u32, rule: Rule) -> Rule {
        match rule {
            Rule::OnlyHolder | Rule::EarliestFinish | Rule::FirstCopy
                if self.requests.take_moved(span) =>
            {
                Rule::Moved
            }
            rule => rule,
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
