//! Chunks come, are referred to, move, are lost and go.

use super::super::ids::{ChunkPlace, PackNumber, VersionNumber};
use super::super::index::Rows;
use super::super::records::ListRecord;
use super::super::tables::{
    CHUNKS, DEAD, LOST, PACKS, REFS, dead_key, encode_place, parse_dead, ref_key,
};
use super::super::version::VersionRecord;
use super::{Ledger, PackSize};
use hither_content::storage::StorageError;
use hither_proto::{ChunkId, UserId};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A chunk that a version has got: verified, and durable unless it relies on an earlier copy.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct PackedChunk {
    pub(in super::super) version: VersionNumber,
    pub(in super::super) record: ListRecord,
    /// Where it stands in the pack that was just written; `None`: it was here before.
    pub(in super::super) offset: Option<u32>,
}

/// What became of a [`PackedChunk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kept {
    /// The version refers to it and it is durable.
    Here,
    /// The copy that it relied on is gone: it must be written after all.
    Vanished,
    /// The version was released meanwhile.
    Released,
}

/// What became of a pack's chunks.
#[derive(Debug)]
pub(in super::super) struct Sealed {
    /// As many as chunks were given.
    pub(in super::super) kept: Vec<Kept>,
    /// The index does not refer to the pack, and never will.
    pub(in super::super) unused: bool,
}

/// A chunk that was copied to another pack.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Moved {
    pub(in super::super) id: ChunkId,
    pub(in super::super) from: ChunkPlace,
    /// In the new pack, bytes.
    pub(in super::super) to_offset: u32,
}

