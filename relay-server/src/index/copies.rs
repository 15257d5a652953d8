//! How many devices hold each position, in the size of what they hold: the bits of every count are
//! bitmaps of their own.
//!
//! Adding a device is the addition of binary numbers, position by position at once, so it costs
//! about as much as reading the bitmap. Devices that hold everything are one number. Counts stop at
//! [`u16::MAX`], which the bounds of the index never let them reach.

use roaring::RoaringBitmap;

/// Bits of a count.
const BITS: usize = u16::BITS as usize;

/// Counts of one version.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Bit `n` of the counts, without what whole holders add.
    bits: Vec<RoaringBitmap>,
    /// Devices that hold everything.
    whole: u16,
}

impl Copies {
    /// Another device holds these.
    pub(super) fn add(&mut self, positions: &RoaringBitmap) {
        let mut carry = plain(positions);
        for at in 0..BITS {
            if carry.is_empty() {
                return;
            }
            if self.bits.len() <= at {
                self.bits.push(RoaringBitmap::new());
            }
            let bit = &mut self.bits[at];
            bit.remove_run_compression();
            let both = &*bit & &carry;
            *bit ^= carry;
            bit.optimize();
            carry = both;
        }
    }

    /// A device that held these does not any more.
    pub(super) fn remove(&mut self, positions: &RoaringBitmap) {
        let mut borrow = plain(positions);
        for bit in &mut self.bits {
            if borrow.is_empty() {
                break;
            }
            bit.remove_run_compression();
            let lacking = &borrow - &*bit;
            *bit ^= borrow;
            bit.optimize();
            borrow = lacking;
        }
        while self.bits.last().is_some_and(RoaringBitmap::is_empty) {
            self.bits.pop();
        }
    }

    /// Another device holds everything.
    pub(super) fn add_whole(&mut self) {
        self.whole = self.whole.saturating_add(1);
    }

    /// A device that held everything does not any more.
    pub(super) fn remove_whole(&mut self) {
        self.whole = self.whole.saturating_sub(1);
    }

    /// How many devices hold a position.
    pub(super) fn of(&self, position: u32) -> u16 {
        let bits = self
            .bits
            .iter()
            .enumerate()
            .filter(|(_, bit)| bit.contains(position));
        bits.fold(self.whole, |sum, (at, _)| sum.saturating_add(1 << at))
    }

    /// Whether nobody holds anything.
    pub(super) fn is_empty(&self) -> bool {
        self.whole == 0 && self.bits.is_empty()
    }

    /// Positions that somebody holds who does not hold everything.
    pub(super) fn known(&self) -> RoaringBitmap {
        self.bits
            .iter()
            .fold(RoaringBitmap::new(), |all, bit| all | bit)
    }

    /// Those of `candidates` that the fewest devices hold.
    pub(super) fn rarest(&self, candidates: RoaringBitmap) -> RoaringBitmap {
        self.bits.iter().rev().fold(candidates, |left, bit| {
            let without = &left - bit;
            if without.is_empty() { left } else { without }
        })
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.bits
            .iter()
            .map(|bit| bit.serialized_size() as u64)
            .sum()
    }
}

/// The same without runs: operations between runs and bits take many times as long as those between
/// bits. At rest counts have runs, so that a short announcement of long runs takes little memory.
fn plain(positions: &RoaringBitmap) -> RoaringBitmap {
    let mut plain = positions.clone();
    plain.remove_run_compression();
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn counts_are_those_of_counting(
            holders in proptest::collection::vec(proptest::collection::btree_set(0u32..200, 0..60), 0..40),
            leave in proptest::collection::vec(any::<bool>(), 40),
            whole in 0u16..3,
        ) {
            let mut copies = Copies::default();
            (0..whole).for_each(|_| copies.add_whole());
            let sets: Vec<RoaringBitmap> = holders.iter().map(|set| set.iter().collect()).collect();
            sets.iter().for_each(|set| copies.add(set));
            let stays = |at: &usize| !leave[*at];
            sets.iter().enumerate().filter(|(at, _)| !stays(at)).for_each(|(_, set)| copies.remove(set));
            let left: Vec<&BTreeSet<u32>> =
                holders.iter().enumerate().filter(|(at, _)| stays(at)).map(|(_, set)| set).collect();
            let count = |position| left.iter().filter(|set| set.contains(&position)).count() as u16;
            for position in 0..200 {
                prop_assert_eq!(copies.of(position), count(position) + whole);
            }
            let known: BTreeSet<u32> = left.iter().flat_map(|set| set.iter().copied()).collect();
            prop_assert_eq!(copies.known().iter().collect::<BTreeSet<_>>(), known.clone());
            if let Some(fewest) = known.iter().map(|position| count(*position)).min() {
                let rarest: BTreeSet<u32> = copies.rarest(copies.known()).iter().collect();
                let expected = known.iter().copied().filter(|position| count(*position) == fewest).collect();
                prop_assert_eq!(rarest, expected);
            }
            prop_assert_eq!(copies.is_empty(), known.is_empty() && whole == 0);
        }
    }
}
