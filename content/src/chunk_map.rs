//! Which chunks this device has, and in which holding each stands: what is here already is copied,
//! not fetched.
//!
//! Tables: `holdings` maps a holding's number to its share, version and state; `chunk-places` has
//! one empty entry for each chunk of each holding, its key the first 16 bytes of the chunk's id,
//! the holding's number and the position (24 bytes, numbers big-endian). A cut id is enough to find
//! a candidate: who copies a chunk verifies it anyway.
//!
//! Invariants: a holding is looked up only after all its entries are durable, and no longer once
//! its removal has begun; what a crash leaves of a half-added or half-removed holding is removed
//! when the map is opened; numbers are never used again. Memory is flat: nothing is kept per chunk,
//! and batches are bounded.

use crate::storage::{Batch, Storage, StorageError, Table};
use hither_proto::{ChunkId, ChunkRecord, ShareId};
use hither_util::sync::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, MutexGuard};

const HOLDINGS: Table = Table::new("holdings");
const PLACES: Table = Table::new("chunk-places");
/// Key, in [`HOLDINGS`], of the number that the next holding gets. Holdings' keys are four bytes
/// long.
const NEXT: &[u8] = b"next";
/// Bytes of a chunk id in a key.
const ID: usize = 16;
/// Entries of one batch: 20,000 keys of 24 bytes are half a megabyte, far below what a batch may
/// hold.
const BATCH: usize = 20_000;

/// Numbers a holding on this device; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldingNumber(pub u32);

/// A place where a chunk can be read, unless its file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// The holding's number.
    pub holding: HoldingNumber,
    /// The share that it is of.
    pub share: ShareId,
    /// The version that it is of.
    pub version: u64,
    /// Position of the chunk in it.
    pub position: u32,
}

/// First byte of a holding's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its chunks are being added or removed.
    Unready = 0,
    /// Its chunks are all there.
    Ready = 1,
}

#[derive(Debug, Clone, Copy)]
struct MappedHolding {
    share: ShareId,
    version: u64,
}

/// The map from chunks to holdings. Shared between threads.
pub struct ChunkMap {
    storage: Arc<dyn Storage>,
    ready: RwLock<BTreeMap<u32, MappedHolding>>,
    /// The next number; held while one is given out.
    next: Mutex<u32>,
}

impl std::fmt::Debug for ChunkMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkMap").finish_non_exhaustive()
    }
}

