//! What a fetch may spend, has spent, and gets from whom for how much.
//!
//! Only data counts: root and manifest are small, and nothing can be decided before they are here.

use crate::carrier_choice::Carrier;
use crate::fetch::Fetch;
use crate::policy::SourceFacts;
use crate::price::{Budget, Prices, Purse};
use crate::rate::UNMEASURED_WAN;
use crate::source::Source;
use crate::time::Time;
use hither_proto::{DeviceId, HolderKind, Price, Space, Terms};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long after the start what sources are expected to give counts, where it is more than what they gave: nobody has
/// given anything in the first moment.
const START: Duration = Duration::from_millis(1500);

/// The money of one fetch.
#[derive(Debug, Default)]
pub(crate) struct Spending {
    pub budget: Budget,
    pub prices: Prices,
    /// When data was planned.
    pub began: Time,
    /// What sources of each price gave lately to all who wait here, bytes per second. Empty while nobody costs anything.
    given: BTreeMap<Price, f64>,
}

impl Fetch {
    /// What it may spend is something else now.
    pub fn set_budget(&mut self, budget: Budget) {
        self.spending.budget = budget;
    }

    /// What sources cost here is something else now.
    pub fn set_prices(&mut self, prices: Prices) {
        self.spending.prices = prices;
        self.sources.values_mut().for_each(|source| source.reprice(&prices));
    }

    /// A device says on what terms it gives. A store says nothing: what it costs is its reader's to say.
    pub fn terms(&mut self, device: DeviceId, terms: Terms) {
        if let Some(source) = self.sources.get_mut(&device).filter(|s| s.kind == HolderKind::Device) {
            source.says_terms(terms, &self.spending.prices);
        }
    }

    /// Adds up what came lately, once for many decisions.
    pub(crate) fn reckon(&mut self, space: Space, now: Time) {
        self.spending.given.clear();
        self.weigh_ways(now);
        if space != Space::Data || self.sources.values().all(|source| source.price.is_free()) {
            return;
        }
        let (began, size) = (self.spending.began, f64::from(self.group.size()));
        let starts = now.since(began) < START;
        let mut given: BTreeMap<Price, (f64, f64)> = BTreeMap::new();
        let mut sites = BTreeSet::new();
        for source in self.sources.values().filter(|source| !self.is_member(source.device)) {
            let (lately, expected) = given.entry(source.price).or_default();
            *lately += source.recent.rate(began, now) * size;
            let counted = source.site().is_some_and(|site| sites.contains(&site));
            if starts
                && !counted
                && source.is_trusted()
                && self.version.is_some_and(|v| source.usable(v, space, now))
            {
                *expected += expectation(source, now);
                sites.extend(source.site());
            }
        }
        self.spending.given =
            given.into_iter().map(|(price, (lately, expected))| (price, lately.max(expected))).collect();
    }

    /// Decides for every device that is reached through a relay whether it is asked that way now.
    fn weigh_ways(&mut self, now: Time) {
        let (purse, prices) = (self.purse(), self.spending.prices);
        for source in self.sources.values_mut().filter(|source| source.carriers.has_relayed()) {
            let price = source.price_over(true, &prices);
            // Where it cannot be paid, a slow way is better than none.
            let affords = purse.affords(price, crate::SPAN_BYTES);
            source.carriers.set_worth(if affords { purse.threshold(prices.relayed) } else { 0.0 });
            source.settle_way(&prices, now);
        }
    }

    /// The facts of a source, with what those cheaper than it give.
    pub(crate) fn priced(&self, facts: SourceFacts) -> SourceFacts {
        let cheaper = self.spending.given.range(..facts.price).map(|(_, rate)| rate).sum();
        match self.space() {
            Some(Space::Data) => SourceFacts { cheaper, ..facts },
            _ => SourceFacts { price: Price::FREE, reluctant: false, cheaper, ..facts },
        }
    }

    /// What can be spent now.
    pub(crate) fn purse(&self) -> Purse {
        let budget = &self.spending.budget;
        let left =
            budget.max_cost.map(|most| most.saturating_sub(self.spent()).saturating_sub(self.committed()));
        Purse { waiting: self.group.size(), worth: budget.mode.worth(), left, urgent: false }
    }

    fn spent(&self) -> u64 {
        self.spending.budget.spent.saturating_add(self.journal.total_cost())
    }

    /// What will have been spent when everything asked for has come.
    fn committed(&self) -> u64 {
        let owed = |source: &Source| source.price.of(source.carriers.outstanding());
        self.sources.values().fold(0, |sum, source| sum.saturating_add(owed(source)))
    }

    /// So many bytes came from a source.
    pub(crate) fn paid(&mut self, device: DeviceId, carrier: Carrier, bytes: u64, now: Time) {
        if self.space() != Some(Space::Data) {
            return;
        }
        let Some(source) = self.sources.get_mut(&device) else { return };
        source.recent.arrived(bytes, now);
        let relayed = carrier == Carrier::Relayed;
        let price = source.price_over(relayed, &self.spending.prices);
        if !price.is_free() {
            self.journal.cost(device, price.of(bytes), relayed);
        }
    }

    /// Whether something that is missing could be had, and costs more than is left.
    pub(crate) fn is_too_dear(&self, version: u64, space: Space, now: Time) -> bool {
        let purse = self.purse();
        let gives =
            |s: &&Source| s.usable(version, space, now) && s.offers(version, space, self.spans.missing());
        let mut givers = self.sources.values().filter(gives).peekable();
        space == Space::Data
            && purse.left.is_some()
            && givers.peek().is_some()
            && givers
                .all(|source| !purse.affords(source.price, crate::SPAN_BYTES.min(self.spans.missing_bytes())))
    }
}

/// What a source is expected to give, bytes per second.
fn expectation(source: &Source, now: Time) -> f64 {
    match source.carriers.rate(now) {
        Some(rate) => rate,
        None if source.distance.is_near() => source.rate(now),
        None => UNMEASURED_WAN,
    }
}
