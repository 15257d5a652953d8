//! Which positions of a version are here.

use super::ids::VersionNumber;
use super::index::{Index, Rows};
use super::records::{BLOCK, SPACES, records, space_index};
use super::version::{Phase, VersionRecord};
use hither_content::storage::StorageError;
use hither_proto::{ChunkId, Head, Ranges, Space};
use hither_util::sync::Mutex;
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::sync::Arc;

/// Versions whose positions are remembered.
const MAX_CACHED: usize = 256;

/// The positions of a version that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldChunks(pub(super) [RoaringBitmap; 3]);

impl HeldChunks {
    /// Positions of one space, ascending; of very many ranges only the first are named.
    pub fn ranges(&self, space: Space) -> Ranges {
        Ranges::from_bitmap(&self.0[space_index(space)])
    }

    /// Positions of one space.
    pub fn bitmap(&self, space: Space) -> &RoaringBitmap {
        &self.0[space_index(space)]
    }

    /// Whether every position is there.
    pub(super) fn is_all(&self, head: &Head) -> bool {
        let [root, manifest, data] = self.0.each_ref().map(RoaringBitmap::len);
        (root, manifest, data) == (1, u64::from(head.manifest_chunks), u64::from(head.chunks))
    }

    fn all(head: &Head) -> Self {
        Self(totals(head).map(|total| {
            let mut bitmap = RoaringBitmap::new();
            bitmap.insert_range(0..total);
            bitmap
        }))
    }

    /// Looks every position up. Reads the lists of the version; blocks.
    fn look_up(
        index: &Index,
        version: VersionNumber,
        record: &VersionRecord,
        head: &Head,
    ) -> Result<Self, StorageError> {
        let mut held: [RoaringBitmap; 3] = Default::default();
        let has = |id: &ChunkId| -> Result<bool, StorageError> {
            Ok(index.version_refers(version, record.number, id)? && index.place(id)?.is_some())
        };
        if has(&head.root)? {
            held[0].insert(0);
        }
        for (space, total) in SPACES.into_iter().zip(totals(head)).skip(1) {
            for block in 0..total.div_ceil(BLOCK) {
                let list = index.block(version, space, block)?;
                for (position, chunk) in (block * BLOCK..).zip(records(&list)) {
                    if has(&chunk.id)? {
                        held[space_index(space)].insert(position);
                    }
                }
            }
        }
        Ok(Self(held))
    }
}

const fn totals(head: &Head) -> [u32; 3] {
    [1, head.manifest_chunks, head.chunks]
}

/// What was looked up of versions that nobody is uploading. Bounded.
#[derive(Default)]
pub(super) struct HeldCache(Mutex<HashMap<VersionNumber, (u64, Arc<HeldChunks>)>>);

impl HeldCache {
    /// What is held of a version that no upload changes. Blocks.
    pub(super) fn of(
        &self,
        index: &Index,
        version: VersionNumber,
        record: &VersionRecord,
        head: &Head,
    ) -> Result<Arc<HeldChunks>, StorageError> {
        let changes = index.lost_changes();
        if record.phase == Phase::Complete && !index.any_lost() {
            return Ok(Arc::new(HeldChunks::all(head)));
        }
        let lock = || self.0.lock();
        // What was broken off may have chunks on their way still: looked up each time.
        let cached = record.phase == Phase::Complete;
        if let Some((at, held)) = lock().get(&version).filter(|_| cached)
            && *at == changes
        {
            return Ok(Arc::clone(held));
        }
        let held = Arc::new(HeldChunks::look_up(index, version, record, head)?);
        let mut entries = lock();
        if entries.len() >= MAX_CACHED {
            entries.retain(|_, (at, _)| *at == changes);
        }
        if cached && entries.len() < MAX_CACHED {
            entries.insert(version, (changes, Arc::clone(&held)));
        }
        Ok(held)
    }
}
