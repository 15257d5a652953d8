//! The plan for one space of a version, as the loop makes it.

use hither_proto::Space;
use roaring::RoaringBitmap;

/// The chunks of a space, and which of them are to be fetched.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The version that it belongs to; becomes the version of the fetch.
    pub version: u64,
    /// The space that the positions belong to.
    pub space: Space,
    /// Plaintext length of every position, bytes.
    pub lengths: Vec<u32>,
    /// The positions that are to be fetched; the others are here, or come with one that is
    /// fetched.
    pub wanted: RoaringBitmap,
}
