//! What the store holds, in numbers.

use super::backend::blocking;
use super::error::StoreError;
use super::gc::all_packs;
use super::inner::Inner;
use super::tables::USERS;
use super::version::UserRecord;
use hither_content::storage::StorageError;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Counts and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Users that ever uploaded something.
    pub users: u64,
    /// What all users keep, each user's chunks counted once for them, bytes of ciphertext.
    pub logical_bytes: u64,
    /// Packs.
    pub packs: u64,
    /// What packs take, bytes.
    pub pack_bytes: u64,
    /// Chunks in packs that are referred to or not collected yet, bytes.
    pub live_bytes: u64,
    /// Free bytes of a local disk.
    pub free_bytes: Option<u64>,
    /// Damaged chunks found since the store was opened.
    pub damaged: u64,
    /// Packs written since the store was opened.
    pub packs_written: u64,
    /// Bytes of them.
    pub bytes_written: u64,
}

impl StoreStats {
    /// How often a stored byte is kept on average, over all users; 1.0 for an empty store.
    pub fn dedupe_ratio(&self) -> f64 {
        if self.live_bytes == 0 {
            1.0
        } else {
            self.logical_bytes as f64 / self.live_bytes as f64
        }
    }
}

/// What one user keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Ciphertext of the user's different chunks, bytes. While a version replaces another both
    /// count.
    pub bytes: u64,
    /// What the user may keep, bytes; `None`: whatever there is room for.
    pub quota: Option<u64>,
}

pub(super) async fn stats(inner: &Arc<Inner>) -> Result<StoreStats, StoreError> {
    let looking = Arc::clone(inner);
    let mut stats = blocking(move || look(&looking)).await??;
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    stats.damaged = load(&inner.counters.damaged);
    stats.packs_written = load(&inner.counters.packs_written);
    stats.bytes_written = load(&inner.counters.bytes_written);
    stats.free_bytes = inner.backend.free()?;
    Ok(stats)
}

fn look(inner: &Inner) -> Result<StoreStats, StorageError> {
    let mut stats = StoreStats::default();
    for (_, size) in all_packs(&inner.index)? {
        stats.packs += 1;
        stats.pack_bytes += size.total;
        stats.live_bytes += size.live;
    }
    inner.index.storage().scan(USERS, &[], &mut |_, value| {
        stats.users += 1;
        stats.logical_bytes += UserRecord::decode(value).map_or(0, |user| user.bytes);
        ControlFlow::Continue(())
    })?;
    Ok(stats)
}
