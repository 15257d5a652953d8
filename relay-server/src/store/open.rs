//! Opening a store: do packs and index belong together, and what has a kill left behind?

use super::backend::{Backend, blocking};
use super::config::StoreConfig;
use super::error::StoreError;
use super::gc::all_packs;
use super::ids::{ChunkPlace, PackNumber};
use super::index::{Index, Rows};
use super::inner::Inner;
use super::ledger::PackSize;
use super::tables::{CHUNKS, IDENTITY, META, NEXT_EPOCH, PACKS, decode_place};
use super::writer::Writer;
use hither_content::storage::{Batch, Storage, StorageError};
use hither_proto::ChunkId;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Opens a store and puts right what a kill has left.
pub(super) async fn open(
    config: StoreConfig,
    storage: Arc<dyn Storage>,
    backend: Backend,
) -> Result<Arc<Inner>, StoreError> {
    let index = Arc::new(blocking(move || Index::open(storage)).await??);
    let there = backend.list().await?;
    let reading = Arc::clone(&index);
    let named = blocking(move || all_packs(&reading)).await??;
    check_identity(&index, &backend, there.is_empty() && named.is_empty()).await?;
    let counting = Arc::clone(&index);
    let epoch = blocking(move || next_epoch(&counting)).await??;
    let pack_bytes = named.iter().map(|(_, size)| size.total).sum();
    let writer = Writer::start(Arc::clone(&index))?;
    let inner = Arc::new(Inner::new(
        config, backend, index, writer, epoch, pack_bytes,
    )?);
    remove_orphans(&inner, &there, &named).await;
    forget_missing(&inner, &there, &named).await?;
    Ok(inner)
}

/// Packs and index know one number. Where they do not agree nothing may be deleted: packs whose
/// index was lost, or moved aside for being damaged, would look like so much garbage, and a disk
/// that is not mounted like so much damage.
async fn check_identity(
    index: &Arc<Index>,
    backend: &Backend,
    empty: bool,
) -> Result<(), StoreError> {
    let reading = Arc::clone(index);
    let ours = blocking(move || reading.get(META, IDENTITY)).await??;
    let theirs = backend.identity().await?;
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours == theirs => Ok(()),
        (None, None) if empty => {
            let mut identity = [0; 16];
            getrandom::fill(&mut identity).map_err(|error| {
                StoreError::io("drawing a number", std::io::Error::other(error))
            })?;
            let writing = Arc::clone(index);
            // The index first: then packs never have an identity that no index knows.
            blocking(move || {
                let mut batch = Batch::new();
                batch.put(META, IDENTITY, &identity);
                writing.storage().commit(batch)
            })
            .await??;
            backend.set_identity(identity).await
        }
        (Some(ours), None) if empty => {
            let ours = ours.try_into().map_err(|_| super::tables::malformed())?;
            backend.set_identity(ours).await
        }
        _ => Err(StoreError::OtherPacks),
    }
}

/// Counts openings: the upper half of pack numbers, so that none is used again.
fn next_epoch(index: &Index) -> Result<u32, StorageError> {
    let epoch = index
        .get(META, NEXT_EPOCH)?
        .map_or(Ok(0), |value| super::tables::decode_u32(&value))?;
    let after = epoch.checked_add(1).ok_or_else(super::tables::malformed)?;
    let mut batch = Batch::new();
    batch.put(META, NEXT_EPOCH, &after.to_be_bytes());
    index.storage().commit(batch)?;
    Ok(epoch)
}

/// Deletes packs that were written and never committed, or forgotten and not deleted yet.
async fn remove_orphans(
    inner: &Inner,
    there: &[(PackNumber, u64)],
    named: &[(PackNumber, PackSize)],
) {
    let named: BTreeSet<_> = named.iter().map(|(pack, _)| *pack).collect();
    for (pack, bytes) in there.iter().filter(|(pack, _)| !named.contains(pack)) {
        tracing::info!(
            pack = pack.0,
            bytes,
            "deleting a pack that was never committed"
        );
        inner.discard(*pack).await;
    }
}

/// Forgets packs that are gone, with their chunks, so that those can be uploaded again.
async fn forget_missing(
    inner: &Arc<Inner>,
    there: &[(PackNumber, u64)],
    named: &[(PackNumber, PackSize)],
) -> Result<(), StoreError> {
    let there: BTreeSet<_> = there.iter().map(|(pack, _)| *pack).collect();
    let gone: BTreeSet<_> = named
        .iter()
        .map(|(pack, _)| *pack)
        .filter(|pack| !there.contains(pack))
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    tracing::error!(
        packs = gone.len(),
        "packs are gone; their chunks have to be uploaded again"
    );
    for first in 0..=u8::MAX {
        let (reading, packs) = (Arc::clone(inner), gone.clone());
        let chunks = blocking(move || chunks_in(&reading.index, first, &packs)).await??;
        for chunks in chunks.chunks(1024) {
            let chunks = chunks.to_vec();
            let lost = inner.writer.run(move |ledger| {
                chunks
                    .iter()
                    .try_for_each(|(id, place)| ledger.lose(id, place).map(drop))
            });
            lost.await.map_err(unshare)?;
        }
    }
    let forgotten = inner.writer.run(move |ledger| {
        for pack in &gone {
            ledger.remove(PACKS, &pack.0.to_be_bytes());
        }
        Ok(())
    });
    forgotten.await.map_err(unshare)
}

fn chunks_in(
    index: &Index,
    first: u8,
    packs: &BTreeSet<PackNumber>,
) -> Result<Vec<(ChunkId, ChunkPlace)>, StorageError> {
    let mut found = Vec::new();
    index.storage().scan(CHUNKS, &[first], &mut |key, value| {
        if let (Ok(id), Ok(place)) = (ChunkId::from_slice(key), decode_place(value))
            && packs.contains(&place.pack)
        {
            found.push((id, place));
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// The error itself where nobody else has it.
fn unshare(error: Arc<StoreError>) -> StoreError {
    Arc::try_unwrap(error).unwrap_or(StoreError::Closed)
}
