//! Which source a span is taken from: a table of situations in, a decision with its reasons out.
//!
//! Pure and replaceable. [`EarliestFinish`] is the rule for one LAN and a store: the smallest expected finish time among
//! the sources that hold the span and have room, the store among them only where it is faster than the devices. Prices
//! and claims between neighbours come in as further facts.

use hither_proto::{DeviceId, HolderKind};
use std::time::Duration;

/// What is known of one source that could give a span.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceFacts {
    /// The device or store.
    pub device: DeviceId,
    /// Which of both it is.
    pub kind: HolderKind,
    /// Round-trip time of its link.
    pub rtt: Duration,
    /// Bytes asked of it and not yet received.
    pub outstanding: u64,
    /// Expected rate, bytes per second, above zero.
    pub rate: f64,
    /// How many more bytes may be asked of it now.
    pub room: u64,
    /// It has not stalled, or has given something since.
    pub trusted: bool,
    /// Its rate was measured, and is no assumption.
    pub measured: bool,
}

impl SourceFacts {
    /// `T(s) = rtt + (outstanding + size) / rate`: when this source would be done with `size` more bytes.
    pub fn finish(&self, size: u64) -> Duration {
        let seconds = (self.outstanding + size) as f64 / self.rate.max(1.0);
        self.rtt + Duration::from_secs_f64(seconds.min(1e6))
    }

    /// The same if nothing were asked of it yet: how near and fast it is, and not how busy this fetch keeps it.
    pub fn unloaded(&self, size: u64) -> Duration {
        Self { outstanding: 0, ..self.clone() }.finish(size)
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
    /// A store was faster than the devices that had it.
    StoreFaster,
    /// A neighbour had it.
    LocalCopy,
    /// No neighbour had it, and it belonged to this device's part.
    FirstCopy,
    /// No neighbour had it, and none of them wanted to get it.
    Steal,
    /// A neighbour wanted to get it, and showed no progress.
    Takeover,
    /// Nothing had moved for too long: whoever has it was asked, whatever spoke against it.
    Liveness,
}

impl Rule {
    /// The stable name used in JSON and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OnlyHolder => "only_holder",
            Self::EarliestFinish => "earliest_finish",
            Self::Moved => "moved",
            Self::Tail => "tail",
            Self::StoreFaster => "store_faster",
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
        Self::Tail,
        Self::StoreFaster,
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
/// for one fetcher): what it would bring late, the others bring sooner. Others that stalled and have given nothing since
/// bring nothing soon, whatever was measured before. One that is much slower than the others together is spared.
///
/// A store is a source like any other where no device has the span. Where one has it, the store counts only when it would
/// be done earlier than every device even if nothing were asked of them: waiting for the turn of a faster device is no
/// reason to take from a store what the device can give. A device that stalled and has given nothing since does not
/// keep the store out.
#[derive(Debug, Clone, Copy, Default)]
pub struct EarliestFinish;

/// A device whose rate is less than this part of what the others who have the span give together is spared: it would
/// save less time than that, and its link is thin for everybody (requirement A7; the mirror image of rule 1's "a neighbour
/// slower than 10 % is ignored").
const THIN: f64 = 0.1;
/// Tolerance of the tail rule, so that equally fast sources do not exclude each other.
const TAIL_FACTOR: f64 = 1.1;
/// The same, for very short times.
const TAIL_SLACK: Duration = Duration::from_millis(50);

impl EarliestFinish {
    /// Whether a source counts beside the others.
    fn counts(situation: &Situation, facts: &SourceFacts) -> bool {
        let size = situation.size;
        let mut devices = situation.holders.iter().filter(|f| f.kind == HolderKind::Device && f.trusted);
        facts.kind == HolderKind::Device || devices.all(|device| facts.unloaded(size) < device.unloaded(size))
    }

