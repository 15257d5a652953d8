//! The part that a transfer is getting now, as the threads that store chunks see it.
//!
//! Invariant: a chunk is written only after its ciphertext hashed to the id that a chain from the
//! owner's signature names: head → root → manifest → data.

use super::in_order::WindowChunks;
use hither_content::{FetchTarget, ManifestFile, WriteError, open_chunk, open_root};
use hither_proto::{Manifest, Root, ShareSecret, SignedHead, Space};
use hither_swarm::{ChunkSink, PutError};
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{RwLock, RwLockReadGuard};

/// One stage of a transfer.
pub(crate) enum Stage {
    /// Nothing is expected.
    Idle,
    /// The encrypted root.
    Root {
        head: Box<SignedHead>,
        secret: ShareSecret,
        got: Mutex<Option<(Root, Vec<u8>)>>,
    },
    /// The manifest's chunks.
    Manifest { file: Arc<ManifestFile> },
    /// The files.
    Data {
        manifest: Arc<Manifest>,
        target: Arc<FetchTarget>,
        repeats: Repeats,
    },
    /// A window of a file that is read in order.
    Window {
        manifest: Arc<Manifest>,
        chunks: Arc<WindowChunks>,
    },
}

/// Positions whose chunks have the same id: fetched once, written everywhere.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    /// First position of an id → the others.
    others: HashMap<u32, Vec<u32>>,
}

impl Repeats {
    /// Finds repeated ids. Takes 4 bytes a chunk while it looks, and afterwards only what repeats.
    pub(crate) fn find(manifest: &Manifest) -> Self {
        let chunks = manifest.chunks();
        let mut order: Vec<u32> = (0..chunks.len() as u32).collect();
        order.sort_unstable_by_key(|p| (*chunks[*p as usize].id.as_bytes(), *p));
        let mut others: HashMap<u32, Vec<u32>> = HashMap::new();
        let mut first = 0;
        for pair in order.windows(2) {
            if chunks[pair[0] as usize].id != chunks[pair[1] as usize].id {
                continue;
            }
            if others
                .get(&first)
                .is_none_or(|list| list.last() != Some(&pair[0]))
            {
                first = pair[0];
            }
            others.entry(first).or_default().push(pair[1]);
        }
        Self { others }
    }

    /// The positions that are written when `first` arrives, itself included.
    pub(crate) fn of(&self, first: u32) -> Vec<u32> {
        let mut all = vec![first];
        all.extend(self.others.get(&first).into_iter().flatten());
        all
    }

    /// Positions that need not be fetched, because an earlier one has the same id.
    pub(crate) fn repeated(&self) -> impl Iterator<Item = u32> + '_ {
        self.others.values().flatten().copied()
    }
}

/// The stage of a transfer, exchanged by its task. A chunk that is being written holds on to its
/// stage: once another one is set, nothing more is written for the one before, and whoever waits
/// for `Written` has been notified of all that was.
pub(crate) struct Stages(RwLock<Stage>);

impl Stages {
    pub(crate) fn new() -> Self {
        Self(RwLock::new(Stage::Idle))
    }

    /// Waits for chunks that are being written.
    pub(crate) async fn set(&self, stage: Stage) {
        *self.0.write().await = stage;
    }

    pub(crate) async fn get(&self) -> RwLockReadGuard<'_, Stage> {
        self.0.read().await
    }
}

impl ChunkSink for Stages {
    fn put(
        &self,
        space: Space,
        position: u32,
        sealed: &mut Vec<u8>,
        written: &dyn Fn(&[u32]),
    ) -> Result<Vec<u32>, PutError> {
        // Chunks are stored by threads of their own.
        match (&*self.0.blocking_read(), space) {
            (Stage::Root { head, secret, got }, Space::Root) => {
                let root = open_root(head.head(), secret, sealed).map_err(|_| PutError::Damaged)?;
                *got.lock() = Some((root, std::mem::take(sealed)));
                Ok(vec![position])
            }
            (Stage::Manifest { file }, Space::Manifest) => {
                let record = file
                    .root()
                    .records()
                    .get(position as usize)
                    .ok_or(PutError::Stale)?;
                open_chunk(record, sealed).map_err(|_| PutError::Damaged)?;
                file.write(position, sealed).map_err(PutError::Manifest)?;
                Ok(vec![position])
            }
            (
                Stage::Data {
                    manifest,
                    target,
                    repeats,
                },
                Space::Data,
            ) => {
                let record = manifest
                    .chunks()
                    .get(position as usize)
                    .ok_or(PutError::Stale)?;
                open_chunk(record, sealed).map_err(|_| PutError::Damaged)?;
                let positions = repeats.of(position);
                target
                    .write_chunks(&positions, sealed)
                    .map_err(PutError::Write)?;
                written(&positions);
                Ok(positions)
            }
            (Stage::Window { manifest, chunks }, Space::Data) => {
                let record = manifest
                    .chunks()
                    .get(position as usize)
                    .ok_or(PutError::Stale)?;
                open_chunk(record, sealed).map_err(|_| PutError::Damaged)?;
                let positions = chunks
                    .put(position, sealed)
                    .map_err(|error| PutError::Write(WriteError::of_own(error)))?;
                written(&positions);
                Ok(positions)
            }
            _ => Err(PutError::Stale),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_proto::{ChunkId, ChunkKey, ChunkRecord, ManifestBuilder};

    #[test]
    fn repeats_are_found_and_belong_to_their_first_position() {
        let ids = [1u8, 2, 1, 3, 2, 1, 4];
        let chunks: Vec<ChunkRecord> = ids
            .iter()
            .map(|n| ChunkRecord {
                id: ChunkId::new([*n; 32]),
                key: ChunkKey::new([0; 32]),
                length: 10,
            })
            .collect();
        let mut builder = ManifestBuilder::new(65536).unwrap();
        builder.file(0, "f", 0o644, 0, 70).unwrap();
        let repeats = Repeats::find(&builder.finish(chunks).unwrap());
        assert_eq!(
            (repeats.of(0), repeats.of(1), repeats.of(3)),
            (vec![0, 2, 5], vec![1, 4], vec![3])
        );
        let mut repeated: Vec<u32> = repeats.repeated().collect();
        repeated.sort_unstable();
        assert_eq!(repeated, [2, 4, 5]);
    }
}
