//! What there is to get of one space of a version, as the loop tells it.

use hither_proto::Space;
use roaring::RoaringBitmap;

/// What there is to get.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The version that it belongs to; becomes the version of the fetch.
    pub version: u64,
    /// What the positions count.
    pub space: Space,
    /// Plaintext length of every position, bytes.
    pub lengths: Vec<u32>,
    /// The positions that are to be fetched; the others are here, or come with one that is
    /// fetched.
    pub wanted: RoaringBitmap,
}
