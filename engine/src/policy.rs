//! Which source a span is taken from: a table of situations in, a decision with its reasons out.
//!
//! Pure and replaceable. [`EarliestFinish`] is the rule for one LAN: the smallest expected finish time among the
//! sources that hold the span and have room. Prices and claims between neighbours come in as further facts.

use hither_proto::DeviceId;
use std::time::Duration;

/// What is known of one source that could give a span.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceFacts {
    /// The device.
    pub device: DeviceId,
    /// Round-trip time of its link.
    pub rtt: Duration,
    /// Bytes asked of it and not yet received.
    pub outstanding: u64,
    /// Expected rate, bytes per second, above zero.
    pub rate: f64,
    /// How many more bytes may be asked of it now.
    pub room: u64,
}

impl SourceFacts {
    /// `T(s) = rtt + (outstanding + size) / rate`: when this source would be done with `size` more bytes.
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
    Tail,
}

impl Rule {
    /// The stable name used in JSON and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OnlyHolder => "only_holder",
            Self::EarliestFinish => "earliest_finish",
            Self::Moved => "moved",
            Self::Tail => "tail",
        }
    }

    /// Every rule, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::OnlyHolder, Self::EarliestFinish, Self::Moved, Self::Tail];
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
    /// Index and expected finish of the next best, when there was one.
    pub runner_up: Option<(usize, Duration)>,
}

/// The situation in which one span is to be given to a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Situation {
    /// Bytes of the span that are missing.
    pub size: u64,
    /// Bytes that the whole fetch still misses.
    pub remaining: u64,
    /// The sources that hold the span.
    pub holders: Vec<SourceFacts>,
}

/// A rule for choosing sources.
pub trait Policy: std::fmt::Debug + Send {
    /// Chooses among the holders; `None`: better wait than ask any of them now.
    fn choose(&self, situation: &Situation) -> Option<Decision>;
}

/// Smallest expected finish time among the sources with room, unless that source would only lengthen the tail.
///
/// A source is skipped when `T(s) > 1.1 · max(W / R_others, min T_others) + 50 ms` (source-selection design, rule 3,
/// for one fetcher): what it would bring late, the others bring sooner.
#[derive(Debug, Clone, Copy, Default)]
pub struct EarliestFinish;

/// Tolerance of the tail rule, so that equally fast sources do not exclude each other.
const TAIL_FACTOR: f64 = 1.1;
/// The same, for very short times.
const TAIL_SLACK: Duration = Duration::from_millis(50);

impl EarliestFinish {
    fn lengthens_the_tail(situation: &Situation, index: usize, finish: Duration) -> bool {
        let others =
            || situation.holders.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, facts)| facts);
        let Some(soonest) = others().map(|facts| facts.finish(situation.size)).min() else { return false };
        let rate: f64 = others().map(|facts| facts.rate).sum();
        let drain = Duration::from_secs_f64((situation.remaining as f64 / rate.max(1.0)).min(1e6));
        finish > drain.max(soonest).mul_f64(TAIL_FACTOR) + TAIL_SLACK
    }
}

impl Policy for EarliestFinish {
    fn choose(&self, situation: &Situation) -> Option<Decision> {
        let holders = &situation.holders;
        let mut order: Vec<(usize, Duration)> =
            holders.iter().enumerate().map(|(i, facts)| (i, facts.finish(situation.size))).collect();
        order.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| holders[a.0].device.cmp(&holders[b.0].device)));
        let &(best, finish) = order.iter().find(|(index, _)| holders[*index].room > 0)?;
        if Self::lengthens_the_tail(situation, best, finish) {
            return None;
        }
        let rule = if holders.len() == 1 { Rule::OnlyHolder } else { Rule::EarliestFinish };
        let runner_up = order.iter().find(|(index, _)| *index != best).copied();
        Some(Decision { source: best, rule, finish, runner_up })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;

    const MIB: u64 = 1 << 20;

    fn facts(n: u8, rate: f64, outstanding: u64, room: u64) -> SourceFacts {
        SourceFacts { device: device(n), rtt: Duration::from_millis(1), outstanding, rate, room }
    }

    fn choose(remaining: u64, holders: Vec<SourceFacts>) -> Option<(usize, Rule)> {
        EarliestFinish.choose(&Situation { size: MIB, remaining, holders }).map(|d| (d.source, d.rule))
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
            (lots, vec![facts(1, 1e6, 0, MIB), facts(2, 2e6, 0, MIB)], Some((1, EarliestFinish))),
            // The faster one is loaded: the slower one is done first.
            (lots, vec![facts(1, 1e6, 0, MIB), facts(2, 2e6, 4 * MIB, MIB)], Some((0, EarliestFinish))),
            // The faster one is full and there is much to do: every source helps.
            (lots, vec![facts(1, 3e6, 0, MIB), facts(2, 12e6, 2 * MIB, 0)], Some((0, EarliestFinish))),
            // The same near the end: the slow one would only lengthen the tail.
            (2 * MIB, vec![facts(1, 1e6, 0, MIB), facts(2, 12e6, 2 * MIB, 0)], None),
        ];
        for (remaining, holders, expected) in table {
            assert_eq!(choose(remaining, holders.clone()), expected, "{remaining} {holders:?}");
        }
    }

    #[test]
    fn the_runner_up_is_told() {
        let holders = vec![facts(1, 1e6, 0, 1), facts(2, 2e6, 0, 1)];
        let decision =
            EarliestFinish.choose(&Situation { size: 1_000_000, remaining: MIB, holders }).unwrap();
        let (index, finish) = decision.runner_up.unwrap();
        assert_eq!((index, finish.as_millis()), (0, 1001));
        assert_eq!(decision.finish.as_millis(), 501);
    }
}
