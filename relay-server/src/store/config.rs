//! How large, how long, how many.

use std::sync::Arc;
use std::time::Duration;

/// Says what time it is, Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What an operator, or a test, may change about a store.
#[derive(Clone)]
pub struct StoreConfig {
    /// A pack is written when it has this many bytes; at most 64 MiB.
    pub pack_bytes: usize,
    /// Most memory for chunks that are accepted and not yet durable, over all uploads, bytes: each
    /// chunk counts for a quarter more than it has. Who sends more waits.
    pub buffer_bytes: usize,
    /// What an upload has sent is written when nothing more has come for so long.
    pub idle: Duration,
    /// What an upload has sent is written at the latest after this time.
    pub max_age: Duration,
    /// Packs that are hashed and written at the same time.
    pub writers: usize,
    /// Reads that are under way at the same time, each with a few MiB in memory.
    pub readers: usize,
    /// Bytes that a user may keep here, unless another quota is set for them; `None`: as much as
    /// there is room for.
    pub user_quota: Option<u64>,
    /// Versions of shares that a user may keep, those that are being uploaded included.
    pub user_versions: u32,
    /// Bytes of the lists of all these versions together: 36 for each chunk that a version
    /// consists of, also for those of an upload that got no further.
    pub user_lists: u64,
    /// Bytes of all packs together.
    pub total_quota: Option<u64>,
    /// Free bytes that uploads leave on a local disk. Must be above zero: the index needs room to
    /// say what was freed.
    pub free_floor: u64,
    /// An upload that broke off is kept for so long.
    pub pending_grace: Duration,
    /// A chunk that nobody refers to any more is kept for so long.
    pub dead_grace: Duration,
    /// Where the time comes from.
    pub clock: Clock,
}

/// Largest [`StoreConfig::pack_bytes`]: offsets are 32 bits and a pack is read whole when it is
/// compacted.
pub(super) const MAX_PACK: usize = 64 << 20;

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            pack_bytes: 16 << 20,
            buffer_bytes: 128 << 20,
            idle: Duration::from_millis(50),
            max_age: Duration::from_secs(1),
            writers: 4,
            readers: 32,
            user_quota: None,
            user_versions: 65_536,
            user_lists: 4 << 30,
            total_quota: None,
            free_floor: 256 << 20,
            pending_grace: Duration::from_secs(24 * 3600),
            dead_grace: Duration::from_secs(600),
            clock: Arc::new(crate::clock::now_ms),
        }
    }
}

impl StoreConfig {
    pub(super) fn now_ms(&self) -> u64 {
        (self.clock)()
    }
}

impl std::fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreConfig")
            .field("pack_bytes", &self.pack_bytes)
            .field("buffer_bytes", &self.buffer_bytes)
            .field("user_quota", &self.user_quota)
            .field("total_quota", &self.total_quota)
            .field("free_floor", &self.free_floor)
            .finish_non_exhaustive()
    }
}

/// Milliseconds of a duration, at most what fits.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
