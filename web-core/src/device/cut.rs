//! Cuts contents into chunks: FastCDC (2020) with the settings of SPEC.md, "Content".
//!
//! The rules of the program (`content/src/cut.rs`), which says why they are these; the test vectors
//! hold both against the same lengths. Invariant: where a stream is cut depends on its bytes and the
//! domain only, not on how they arrived.

use fastcdc::v2020::{Normalization, cut_gear, get_gear_with_seed, select_masks};
use hither_proto::limits::MAX_CHUNK;
use std::borrow::Cow;
use zeroize::Zeroizing;

/// Average chunk of small shares, bytes.
const SMALL_AVERAGE: u32 = 64 * 1024;
/// A file of at least this size is cut by itself, bytes.
pub(super) const LARGE_FILE: u64 = 256 * 1024;
/// Smallest average that the settings make sense for, bytes.
const MIN_AVERAGE: u32 = 4096;

/// The average chunk for a share of `bytes` bytes. A page counts all files as one: what it keeps of
/// a share while it is sent stays small however many files there are.
pub(super) const fn average_for(bytes: u64) -> u32 {
    const MIB: u64 = 1024 * 1024;
    match bytes {
        0..=268_435_456 => SMALL_AVERAGE,
        _ if bytes <= 4096 * MIB => 4 * SMALL_AVERAGE,
        _ if bytes <= 65_536 * MIB => 16 * SMALL_AVERAGE,
        _ => 64 * SMALL_AVERAGE,
    }
}

/// The average chunk for a manifest of `length` bytes.
pub(super) const fn manifest_average_for(length: usize) -> u32 {
    if length < 4 * 1024 * 1024 {
        16 * 1024
    } else {
        SMALL_AVERAGE
    }
}

/// The domain secret of one share: within it equal contents become equal chunks.
#[derive(Clone)]
pub(super) struct Domain(Zeroizing<[u8; 32]>);

impl Domain {
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self(Zeroizing::new(secret))
    }

    pub(super) fn secret(&self) -> &[u8; 32] {
        &self.0
    }

    fn cut_seed(&self) -> u64 {
        let mut seed = [0; 8];
        blake3::Hasher::new_derive_key("hither.v1 cutting")
            .update(&*self.0)
            .finalize_xof()
            .fill(&mut seed);
        u64::from_le_bytes(seed)
    }
}

/// Finds the ends of chunks for one average.
pub(super) struct Cutter {
    min: usize,
    centre: usize,
    max: usize,
    masks: (u64, u64),
    gear: (Cow<'static, [u64]>, Cow<'static, [u64]>),
}

impl Cutter {
    pub(super) fn new(domain: &Domain, average: u32) -> Self {
        let average = average.clamp(MIN_AVERAGE, MAX_CHUNK / 4) as usize;
        Self {
            min: average / 2,
            centre: average / 16 * 13,
            max: 2 * average,
            masks: select_masks(average, Normalization::Level2),
            gear: get_gear_with_seed(domain.cut_seed()),
        }
    }

    /// Longest chunk, bytes.
    pub(super) const fn max(&self) -> usize {
        self.max
    }

    /// The next chunk of a stream that goes on with `bytes`, which is all of it if `end`; `None`: it
    /// depends on bytes that are not there yet. `bytes` is not empty.
    pub(super) fn next(&self, bytes: &[u8], end: bool) -> Option<usize> {
        if end || bytes.len() >= self.max {
            return Some(self.find(bytes));
        }
        if bytes.len() <= self.min + 2 {
            return None;
        }
        // A cut before the last bytes looked at would be found with more bytes too. The algorithm
        // looks at bytes in pairs; the last one or two are left for next time.
        let even = (bytes.len() - 1) & !1;
        Some(self.find(&bytes[..even])).filter(|found| *found < even)
    }

    fn find(&self, bytes: &[u8]) -> usize {
        let ((s, l), (gear, shifted)) = (self.masks, &self.gear);
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

/// The lengths of the chunks of a stream that is there whole.
pub(super) fn cut_whole(cutter: &Cutter, mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while !bytes.is_empty() {
        let length = cutter.next(bytes, true).unwrap_or(bytes.len()).max(1);
        lengths.push(length);
        bytes = bytes.get(length..).unwrap_or_default();
    }
    lengths
}
