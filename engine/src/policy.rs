//! The choice of the source of a span: the context goes in, a decision with its reasons comes out.
//!
//! Pure and replaceable. [`EarliestFinish`] takes the smallest expected finish time among the
//! sources that hold the span, have room and are worth their price. The spans to look at, and the
//! parts of neighbours, are settled before.

use crate::price::SpendingLimit;
use crate::site_id::SiteId;
use hither_proto::{DeviceId, HolderKind, Price};
use std::collections::BTreeMap;
use std::time::Duration;

/// The facts of one source that could give a span.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceFacts {
    /// The device or store.
    pub device: DeviceId,
    /// Its kind, device or store.
    pub kind: HolderKind,
    /// Round-trip time of its link.
    pub rtt: Duration,
    /// It is on this device's own network.
    pub near: bool,
    /// The other network that it is on: all devices there share its link.
    pub site: Option<SiteId>,
    /// Bytes asked of it (or of its site) and not yet received.
    pub outstanding: u64,
    /// Expected rate, bytes per second, above zero.
    pub rate: f64,
    /// How many more bytes may be asked of it now.
    pub room: u64,
    /// It has not stalled, or has given something since.
    pub trusted: bool,
    /// Its rate was measured, and is no assumption.
    pub measured: bool,
    /// Its price.
    pub price: Price,
    /// It prefers not to serve.
    pub reluctant: bool,
    /// Bytes per second that cheaper sources gave to all devices that wait here, lately;
    /// meaningless when it is free.
    pub cheaper: f64,
}

impl SourceFacts {
    /// `T(s) = rtt + (outstanding + size) / rate`: when this source would be done with `size` more
    /// bytes.
    pub fn finish(&self, size: u64) -> Duration {
        let seconds = (self.outstanding + size) as f64 / self.rate.max(1.0);
        self.rtt + Duration::from_secs_f64(seconds.min(1e6))
    }
}

/// Why a source was taken: one of the rules of the source-selection design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// It was the only one that had the span.
    OnlyHolder,
    /// It was expected to be done first.
    EarliestFinish,
    /// Another source had it before and stalled, failed or lied.
    Moved,
    /// A second copy was asked for, so that a slow source does not hold up the end.
    Endgame,
    /// It costs, and what is cheaper was too slow for what waiting is worth.
    Paid,
    /// A neighbour had it.
    LocalCopy,
    /// No neighbour had it, and it belonged to this device's part.
    FirstCopy,
    /// No neighbour had it, and none of them wanted to get it.
    Steal,
    /// A neighbour wanted to get it, and showed no progress.
    Takeover,
    /// Nothing had moved for too long: every source that has it was asked, whatever spoke against
    /// it.
    Liveness,
}

impl Rule {
    /// The stable name used in JSON and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OnlyHolder => "only_holder",
            Self::EarliestFinish => "earliest_finish",
            Self::Moved => "moved",
            Self::Endgame => "tail",
            Self::Paid => "paid",
            Self::LocalCopy => "local_copy",
            Self::FirstCopy => "first_copy",
            Self::Steal => "steal",
            Self::Takeover => "takeover",
            Self::Liveness => "liveness",
        }
    }

    /// Every rule, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::OnlyHolder,
        Self::EarliestFinish,
        Self::Moved,
        Self::Endgame,
        Self::Paid,
        Self::LocalCopy,
        Self::FirstCopy,
        Self::Steal,
        Self::Takeover,
        Self::Liveness,
    ];
}

/// A decision and its reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Index of the chosen source in the facts.
    pub source: usize,
    /// The rule that chose it.
    pub rule: Rule,
    /// When it is expected to be done.
    pub finish: Duration,
    /// Indices and expected finish of the next best, at most [`RUNNERS_UP`].
    pub runners_up: Vec<(usize, Duration)>,
}

/// How many of those that were not chosen are remembered.
pub const RUNNERS_UP: usize = 2;

/// The context in which the source of one span is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct SelectionContext {
    /// Bytes of the span that are missing.
    pub size: u64,
    /// Bytes that the whole fetch still misses.
    pub remaining: u64,
    /// The sources that hold the span.
    pub holders: Vec<SourceFacts>,
    /// The limit of spending, and the worth of time.
    pub limit: SpendingLimit,
    /// The span is asked of a source already that costs so much; another one is to be worth its
    /// price beside it.
    pub beside: Option<Price>,
}

/// A rule for choosing sources.
pub trait Policy: std::fmt::Debug + Send {
    /// Chooses among the holders; `None`: better wait than ask any of them now.
    fn choose(&self, context: &SelectionContext) -> Option<Decision>;
}

