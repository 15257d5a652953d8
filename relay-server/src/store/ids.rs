//! What the store numbers and names.

/// Numbers one upload of one version of a share; never used twice. Its lists never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionNumber(pub(super) u64);

/// Stands for a [`hither_proto::UserId`] inside the index, where 16 bytes in every reference would
/// be too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct UserNumber(pub(super) u32);

/// Numbers a pack; never used twice, also across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PackNumber(pub(super) u64);

/// Where a chunk's ciphertext stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkPlace {
    pub(super) pack: PackNumber,
    /// From the beginning of the pack, bytes.
    pub(super) offset: u32,
    /// Of the ciphertext, bytes.
    pub(super) length: u32,
}
