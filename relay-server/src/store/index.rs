//! What the index says, read outside the writer.
//!
//! Answers may be overtaken by a change right away; whoever decides something by them lets the
//! writer decide again (see [`ledger`](super::ledger)).

use super::ids::{ChunkPlace, UserNumber, VersionNumber};
use super::records::{BLOCK, ListRecord, record_at, space_index};
use super::tables::{
    CHUNKS, LISTS, LOST, REFS, SHARES, USERS, VERSIONS, decode_place, list_key, ref_key,
    share_prefix, user_prefix,
};
use super::version::{UserRecord, VersionRecord};
use hither_content::storage::{Storage, StorageError, Table};
use hither_proto::{ChunkId, DeviceId, ShareId, Space, UserId};
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Blocks of lists kept in memory: 16 MiB.
const MAX_BLOCKS: usize = 256;
/// Versions of one share that are looked at; a few at any time.
const MAX_VERSIONS: usize = 1024;

/// Reading tables; what a [`Ledger`](super::ledger::Ledger) and an [`Index`] have in common.
pub(super) trait Rows {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Whether any key begins with `prefix`.
    fn any(&self, table: Table, prefix: &[u8]) -> Result<bool, StorageError>;

    fn place(&self, id: &ChunkId) -> Result<Option<ChunkPlace>, StorageError> {
        self.get(CHUNKS, id.as_bytes())?
            .map(|value| decode_place(&value))
            .transpose()
    }

    fn version(&self, version: VersionNumber) -> Result<Option<VersionRecord>, StorageError> {
        self.get(VERSIONS, &version.0.to_be_bytes())?
            .map(|value| VersionRecord::decode(&value))
            .transpose()
    }

    fn user(&self, user: &UserId) -> Result<Option<UserRecord>, StorageError> {
        self.get(USERS, user.as_bytes())?
            .map(|value| UserRecord::decode(&value))
            .transpose()
    }

    /// Whether a user refers to a chunk: has sent it, and still keeps something with it.
    fn user_refers(&self, user: UserNumber, id: &ChunkId) -> Result<bool, StorageError> {
        self.any(REFS, &user_prefix(id, user))
    }

    /// Whether a version refers to a chunk.
    fn version_refers(
        &self,
        version: VersionNumber,
        user: UserNumber,
        id: &ChunkId,
    ) -> Result<bool, StorageError> {
        Ok(self.get(REFS, &ref_key(id, user, version))?.is_some())
    }

    /// Whether a user may rely on a chunk without sending it again.
    fn user_has(&self, user: UserNumber, record: &ListRecord) -> Result<bool, StorageError> {
        Ok(self.user_refers(user, &record.id)?
            && self
                .place(&record.id)?
                .is_some_and(|place| place.length == record.length))
    }
}

type BlockKey = (VersionNumber, usize, u32);

#[derive(Default)]
struct Blocks {
    blocks: HashMap<BlockKey, (Arc<[u8]>, u64)>,
    uses: u64,
}

/// The index for reading. Shared between threads; every method may block on the disk.
pub(super) struct Index {
    storage: Arc<dyn Storage>,
    blocks: Mutex<Blocks>,
    /// Whether [`LOST`] may have entries: while it has none, nobody looks.
    any_lost: AtomicBool,
    /// Changes when entries of [`LOST`] do.
    lost_changes: AtomicU64,
}

impl Rows for Index {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.storage.get(table, key)
    }

    fn any(&self, table: Table, prefix: &[u8]) -> Result<bool, StorageError> {
        let mut found = false;
        self.storage.scan(table, prefix, &mut |_, _| {
            found = true;
            ControlFlow::Break(())
        })?;
        Ok(found)
    }
}

impl Index {
    pub(super) fn open(storage: Arc<dyn Storage>) -> Result<Self, StorageError> {
        let index = Self {
            storage,
            blocks: Mutex::default(),
            any_lost: AtomicBool::new(false),
            lost_changes: AtomicU64::new(0),
        };
        index
            .any_lost
            .store(index.any(LOST, &[])?, Ordering::SeqCst);
        Ok(index)
    }

    pub(super) fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// Whether chunks that are referred to may be missing because they were damaged.
    pub(super) fn any_lost(&self) -> bool {
        self.any_lost.load(Ordering::SeqCst)
    }

    /// Counts changes of what is lost: what was computed at another count may be out of date.
    pub(super) fn lost_changes(&self) -> u64 {
        self.lost_changes.load(Ordering::SeqCst)
    }

    pub(super) fn note_lost(&self) {
        self.any_lost.store(true, Ordering::SeqCst);
        self.lost_changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Every version of a share that somebody keeps, at most [`MAX_VERSIONS`].
    pub(super) fn versions_of(
        &self,
        owner: &DeviceId,
        share: &ShareId,
    ) -> Result<Vec<(VersionNumber, VersionRecord)>, StorageError> {
        let mut found = Vec::new();
        for number in version_numbers(&*self.storage, &share_prefix(owner, share))? {
            if let Some(record) = self.version(number)? {
                found.push((number, record));
            }
        }
        Ok(found)
    }

    /// A block of a list; empty beyond its end.
    pub(super) fn block(
        &self,
        version: VersionNumber,
        space: Space,
        block: u32,
    ) -> Result<Arc<[u8]>, StorageError> {
        let key = (version, space_index(space), block);
        {
            let mut blocks = self.blocks.lock();
            blocks.uses += 1;
            let uses = blocks.uses;
            if let Some((bytes, used)) = blocks.blocks.get_mut(&key) {
                *used = uses;
                return Ok(Arc::clone(bytes));
            }
        }
        let bytes: Arc<[u8]> = self
            .storage
            .get(LISTS, &list_key(version, space, block))?
            .unwrap_or_default()
            .into();
        let mut blocks = self.blocks.lock();
        if blocks.blocks.len() >= MAX_BLOCKS
            && let Some(oldest) = blocks
                .blocks
                .iter()
                .min_by_key(|(_, (_, used))| *used)
                .map(|(key, _)| *key)
        {
            blocks.blocks.remove(&oldest);
        }
        // The end of a list may still be growing.
        if !bytes.is_empty() {
            let used = blocks.uses;
            blocks.blocks.insert(key, (Arc::clone(&bytes), used));
        }
        Ok(bytes)
    }

    /// What stands at a position of a version's manifest or data list.
    pub(super) fn record(
        &self,
        version: VersionNumber,
        space: Space,
        position: u32,
    ) -> Result<Option<ListRecord>, StorageError> {
        let block = self.block(version, space, position / BLOCK)?;
        Ok(record_at(&block, position % BLOCK))
    }
}

/// The version numbers at the ends of the keys in [`SHARES`] that begin with `prefix`.
pub(super) fn version_numbers(
    storage: &dyn Storage,
    prefix: &[u8],
) -> Result<Vec<VersionNumber>, StorageError> {
    let mut numbers = Vec::new();
    storage.scan(SHARES, prefix, &mut |key, _| {
        numbers.extend(
            key.last_chunk()
                .map(|number| VersionNumber(u64::from_be_bytes(*number))),
        );
        if numbers.len() < MAX_VERSIONS {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(numbers)
}