/// Smallest expected finish time among the sources with room that are worth their price, unless
/// that source would only lengthen the endgame.
///
/// A source that costs counts where nobody cheaper has the span, or where what is cheaper gives
/// less, all together, than `N · v / p` (source-selection design, rule 4). One that prefers not to
/// serve counts only when no other can. A source that stalled and has given nothing since keeps no
/// other one out. A device on the own network that was not tried yet does.
///
/// A source is skipped when `T(s) > 1.1 · max((W - w) / R_others, min T_others) + 50 ms`: what it
/// would bring late, the others bring sooner. That is rule 3 of the source-selection design for one
/// fetcher, but for `w`, what the source itself would then owe: the others need not bring that.
/// Others that stalled and have given nothing since bring nothing soon, whatever was measured
/// before. One that is much slower than the others together is spared, and so is one far away while
/// a device on the own network would bring the span in about the same time (rule 1: local copies).
#[derive(Debug, Clone, Copy, Default)]
pub struct EarliestFinish;

/// A device whose rate is less than this part of what the others who have the span give together is
/// spared: it would save less time than that, and its link is thin for everybody (requirement A7;
/// the mirror image of rule 1's "a neighbour slower than 10 % is ignored").
const THIN: f64 = 0.1;
/// How much longer than twice as long a device on the own network may take before one far away is
/// asked for what both have.
const NEARER: Duration = Duration::from_millis(50);
/// Tolerance of the endgame rule, so that equally fast sources do not exclude each other.
const ENDGAME_FACTOR: f64 = 1.1;
/// The same, for very short times.
const ENDGAME_SLACK: Duration = Duration::from_millis(50);

impl EarliestFinish {
    /// Returns whether a source is worth asking at its price, beside the others.
    fn counts(context: &SelectionContext, facts: &SourceFacts) -> bool {
        if context.limit.urgent {
            return true;
        }
        let others = || {
            context
                .holders
                .iter()
                .filter(|other| other.trusted && other.device != facts.device)
        };
        let willing = others().any(|other| !other.reluctant);
        if facts.reluctant && (willing || context.beside.is_some()) {
            return false;
        }
        let mut cheaper = others().filter(|other| !other.reluctant && other.price < facts.price);
        let Some(first) = cheaper.next() else {
            return context.beside.is_none_or(|price| facts.price <= price)
                || Self::pays(context, facts);
        };
        let untried = |other: &SourceFacts| other.near && !other.measured;
        !untried(first) && !cheaper.any(untried) && Self::pays(context, facts)
    }

    /// Returns whether the cheaper sources are too slow for the worth of waiting.
    fn pays(context: &SelectionContext, facts: &SourceFacts) -> bool {
        facts.cheaper < context.limit.threshold(facts.price)
    }

    /// Returns whether the others who have the span, and cost no more, are so much faster that this
    /// one would hardly help.
    fn is_thin(context: &SelectionContext, index: usize) -> bool {
        let price = context.holders[index].price;
        let holders = context.holders.iter().enumerate();
        let counts = |facts: &SourceFacts| {
            facts.trusted && facts.measured && facts.price <= price && Self::counts(context, facts)
        };
        let others = holders.filter(|(i, facts)| *i != index && counts(facts));
        context.holders[index].rate < together(others.map(|(_, facts)| facts)) * THIN
    }

    /// When a device on the own network would be done with the span, if one has it: where that is
    /// about as soon, it need not cross a link that others use too. `None` for a second copy,
    /// and where nothing has moved for too long.
    fn nearby(context: &SelectionContext) -> Option<Duration> {
        if context.beside.is_some() || context.limit.urgent {
            return None;
        }
        let near = context
            .holders
            .iter()
            .filter(|facts| facts.near && facts.trusted && !facts.reluctant);
        near.map(|facts| facts.finish(context.size)).min()
    }

    fn lengthens_the_endgame(context: &SelectionContext, index: usize, finish: Duration) -> bool {
        let others = || {
            let others = context
                .holders
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != index);
            others
                .map(|(_, facts)| facts)
                .filter(|facts| facts.trusted && Self::counts(context, facts))
        };
        let Some(soonest) = others().map(|facts| facts.finish(context.size)).min() else {
            return false;
        };
        let rate = together(others()).max(1.0);
        let own = context.holders[index].outstanding + context.size;
        let rest = context.remaining.saturating_sub(own);
        let drain = Duration::from_secs_f64((rest as f64 / rate).min(1e6));
        finish > drain.max(soonest).mul_f64(ENDGAME_FACTOR) + ENDGAME_SLACK
    }

    fn rule(context: &SelectionContext, best: &SourceFacts) -> Rule {
        let cheaper = |other: &SourceFacts| other.price < best.price && !other.reluctant;
        match context.holders.len() {
            1 => Rule::OnlyHolder,
            _ if context.holders.iter().any(cheaper) => Rule::Paid,
            _ => Rule::EarliestFinish,
        }
    }
}