impl Ledger<'_> {
    /// Adds chunks, most of them in a pack of `total` bytes that is durable, to their versions.
    pub(in super::super) fn seal(
        &mut self,
        pack: PackNumber,
        total: u64,
        chunks: &[PackedChunk],
    ) -> Result<Sealed, StorageError> {
        let mut open: HashMap<VersionNumber, Option<VersionRecord>> = HashMap::new();
        let mut live = 0;
        let mut kept = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let version = match open.entry(chunk.version) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(self.open_version(chunk.version)?),
            };
            let Some(version) = version.as_ref() else {
                kept.push(Kept::Released);
                continue;
            };
            kept.push(match (self.place(&chunk.record.id)?, chunk.offset) {
                (None, None) => Kept::Vanished,
                (None, Some(offset)) => {
                    let length = chunk.record.length;
                    self.put_chunk(
                        &chunk.record.id,
                        &ChunkPlace {
                            pack,
                            offset,
                            length,
                        },
                    )?;
                    live += u64::from(length);
                    self.refer(version, chunk.version, &chunk.record)?;
                    Kept::Here
                }
                (Some(_), _) => {
                    self.refer(version, chunk.version, &chunk.record)?;
                    Kept::Here
                }
            });
        }
        if live > 0 {
            self.set_pack(pack, PackSize { total, live });
        }
        Ok(Sealed {
            kept,
            unused: live == 0,
        })
    }

    /// Lets a version refer to those chunks that its user has already; says which.
    pub(in super::super) fn adopt(
        &mut self,
        version: VersionNumber,
        chunks: &[ListRecord],
    ) -> Result<Vec<bool>, StorageError> {
        let Some(record) = self.open_version(version)? else {
            return Ok(vec![false; chunks.len()]);
        };
        let mut adopted = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let has = self.user_has(record.number, chunk)?;
            if has {
                self.refer(&record, version, chunk)?;
            }
            adopted.push(has);
        }
        Ok(adopted)
    }

    fn refer(
        &mut self,
        record: &VersionRecord,
        version: VersionNumber,
        chunk: &ListRecord,
    ) -> Result<(), StorageError> {
        if !self.user_refers(record.number, &chunk.id)? {
            self.count_user(&record.user, i64::from(chunk.length))?;
        }
        self.put(
            REFS,
            &ref_key(&chunk.id, record.number, version),
            &chunk.length.to_be_bytes(),
        );
        Ok(())
    }

    /// Removes a released version's references to chunks; those nobody refers to any more are dead
    /// from `now_ms` on.
    pub(in super::super) fn drop_refs(
        &mut self,
        version: VersionNumber,
        ids: &[ChunkId],
        now_ms: u64,
    ) -> Result<(), StorageError> {
        let Some(record) = self.version(version)? else {
            return Ok(());
        };
        for id in ids {
            let key = ref_key(id, record.number, version);
            let Some(length) = self.get(REFS, &key)? else {
                continue;
            };
            let length = super::super::tables::decode_u32(&length)?;
            self.remove(REFS, &key);
            if !self.user_refers(record.number, id)? {
                self.count_user(&record.user, -i64::from(length))?;
            }
            if !self.any(REFS, id.as_bytes())? {
                self.put(DEAD, &dead_key(now_ms, id), &[]);
            }
        }
        Ok(())
    }

    /// Removes dead chunks, unless they are referred to again; `keys` are those of [`DEAD`].
    pub(in super::super) fn collect(
        &mut self,
        keys: &[Vec<u8>],
    ) -> Result<(u64, u64), StorageError> {
        let (mut chunks, mut bytes) = (0, 0);
        for key in keys {
            self.remove(DEAD, key);
            let Some((_, id)) = parse_dead(key) else {
                continue;
            };
            if self.any(REFS, id.as_bytes())? {
                continue;
            }
            self.found(&id)?;
            if let Some(place) = self.place(&id)? {
                self.remove_chunk(&id, &place)?;
                chunks += 1;
                bytes += u64::from(place.length);
            }
        }
        Ok((chunks, bytes))
    }

    /// Lets the index follow chunks into pack `to` of `total` bytes; `true` if it refers to none of
    /// it.
    pub(in super::super) fn move_chunks(
        &mut self,
        to: PackNumber,
        total: u64,
        chunks: &[Moved],
    ) -> Result<bool, StorageError> {
        let mut live = 0;
        for chunk in chunks {
            if self.place(&chunk.id)? != Some(chunk.from) {
                continue;
            }
            self.remove_chunk(&chunk.id, &chunk.from)?;
            let length = chunk.from.length;
            self.put(
                CHUNKS,
                chunk.id.as_bytes(),
                &encode_place(&ChunkPlace {
                    pack: to,
                    offset: chunk.to_offset,
                    length,
                }),
            );
            live += u64::from(length);
        }
        if live > 0 {
            self.set_pack(to, PackSize { total, live });
        }
        Ok(live == 0)
    }

    /// Forgets a damaged chunk, if it still stands at `place`, so that it can be uploaded again.
    pub(in super::super) fn lose(
        &mut self,
        id: &ChunkId,
        place: &ChunkPlace,
    ) -> Result<bool, StorageError> {
        if self.place(id)? != Some(*place) {
            return Ok(false);
        }
        self.remove_chunk(id, place)?;
        if self.any(REFS, id.as_bytes())? {
            self.note_lost(id);
        }
        Ok(true)
    }

    /// Returns whether a chunk is referred to, not here, and not known to be lost; with `note` that
    /// is known from now on.
    pub(in super::super) fn miss(
        &mut self,
        id: &ChunkId,
        note: bool,
    ) -> Result<bool, StorageError> {
        let misses = self.place(id)?.is_none()
            && self.get(LOST, id.as_bytes())?.is_none()
            && self.any(REFS, id.as_bytes())?;
        if misses && note {
            self.note_lost(id);
        }
        Ok(misses)
    }

    fn note_lost(&mut self, id: &ChunkId) {
        self.index.note_lost();
        self.lost_changed = true;
        self.put(LOST, id.as_bytes(), &[]);
    }

    /// Forgets a pack that the index does not refer to; `true` if it is one.
    pub(in super::super) fn remove_pack(&mut self, pack: PackNumber) -> Result<bool, StorageError> {
        let dead = self.pack(pack)?.is_some_and(|size| size.live == 0);
        if dead {
            self.remove(PACKS, &pack.0.to_be_bytes());
        }
        Ok(dead)
    }

    fn put_chunk(&mut self, id: &ChunkId, place: &ChunkPlace) -> Result<(), StorageError> {
        self.put(CHUNKS, id.as_bytes(), &encode_place(place));
        self.found(id)
    }

    /// A chunk is no longer lost.
    fn found(&mut self, id: &ChunkId) -> Result<(), StorageError> {
        if self.index.any_lost() && self.get(LOST, id.as_bytes())?.is_some() {
            self.lost_changed = true;
            self.remove(LOST, id.as_bytes());
        }
        Ok(())
    }

    fn remove_chunk(&mut self, id: &ChunkId, place: &ChunkPlace) -> Result<(), StorageError> {
        self.remove(CHUNKS, id.as_bytes());
        if let Some(size) = self.pack(place.pack)? {
            let live = size.live.saturating_sub(u64::from(place.length));
            self.set_pack(place.pack, PackSize { live, ..size });
        }
        Ok(())
    }

    fn count_user(&mut self, user: &UserId, change: i64) -> Result<(), StorageError> {
        if let Some(mut record) = self.user(user)? {
            record.bytes = record.bytes.saturating_add_signed(change);
            self.set_user(user, &record);
        }
        Ok(())
    }
}
