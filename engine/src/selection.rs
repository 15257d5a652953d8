//! The sources that could give a span, as the policy sees them.

use crate::journal::{Journal, Paid, RunnerUp};
use crate::neighbourhood::Neighbourhood;
use crate::policy::{Decision, Rule, SelectionContext, SourceFacts};
use crate::price::SpendingLimit;
use crate::request::Reasons;
use crate::snapshot::Snapshot;
use crate::source::Source;
use crate::spans::SPAN_BYTES;
use crate::spending::Spending;
use hither_proto::{DeviceId, Space};
use std::time::Duration;

/// Everything that the choice of a source depends on, at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Selection<'a> {
    pub at: Snapshot<'a>,
    pub neighbourhood: &'a Neighbourhood,
    pub spending: &'a Spending,
    pub journal: &'a Journal,
    /// Nothing has moved for so long that every source is asked, whatever speaks against it.
    pub desperate: bool,
}

impl Selection<'_> {
    /// A source as the policy sees it: what its site does counts, and so does what sources that
    /// cost less give.
    pub fn facts_of(&self, source: &Source) -> SourceFacts {
        let space = self.at.target.map(|target| target.space);
        let facts = self.spending.priced(source.facts(self.at.now), space);
        let facts = self.at.sources.facts_at_site(source, facts);
        // The load of one carrier does not keep another one from its trial.
        let trial = if source.carriers.waits_on_trial(self.at.now) {
            SPAN_BYTES
        } else {
            0
        };
        SourceFacts {
            room: facts.room.max(trial),
            ..facts
        }
    }

    /// Returns the place in the queue of a source that may be asked for more now: the least loaded
    /// comes first.
    pub fn load(&self, source: &Source) -> Option<(u64, DeviceId)> {
        let target = self.at.target?;
        let facts = source
            .usable(target, self.at.now)
            .then(|| self.facts_of(source))?;
        (facts.room > 0).then_some((facts.outstanding, facts.device))
    }

    /// Returns whether a source that was not asked for anything has something that is missing: all
    /// of it is in flight already.
    pub fn could_give(&self, device: DeviceId) -> bool {
        let (Some(source), Some(target)) = (self.at.sources.get(device), self.at.target) else {
            return false;
        };
        !self.neighbourhood.contains(device)
            && self.neighbourhood.is_gateway_to(source)
            && source.offers(target, self.at.spans.missing())
    }

    /// The limit of what may be spent now.
    pub fn limit(&self) -> SpendingLimit {
        self.spending
            .limit(self.neighbourhood.size(), self.at.sources, self.journal)
    }

    /// The sources that hold (some of) a span.
    pub fn context(&self, span: u32) -> SelectionContext {
        let at = &self.at;
        let size = at.spans.bytes_of(&at.spans.missing_in(span, None));
        let asked = |s: &&Source| {
            size > 0
                && at.target.is_some_and(|target| s.usable(target, at.now))
                && (self.desperate || self.neighbourhood.is_gateway_to(s))
        };
        let has = |s: &&Source| {
            let held = at.target.and_then(|target| s.held(target.space));
            held.is_none_or(|held| at.spans.is_wanted_of(span, held))
        };
        SelectionContext {
            size,
            remaining: at.spans.missing_bytes(),
            holders: at
                .sources
                .iter()
                .filter(asked)
                .filter(has)
                .map(|s| self.facts_of(s))
                .collect(),
            limit: self.limit(),
            beside: None,
        }
    }

    /// The sources that may give a span under a rule: a local copy comes from a member, a first
    /// copy does not.
    pub fn context_for(&self, rule: Option<Rule>, span: u32) -> SelectionContext {
        let mut context = self.context(span);
        let is_member = |facts: &SourceFacts| self.neighbourhood.contains(facts.device);
        match rule {
            None => {}
            Some(Rule::Liveness) => context.limit.urgent = true,
            Some(Rule::LocalCopy) => context.holders.retain(is_member),
            Some(_) => {
                context.holders.retain(|facts| !is_member(facts));
                context.remaining = self.neighbourhood.part_of(context.remaining);
            }
        }
        context
    }

    /// Returns whether something that is missing could be had, and costs more than is left.
    pub fn is_too_dear(&self) -> bool {
        let Some(target) = self.at.target.filter(|target| target.space == Space::Data) else {
            return false;
        };
        let (limit, at) = (self.limit(), &self.at);
        let gives = |s: &&Source| s.usable(target, at.now) && s.offers(target, at.spans.missing());
        let mut offers = at.sources.iter().filter(gives).peekable();
        let least = SPAN_BYTES.min(at.spans.missing_bytes());
        limit.left.is_some()
            && offers.peek().is_some()
            && offers.all(|source| !limit.affords(source.price, least))
    }
}

impl SelectionContext {
    /// The reasons to remember of a decision made here.
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