/// The rate of several sources together, bytes per second: those of one site share its link.
fn together<'a>(sources: impl Iterator<Item = &'a SourceFacts>) -> f64 {
    let mut sites: BTreeMap<SiteId, f64> = BTreeMap::new();
    let mut sum = 0.0;
    for facts in sources {
        match facts.site {
            Some(site) => {
                let rate = sites.entry(site).or_default();
                *rate = rate.max(facts.rate);
            }
            None => sum += facts.rate,
        }
    }
    sum + sites.values().sum::<f64>()
}

impl Policy for EarliestFinish {
    fn choose(&self, context: &SelectionContext) -> Option<Decision> {
        let holders = &context.holders;
        let mut order: Vec<(usize, Duration)> = holders
            .iter()
            .enumerate()
            .map(|(i, facts)| (i, facts.finish(context.size)))
            .collect();
        order.sort_by(|a, b| {
            a.1.cmp(&b.1)
                .then_with(|| holders[a.0].device.cmp(&holders[b.0].device))
        });
        let can = |facts: &SourceFacts| {
            facts.room > 0
                && context.limit.affords(facts.price, context.size)
                && Self::counts(context, facts)
        };
        let nearby = Self::nearby(context);
        let is_spared = |(index, finish): &(usize, Duration)| {
            let nearer =
                !holders[*index].near && nearby.is_some_and(|near| near <= *finish * 2 + NEARER);
            nearer || Self::is_thin(context, *index)
        };
        let &(best, finish) = order
            .iter()
            .find(|source| can(&holders[source.0]) && !is_spared(source))?;
        if Self::lengthens_the_endgame(context, best, finish) {
            return None;
        }
        let rule = Self::rule(context, &holders[best]);
        let runners_up = order
            .iter()
            .filter(|(index, _)| *index != best)
            .take(RUNNERS_UP)
            .copied()
            .collect();
        Some(Decision {
            source: best,
            rule,
            finish,
            runners_up,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::Mode;
    use crate::testing::device;

    const MIB: u64 = 1 << 20;

    fn facts(n: u8, rate: f64, outstanding: u64, room: u64) -> SourceFacts {
        SourceFacts {
            device: device(n),
            kind: HolderKind::Device,
            rtt: Duration::from_millis(1),
            outstanding,
            rate,
            room,
            near: false,
            site: None,
            trusted: true,
            measured: true,
            price: Price::FREE,
            reluctant: false,
            cheaper: 0.0,
        }
    }

    /// A store at the usual price, beside others who gave so much lately.
    fn store(n: u8, rate: f64, outstanding: u64, cheaper: f64) -> SourceFacts {
        let (rtt, price) = (Duration::from_millis(20), Price::per_gib(0.09).unwrap());
        let kind = HolderKind::Store;
        SourceFacts {
            kind,
            rtt,
            price,
            cheaper,
            ..facts(n, rate, outstanding, MIB)
        }
    }

    fn context(remaining: u64, holders: Vec<SourceFacts>) -> SelectionContext {
        let limit = SpendingLimit {
            waiting: 1,
            worth: Mode::Balanced.worth(),
            left: None,
            urgent: false,
        };
        SelectionContext {
            size: MIB,
            remaining,
            holders,
            limit,
            beside: None,
        }
    }

    fn choose(remaining: u64, holders: Vec<SourceFacts>) -> Option<(usize, Rule)> {
        chosen(&context(remaining, holders))
    }

    fn chosen(context: &SelectionContext) -> Option<(usize, Rule)> {
        EarliestFinish.choose(context).map(|d| (d.source, d.rule))
    }

    #[test]
    fn decisions() {
        use Rule::*;
        let lots = 1000 * MIB;
        // (bytes left, sources, chosen source and rule)
        let table = [
            (lots, vec![], None),
            (lots, vec![facts(1, 1e6, 0, MIB)], Some((0, OnlyHolder))),
            (lots, vec![facts(1, 1e6, 0, 0)], None),
            (
                lots,
                vec![facts(1, 1e6, 0, MIB), facts(2, 2e6, 0, MIB)],
                Some((1, EarliestFinish)),
            ),
            // The faster ones are full, and so much faster that the slow one is spared; with less
            // room between them it helps.
            (
                lots,
                vec![facts(1, 1e6, 0, MIB), facts(2, 11e6, MIB, 0)],
                None,
            ),
            (
                lots,
                vec![facts(1, 1e6, 0, MIB), facts(2, 9e6, MIB, 0)],
                Some((0, EarliestFinish)),
            ),
            (
                lots,
                vec![
                    facts(1, 1e6, 0, MIB),
                    facts(2, 6e6, MIB, 0),
                    facts(3, 6e6, MIB, 0),
                ],
                None,
            ),
            // The faster one is loaded: the slower one is done first.
            (
                lots,
                vec![facts(1, 1e6, 0, MIB), facts(2, 2e6, 4 * MIB, MIB)],
                Some((0, EarliestFinish)),
            ),
            // The faster one is full and there is much to do: every source helps.
            (
                lots,
                vec![facts(1, 3e6, 0, MIB), facts(2, 12e6, 2 * MIB, 0)],
                Some((0, EarliestFinish)),
            ),
            // The same near the end: the slow one would only lengthen the endgame.
            (
                2 * MIB,
                vec![facts(1, 1e6, 0, MIB), facts(2, 12e6, 2 * MIB, 0)],
                None,
            ),
        ];
        for (remaining, holders, expected) in table {
            assert_eq!(
                choose(remaining, holders.clone()),
                expected,
                "{remaining} {holders:?}"
            );
        }
        // In the end both are done at about the same time: the last MiB that the slow one takes is
        // not the other's to bring.
        let two = || vec![facts(1, 1e6, 0, MIB), facts(2, 4e6, MIB, 0)];
        assert_eq!(
            (choose(5 * MIB, two()), choose(4 * MIB, two())),
            (Some((0, EarliestFinish)), None)
        );
    }

    #[test]
    fn what_is_nearby_does_not_come_from_afar_without_need() {
        use Rule::*;
        let near = |outstanding, room| SourceFacts {
            near: true,
            ..facts(1, 20e6, outstanding, room)
        };
        let far = || facts(2, 10e6, 0, MIB);
        let table = [
            // About as soon, though far is sooner: near, or wait until it has room.
            (near(3 * MIB, MIB), Some((0, EarliestFinish))),
            (near(3 * MIB, 0), None),
            // A neighbour with a long queue keeps nobody from asking elsewhere; nor does one that
            // stalled.
            (near(12 * MIB, 0), Some((1, EarliestFinish))),
            (
                SourceFacts {
                    trusted: false,
                    ..near(3 * MIB, 0)
                },
                Some((1, EarliestFinish)),
            ),
            (
                SourceFacts {
                    reluctant: true,
                    ..near(0, MIB)
                },
                Some((1, EarliestFinish)),
            ),
        ];
        for (near, expected) in table {
            let context = context(1000 * MIB, vec![near, far()]);
            assert_eq!(chosen(&context), expected, "{context:?}");
        }
        // When nothing has moved for too long, nobody is spared.
        let mut urgent = context(1000 * MIB, vec![near(3 * MIB, 0), far()]);
        urgent.limit.urgent = true;
        assert_eq!(chosen(&urgent), Some((1, EarliestFinish)));
    }

    #[test]
    fn a_store_is_asked_where_nobody_cheaper_can_give_or_they_are_too_slow() {
        use Rule::*;
        let lots = 1000 * MIB;
        let stalled = SourceFacts {
            trusted: false,
            ..facts(1, 12e6, MIB, 0)
        };
        let full = |facts| SourceFacts { room: 0, ..facts };
        let untried = SourceFacts {
            near: true,
            measured: false,
            ..facts(1, 50e6, MIB, 0)
        };
        // 95 Mbit/s are 11.9 MB/s: below it, in balanced mode, one who waits pays for a store.
        let table = [
            (lots, vec![store(9, 1e6, 0, 0.0)], Some((0, OnlyHolder))),
            (
                lots,
                vec![store(8, 1e6, 0, 0.0), store(9, 2e6, 0, 0.0)],
                Some((1, EarliestFinish)),
            ),
            // The device gives enough: its turn is waited for, however busy it is.
            (
                lots,
                vec![facts(1, 12e6, 0, MIB), store(9, 24e6, 0, 12e6)],
                Some((0, EarliestFinish)),
            ),
            (
                lots,
                vec![facts(1, 12e6, 16 * MIB, 0), store(9, 24e6, 0, 12e6)],
                None,
            ),
            // It does not: both help, as long as neither lengthens the end.
            (
                lots,
                vec![facts(1, 6e6, 0, MIB), store(9, 12e6, 0, 6e6)],
                Some((1, Paid)),
            ),
            (
                lots,
                vec![facts(1, 6e6, 0, MIB), store(9, 12e6, 16 * MIB, 6e6)],
                Some((0, EarliestFinish)),
            ),
            (
                2 * MIB,
                vec![facts(1, 1e6, 0, MIB), full(store(9, 12e6, 2 * MIB, 1e6))],
                None,
            ),
            // A device that stalled does not keep it out; one of the own network that was not
            // tried yet does.
            (
                lots,
                vec![stalled.clone(), store(9, 6e6, 0, 20e6)],
                Some((1, Paid)),
            ),
            (
                2 * MIB,
                vec![stalled, store(9, 1e6, 0, 20e6)],
                Some((1, Paid)),
            ),
            (lots, vec![untried, store(9, 12e6, 0, 0.0)], None),
        ];
        for (remaining, holders, expected) in table {
            assert_eq!(
                choose(remaining, holders.clone()),
                expected,
                "{remaining} {holders:?}"
            );
        }
    }

    #[test]
    fn modes_neighbours_urgency_and_an_empty_purse_count() {
        use Rule::*;
        let holders = || vec![facts(1, 6e6, MIB, 0), store(9, 12e6, 0, 6e6)];
        let with = |change: fn(&mut SelectionContext)| {
            let mut context = context(1000 * MIB, holders());
            change(&mut context);
            chosen(&context)
        };
        assert_eq!(with(|_| ()), Some((1, Paid)));
        assert_eq!(
            with(|s| s.limit.worth = Mode::Saver.worth()),
            None,
            "48 Mbit/s for nothing are enough"
        );
        assert_eq!(
            with(|s| (s.holders[1].cheaper, s.limit.waiting) = (50e6, 8)),
            Some((1, Paid)),
            "for eight"
        );
        assert_eq!(
            with(|s| (s.holders[1].cheaper, s.limit.waiting) = (50e6, 4)),
            None,
            "not for four"
        );
        assert_eq!(
            with(|s| (s.holders[1].cheaper, s.limit.urgent) = (50e6, true)),
            Some((1, Paid))
        );
        assert_eq!(
            with(|s| s.limit.left = Some(80_000)),
            None,
            "1 MiB costs 87,890 nanos"
        );
        assert_eq!(
            with(|s| (s.limit.left, s.limit.urgent) = (Some(80_000), true)),
            None,
            "not even then"
        );
        assert_eq!(with(|s| s.limit.left = Some(90_000)), Some((1, Paid)));
        let alone = |s: &mut SelectionContext| s.holders.truncate(1);
        assert_eq!(with(alone), None, "it has no room");
        // As a second copy beside one that is asked for already.
        let second = |s: &mut SelectionContext| {
            s.holders.swap_remove(0);
            s.beside = Some(Price::FREE);
        };
        assert_eq!(with(second), Some((0, OnlyHolder)));
        let second = |s: &mut SelectionContext| {
            s.holders.swap_remove(0);
            s.beside = Some(Price::FREE);
            s.holders[0].cheaper = 12e6;
        };
        assert_eq!(with(second), None, "not worth it");
    }

    #[test]
    fn who_would_rather_not_give_is_asked_last() {
        use Rule::*;
        let lots = 1000 * MIB;
        let tired = |n, rate| SourceFacts {
            reluctant: true,
            ..facts(n, rate, 0, MIB)
        };
        let table = [
            (vec![tired(1, 12e6)], Some((0, OnlyHolder))),
            (
                vec![tired(1, 12e6), facts(2, 2e6, 0, MIB)],
                Some((1, EarliestFinish)),
            ),
            (
                vec![tired(1, 12e6), store(9, 2e6, 0, 0.0)],
                Some((1, EarliestFinish)),
            ),
            (vec![tired(1, 12e6), facts(2, 2e6, MIB, 0)], None),
            (
                vec![tired(1, 12e6), tired(2, 13e6)],
                Some((1, EarliestFinish)),
            ),
        ];
        for (holders, expected) in table {
            assert_eq!(choose(lots, holders.clone()), expected, "{holders:?}");
        }
    }

    #[test]
    fn the_runner_up_is_told() {
        let holders = vec![facts(1, 1e6, 0, 1), facts(2, 2e6, 0, 1)];
        let decision = EarliestFinish
            .choose(&SelectionContext {
                size: 1_000_000,
                ..context(MIB, holders)
            })
            .unwrap();
        let runners_up: Vec<_> = decision
            .runners_up
            .iter()
            .map(|(i, t)| (*i, t.as_millis()))
            .collect();
        assert_eq!(runners_up, [(0, 1001)]);
        assert_eq!(decision.finish.as_millis(), 501);
    }
}