    /// Whether the others who have the span are so much faster that this one would hardly help.
    fn is_thin(situation: &Situation, index: usize) -> bool {
        let holders = situation.holders.iter().enumerate();
        let counts = |facts: &SourceFacts| facts.trusted && facts.measured && Self::counts(situation, facts);
        let others = holders.filter(|(i, facts)| *i != index && counts(facts));
        let together: f64 = others.map(|(_, facts)| facts.rate).sum();
        situation.holders[index].rate < together * THIN
    }

    fn lengthens_the_tail(situation: &Situation, index: usize, finish: Duration) -> bool {
        let others = || {
            let others = situation.holders.iter().enumerate().filter(|(i, _)| *i != index);
            others.map(|(_, facts)| facts).filter(|facts| facts.trusted && Self::counts(situation, facts))
        };
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
        let can = |facts: &SourceFacts| facts.room > 0 && Self::counts(situation, facts);
        let &(best, finish) =
            order.iter().find(|(index, _)| can(&holders[*index]) && !Self::is_thin(situation, *index))?;
        if Self::lengthens_the_tail(situation, best, finish) {
            return None;
        }
        let devices = holders.iter().any(|facts| facts.kind == HolderKind::Device);
        let rule = match holders[best].kind {
            _ if holders.len() == 1 => Rule::OnlyHolder,
            HolderKind::Store if devices => Rule::StoreFaster,
            HolderKind::Store | HolderKind::Device => Rule::EarliestFinish,
        };
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
        SourceFacts {
            device: device(n),
            kind: HolderKind::Device,
            rtt: Duration::from_millis(1),
            outstanding,
            rate,
            room,
            trusted: true,
            measured: true,
        }
    }

    fn store(n: u8, rate: f64, outstanding: u64, room: u64) -> SourceFacts {
        let rtt = Duration::from_millis(20);
        SourceFacts { kind: HolderKind::Store, rtt, ..facts(n, rate, outstanding, room) }
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
            // The faster ones are full, and so much faster that the slow one is spared; with less room between them it helps.
            (lots, vec![facts(1, 1e6, 0, MIB), facts(2, 11e6, MIB, 0)], None),
            (lots, vec![facts(1, 1e6, 0, MIB), facts(2, 9e6, MIB, 0)], Some((0, EarliestFinish))),
            (lots, vec![facts(1, 1e6, 0, MIB), facts(2, 6e6, MIB, 0), facts(3, 6e6, MIB, 0)], None),
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
    fn a_store_is_asked_where_no_device_can_give_or_it_is_faster() {
        use Rule::*;
        let lots = 1000 * MIB;
        let stalled = SourceFacts { trusted: false, ..facts(1, 12e6, MIB, 0) };
        let table = [
            (lots, vec![store(9, 1e6, 0, MIB)], Some((0, OnlyHolder))),
            (lots, vec![store(8, 1e6, 0, MIB), store(9, 2e6, 0, MIB)], Some((1, EarliestFinish))),
            // The device is faster: its turn is waited for, however busy it is.
            (lots, vec![facts(1, 12e6, 0, MIB), store(9, 6e6, 0, MIB)], Some((0, EarliestFinish))),
            (lots, vec![facts(1, 12e6, 16 * MIB, 0), store(9, 6e6, 0, MIB)], None),
            // Also when only one of two devices is.
            (lots, vec![facts(1, 1e6, 0, 0), facts(2, 12e6, MIB, 0), store(9, 6e6, 0, MIB)], None),
            // The store is faster: both help, as long as neither lengthens the end.
            (lots, vec![facts(1, 1e6, 0, MIB), store(9, 6e6, 0, MIB)], Some((1, StoreFaster))),
            (lots, vec![facts(1, 1e6, 0, MIB), store(9, 6e6, 16 * MIB, 0)], Some((0, EarliestFinish))),
            (2 * MIB, vec![facts(1, 1e6, 0, MIB), store(9, 12e6, 2 * MIB, 0)], None),
            // A device that stalled does not keep it out.
            (lots, vec![stalled.clone(), store(9, 6e6, 0, MIB)], Some((1, StoreFaster))),
            (2 * MIB, vec![stalled, store(9, 1e6, 0, MIB)], Some((1, StoreFaster))),
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
