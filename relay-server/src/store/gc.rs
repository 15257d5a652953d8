//! Giving space back: what has expired, what nobody refers to, packs that are mostly dead.
//!
//! Everything that decides is a job of the writer and looks again there; a kill at any moment
//! leaves an index that names only packs that are there, and packs that the next opening removes.

use super::backend::blocking;
use super::compact::compact;
use super::config::millis;
use super::error::StoreError;
use super::ids::PackNumber;
use super::index::{Index, Rows};
use super::inner::Inner;
use super::ledger::{PackSize, decode_pack};
use super::release::{expire, sweep};
use super::tables::{DEAD, PACKS, parse_dead};
use hither_content::storage::StorageError;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Chunks collected in one job.
const MAX_COLLECT: usize = 2048;
/// Small packs that must come together before they are merged.
const MIN_SMALL: usize = 8;

/// What a pass has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GcReport {
    /// Versions that had expired or were given up.
    pub expired: u64,
    /// Chunks that nobody referred to.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packs deleted.
    pub packs_deleted: u64,
    /// Packs whose live chunks were moved.
    pub packs_compacted: u64,
    /// Bytes of those chunks.
    pub bytes_moved: u64,
}

/// One pass; passes do not overlap.
pub(super) async fn gc(inner: &Arc<Inner>) -> Result<GcReport, Arc<StoreError>> {
    let _turn = inner.cleaning.lock().await;
    let mut report = GcReport {
        expired: expire(inner).await?,
        ..GcReport::default()
    };
    sweep(inner).await?;
    inner.settle_doubts().await?;
    collect(inner, &mut report).await?;
    // Before compaction, which needs room.
    delete_dead_packs(inner, &mut report).await?;
    let worth = worth_compacting(inner.config.pack_bytes as u64, &packs(inner).await?);
    report.packs_compacted = worth.len() as u64;
    report.bytes_moved = compact(inner, &worth).await?;
    delete_dead_packs(inner, &mut report).await?;
    let total = packs(inner).await?.iter().map(|(_, size)| size.total).sum();
    inner.pack_bytes.store(total, Ordering::Relaxed);
    Ok(report)
}

async fn collect(inner: &Arc<Inner>, report: &mut GcReport) -> Result<(), Arc<StoreError>> {
    let before = inner
        .config
        .now_ms()
        .saturating_sub(millis(inner.config.dead_grace));
    loop {
        let asking = Arc::clone(inner);
        let keys = blocking(move || dead_keys(&asking.index, before))
            .await?
            .map_err(StoreError::from)?;
        let count = keys.len();
        let (chunks, bytes) = inner
            .writer
            .run(move |ledger| ledger.collect(&keys))
            .await?;
        report.chunks += chunks;
        report.bytes += bytes;
        if count < MAX_COLLECT {
            return Ok(());
        }
    }
}

/// Keys of chunks that were dead by `before`, Unix milliseconds.
fn dead_keys(index: &Index, before: u64) -> Result<Vec<Vec<u8>>, StorageError> {
    let mut keys = Vec::new();
    index.storage().scan(DEAD, &[], &mut |key, _| {
        if keys.len() >= MAX_COLLECT || parse_dead(key).is_some_and(|(since, _)| since > before) {
            return ControlFlow::Break(());
        }
        keys.push(key.to_vec());
        ControlFlow::Continue(())
    })?;
    Ok(keys)
}

/// Forgets packs without live chunks, durably, and deletes them then.
async fn delete_dead_packs(
    inner: &Arc<Inner>,
    report: &mut GcReport,
) -> Result<(), Arc<StoreError>> {
    for (pack, size) in packs(inner).await? {
        if size.live == 0
            && inner
                .writer
                .run(move |ledger| ledger.remove_pack(pack))
                .await?
        {
            inner.discard(pack).await;
            report.packs_deleted += 1;
        }
    }
    Ok(())
}

/// Packs with less than half of their bytes live, and small ones when there are several.
fn worth_compacting(pack_bytes: u64, packs: &[(PackNumber, PackSize)]) -> Vec<PackNumber> {
    let is_small = |size: &PackSize| size.total < pack_bytes / 4;
    let smalls = packs.iter().filter(|(_, size)| is_small(size)).count() >= MIN_SMALL;
    let worth = |size: &PackSize| size.live * 2 < size.total || (smalls && is_small(size));
    packs
        .iter()
        .filter(|(_, size)| worth(size))
        .map(|(pack, _)| *pack)
        .collect()
}

/// Every pack that the index names: 24 bytes for every 16 MiB stored.
pub(super) async fn packs(
    inner: &Arc<Inner>,
) -> Result<Vec<(PackNumber, PackSize)>, Arc<StoreError>> {
    let inner = Arc::clone(inner);
    Ok(blocking(move || all_packs(&inner.index))
        .await?
        .map_err(StoreError::from)?)
}

pub(super) fn all_packs(index: &Index) -> Result<Vec<(PackNumber, PackSize)>, StorageError> {
    let mut packs = Vec::new();
    let mut trouble = None;
    index.storage().scan(PACKS, &[], &mut |key, value| {
        match (key.try_into().map(u64::from_be_bytes), decode_pack(value)) {
            (Ok(number), Ok(size)) => packs.push((PackNumber(number), size)),
            (_, Err(error)) => trouble = Some(error),
            (Err(_), _) => trouble = Some(super::tables::malformed()),
        }
        ControlFlow::Continue(())
    })?;
    trouble.map_or(Ok(packs), Err)
}

/// Whether the index names a pack.
pub(super) fn names_pack(index: &Index, pack: PackNumber) -> Result<bool, StorageError> {
    Ok(index.get(PACKS, &pack.0.to_be_bytes())?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mostly_dead_packs_are_compacted_and_small_ones_when_there_are_several() {
        let pack = |number, total, live| (PackNumber(number), PackSize { total, live });
        let mut packs = vec![pack(1, 100, 49), pack(2, 100, 50), pack(3, 10, 9)];
        assert_eq!(worth_compacting(100, &packs), [PackNumber(1)]);
        packs.extend((4..11).map(|number| pack(number, 10, 9)));
        assert_eq!(worth_compacting(100, &packs).len(), 9);
    }
}
