//! What a fetch may spend, has spent, and gets from whom for how much.
//!
//! Only data counts: root and manifest are small, and nothing can be decided before they are here.

use crate::carrier_choice::Carrier;
use crate::command::Command;
use crate::fetch::Fetch;
use crate::policy::SourceFacts;
use crate::price::{Budget, Prices, SpendingLimit};
use crate::rate::UNMEASURED_WAN;
use crate::source::Source;
use crate::time::Time;
use hither_proto::{DeviceId, HolderKind, Price, Space, Terms};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long after the start what sources are expected to give counts, where it is more than what
/// they gave: nobody has given anything in the first moment.
const START: Duration = Duration::from_millis(1500);
/// A relay is looked for beside a slow direct way where what is missing would take longer than
/// this.
const LONG: Duration = Duration::from_secs(10);
/// When no relay was found, how long until one is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// The money of one fetch.
#[derive(Debug, Default)]
pub(crate) struct Spending {
    pub budget: Budget,
    pub prices: Prices,
    /// When data was planned.
    pub began: Time,
    /// What sources of each price gave lately to all who wait here, bytes per second. Empty while
    /// nobody costs anything.
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
        self.sources
            .values_mut()
            .for_each(|source| source.reprice(&prices));
    }

    /// A device says on what terms it gives. A store says nothing: what it costs is its reader's to
    /// say.
    pub fn terms(&mut self, device: DeviceId, terms: Terms) {
        if let Some(source) = self
            .sources
            .get_mut(&device)
            .filter(|s| s.kind == HolderKind::Device)
        {
            source.says_terms(terms, &self.spending.prices);
        }
    }

    /// Adds up what came lately, once for many decisions.
    pub(crate) fn reckon(&mut self, space: Space, now: Time, commands: &mut Vec<Command>) {
        self.spending.given.clear();
        self.weigh_ways(space, now, commands);
        if space != Space::Data || self.sources.values().all(|source| source.price.is_free()) {
            return;
        }
        let (began, size) = (self.spending.began, f64::from(self.neighbourhood.size()));
        let starts = now.since(began) < START;
        let mut given: BTreeMap<Price, (f64, f64)> = BTreeMap::new();
        let mut sites = BTreeSet::new();
        for source in self
            .sources
            .values()
            .filter(|source| !self.is_member(source.device))
        {
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
        self.spending.given = given
            .into_iter()
            .map(|(price, (lately, expected))| (price, lately.max(expected)))
            .collect();
    }

    /// Decides for every device that is reached through a relay whether it is asked that way now,
    /// and looks for a relay to those that are too slow without one.
    fn weigh_ways(&mut self, space: Space, now: Time, commands: &mut Vec<Command>) {
        let far = |source: &Source| source.kind == HolderKind::Device && !source.distance.is_near();
        if !self
            .sources
            .values()
            .any(|source| source.carriers.has_relayed() || far(source))
        {
            return;
        }
        let (limit, prices) = (self.limit(), self.spending.prices);
        let (began, size) = (self.spending.began, f64::from(self.neighbourhood.size()));
        let lately = |source: &Source| source.recent.rate(began, now);
        // The part of it that costs less than a relay.
        let cheaply = |source: &Source| {
            if source.price < prices.relayed {
                lately(source)
            } else {
                0.0
            }
        };
        let all: f64 = self.sources.values().map(lately).sum();
        let cheap: f64 = self.sources.values().map(cheaply).sum();
        let is_long =
            space == Space::Data && self.spans.missing_bytes() as f64 > all * LONG.as_secs_f64();
        for source in self.sources.values_mut() {
            // Where it cannot be paid, a slow way is better than none.
            let affords = limit.affords(source.price_over(true, &prices), crate::SPAN_BYTES);
            // What the others give for less counts beside this one's direct way.
            let worth = limit.threshold(prices.relayed) - (cheap - cheaply(source)).max(0.0) * size;
            source.carriers.set_worth(if affords { worth } else { 0.0 });
            if source.carriers.has_relayed() {
                source.settle_way(&prices, now);
            // Two direct carriers, while one of them is on trial, give more together than either.
            } else if is_long
                && far(source)
                && lately(source) < worth
                && source.misses_relay(now, LOOK_AGAIN)
            {
                commands.push(Command::FindRelay {
                    share: self.share,
                    device: source.device,
                });
            }
        }
    }

    /// The facts of a source, with what those cheaper than it give.
    pub(crate) fn priced(&self, facts: SourceFacts) -> SourceFacts {
        let cheaper = self
            .spending
            .given
            .range(..facts.price)
            .map(|(_, rate)| rate)
            .sum();
        match self.space() {
            Some(Space::Data) => SourceFacts { cheaper, ..facts },
            _ => SourceFacts {
                price: Price::FREE,
                reluctant: false,
                cheaper,
                ..facts
            },
        }
    }

    /// What can be spent now.
    pub(crate) fn limit(&self) -> SpendingLimit {
        let budget = &self.spending.budget;
        let left = budget.max_cost.map(|most| {
            most.saturating_sub(self.spent())
                .saturating_sub(self.committed())
        });
        SpendingLimit {
            waiting: self.neighbourhood.size(),
            worth: budget.mode.worth(),
            left,
            urgent: false,
        }
    }

    fn spent(&self) -> u64 {
        self.spending
            .budget
            .spent
            .saturating_add(self.journal.total_cost())
    }

    /// What will have been spent when everything asked for has come.
    fn committed(&self) -> u64 {
        let owed = |source: &Source| source.price.of(source.carriers.outstanding());
        self.sources
            .values()
            .fold(0, |sum, source| sum.saturating_add(owed(source)))
    }

    /// So many bytes came from a source.
    pub(crate) fn paid(&mut self, device: DeviceId, carrier: Carrier, bytes: u64, now: Time) {
        if self.space() != Some(Space::Data) {
            return;
        }
        let Some(source) = self.sources.get_mut(&device) else {
            return;
        };
        source.recent.arrived(bytes, now);
        let relayed = carrier == Carrier::Relayed;
        let price = source.price_over(relayed, &self.spending.prices);
        if !price.is_free() {
            self.journal.cost(device, price.of(bytes), relayed);
        }
    }

    /// Whether something that is missing could be had, and costs more than is left.
    pub(crate) fn is_too_dear(&self, version: u64, space: Space, now: Time) -> bool {
        let limit = self.limit();
        let gives = |s: &&Source| {
            s.usable(version, space, now) && s.offers(version, space, self.spans.missing())
        };
        let mut providers = self.sources.values().filter(gives).peekable();
        space == Space::Data
            && limit.left.is_some()
            && providers.peek().is_some()
            && providers.all(|source| {
                !limit.affords(
                    source.price,
                    crate::SPAN_BYTES.min(self.spans.missing_bytes()),
                )
            })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::{Budget, Mode};
    use crate::testing::device;
    use crate::{Engine, EngineConfig, Plan};
    use hither_proto::{Announcement, Ranges, ShareId, ShareSecret};

    const CHUNK: u32 = 1 << 20;

    fn share() -> ShareId {
        ShareSecret::new([1; 16]).share_id()
    }

    /// A device so many milliseconds away gives 1 MiB each second; in which seconds a relay to it
    /// was looked for, which costs so much for each GiB.
    fn looked_for(
        rtt_ms: u64,
        chunks: u32,
        (price, budget): (f64, Budget),
        seconds: u64,
    ) -> Vec<u64> {
        let (holder, at) = (device(1), |ms| Time::from_start(Duration::from_millis(ms)));
        let prices = Prices {
            relayed: Price::per_gib(price).unwrap(),
            ..Prices::default()
        };
        let mut engine = Engine::new(EngineConfig::new(device(0)));
        engine.set_prices(prices, at(0));
        engine.start_fetch(share(), holder, None, None);
        engine.set_budget(share(), budget, at(0));
        engine.handle_holder_seen(share(), holder, HolderKind::Device, at(0));
        engine.handle_session_opened(share(), holder, 1, Duration::from_millis(rtt_ms), at(0));
        let held = Ranges::default();
        let said = Announcement {
            version: 1,
            epoch: 1,
            seq: 1,
            complete: true,
            held,
            has_manifest: true,
        };
        engine.handle_announced(share(), holder, said, at(0));
        let (lengths, wanted) = (vec![CHUNK; chunks as usize], (0..chunks).collect());
        engine.plan(
            share(),
            Plan {
                version: 1,
                space: Space::Data,
                lengths,
                wanted,
            },
            at(0),
        );
        let (mut asked, mut found) = (std::collections::VecDeque::new(), Vec::new());
        for second in 0..seconds {
            engine.handle_timeout(at(second * 1000));
            while let Some(command) = engine.poll_command() {
                match command {
                    Command::Want {
                        request, ranges, ..
                    } => {
                        asked.extend(ranges.positions().map(|position| (request, position)));
                    }
                    Command::FindRelay { .. } => found.push(second),
                    _ => {}
                }
            }
            let Some((request, position)) = asked.pop_front() else {
                continue;
            };
            let now = at(second * 1000 + 999);
            engine.handle_arrival(share(), holder, request, position, now);
            engine.stored(share(), Some(request), &[position], now);
        }
        found
    }

    #[test]
    fn a_relay_is_looked_for_where_the_direct_way_is_slow_and_much_is_missing() {
        let balanced = Budget::default();
        // 8.4 Mbit/s, where a relay is worth its price below 95.
        let found = looked_for(30, 200, (0.09, balanced), 100);
        assert!(found.len() == 1 && (3..8).contains(&found[0]), "{found:?}");
        let found = looked_for(30, 800, (0.09, balanced), 700);
        assert_eq!(found.len(), 3, "again from time to time: {found:?}");
        assert_eq!(
            looked_for(1, 200, (0.09, balanced), 100),
            [],
            "it is on this network"
        );
        assert_eq!(
            looked_for(30, 10, (0.09, balanced), 100),
            [],
            "it is not worth while"
        );
    }

    #[test]
    fn a_relay_that_is_not_worth_its_price_or_cannot_be_paid_is_not_looked_for() {
        let saver = Budget {
            mode: Mode::Saver,
            ..Budget::default()
        };
        assert_eq!(
            looked_for(30, 200, (0.07, saver), 100).len(),
            1,
            "below 12.3 Mbit/s"
        );
        assert_eq!(
            looked_for(30, 200, (0.2, saver), 100),
            [],
            "4.3 Mbit/s would do"
        );
        let broke = Budget {
            max_cost: Some(0),
            ..Budget::default()
        };
        assert_eq!(looked_for(30, 200, (0.09, broke), 100), []);
    }
}
