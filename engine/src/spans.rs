//! Spans: runs of consecutive chunks of about 1 MiB, the unit in which work is handed to sources.
//!
//! Invariants: a wanted position is in exactly one of: got, in flight (once or twice), idle. A span
//! stands in `idle` exactly while it has wanted positions and no request.

use hither_proto::{PositionRange, Ranges};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;

/// Target length of a span, plaintext bytes.
pub const SPAN_BYTES: u64 = 1 << 20;
/// Most chunks in one span, so that one damaged or lost answer costs little.
const SPAN_CHUNKS: u32 = 64;

/// Up to so many idle spans are looked at one by one.
pub(crate) const FEW_IDLE: usize = 256;

/// A run of consecutive positions scheduled together.
#[derive(Debug, Clone)]
pub struct Span {
    /// First position.
    pub start: u32,
    /// Number of positions.
    pub count: u32,
    /// Positions still to get.
    missing: u32,
    /// Requests in flight for it.
    requests: u8,
}

impl Span {
    /// Returns whether nothing of it is missing.
    pub const fn is_got(&self) -> bool {
        self.missing == 0
    }
}

/// All spans of one space (root, manifest or data) of a version.
#[derive(Debug)]
pub struct SpanTable {
    lengths: Vec<u32>,
    spans: Vec<Span>,
    /// Index of the span of each position would cost 4 bytes a chunk; starts are sorted, so a
    /// search finds it.
    idle: BTreeSet<u32>,
    wanted: RoaringBitmap,
    missing_bytes: u64,
}

impl SpanTable {
    /// Cuts the positions `0..lengths.len()` (plaintext bytes each) into spans; only `wanted` ones
    /// will be fetched.
    pub fn new(lengths: Vec<u32>, wanted: RoaringBitmap) -> Self {
        let mut spans: Vec<Span> = Vec::new();
        let mut bytes = 0u64;
        for (position, length) in (0u32..).zip(&lengths) {
            match spans
                .last_mut()
                .filter(|s| bytes + u64::from(*length) <= SPAN_BYTES && s.count < SPAN_CHUNKS)
            {
                Some(span) => span.count += 1,
                None => {
                    bytes = 0;
                    spans.push(Span {
                        start: position,
                        count: 1,
                        missing: 0,
                        requests: 0,
                    });
                }
            }
            bytes += u64::from(*length);
        }
        let mut idle = BTreeSet::new();
        for (index, span) in (0u32..).zip(&mut spans) {
            span.missing = wanted.range_cardinality(span.start..span.start + span.count) as u32;
            if span.missing > 0 {
                idle.insert(index);
            }
        }
        let missing_bytes = wanted
            .iter()
            .filter_map(|p| lengths.get(p as usize))
            .map(|l| u64::from(*l))
            .sum();
        Self {
            lengths,
            spans,
            idle,
            wanted,
            missing_bytes,
        }
    }

    /// Returns whether nothing is left to get.
    pub fn is_complete(&self) -> bool {
        self.missing_bytes == 0
    }

    /// Plaintext bytes left to get.
    pub const fn missing_bytes(&self) -> u64 {
        self.missing_bytes
    }

    /// The positions still to get.
    pub const fn missing(&self) -> &RoaringBitmap {
        &self.wanted
    }

    /// Returns whether this position is still to get.
    pub fn is_missing(&self, position: u32) -> bool {
        self.wanted.contains(position)
    }

    /// Plaintext length of a position, bytes.
    pub fn length(&self, position: u32) -> Option<u32> {
        self.lengths.get(position as usize).copied()
    }

    /// One span.
    pub fn span(&self, index: u32) -> Option<&Span> {
        self.spans.get(index as usize)
    }