impl ChunkMap {
    /// Opens the map in a store and removes what a crash has left in it.
    pub fn open(storage: Arc<dyn Storage>) -> Result<Self, StorageError> {
        let (mut ready, mut leftovers) = (BTreeMap::new(), BTreeSet::new());
        let mut damaged = None;
        storage.scan(HOLDINGS, &[], &mut |key, value| {
            if key == NEXT {
                return ControlFlow::Continue(());
            }
            match (<[u8; 4]>::try_from(key), decode(value)) {
                (Ok(number), Some((Phase::Ready, held))) => {
                    ready.insert(u32::from_be_bytes(number), held);
                }
                (Ok(number), Some((Phase::Unready, _))) => {
                    leftovers.insert(u32::from_be_bytes(number));
                }
                _ => {
                    damaged = Some(StorageError::Damaged(
                        "a holding's entry is malformed".into(),
                    ))
                }
            }
            if damaged.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        if let Some(error) = damaged {
            return Err(error);
        }
        let next = match storage.get(HOLDINGS, NEXT)? {
            None => 0,
            Some(bytes) => u32::from_be_bytes(bytes.as_slice().try_into().map_err(|_| {
                StorageError::Damaged("the next holding's number is malformed".into())
            })?),
        };
        let map = Self {
            storage,
            ready: RwLock::new(ready),
            next: Mutex::new(next),
        };
        if !leftovers.is_empty() {
            tracing::info!(
                holdings = leftovers.len(),
                "removing what an interrupted change left in the chunk map"
            );
            map.sweep(&leftovers)?;
        }
        Ok(map)
    }

    /// Adds all chunks of a holding; it can be looked up when this returns. Chunks that are not on
    /// this device yet may be added too: the caller knows which positions it has.
    ///
    /// Entries are written in key order, so a million chunks are as many sequential insertions and
    /// not random ones.
    pub fn add(
        &self,
        share: ShareId,
        version: u64,
        chunks: &[ChunkRecord],
    ) -> Result<HoldingNumber, StorageError> {
        let held = MappedHolding { share, version };
        let number = self.begin(held)?;
        let mut order: Vec<u32> = (0..chunks.len() as u32).collect();
        order.sort_unstable_by(|a, b| {
            chunks[*a as usize]
                .id
                .cmp(&chunks[*b as usize].id)
                .then(a.cmp(b))
        });
        for positions in order.chunks(BATCH) {
            let mut batch = Batch::new();
            for position in positions {
                batch.put(
                    PLACES,
                    &place_key(&chunks[*position as usize].id, number, *position),
                    &[],
                );
            }
            self.storage.commit_lazily(batch)?;
        }
        // Durable together with everything that was committed lazily before.
        let mut batch = Batch::new();
        batch.put(
            HOLDINGS,
            &number.to_be_bytes(),
            &encode(Phase::Ready, &held),
        );
        self.storage.commit(batch)?;
        self.ready.write().insert(number, held);
        Ok(HoldingNumber(number))
    }

    /// Removes a holding; that there is none is no error. With the chunks it was added with this
    /// takes as long as adding; without them the whole map is read.
    pub fn remove(
        &self,
        number: HoldingNumber,
        chunks: Option<&[ChunkRecord]>,
    ) -> Result<(), StorageError> {
        let number = number.0;
        let Some(held) = self.ready.write().remove(&number) else {
            return Ok(());
        };
        let mut batch = Batch::new();
        batch.put(
            HOLDINGS,
            &number.to_be_bytes(),
            &encode(Phase::Unready, &held),
        );
        self.storage.commit(batch)?;
        let Some(chunks) = chunks else {
            return self.sweep(&BTreeSet::from([number]));
        };
        let mut order: Vec<u32> = (0..chunks.len() as u32).collect();
        order.sort_unstable_by_key(|position| chunks[*position as usize].id);
        for positions in order.chunks(BATCH) {
            let mut batch = Batch::new();
            for position in positions {
                batch.remove(
                    PLACES,
                    &place_key(&chunks[*position as usize].id, number, *position),
                );
            }
            self.storage.commit_lazily(batch)?;
        }
        self.forget(&BTreeSet::from([number]))
    }

    /// Up to `limit` places of a chunk, in no order that matters.
    pub fn lookup(&self, id: &ChunkId, limit: usize) -> Result<Vec<Located>, StorageError> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        let ready = self.ready.read();
        self.storage
            .scan(PLACES, &id.as_bytes()[..ID], &mut |key, _| {
                if let Some((number, position)) = parse_place(key)
                    && let Some(held) = ready.get(&number)
                {
                    let MappedHolding { share, version } = *held;
                    found.push(Located {
                        holding: HoldingNumber(number),
                        share,
                        version,
                        position,
                    });
                }
                if found.len() < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
        Ok(found)
    }

    /// Every holding with its share and version, by number.
    pub fn holdings(&self) -> Vec<(HoldingNumber, ShareId, u64)> {
        let ready = self.ready.read();
        ready
            .iter()
            .map(|(number, held)| (HoldingNumber(*number), held.share, held.version))
            .collect()
    }

    /// Gives out a number, durably, to a holding that is not ready.
    fn begin(&self, held: MappedHolding) -> Result<u32, StorageError> {
        let mut next: MutexGuard<'_, u32> = self.next.lock();
        let number = *next;
        let after = number
            .checked_add(1)
            .ok_or_else(|| StorageError::Damaged("holdings' numbers are used up".into()))?;
        let mut batch = Batch::new();
        batch.put(HOLDINGS, NEXT, &after.to_be_bytes());
        batch.put(
            HOLDINGS,
            &number.to_be_bytes(),
            &encode(Phase::Unready, &held),
        );
        self.storage.commit(batch)?;
        *next = after;
        Ok(number)
    }

    /// Removes all entries of some holdings by reading the whole map.
    fn sweep(&self, numbers: &BTreeSet<u32>) -> Result<(), StorageError> {
        loop {
            let mut batch = Batch::new();
            let mut count = 0;
            self.storage.scan(PLACES, &[], &mut |key, _| {
                if parse_place(key).is_none_or(|(number, _)| numbers.contains(&number)) {
                    batch.remove(PLACES, key);
                    count += 1;
                }
                if count < BATCH {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            self.storage.commit_lazily(batch)?;
            if count < BATCH {
                return self.forget(numbers);
            }
        }
    }

    /// Removes the entries of holdings whose chunks are gone; durable with everything before.
    fn forget(&self, numbers: &BTreeSet<u32>) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        for number in numbers {
            batch.remove(HOLDINGS, &number.to_be_bytes());
        }
        self.storage.commit(batch)
    }
}

fn place_key(id: &ChunkId, number: u32, position: u32) -> [u8; ID + 8] {
    let mut key = [0; ID + 8];
    key[..ID].copy_from_slice(&id.as_bytes()[..ID]);
    key[ID..ID + 4].copy_from_slice(&number.to_be_bytes());
    key[ID + 4..].copy_from_slice(&position.to_be_bytes());
    key
}

fn parse_place(key: &[u8]) -> Option<(u32, u32)> {
    let key: &[u8; ID + 8] = key.try_into().ok()?;
    let (number, position) = (key[ID..].first_chunk()?, key[ID + 4..].first_chunk()?);
    Some((u32::from_be_bytes(*number), u32::from_be_bytes(*position)))
}

fn encode(phase: Phase, held: &MappedHolding) -> Vec<u8> {
    let mut value = vec![phase as u8];
    value.extend(held.share.as_bytes());
    value.extend(held.version.to_be_bytes());
    value
}

fn decode(value: &[u8]) -> Option<(Phase, MappedHolding)> {
    let (phase, rest) = value.split_first()?;
    let phase = match phase {
        0 => Phase::Unready,
        1 => Phase::Ready,
        _ => return None,
    };
    let (share, version) = rest.split_at_checked(ShareId::LEN)?;
    let share = ShareId::from_slice(share).ok()?;
    Some((
        phase,
        MappedHolding {
            share,
            version: u64::from_be_bytes(version.try_into().ok()?),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut::tests::noise;
    use crate::storage::MemoryStorage;
    use hither_proto::{ChunkKey, ShareSecret};
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn chunks(seeds: impl IntoIterator<Item = u64>) -> Vec<ChunkRecord> {
        let record = |seed| ChunkRecord {
            id: ChunkId::from_slice(&noise(seed, 32)).unwrap(),
            key: ChunkKey::new([0; 32]),
            length: 1,
        };
        seeds.into_iter().map(record).collect()
    }

    fn share(byte: u8) -> ShareId {
        ShareSecret::new([byte; 16]).share_id()
    }

    fn places(storage: &dyn Storage) -> usize {
        let mut count = 0;
        storage
            .scan(PLACES, &[], &mut |_, _| {
                count += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        count
    }

    #[test]
    fn chunks_are_found_in_every_holding_until_it_is_removed() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let map = ChunkMap::open(Arc::clone(&storage)).unwrap();
        let (one, two) = (chunks([1, 2, 3, 2]), chunks([3, 4]));
        let first = map.add(share(1), 1, &one).unwrap();
        let second = map.add(share(2), 7, &two).unwrap();
        assert_ne!(first, second);
        let at = |map: &ChunkMap, id: &ChunkId| {
            let mut found: Vec<_> = map
                .lookup(id, 10)
                .unwrap()
                .into_iter()
                .map(|l| (l.holding, l.version, l.position))
                .collect();
            found.sort();
            found
        };
        assert_eq!(at(&map, &one[1].id), [(first, 1, 1), (first, 1, 3)]);
        assert_eq!(at(&map, &two[0].id), [(first, 1, 2), (second, 7, 0)]);
        assert_eq!(map.lookup(&two[0].id, 1).unwrap().len(), 1);
        assert_eq!(at(&map, &chunks([9])[0].id), []);
        drop(map);
        let map = ChunkMap::open(Arc::clone(&storage)).unwrap();
        assert_eq!(
            map.holdings(),
            [(first, share(1), 1), (second, share(2), 7)]
        );
        map.remove(first, Some(&one)).unwrap();
        assert_eq!(at(&map, &two[0].id), [(second, 7, 0)]);
        map.remove(first, None).unwrap();
        map.remove(second, None).unwrap();
        assert_eq!((places(&*storage), map.holdings().len()), (0, 0));
        drop(map);
        let third = ChunkMap::open(storage)
            .unwrap()
            .add(share(1), 2, &one)
            .unwrap();
        assert!(third > second, "numbers are not used again");
    }

    /// Fails every commit from the `left`th on, as a crash would.
    struct Crashing {
        inner: Arc<MemoryStorage>,
        left: AtomicUsize,
    }

    impl Crashing {
        fn step(&self) -> Result<(), StorageError> {
            let alive = self
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                });
            alive
                .map(drop)
                .map_err(|_| StorageError::Damaged("crashed".into()))
        }
    }

    impl Storage for Crashing {
        fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
            self.inner.get(table, key)
        }
        fn scan(
            &self,
            table: Table,
            prefix: &[u8],
            visit: &mut crate::storage::Visit<'_>,
        ) -> Result<(), StorageError> {
            self.inner.scan(table, prefix, visit)
        }
        fn commit(&self, batch: Batch) -> Result<(), StorageError> {
            self.step()?;
            self.inner.commit(batch)
        }
        fn commit_lazily(&self, batch: Batch) -> Result<(), StorageError> {
            self.step()?;
            self.inner.commit_lazily(batch)
        }
        fn flush(&self) -> Result<(), StorageError> {
            self.inner.flush()
        }
        fn compare_and_set(
            &self,
            table: Table,
            key: &[u8],
            expected: Option<&[u8]>,
            new: Option<&[u8]>,
        ) -> Result<bool, StorageError> {
            self.step()?;
            self.inner.compare_and_set(table, key, expected, new)
        }
    }

    #[test]
    fn a_crash_at_any_point_leaves_whole_holdings_only() {
        let (kept, changed) = (chunks(0..100), chunks(50..BATCH as u64 * 2 + 60));
        for removing in [false, true] {
            for with_chunks in [false, true] {
                for left in 0..8 {
                    let inner = Arc::new(MemoryStorage::new());
                    let map = ChunkMap::open(inner.clone()).unwrap();
                    let first = map.add(share(1), 1, &kept).unwrap();
                    let second = removing.then(|| map.add(share(2), 1, &changed).unwrap());
                    drop(map);
                    let crashing = Arc::new(Crashing {
                        inner: inner.clone(),
                        left: AtomicUsize::new(left),
                    });
                    let map = ChunkMap::open(crashing).unwrap();
                    let done = match second {
                        Some(second) => map.remove(second, with_chunks.then_some(&changed)).is_ok(),
                        None => map.add(share(2), 1, &changed).is_ok(),
                    };
                    drop(map);
                    let map = ChunkMap::open(inner.clone()).unwrap();
                    let there = map.holdings().len() == 2;
                    let expected = kept.len() + if there { changed.len() } else { 0 };
                    assert_eq!(
                        places(&*inner),
                        expected,
                        "removing {removing}, {left} steps"
                    );
                    assert!(!done || there != removing);
                    assert!(
                        map.lookup(&kept[7].id, 5)
                            .unwrap()
                            .iter()
                            .any(|found| found.holding == first)
                    );
                }
            }
        }
    }
}
