//! Cuts contents into chunks: FastCDC (2020) with the settings that suit edits of large
//! files.
//!
//! Invariants: where a stream is cut depends on its bytes and the domain only, not on how they were
//! read; every chunk but a stream's last has [`Cutter::min`] to [`Cutter::max`] bytes.
//!
//! The settings, relative to the average `a`: no cut before `a/2`, cuts are unlikely up to
//! `13/16·a` and likely from there on (normalisation level 2), forced at `2·a`. Measured on 256 MiB
//! of random bytes with `a` = 64 KiB: the mean is 66 KiB; 100 overwrites of 4 KiB and an insertion
//! of 1 KiB change 8.5 MiB of chunks on average (9.4 at most of 12 runs), where the paper's `a/4`,
//! `a`, `4·a` change 9.0 (9.8), have a mean of 73 KiB and take 1.8 times as long, because the bytes
//! before the earliest possible cut are not looked at.

use crate::crypt::DomainSecret;
use fastcdc::v2020::{Normalization, cut_gear, get_gear_with_seed, select_masks};
use hither_proto::limits::MAX_CHUNK;
use std::borrow::Cow;

/// Average chunk of packs of small files, and of the large files of a share without very large
/// ones, bytes.
pub const SMALL_AVERAGE: u32 = 64 * 1024;
/// A file of at least this size is cut by itself, bytes: its chunks are the same wherever it
/// stands. Smaller files that follow each other are cut as one stream.
pub const LARGE_FILE: u64 = 256 * 1024;

/// The average chunk for a share whose largest file has `largest` bytes. A later version keeps it.
pub const fn average_for(largest: u64) -> u32 {
    const MIB: u64 = 1024 * 1024;
    match largest {
        0..=268_435_456 => SMALL_AVERAGE,
        _ if largest <= 4096 * MIB => 4 * SMALL_AVERAGE,
        _ if largest <= 65_536 * MIB => 16 * SMALL_AVERAGE,
        _ => 64 * SMALL_AVERAGE,
    }
}

/// The average chunk for a manifest of `length` bytes: its chunks hold 68 bytes for each chunk of
/// data, so smaller ones keep a small edit small.
pub(crate) const fn manifest_average_for(length: u64) -> u32 {
    if length < 4 * 1024 * 1024 {
        16 * 1024
    } else {
        SMALL_AVERAGE
    }
}

/// What one call of [`Cutter::next`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The stream's next chunk has this many bytes.
    At(usize),
    /// It depends on bytes that are not there yet.
    More,
}

/// Finds the ends of chunks for one average.
#[derive(Debug, Clone)]
pub(crate) struct Cutter {
    min: usize,
    centre: usize,
    max: usize,
    strict: u64,
    loose: u64,
    gear: Cow<'static, [u64]>,
    gear_shifted: Cow<'static, [u64]>,
    /// Length of a chunk of zeros only, when at least `max` zeros follow.
    zeros: usize,
}

/// Smallest average that the settings make sense for, bytes.
const MIN_AVERAGE: u32 = 4096;

impl Cutter {
    /// A cutter for chunks of `average` bytes: a power of two, brought into 4 KiB to a quarter of
    /// [`MAX_CHUNK`] (an earlier version made elsewhere may have any).
    pub(crate) fn new(domain: &DomainSecret, average: u32) -> Self {
        let average = average.clamp(MIN_AVERAGE, MAX_CHUNK / 4) as usize;
        let (strict, loose) = select_masks(average, Normalization::Level2);
        let (gear, gear_shifted) = get_gear_with_seed(domain.cut_seed());
        let (min, centre, max) = (average / 2, average / 16 * 13, 2 * average);
        let mut cutter = Self {
            min,
            centre,
            max,
            strict,
            loose,
            gear,
            gear_shifted,
            zeros: max,
        };
        cutter.zeros = cutter.find(&vec![0; max]);
        cutter
    }

    /// Longest chunk, bytes.
    pub(crate) const fn max(&self) -> usize {
        self.max
    }

    /// Length of the next chunk of a stream that goes on with at least [`Self::max`] zeros, bytes.
    pub(crate) const fn zeros(&self) -> usize {
        self.zeros
    }

    /// The next chunk of a stream that goes on with `bytes`, which is all of it if `end`. `bytes`
    /// is not empty.
    pub(crate) fn next(&self, bytes: &[u8], end: bool) -> Cut {
        if end || bytes.len() >= self.max {
            return Cut::At(self.find(bytes));
        }
        if bytes.len() <= self.min + 2 {
            return Cut::More;
        }
        // A cut before the last bytes looked at would be found with more bytes too. The algorithm
        // looks at bytes in pairs; the last one or two are left for next time.
        let even = (bytes.len() - 1) & !1;
        match self.find(&bytes[..even]) {
            found if found < even => Cut::At(found),
            _ => Cut::More,
        }
    }