    /// Spans with something missing and nothing in flight, from `from` on and then from the
    /// beginning.
    pub fn idle_from(&self, from: u32) -> impl Iterator<Item = u32> + '_ {
        self.idle
            .range(from..)
            .chain(self.idle.range(..from))
            .copied()
    }

    /// Returns whether every span that is not done is being fetched by somebody: the endgame.
    pub fn none_idle(&self) -> bool {
        self.idle.is_empty()
    }

    /// Returns whether so few spans are idle that each of them may be looked at.
    pub fn few_idle(&self) -> bool {
        self.idle.len() <= FEW_IDLE
    }

    /// Number of spans.
    pub fn len(&self) -> u32 {
        self.spans.len() as u32
    }

    /// Number of positions.
    pub fn positions(&self) -> u32 {
        self.lengths.len() as u32
    }

    /// Returns whether a span misses something and nobody fetches it.
    pub fn is_idle(&self, index: u32) -> bool {
        self.idle.contains(&index)
    }

    /// The first idle span of which `held` has something and which is acceptable, from the span
    /// `from` on and then from the beginning. At most `looks` are offered.
    pub fn idle_of(
        &self,
        held: &RoaringBitmap,
        from: u32,
        looks: u32,
        accept: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        if self.few_idle() {
            // Few spans to look at: cheaper than to compare everything that is held with everything
            // that is wanted.
            let idle = self
                .idle_from(from)
                .filter(|index| self.is_wanted_of(*index, held));
            return idle.take(looks as usize).find(|index| accept(*index));
        }
        let common = held & &self.wanted;
        let start = self.span(from).map_or(0, |span| span.start);
        let mut left = looks;
        self.idle_in(&common, start..self.positions(), &mut left, &accept)
            .or_else(|| self.idle_in(&common, 0..start, &mut left, &accept))
    }

    fn idle_in(
        &self,
        positions: &RoaringBitmap,
        mut within: std::ops::Range<u32>,
        looks: &mut u32,
        accept: &impl Fn(u32) -> bool,
    ) -> Option<u32> {
        while let Some(position) = positions
            .range(within.clone())
            .next()
            .filter(|_| *looks > 0)
        {
            let index = self.index_of(position);
            if self.idle.contains(&index) {
                if accept(index) {
                    return Some(index);
                }
                *looks -= 1;
            }
            // In flight or refused: skipped as a whole.
            within.start = self
                .span(index)
                .map_or(within.end, |span| span.start + span.count);
        }
        None
    }

    /// Returns whether `held` has everything of a span that is missing.
    pub fn is_whole_of(&self, index: u32, held: &RoaringBitmap) -> bool {
        let span = self
            .span(index)
            .map_or(0..0, |span| span.start..span.start + span.count);
        self.wanted
            .range(span)
            .all(|position| held.contains(position))
    }

    /// Returns whether nothing of a span is missing.
    pub fn is_done(&self, index: u32) -> bool {
        self.span(index).is_none_or(|span| span.missing == 0)
    }

    /// First position and one past the last of a span.
    pub fn range_of(&self, index: u32) -> Option<(u32, u32)> {
        self.span(index)
            .map(|span| (span.start, span.start + span.count))
    }

    /// Returns whether `held` has something of a span that is missing.
    pub fn is_wanted_of(&self, index: u32, held: &RoaringBitmap) -> bool {
        let span = self
            .span(index)
            .map_or(0..0, |span| span.start..span.start + span.count);
        held.range(span)
            .any(|position| self.wanted.contains(position))
    }

    /// The positions of a span that are missing and that `held` (everything when `None`) contains.
    pub fn missing_in(&self, index: u32, held: Option<&RoaringBitmap>) -> Vec<u32> {
        let Some(span) = self.spans.get(index as usize) else {
            return Vec::new();
        };
        (span.start..span.start + span.count)
            .filter(|p| self.wanted.contains(*p) && held.is_none_or(|h| h.contains(*p)))
            .collect()
    }

    /// Plaintext bytes of some positions.
    pub fn bytes_of(&self, positions: &[u32]) -> u64 {
        positions
            .iter()
            .filter_map(|p| self.length(*p))
            .map(u64::from)
            .sum()
    }

    /// Plaintext bytes of a set of positions.
    pub fn bytes_in(&self, positions: &RoaringBitmap) -> u64 {
        positions
            .iter()
            .filter_map(|p| self.length(p))
            .map(u64::from)
            .sum()
    }

    /// A request for (some of) this span was sent.
    pub fn request_began(&mut self, index: u32) {
        if let Some(span) = self.spans.get_mut(index as usize) {
            span.requests = span.requests.saturating_add(1);
            self.idle.remove(&index);
        }
    }

    /// A request for this span ended, however; what it did not bring is idle again unless another
    /// still runs.
    pub fn request_ended(&mut self, index: u32) {
        if let Some(span) = self.spans.get_mut(index as usize) {
            span.requests = span.requests.saturating_sub(1);
            if span.requests == 0 && span.missing > 0 {
                self.idle.insert(index);
            }
        }
    }

    /// A position is got (verified and written); `false` when it was not wanted any more.
    pub fn got(&mut self, position: u32) -> bool {
        if !self.wanted.remove(position) {
            return false;
        }
        self.missing_bytes -= u64::from(self.lengths.get(position as usize).copied().unwrap_or(0));
        let index = self.index_of(position);
        if let Some(span) = self.spans.get_mut(index as usize) {
            span.missing -= 1;
            if span.missing == 0 {
                self.idle.remove(&index);
            }
        }
        true
    }

    /// A position that was got is lost again (its write failed, or its place was damaged).
    pub fn lost(&mut self, position: u32) {
        let Some(length) = self.length(position) else {
            return;
        };
        if self.wanted.insert(position) {
            self.missing_bytes += u64::from(length);
            let index = self.index_of(position);
            if let Some(span) = self.spans.get_mut(index as usize) {
                span.missing += 1;
                if span.requests == 0 {
                    self.idle.insert(index);
                }
            }
        }
    }

    /// The span that a position belongs to.
    pub fn index_of(&self, position: u32) -> u32 {
        self.spans
            .partition_point(|s| s.start <= position)
            .saturating_sub(1) as u32
    }
}

