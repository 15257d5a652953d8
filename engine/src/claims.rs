//! Claims: neighbours that fetch the same version agree on which device gets which first copy.
//!
//! A first copy of a span is one that no neighbour has: it comes over a link that all of them
//! share, so that one of them should get it and give it to the others (source-selection design,
//! rules 2 and 7). Everyone has an own part of the share, by rendezvous hashing (Thaler and
//! Ravishankar, 1998), and begins with that. A device that is done with it takes from the others'
//! parts, but announces that first and waits for objections: two phases, so that two never get the
//! same.
//!
//! Invariants: a claim defers, it never blocks for good: claims of a device that makes no progress
//! are taken over, and after [`STRIKES`] of that ignored. The claims of others are bounded by
//! [`MAX_CLAIMS`] a device.

use crate::spans::Span;
use crate::time::Time;
use hither_proto::limits::MAX_CLAIMS;
use hither_proto::{Claims, PositionRange, Ranges};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long after its announcement a tentative claim holds if nobody objects: two coalescing delays
/// and some round trips.
const SETTLE: Duration = Duration::from_millis(50);
/// How long changes are gathered before they are announced, as for holdings.
const COALESCE: Duration = Duration::from_millis(10);
/// Most tentative claims at a time.
const MAX_TENTATIVE: usize = 8;
/// Most active claims that are announced.
const MAX_ACTIVE: usize = MAX_CLAIMS - MAX_TENTATIVE;
/// After how many takeovers the claims of a device are ignored.
const STRIKES: u32 = 3;
/// A claimer that shows nothing new for so long, at least, is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// One claim of another device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claim {
    end: u32,
    tentative: bool,
    since: Time,
}

/// The claims of a neighbour.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeerClaims {
    version: u64,
    /// By first position. They should not overlap; of those that do, the one that begins last
    /// counts.
    claims: BTreeMap<u32, Claim>,
    /// When it last announced something new.
    progress: Time,
    strikes: u32,
}

/// The state of a claim of another device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimState {
    /// It may still give way.
    Tentative,
    /// It is getting the span.
    Active,
    /// It claims the span, and shows no progress.
    Stale,
}

impl PeerClaims {
    /// The version that it fetches.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Sets its claims.
    pub fn said(&mut self, said: &Claims, now: Time) {
        let before = std::mem::take(&mut self.claims);
        let fresh = self.version != said.version;
        self.version = said.version;
        if fresh {
            self.progress = now;
        }
        for (ranges, tentative) in [(&said.active, false), (&said.tentative, true)] {
            for run in ranges.as_slice() {
                let known = before
                    .get(&run.start())
                    .filter(|c| !fresh && c.tentative == tentative);
                let since = known.map_or(now, |claim| claim.since);
                self.claims.insert(
                    run.start(),
                    Claim {
                        end: run.end(),
                        tentative,
                        since,
                    },
                );
            }
        }
    }

    /// The positions that it claims.
    pub fn ranges(&self) -> impl Iterator<Item = std::ops::Range<u32>> + '_ {
        self.claims.iter().map(|(start, claim)| *start..claim.end)
    }

    /// Notes that it announced something new.
    pub fn progressed(&mut self, now: Time) {
        self.progress = now;
    }

    /// Returns whether its claims still count.
    pub const fn counts(&self) -> bool {
        self.strikes < STRIKES
    }

    /// Notes that a claim of it was taken over.
    pub fn struck(&mut self) {
        self.strikes += 1;
    }

    /// The state of its claim on a span. `usual`: the time that a span takes here.
    pub fn state(&self, span: &Span, usual: Duration, now: Time) -> Option<ClaimState> {
        let (_, claim) = self.claims.range(..span.start + span.count).next_back()?;
        if claim.end <= span.start {
            return None;
        }
        let quiet = now.since(claim.since.max(self.progress));
        Some(match claim.tentative {
            _ if quiet > PATIENCE + usual * 2 => ClaimState::Stale,
            true => ClaimState::Tentative,
            false => ClaimState::Active,
        })
    }
}

/// The claims of this device on one share.
#[derive(Debug, Default)]
pub(crate) struct OwnClaims {
    /// Spans being got as first copies, and those that are got and not announced yet.
    active: BTreeSet<u32>,
    /// Spans to be got at that time, unless somebody objects.
    tentative: BTreeMap<u32, Time>,
    /// When changes are announced, if there are some.
    tell_at: Option<Time>,
}

impl OwnClaims {
    fn changed(&mut self, now: Time) {
        self.tell_at.get_or_insert(now + COALESCE);
    }

    /// Claims a first copy that is being fetched.
    pub fn get(&mut self, span: u32, now: Time) {
        self.tentative.remove(&span);
        if self.active.insert(span) {
            self.changed(now);
        }
    }

    /// Announces the wish to get a span; `false` when there are enough wishes.
    pub fn wish(&mut self, span: u32, now: Time) -> bool {
        if self.tentative.contains_key(&span) || self.tentative.len() >= MAX_TENTATIVE {
            return false;
        }
        self.tentative.insert(span, now + SETTLE);
        self.changed(now);
        true
    }

