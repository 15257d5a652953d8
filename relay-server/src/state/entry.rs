//! Keys and what they hold.

use super::StateError;
use bytes::Bytes;

/// Longest value of a key, bytes.
pub const MAX_VALUE: usize = 64 * 1024;
/// Most entries in one page.
pub const MAX_PAGE: usize = 1000;
/// Bytes of keys and values after which a page ends.
pub const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value, at most [`MAX_VALUE`] bytes.
    pub value: Bytes,
    /// Grows with every change of any key; the same revision is the same value.
    pub revision: u64,
}

/// What a key must be for a change to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Any,
    /// Not there.
    Absent,
    /// There, with this revision.
    Revision(u64),
}

impl Expect {
    /// Compares with a key's revision (`None`: it is not there).
    pub(super) fn check(self, current: Option<u64>) -> Result<(), StateError> {
        let met = match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Revision(revision) => current == Some(revision),
        };
        if met {
            Ok(())
        } else {
            Err(StateError::Conflict { current })
        }
    }
}

/// A key with its entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: String,
    /// What it holds.
    pub entry: Entry,
}

/// Some entries of a bucket, in order of their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub records: Vec<Record>,
    /// Whether there are more after the last of them.
    pub more: bool,
}
