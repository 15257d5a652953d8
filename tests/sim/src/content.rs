//! What is shared: the lengths of root, manifest and data chunks of every version.

use super::rng::Rng;
use hither_proto::Space;
use roaring::RoaringBitmap;

/// One version of the share.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    root: [u32; 1],
    manifest: Vec<u32>,
    data: Vec<u32>,
    /// Data positions whose chunk is the same as in the version before: copied, not fetched, by
    /// who has that.
    pub kept: RoaringBitmap,
}

impl Content {
    /// About `bytes` of data in content-defined chunks around `average` (a quarter to four times
    /// that).
    pub fn new(rng: &mut Rng, bytes: u64, average: u32) -> Self {
        let mut data = Vec::new();
        let mut left = bytes.max(1);
        while left > 0 {
            let length = u64::from(chunk(rng, average)).min(left);
            data.push(length as u32);
            left -= length;
        }
        let manifest = (0..1 + data.len() / 400)
            .map(|_| 2000 + rng.below(60_000) as u32)
            .collect();
        Self {
            root: [300 + rng.below(200) as u32],
            manifest,
            data,
            kept: RoaringBitmap::new(),
        }
    }

    /// A later version that keeps about this part of the chunks.
    pub fn edited(&self, rng: &mut Rng, keep: f64) -> Self {
        let kept: RoaringBitmap = (0..self.data.len() as u32)
            .filter(|_| rng.chance(keep))
            .collect();
        Self {
            kept,
            ..self.clone()
        }
    }

    pub fn lengths(&self, space: Space) -> &[u32] {
        match space {
            Space::Root => &self.root,
            Space::Manifest => &self.manifest,
            Space::Data => &self.data,
        }
    }

    /// Number of data chunks.
    pub fn chunks(&self) -> u32 {
        self.data.len() as u32
    }

    pub fn all(&self) -> RoaringBitmap {
        (0..self.chunks()).collect()
    }

    /// Bytes of data.
    pub fn bytes(&self) -> u64 {
        self.data.iter().map(|l| u64::from(*l)).sum()
    }

    pub fn largest(&self) -> u64 {
        self.data
            .iter()
            .chain(&self.manifest)
            .copied()
            .max()
            .unwrap_or(0)
            .into()
    }
}

/// The length of one content-defined chunk: exponential above the minimum, cut at the maximum.
fn chunk(rng: &mut Rng, average: u32) -> u32 {
    let (min, max) = (f64::from(average) / 4.0, f64::from(average) * 4.0);
    let over = -(1.0 - rng.unit()).ln() * (f64::from(average) - min);
    (min + over).min(max) as u32
}
