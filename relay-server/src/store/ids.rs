//! What the store numbers and names.

use std::fmt;

/// Names a user of the relay; says nothing about them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId([u8; 16]);

impl UserId {
    /// Length, bytes.
    pub const LEN: usize = 16;

    /// Wraps bytes that are known to name a user.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({:02x}{:02x}{:02x}{:02x}…)", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

/// Numbers one upload of one version of a share; never used twice. Its lists never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionNumber(pub(super) u64);

/// Stands for a [`UserId`] inside the index, where 16 bytes in every reference would be too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct UserNumber(pub(super) u32);

/// Numbers a pack; never used twice, also across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PackNumber(pub(super) u64);

/// Where a chunk's ciphertext stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) pack: PackNumber,
    /// From the beginning of the pack, bytes.
    pub(super) offset: u32,
    /// Of the ciphertext, bytes.
    pub(super) length: u32,
}