    fn find(&self, bytes: &[u8]) -> usize {
        let (s, l) = (self.strict, self.loose);
        let (gear, shifted) = (&self.gear, &self.gear_shifted);
        cut_gear(
            bytes,
            self.min,
            self.centre,
            self.max,
            s,
            l,
            s << 1,
            l << 1,
            gear,
            shifted,
        )
        .1
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn domain() -> DomainSecret {
        DomainSecret::new([1; 32])
    }

    /// xorshift64*, enough for incompressible test data.
    pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(2).wrapping_add(88_172_645_463_325_253);
        let mut out = Vec::with_capacity(length + 8);
        while out.len() < length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            out.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        out.truncate(length);
        out
    }

    fn cut_whole(cutter: &Cutter, mut bytes: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        while !bytes.is_empty() {
            let Cut::At(length) = cutter.next(bytes, true) else {
                panic!("an end is always found at the end")
            };
            lengths.push(length);
            bytes = &bytes[length..];
        }
        lengths
    }

    /// Cuts with the bytes arriving in pieces of the given lengths.
    fn cut_in_pieces(cutter: &Cutter, bytes: &[u8], pieces: &[usize]) -> Vec<usize> {
        let (mut lengths, mut from, mut to) = (Vec::new(), 0, 0);
        for piece in pieces.iter().cycle() {
            to = (to + piece).min(bytes.len());
            while from < to {
                let Cut::At(length) = cutter.next(&bytes[from..to], to == bytes.len()) else {
                    break;
                };
                lengths.push(length);
                from += length;
            }
            if from == bytes.len() {
                return lengths;
            }
        }
        lengths
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn cuts_do_not_depend_on_how_bytes_arrive(
            seed in any::<u64>(),
            length in 1usize..200_000,
            zeros in any::<bool>(),
            pieces in proptest::collection::vec(1usize..20_000, 1..20),
        ) {
            let mut bytes = noise(seed, length);
            if zeros {
                bytes[length / 3..length / 3 * 2].fill(0);
            }
            let cutter = Cutter::new(&domain(), 4096);
            prop_assert_eq!(cut_in_pieces(&cutter, &bytes, &pieces), cut_whole(&cutter, &bytes));
        }
    }

    #[test]
    fn chunks_keep_their_bounds_and_zeros_are_predicted() {
        for average in [4096, 16_384, 65_536, 262_144] {
            let cutter = Cutter::new(&domain(), average);
            let mut bytes = noise(3, average as usize * 100);
            bytes.extend(vec![0; average as usize * 20]);
            let lengths = cut_whole(&cutter, &bytes);
            let mean = lengths.iter().sum::<usize>() / lengths.len();
            assert!(
                (average as usize * 3 / 4..average as usize * 3 / 2).contains(&mean),
                "{average}: {mean}"
            );
            assert!(
                lengths[..lengths.len() - 1]
                    .iter()
                    .all(|l| (cutter.min..=cutter.max()).contains(l))
            );
            assert!(
                lengths[lengths.len() - 6..lengths.len() - 1]
                    .iter()
                    .all(|l| *l == cutter.zeros())
            );
        }
    }

    #[test]
    fn averages_follow_the_largest_file_and_chunks_fit_the_protocol() {
        let gib = 1u64 << 30;
        for (largest, average) in [
            (0, 1),
            (gib / 4, 1),
            (gib / 4 + 1, 4),
            (4 * gib, 4),
            (5 * gib, 16),
            (65 * gib, 64),
        ] {
            assert_eq!(average_for(largest), average * SMALL_AVERAGE);
        }
        let largest = Cutter::new(&domain(), average_for(u64::MAX));
        assert!(largest.max() <= MAX_CHUNK as usize);
        assert_eq!(largest.max(), 8 * 1024 * 1024);
        Cutter::new(&domain(), 1);
        Cutter::new(&domain(), u32::MAX);
    }

    #[test]
    fn domains_cut_differently() {
        let bytes = noise(1, 3_000_000);
        let ends = |secret| {
            let mut end = 0;
            cut_whole(
                &Cutter::new(&DomainSecret::new([secret; 32]), 65_536),
                &bytes,
            )
            .into_iter()
            .map(|length| {
                end += length;
                end
            })
            .collect::<HashSet<_>>()
        };
        // Only the end itself, and hardly anything by chance, is common.
        assert!(ends(1).intersection(&ends(2)).count() <= 3);
    }
}
