//! The number of another network.

/// A network that is not this device's own; numbered by the loop, from addresses. Only a hint: a
/// device that is counted to the wrong one is asked for less at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub u64);
