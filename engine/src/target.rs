//! The space of a version that a fetch is getting.

use hither_proto::Space;

/// The space of a version that a fetch is getting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub version: u64,
    pub space: Space,
}