/// Sorted positions as runs.
pub fn runs(positions: &[u32]) -> Ranges {
    let mut runs: Vec<PositionRange> = Vec::new();
    for &position in positions {
        match runs.last_mut().filter(|last| last.end() == position) {
            Some(last) => {
                *last = PositionRange::new(last.start(), last.count() + 1).unwrap_or(*last)
            }
            None => runs.extend(PositionRange::new(position, 1)),
        }
    }
    runs.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(n: u32) -> SpanTable {
        SpanTable::new(vec![256 * 1024; n as usize], (0..n).collect())
    }

    #[test]
    fn spans_are_about_one_mebibyte_and_cover_everything() {
        let t = table(10);
        assert_eq!(
            t.spans
                .iter()
                .map(|s| (s.start, s.count))
                .collect::<Vec<_>>(),
            [(0, 4), (4, 4), (8, 2)]
        );
        assert_eq!(t.missing_bytes(), 10 * 256 * 1024);
        assert!((0..10).all(|p| {
            let s = t.span(t.index_of(p)).unwrap();
            (s.start..s.start + s.count).contains(&p)
        }));
    }

    #[test]
    fn a_span_is_idle_exactly_while_it_misses_something_and_nobody_fetches_it() {
        let mut t = table(8);
        t.request_began(0);
        assert_eq!(t.idle_from(0).collect::<Vec<_>>(), [1]);
        (0..3).for_each(|p| assert!(t.got(p)));
        t.request_ended(0);
        assert_eq!(t.idle_from(1).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(t.missing_in(0, None), [3]);
        t.got(3);
        assert!(!t.got(3));
        assert_eq!(t.idle_from(0).collect::<Vec<_>>(), [1]);
        t.lost(3);
        assert_eq!(t.idle_from(0).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn what_a_partial_holder_has_is_found_wherever_it_is() {
        let mut t = table(40);
        let held: RoaringBitmap = [5, 30].into_iter().collect();
        let idle_of = |t: &SpanTable, from| t.idle_of(&held, from, 9, |_| true);
        assert_eq!(
            (idle_of(&t, 0), idle_of(&t, 3), idle_of(&t, 8)),
            (Some(1), Some(7), Some(1))
        );
        t.request_began(1);
        assert_eq!(idle_of(&t, 0), Some(7));
        t.got(30);
        assert!(!t.is_wanted_of(7, &held));
        assert_eq!(idle_of(&t, 0), None);
        t.request_ended(1);
        assert_eq!(idle_of(&t, 0), Some(1));
    }

    #[test]
    fn only_wanted_positions_count() {
        let t = SpanTable::new(vec![10, 20, 30], [1u32].into_iter().collect());
        assert_eq!((t.missing_bytes(), t.missing_in(0, None)), (20, vec![1]));
        assert!(SpanTable::new(vec![5], RoaringBitmap::new()).is_complete());
    }

    #[test]
    fn runs_join_neighbours() {
        assert_eq!(
            runs(&[1, 2, 3, 7])
                .as_slice()
                .iter()
                .map(|r| (r.start(), r.count()))
                .collect::<Vec<_>>(),
            [(1, 3), (7, 1)]
        );
    }
}
