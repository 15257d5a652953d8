//! The spending of a fetch: its budget, its cost, and the rates of sources by price.
//!
//! Only data counts: root and manifest are small, and nothing can be decided before they are here.

use crate::journal::Journal;
use crate::neighbourhood::Neighbourhood;
use crate::policy::SourceFacts;
use crate::price::{Budget, Prices, SpendingLimit};
use crate::rate::UNMEASURED_WAN;
use crate::snapshot::Snapshot;
use crate::source::Source;
use crate::sources::Sources;
use crate::time::Time;
use hither_proto::{DeviceId, HolderKind, Price, Space};
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
    budget: Budget,
    prices: Prices,
    /// When data was planned.
    began: Time,
    /// Recent rates of the sources of each price, for all devices that wait here, bytes per second.
    /// Empty while no source costs anything.
    given: BTreeMap<Price, f64>,
}

impl Spending {
    /// Sets what the fetch may spend.
    pub const fn set_budget(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// Sets what sources cost here.
    pub const fn set_prices(&mut self, prices: Prices) {
        self.prices = prices;
    }

    /// The prices of sources here.
    pub const fn prices(&self) -> &Prices {
        &self.prices
    }

    /// Begins a space.
    pub const fn begin(&mut self, now: Time) {
        self.began = now;
    }

    /// When the space was begun.
    pub const fn began(&self) -> Time {
        self.began
    }

    /// Adds the facts about money to those of a source: the rates of sources cheaper than it. Root
    /// and manifest cost nothing.
    pub fn priced(&self, facts: SourceFacts, space: Option<Space>) -> SourceFacts {
        let cheaper = self.given.range(..facts.price).map(|(_, rate)| rate).sum();
        match space {
            Some(Space::Data) => SourceFacts { cheaper, ..facts },
            _ => SourceFacts {
                price: Price::FREE,
                reluctant: false,
                cheaper,
                ..facts
            },
        }
    }

    /// The limit of what can be spent now, while `waiting` devices wait for what is fetched here.
    pub fn limit(&self, waiting: u32, sources: &Sources, journal: &Journal) -> SpendingLimit {
        let left = self.budget.max_cost.map(|most| {
            most.saturating_sub(self.budget.spent.saturating_add(journal.total_cost()))
                .saturating_sub(committed(sources))
        });
        SpendingLimit {
            waiting,
            worth: self.budget.mode.worth(),
            left,
            urgent: false,
        }
    }

    /// Adds up what came lately, once for many decisions.
    pub fn update_rates(&mut self, neighbourhood: &Neighbourhood, at: &Snapshot<'_>) {
        self.given.clear();
        let data = at.target.is_some_and(|target| target.space == Space::Data);
        if !data || at.sources.iter().all(|source| source.price.is_free()) {
            return;
        }
        let (began, size) = (self.began, f64::from(neighbourhood.size()));
        let starts = at.now.since(began) < START;
        let mut given: BTreeMap<Price, (f64, f64)> = BTreeMap::new();
        let mut sites = BTreeSet::new();
        for source in at
            .sources
            .iter()
            .filter(|source| !neighbourhood.contains(source.device))
        {
            let (lately, expected) = given.entry(source.price).or_default();
            *lately += source.recent.rate(began, at.now) * size;
            let counted = source.site().is_some_and(|site| sites.contains(&site));
            if starts
                && !counted
                && source.is_trusted()
                && at
                    .target
                    .is_some_and(|target| source.usable(target, at.now))
            {
                *expected += expectation(source, at.now);
                sites.extend(source.site());
            }
        }
        self.given = given
            .into_iter()
            .map(|(price, (lately, expected))| (price, lately.max(expected)))
            .collect();
    }

    /// Decides for every device that is reached through a relay whether it is asked that way now.
    /// `missing` bytes of data are missing (`None`: something else is got). Returns the devices
    /// that are too slow without a relay, so that one should be looked for.
    pub fn compare_carriers(
        &self,
        sources: &mut Sources,
        limit: &SpendingLimit,
        missing: Option<u64>,
        now: Time,
    ) -> Vec<DeviceId> {
        let far = |source: &Source| source.kind == HolderKind::Device && !source.distance.is_near();
        if !sources
            .iter()
            .any(|source| source.carriers.has_relayed() || far(source))
        {
            return Vec::new();
        }
        let (prices, began) = (&self.prices, self.began);
        let lately = |source: &Source| source.recent.rate(began, now);
        // The part of it that costs less than a relay.
        let cheaply = |source: &Source| {
            if source.price < prices.relayed {
                lately(source)
            } else {
                0.0
            }
        };
        let all: f64 = sources.iter().map(lately).sum();
        let cheap: f64 = sources.iter().map(cheaply).sum();
        let is_long = missing.is_some_and(|missing| missing as f64 > all * LONG.as_secs_f64());
        let mut slow = Vec::new();
        for source in sources.iter_mut() {
            // If it cannot be paid, a slow way is better than none.
            let affords = limit.affords(source.price_over(true, prices), crate::SPAN_BYTES);
            // The others' cheaper rate counts beside this one's direct way.
            let others = (cheap - cheaply(source)).max(0.0) * f64::from(limit.waiting);
            let worth = limit.threshold(prices.relayed) - others;
            source.carriers.set_worth(if affords { worth } else { 0.0 });
            if source.carriers.has_relayed() {
                source.update_carrier(prices, now);
            // Two direct carriers, while one of them is on trial, give more together than either.
            } else if is_long
                && far(source)
                && lately(source) < worth
                && source.misses_relay(now, LOOK_AGAIN)
            {
                slow.push(source.device);
            }
        }
        slow
    }
}

/// The cost of everything that was asked for and has not come.
fn committed(sources: &Sources) -> u64 {
    let owed = |source: &Source| source.price.of(source.carriers.outstanding());
    sources
        .iter()
        .fold(0, |sum, source| sum.saturating_add(owed(source)))
}

/// The expected rate of a source, bytes per second.
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

    use crate::Command;
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

    fn none() -> Vec<u64> {
        Vec::new()
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
            none(),
            "it is on this network"
        );
        assert_eq!(
            looked_for(30, 10, (0.09, balanced), 100),
            none(),
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
            none(),
            "4.3 Mbit/s would do"
        );
        let broke = Budget {
            max_cost: Some(0),
            ..Budget::default()
        };
        assert_eq!(looked_for(30, 200, (0.09, broke), 100), none());
    }
}
