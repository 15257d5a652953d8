//! Moving the live chunks of packs into new ones.

use super::backend::blocking;
use super::error::StoreError;
use super::ids::{ChunkPlace, PackNumber};
use super::index::Rows;
use super::inner::Inner;
use super::ledger::Moved;
use super::pack::{PackBuilder, directory};
use bytes::Bytes;
use hither_content::storage::StorageError;
use hither_content::verify_chunk;
use hither_proto::ChunkId;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A new pack that is being filled.
#[derive(Default)]
struct Filling {
    pack: PackBuilder,
    moved: Vec<Moved>,
}

/// A live chunk of a pack.
struct Live {
    id: ChunkId,
    place: ChunkPlace,
    /// A copy: a slice would keep the whole pack in memory. `None`: damaged.
    bytes: Option<Bytes>,
}

/// Moves the live chunks of `packs`; returns how many bytes that were. The old packs have no live
/// chunks afterwards.
pub(super) async fn compact(
    inner: &Arc<Inner>,
    packs: &[PackNumber],
) -> Result<u64, Arc<StoreError>> {
    let mut filling = Filling::default();
    let mut bytes = 0;
    for pack in packs {
        let whole = match inner.backend.read_all(*pack).await {
            Ok(whole) => whole,
            Err(error) => {
                // A check says more, and can do something about it; the other packs need not wait
                // for that.
                tracing::error!(%error, pack = pack.0, "a pack cannot be read and is not compacted");
                continue;
            }
        };
        for live in live_chunks(inner, *pack, whole).await? {
            let Live {
                id,
                place,
                bytes: Some(chunk),
            } = live
            else {
                inner.counters.damaged.fetch_add(1, Ordering::Relaxed);
                inner
                    .writer
                    .run(move |ledger| ledger.lose(&live.id, &live.place))
                    .await?;
                continue;
            };
            bytes += u64::from(place.length);
            let to_offset = filling.pack.add(id, chunk);
            filling.moved.push(Moved {
                id,
                from: place,
                to_offset,
            });
            if filling.pack.bytes() >= inner.config.pack_bytes as u64 {
                write(inner, std::mem::take(&mut filling)).await?;
            }
        }
    }
    if !filling.moved.is_empty() {
        write(inner, filling).await?;
    }
    Ok(bytes)
}

async fn live_chunks(
    inner: &Arc<Inner>,
    pack: PackNumber,
    whole: Bytes,
) -> Result<Vec<Live>, Arc<StoreError>> {
    let inner = Arc::clone(inner);
    let look = move || -> Result<Vec<Live>, StorageError> {
        let Ok(entries) = directory(&whole) else {
            tracing::error!(
                pack = pack.0,
                "a pack's directory is damaged; it is not compacted"
            );
            return Ok(Vec::new());
        };
        let mut live = Vec::new();
        for entry in entries {
            let place = ChunkPlace {
                pack,
                offset: entry.offset,
                length: entry.length,
            };
            if inner.index.place(&entry.id)? != Some(place) {
                continue;
            }
            let bytes = &whole[entry.offset as usize..][..entry.length as usize];
            let bytes = verify_chunk(&entry.id, bytes)
                .is_ok()
                .then(|| Bytes::copy_from_slice(bytes));
            live.push(Live {
                id: entry.id,
                place,
                bytes,
            });
        }
        Ok(live)
    };
    Ok(blocking(look).await?.map_err(StoreError::from)?)
}

async fn write(inner: &Arc<Inner>, filling: Filling) -> Result<(), Arc<StoreError>> {
    let (parts, total) = filling.pack.finish();
    let pack = inner.next_pack();
    inner
        .backend
        .put(pack, parts)
        .await
        .inspect_err(|_| inner.doubt(pack))?;
    inner.pack_bytes.fetch_add(total, Ordering::Relaxed);
    let moved = filling.moved;
    let unused = inner
        .writer
        .run(move |ledger| ledger.move_chunks(pack, total, &moved))
        .await;
    if unused.inspect_err(|_| inner.doubt(pack))? {
        inner.discard(pack).await;
    }
    Ok(())
}
