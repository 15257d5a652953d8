//! Sets of chunk positions as runs: compact on the wire, bounded when they come from outside.

use crate::limits::{MAX_CHUNKS, MAX_RANGES};
use crate::wire;
use roaring::RoaringBitmap;

/// Why ranges from outside were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// More runs than [`MAX_RANGES`].
    #[error("too many position ranges")]
    TooMany,
    /// A run of no positions, or one that reaches beyond [`MAX_CHUNKS`].
    #[error("a position range is empty or reaches beyond the largest share")]
    OutOfBounds,
}

/// A run of consecutive positions, never empty, never beyond [`MAX_CHUNKS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PositionRange {
    start: u32,
    count: u32,
}

impl PositionRange {
    /// The run of `count` positions from `start`; `None` when it is empty or out of bounds.
    pub fn new(start: u32, count: u32) -> Option<Self> {
        let end = u64::from(start) + u64::from(count);
        (count > 0 && end <= MAX_CHUNKS).then_some(Self { start, count })
    }

    /// First position.
    pub const fn start(self) -> u32 {
        self.start
    }

    /// Number of positions, at least 1.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// One past the last position.
    pub const fn end(self) -> u32 {
        self.start + self.count
    }

    /// Every position of the run.
    pub fn iter(self) -> std::ops::Range<u32> {
        self.start..self.end()
    }
}

/// Runs of positions in the order in which they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(Vec<PositionRange>);

impl Ranges {
    /// The runs of a bitmap, ascending; runs beyond [`MAX_RANGES`] are left out (the reader then
    /// knows of less than is there, which costs time and never correctness).
    pub fn from_bitmap(bitmap: &RoaringBitmap) -> Self {
        Self::beginning(bitmap, MAX_RANGES)
    }

    /// The first `max` runs of a bitmap, ascending.
    pub fn beginning(bitmap: &RoaringBitmap, max: usize) -> Self {
        let mut runs: Vec<PositionRange> = Vec::new();
        for position in bitmap {
            if let Some(last) = runs.last_mut().filter(|last| last.end() == position) {
                last.count += 1;
            } else if runs.len() < max {
                runs.extend(PositionRange::new(position, 1));
            } else {
                break;
            }
        }
        Self(runs)
    }

    /// At most `max` runs, ascending, that cover every position of the bitmap; where it has more
    /// runs, the smallest gaps between them are covered too. For saying what is needed, where
    /// leaving something out would be wrong.
    pub fn covering(bitmap: &RoaringBitmap, max: usize) -> Self {
        let mut runs: Vec<PositionRange> = Vec::new();
        for position in bitmap {
            match runs.last_mut().filter(|last| last.end() == position) {
                Some(last) => last.count += 1,
                None => runs.extend(PositionRange::new(position, 1)),
            }
        }
        let surplus = runs.len().saturating_sub(max.max(1));
        if surplus > 0 {
            let mut gaps: Vec<u32> = runs
                .windows(2)
                .map(|pair| pair[1].start - pair[0].end())
                .collect();
            let (_, &mut widest, _) = gaps.select_nth_unstable(surplus - 1);
            runs = close_gaps(&runs, widest, surplus);
        }
        Self(runs)
    }

    /// All positions as a bitmap.
    pub fn to_bitmap(&self) -> RoaringBitmap {
        let mut bitmap = RoaringBitmap::new();
        for run in &self.0 {
            bitmap.insert_range(run.iter());
        }
        bitmap
    }

    /// The runs.
    pub fn as_slice(&self) -> &[PositionRange] {
        &self.0
    }

    /// Every position, run by run.
    pub fn positions(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|run| run.iter())
    }

    /// Number of positions named, counting repeated ones each time.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|run| u64::from(run.count)).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn parse(ranges: &[wire::Range]) -> Result<Self, RangeError> {
        if ranges.len() > MAX_RANGES {
            return Err(RangeError::TooMany);
        }
        ranges
            .iter()
            .map(|r| PositionRange::new(r.start, r.count).ok_or(RangeError::OutOfBounds))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(crate) fn to_wire(&self) -> Vec<wire::Range> {
        self.0
            .iter()
            .map(|r| wire::Range {
                start: r.start,
                count: r.count,
            })
            .collect()
    }
}

/// The runs with `close` of the gaps of at most `widest` positions between them covered.
fn close_gaps(runs: &[PositionRange], widest: u32, close: usize) -> Vec<PositionRange> {
    // Narrower gaps go first, so that exactly `close` go when several are as wide as the widest of
    // them.
    let gap = |pair: &[PositionRange]| pair[1].start - pair[0].end();
    let mut widest_left = close - runs.windows(2).filter(|pair| gap(pair) < widest).count();
    let mut closed: Vec<PositionRange> = Vec::with_capacity(runs.len() - close);
    for &run in runs {
        match closed.last_mut() {
            Some(last) if run.start - last.end() < widest => last.count = run.end() - last.start,
            Some(last) if run.start - last.end() == widest && widest_left > 0 => {
                widest_left -= 1;
                last.count = run.end() - last.start;
            }
            _ => closed.push(run),
        }
    }
    closed
}

impl FromIterator<PositionRange> for Ranges {
    fn from_iter<I: IntoIterator<Item = PositionRange>>(runs: I) -> Self {
        Self(runs.into_iter().take(MAX_RANGES).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bitmaps_survive_the_trip(positions in proptest::collection::btree_set(0u32..5000, 0..300)) {
            let bitmap: RoaringBitmap = positions.into_iter().collect();
            let ranges = Ranges::from_bitmap(&bitmap);
            prop_assert_eq!(&ranges.to_bitmap(), &bitmap);
            prop_assert_eq!(ranges.total(), bitmap.len());
            prop_assert_eq!(Ranges::parse(&ranges.to_wire()), Ok(ranges));
        }

        #[test]
        fn a_cover_leaves_nothing_out_and_keeps_to_its_bound(
            positions in proptest::collection::btree_set(0u32..500, 0..200),
            max in 1usize..40,
        ) {
            let bitmap: RoaringBitmap = positions.into_iter().collect();
            let exact = Ranges::from_bitmap(&bitmap);
            let cover = Ranges::covering(&bitmap, max);
            prop_assert!(cover.to_bitmap().is_superset(&bitmap));
            prop_assert_eq!(cover.as_slice().len(), exact.as_slice().len().min(max));
            prop_assert!(cover.as_slice().windows(2).all(|pair| pair[0].end() < pair[1].start()));
            if exact.as_slice().len() <= max {
                prop_assert_eq!(cover, exact);
            }
        }
    }

    #[test]
    fn absurd_ranges_are_refused() {
        let range = |start, count| [wire::Range { start, count }];
        assert_eq!(Ranges::parse(&range(0, 0)), Err(RangeError::OutOfBounds));
        assert_eq!(
            Ranges::parse(&range(u32::MAX, u32::MAX)),
            Err(RangeError::OutOfBounds)
        );
        assert_eq!(
            Ranges::parse(&vec![wire::Range { start: 0, count: 1 }; MAX_RANGES + 1]),
            Err(RangeError::TooMany)
        );
    }
}
