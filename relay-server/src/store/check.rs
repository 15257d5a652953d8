//! Reading everything and comparing it with what the index says.

use super::backend::blocking;
use super::buffers::Buffers;
use super::error::StoreError;
use super::gc::{names_pack, packs};
use super::ids::{ChunkPlace, PackNumber};
use super::index::Rows;
use super::inner::Inner;
use super::pack::directory;
use super::tables::{CHUNKS, LOST, REFS, decode_place, parse_ref};
use bytes::Bytes;
use hither_content::storage::StorageError;
use hither_content::verify_chunk;
use hither_proto::ChunkId;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a check has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckReport {
    /// Packs read.
    pub packs: u64,
    /// Chunks that are what their ids say.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Chunks that are damaged, cannot be read or stand in a pack that is gone.
    pub damaged: u64,
    /// Packs that are gone or cannot be read.
    pub unreadable_packs: u64,
    /// Packs whose directory is damaged; their chunks may be sound.
    pub bad_directories: u64,
    /// Chunks that somebody refers to, that are not here, and of which that was not known.
    pub dangling: u64,
}

impl CheckReport {
    /// Whether everything is as it should be.
    pub fn is_clean(&self) -> bool {
        self.damaged + self.unreadable_packs + self.bad_directories + self.dangling == 0
    }
}

type ChunkAt = (ChunkId, ChunkPlace);

/// Chunks of one pack by what they turned out to be.
#[derive(Default)]
struct Sorted {
    sound: Vec<ChunkAt>,
    bad: Vec<ChunkAt>,
}

/// Reads every pack. With `repair`, damaged chunks are forgotten, so that they can be uploaded
/// again.
pub(super) async fn check(
    inner: &Arc<Inner>,
    repair: bool,
) -> Result<CheckReport, Arc<StoreError>> {
    if inner.backend.identity().await?.is_none() {
        return Err(StoreError::OtherPacks.into());
    }
    // No pack is moved or deleted meanwhile; uploads go on.
    let _turn = inner.cleaning.lock().await;
    let mut report = CheckReport::default();
    let mut suspects = BTreeSet::new();
    for (pack, size) in packs(inner).await? {
        let sound = check_pack(inner, pack, &mut report, repair).await?;
        if sound < size.live {
            suspects.insert(pack);
        }
    }
    for first in 0..=u8::MAX {
        for (id, place) in suspicious(inner, first, suspects.clone()).await? {
            check_chunk(inner, id, place, &mut report, repair).await?;
        }
        check_refs(inner, first, &mut report, repair).await?;
    }
    Ok(report)
}

/// Checks the chunks that a pack's directory names; returns the bytes of those that the index finds
/// here.
async fn check_pack(
    inner: &Arc<Inner>,
    pack: PackNumber,
    report: &mut CheckReport,
    repair: bool,
) -> Result<u64, Arc<StoreError>> {
    report.packs += 1;
    let whole = match inner.backend.read_all(pack).await {
        Ok(whole) => whole,
        Err(error) => {
            tracing::error!(%error, pack = pack.0, "a pack cannot be read");
            report.unreadable_packs += 1;
            return Ok(0);
        }
    };
    let looking = Arc::clone(inner);
    let Sorted { sound, bad } = match blocking(move || sort_out(&looking, pack, &whole))
        .await?
        .map_err(StoreError::from)?
    {
        Some(found) => found,
        None => {
            tracing::error!(pack = pack.0, "a pack's directory is damaged");
            report.bad_directories += 1;
            return Ok(0);
        }
    };
    let bytes: u64 = sound.iter().map(|(_, place)| u64::from(place.length)).sum();
    report.chunks += sound.len() as u64;
    report.bytes += bytes;
    for (id, place) in &bad {
        damaged(inner, *id, *place, report, repair).await?;
    }
    // Damaged chunks are counted here and need no second look.
    Ok(bytes
        + bad
            .iter()
            .map(|(_, place)| u64::from(place.length))
            .sum::<u64>())
}

