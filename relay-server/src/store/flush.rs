//! From a pack's worth of received chunks to durable ones: verify, write, commit, tell.
//!
//! Invariant: an upload hears that a chunk is stored only after its bytes were compared with its
//! id, the pack was fsynced and the index, which names both, was committed.

use super::backend::blocking;
use super::error::{PutError, StoreError};
use super::inner::Inner;
use super::ledger::{Kept, PackedChunk};
use super::pack::PackBuilder;
use super::packer::Piece;
use super::progress::Taken;
use bytes::Bytes;
use hither_content::verify_chunk;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Verified chunks, and the pack with those of them that were not here before.
struct Prepared {
    pieces: Vec<Piece>,
    chunks: Vec<PackedChunk>,
    parts: Vec<Bytes>,
    total: u64,
}

/// Writes some chunks. What goes wrong is told to their uploads.
pub(super) async fn flush(inner: Arc<Inner>, pieces: Vec<Piece>) {
    let Ok(_slot) = inner.writers.acquire().await else {
        return;
    };
    let mut left = pieces;
    // A chunk that was here already may be collected before the upload could refer to it; then it
    // is written after all.
    while !left.is_empty() {
        let preparing = Arc::clone(&inner);
        let Ok(prepared) = blocking(move || prepare(&preparing, left)).await else {
            return;
        };
        left = match prepared {
            Ok(prepared) => write(&inner, prepared).await,
            Err((pieces, error)) => {
                fail(&pieces, &error);
                return;
            }
        };
    }
}

fn fail(pieces: &[Piece], error: &PutError) {
    for piece in pieces {
        piece.taken.progress.fail(error.clone());
    }
}

fn prepare(inner: &Inner, pieces: Vec<Piece>) -> Result<Prepared, (Vec<Piece>, PutError)> {
    let (mut good, mut chunks) = (
        Vec::with_capacity(pieces.len()),
        Vec::with_capacity(pieces.len()),
    );
    let mut pack = PackBuilder::default();
    let mut trouble = None;
    for piece in pieces {
        let Taken {
            progress,
            space,
            position,
            ..
        } = &piece.taken;
        if verify_chunk(&piece.record.id, &piece.bytes).is_err() {
            progress.fail(PutError::Damaged {
                space: *space,
                position: *position,
            });
            continue;
        }
        use super::index::Rows;
        let offset = match inner.index.place(&piece.record.id) {
            Ok(Some(_)) => None,
            Ok(None) => Some(pack.add(piece.record.id, piece.bytes.clone())),
            Err(error) => {
                trouble = Some(error);
                None
            }
        };
        chunks.push(PackedChunk {
            version: progress.version,
            record: piece.record,
            offset,
        });
        good.push(piece);
    }
    if let Some(error) = trouble {
        return Err((good, error.into()));
    }
    let (parts, total) = if pack.is_empty() {
        (Vec::new(), 0)
    } else {
        pack.finish()
    };
    Ok(Prepared {
        pieces: good,
        chunks,
        parts,
        total,
    })
}

/// Writes the pack and commits its chunks; returns those that have to be written after all.
async fn write(inner: &Arc<Inner>, prepared: Prepared) -> Vec<Piece> {
    let Prepared {
        pieces,
        chunks,
        parts,
        total,
    } = prepared;
    let pack = inner.next_pack();
    let written = total > 0;
    if written && let Err(error) = put(inner, pack, parts, total).await {
        fail(&pieces, &error.into());
        return Vec::new();
    }
    let sealed = inner
        .writer
        .run(move |ledger| ledger.seal(pack, total, &chunks))
        .await;
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(error) => {
            // It is not known now whether the index names the pack: it must stay until that can be
            // read again.
            if written {
                inner.doubt(pack);
            }
            fail(&pieces, &error.into());
            return Vec::new();
        }
    };
    if written && sealed.unused {
        inner.discard(pack).await;
    }
    settle(pieces, &sealed.kept)
}

async fn put(
    inner: &Inner,
    pack: super::ids::PackNumber,
    parts: Vec<Bytes>,
    total: u64,
) -> Result<(), StoreError> {
    inner.check_floor(total)?;
    let put = inner.backend.put(pack, parts).await;
    match &put {
        Ok(()) => {
            inner.counters.packs_written.fetch_add(1, Ordering::Relaxed);
            inner
                .counters
                .bytes_written
                .fetch_add(total, Ordering::Relaxed);
            inner.pack_bytes.fetch_add(total, Ordering::Relaxed);
        }
        Err(error) => {
            tracing::warn!(%error, "a pack could not be written");
            inner.doubt(pack);
        }
    }
    put
}

fn settle(pieces: Vec<Piece>, kept: &[Kept]) -> Vec<Piece> {
    let mut vanished = Vec::new();
    let mut taken: Vec<(Taken, u32)> = Vec::new();
    let tell = |taken: &mut Vec<(Taken, u32)>| {
        if let Some((first, _)) = taken.first() {
            Arc::clone(&first.progress).settle(taken);
        }
        taken.clear();
    };
    for (piece, kept) in pieces.into_iter().zip(kept) {
        match kept {
            Kept::Vanished => vanished.push(piece),
            Kept::Released => piece.taken.progress.fail(PutError::Released),
            Kept::Here => {
                // An upload hears of its chunks at once and not of each.
                let other = |(first, _): &(Taken, u32)| {
                    first.progress.version != piece.taken.progress.version
                };
                if taken.first().is_some_and(other) {
                    tell(&mut taken);
                }
                taken.push((piece.taken, piece.record.length));
            }
        }
    }
    tell(&mut taken);
    vanished
}