    /// The wishes that nobody objected to in time.
    pub fn granted(&self, now: Time) -> impl Iterator<Item = u32> + '_ {
        self.tentative
            .iter()
            .filter(move |(_, at)| **at <= now)
            .map(|(span, _)| *span)
    }

    /// Returns whether a span is wished for.
    pub fn is_wished(&self, span: u32) -> bool {
        self.tentative.contains_key(&span)
    }

    /// The spans that are wished for.
    pub fn wishes(&self) -> Vec<u32> {
        self.tentative.keys().copied().collect()
    }

    /// The spans that are being got.
    pub fn getting(&self) -> impl Iterator<Item = u32> + '_ {
        self.active.iter().copied()
    }

    /// Ends the claim on a span: others have it, it was given up, or it is announced.
    pub fn release(&mut self, span: u32, now: Time) {
        if self.active.remove(&span) | self.tentative.remove(&span).is_some() {
            self.changed(now);
        }
    }

    /// Ends all claims: there is a new plan.
    pub fn clear(&mut self, now: Time) {
        self.active.clear();
        self.tentative.clear();
        self.changed(now);
    }

    /// When something is to be announced, or a wish is granted.
    pub fn due(&self) -> Option<Time> {
        self.tell_at
            .into_iter()
            .chain(self.tentative.values().copied())
            .min()
    }

    /// Drops the wishes that were granted and not made use of.
    pub fn expire(&mut self, now: Time) {
        let before = self.tentative.len();
        self.tentative.retain(|_, at| *at > now);
        if self.tentative.len() < before {
            self.changed(now);
        }
    }

    /// Ends all wishes.
    pub fn forget_wishes(&mut self, now: Time) {
        if !self.tentative.is_empty() {
            self.tentative.clear();
            self.changed(now);
        }
    }

    /// Returns whether something is to be announced now.
    pub fn is_due(&self, now: Time) -> bool {
        self.tell_at.is_some_and(|at| at <= now)
    }

    /// The same; from then on it counts as announced.
    pub fn take_due(&mut self, now: Time) -> bool {
        self.tell_at.take_if(|at| *at <= now).is_some()
    }

    /// The message that announces the claims. `span`: the positions of a span.
    pub fn told(&self, version: u64, span: impl Fn(u32) -> Option<(u32, u32)>) -> Claims {
        // One run a span, so that it keeps its identity whatever is claimed beside it.
        let run =
            |index: u32| span(index).and_then(|(from, to)| PositionRange::new(from, to - from));
        let active: Ranges = self
            .active
            .iter()
            .filter_map(|span| run(*span))
            .take(MAX_ACTIVE)
            .collect();
        let tentative = self
            .tentative
            .keys()
            .filter_map(|span| run(*span))
            .collect();
        Claims {
            version,
            fetching: true,
            active,
            tentative,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spans::{SpanTable, runs};
    use crate::testing::device;
    use hither_proto::{ShareSecret, claim_weight};

    fn at(ms: u64) -> Time {
        Time::from_start(Duration::from_millis(ms))
    }

    fn table() -> SpanTable {
        SpanTable::new(vec![1 << 18; 40], (0..40).collect())
    }

    #[test]
    fn everyone_agrees_on_who_is_first_and_the_parts_are_about_equal() {
        let share = ShareSecret::new([1; 16]).share_id();
        let mut parts = [0u32; 4];
        for start in 0..4000 {
            let first = (0..4u8)
                .max_by_key(|n| claim_weight(device(*n), share, start))
                .unwrap();
            parts[usize::from(first)] += 1;
        }
        assert!(
            parts.iter().all(|part| (900..1100).contains(part)),
            "{parts:?}"
        );
    }

    #[test]
    fn a_claim_is_found_by_any_of_its_positions_and_goes_stale_without_progress() {
        let spans = table();
        let claims = Claims {
            version: 1,
            fetching: true,
            active: runs(&[6, 7]),
            tentative: runs(&[16]),
        };
        let mut theirs = PeerClaims::default();
        theirs.said(&claims, at(0));
        let state = |theirs: &PeerClaims, index, ms| {
            theirs.state(
                spans.span(index).unwrap(),
                Duration::from_millis(100),
                at(ms),
            )
        };
        assert_eq!(state(&theirs, 0, 10), None);
        assert_eq!(state(&theirs, 1, 10), Some(ClaimState::Active));
        assert_eq!(state(&theirs, 2, 10), None);
        assert_eq!(state(&theirs, 4, 10), Some(ClaimState::Tentative));
        theirs.said(&claims, at(1000)); // Saying it again is no progress.
        assert_eq!(state(&theirs, 1, 1300), Some(ClaimState::Stale));
        theirs.progressed(at(1300));
        assert_eq!(state(&theirs, 1, 1400), Some(ClaimState::Active));
        (0..STRIKES).for_each(|_| theirs.struck());
        assert!(!theirs.counts());
    }

    #[test]
    fn a_wish_is_told_granted_later_and_bounded() {
        let spans = table();
        let mut own = OwnClaims::default();
        own.get(3, at(0));
        assert!(own.wish(1, at(0)) && !own.wish(1, at(1)));
        assert!(!own.take_due(at(9)) && own.take_due(at(10)));
        let told = own.told(7, |index| {
            spans.span(index).map(|s| (s.start, s.start + s.count))
        });
        assert_eq!(
            (told.active, told.tentative),
            (runs(&[12, 13, 14, 15]), runs(&[4, 5, 6, 7]))
        );
        assert_eq!(own.granted(at(49)).count(), 0);
        assert_eq!(own.granted(at(50)).collect::<Vec<_>>(), [1]);
        own.get(1, at(50));
        assert!(own.take_due(at(60)) && own.granted(at(99)).next().is_none());
        assert_eq!(
            (4..40).filter(|span| own.wish(*span, at(60))).count(),
            MAX_TENTATIVE
        );
        own.release(1, at(60));
        assert_eq!(own.getting().collect::<Vec<_>>(), [3]);
    }
}