/// Sorts the chunks of a pack that the index finds in it. `None`: its directory is damaged.
fn sort_out(
    inner: &Inner,
    pack: PackNumber,
    whole: &Bytes,
) -> Result<Option<Sorted>, StorageError> {
    let Ok(entries) = directory(whole) else {
        return Ok(None);
    };
    let mut sorted = Sorted::default();
    for entry in entries {
        let place = ChunkPlace {
            pack,
            offset: entry.offset,
            length: entry.length,
        };
        if inner.index.place(&entry.id)? == Some(place) {
            let bytes = &whole[entry.offset as usize..][..entry.length as usize];
            let list = if verify_chunk(&entry.id, bytes).is_ok() {
                &mut sorted.sound
            } else {
                &mut sorted.bad
            };
            list.push((entry.id, place));
        }
    }
    Ok(Some(sorted))
}

/// Chunks whose ids begin with `first` and that stand in a suspect pack or in one that the index
/// does not know. Taken together a 256th of the index is in memory.
async fn suspicious(
    inner: &Arc<Inner>,
    first: u8,
    suspects: BTreeSet<PackNumber>,
) -> Result<Vec<ChunkAt>, Arc<StoreError>> {
    let inner = Arc::clone(inner);
    let look = move || -> Result<Vec<ChunkAt>, StorageError> {
        let (mut found, mut trouble) = (Vec::new(), None);
        let mut known = BTreeSet::new();
        inner
            .index
            .storage()
            .scan(CHUNKS, &[first], &mut |key, value| {
                let entry = decode_place(value).and_then(|place| {
                    let id = ChunkId::from_slice(key).map_err(|_| super::tables::malformed())?;
                    let named =
                        known.contains(&place.pack) || names_pack(&inner.index, place.pack)?;
                    if named {
                        known.insert(place.pack);
                    }
                    Ok((!named || suspects.contains(&place.pack)).then_some((id, place)))
                });
                match entry {
                    Ok(entry) => found.extend(entry),
                    Err(error) => trouble = Some(error),
                }
                if trouble.is_none() {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
        trouble.map_or(Ok(found), Err)
    };
    Ok(blocking(look).await?.map_err(StoreError::from)?)
}

async fn check_chunk(
    inner: &Arc<Inner>,
    id: ChunkId,
    place: ChunkPlace,
    report: &mut CheckReport,
    repair: bool,
) -> Result<(), Arc<StoreError>> {
    let part = (place.offset.into(), place.length as usize);
    let good = move |bytes: Bytes| verify_chunk(&id, &bytes).is_ok();
    if inner
        .backend
        .read(&Buffers::new(0), place.pack, part, good)
        .await
        .unwrap_or(false)
    {
        report.chunks += 1;
        report.bytes += u64::from(place.length);
        return Ok(());
    }
    damaged(inner, id, place, report, repair).await
}

async fn damaged(
    inner: &Arc<Inner>,
    id: ChunkId,
    place: ChunkPlace,
    report: &mut CheckReport,
    repair: bool,
) -> Result<(), Arc<StoreError>> {
    tracing::error!(chunk = %id, pack = place.pack.0, offset = place.offset, "a stored chunk is damaged");
    report.damaged += 1;
    inner.counters.damaged.fetch_add(1, Ordering::Relaxed);
    if repair {
        inner
            .writer
            .run(move |ledger| ledger.lose(&id, &place))
            .await?;
    }
    Ok(())
}

/// References to chunks that are not here.
async fn check_refs(
    inner: &Arc<Inner>,
    first: u8,
    report: &mut CheckReport,
    repair: bool,
) -> Result<(), Arc<StoreError>> {
    let looking = Arc::clone(inner);
    let look = move || -> Result<Vec<ChunkId>, StorageError> {
        let mut ids: Vec<ChunkId> = Vec::new();
        looking
            .index
            .storage()
            .scan(REFS, &[first], &mut |key, _| {
                let id = parse_ref(key).map(|(id, _)| id);
                ids.extend(id.filter(|id| ids.last() != Some(id)));
                ControlFlow::Continue(())
            })?;
        let mut dangling = Vec::new();
        for id in ids {
            if looking.index.place(&id)?.is_none()
                && looking.index.get(LOST, id.as_bytes())?.is_none()
            {
                dangling.push(id);
            }
        }
        Ok(dangling)
    };
    let dangling = blocking(look).await?.map_err(StoreError::from)?;
    for id in dangling {
        // Decided where nothing changes meanwhile.
        let dangles = inner
            .writer
            .run(move |ledger| ledger.miss(&id, repair))
            .await?;
        report.dangling += u64::from(dangles);
    }
    Ok(())
}
