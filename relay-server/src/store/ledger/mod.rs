//! Every change of the index, one after another: here, and nowhere else, is decided what is
//! referred to and what goes.
//!
//! A [`Ledger`] collects the changes of several jobs and shows them to the jobs that follow, so
//! that they can be committed together; the [`writer`](super::writer) owns it. An upload that
//! begins to rely on a chunk and the collection of that chunk are two jobs: whichever is second
//! sees what the first has done.
//!
//! A job looks first and changes then; one that fails half-way fails the whole group.

mod chunks;
#[cfg(test)]
mod tests;
mod versions;

pub(super) use chunks::{Kept, Moved, PackedChunk};
pub(super) use versions::{Completed, Created, Most, NewVersion};

use super::ids::PackNumber;
use super::index::{Index, Rows};
use super::tables::{PACKS, decode_pair, pair};
use super::version::UserRecord;
use hither_content::storage::{Batch, StorageError, Table};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Bytes of a pack and how many of them the index refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PackSize {
    pub(super) total: u64,
    pub(super) live: u64,
}

/// The index with changes that are not committed yet.
pub(super) struct Ledger<'a> {
    index: &'a Index,
    batch: Batch,
    changes: BTreeMap<Table, BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
    lost_changed: bool,
}

impl Rows for Ledger<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match self
            .changes
            .get(&table)
            .and_then(|changes| changes.get(key))
        {
            Some(changed) => Ok(changed.clone()),
            None => self.index.get(table, key),
        }
    }

    fn any(&self, table: Table, prefix: &[u8]) -> Result<bool, StorageError> {
        Ok(!self.keys(table, prefix, 1)?.is_empty())
    }
}

impl<'a> Ledger<'a> {
    pub(super) fn new(index: &'a Index) -> Self {
        Self {
            index,
            batch: Batch::new(),
            changes: BTreeMap::new(),
            lost_changed: false,
        }
    }

    /// The first `limit` keys with `prefix`.
    pub(super) fn keys(
        &self,
        table: Table,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StorageError> {
        let changes = self.changes.get(&table);
        let mut keys: Vec<Vec<u8>> = changes
            .into_iter()
            .flat_map(|changes| changes.range(prefix.to_vec()..))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, value)| value.is_some())
            .map(|(key, _)| key.clone())
            .take(limit)
            .collect();
        let changed = keys.len();
        self.index.storage().scan(table, prefix, &mut |key, _| {
            if keys.len() - changed >= limit {
                return ControlFlow::Break(());
            }
            if !changes.is_some_and(|changes| changes.contains_key(key)) {
                keys.push(key.to_vec());
            }
            ControlFlow::Continue(())
        })?;
        keys.sort_unstable();
        keys.truncate(limit);
        Ok(keys)
    }

    pub(super) fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.batch.put(table, key, value);
        self.changes
            .entry(table)
            .or_default()
            .insert(key.to_vec(), Some(value.to_vec()));
    }

    pub(super) fn remove(&mut self, table: Table, key: &[u8]) {
        self.batch.remove(table, key);
        self.changes
            .entry(table)
            .or_default()
            .insert(key.to_vec(), None);
    }

    /// Bytes of changes so far.
    pub(super) fn bytes(&self) -> usize {
        self.batch.bytes()
    }

    /// The changes, and whether chunks were lost or found again.
    pub(super) fn finish(self) -> (Batch, bool) {
        (self.batch, self.lost_changed)
    }

    /// The number in `meta` under `key`, which counts up with each call.
    pub(super) fn next_number(&mut self, key: &[u8]) -> Result<u64, StorageError> {
        use super::tables::{META, decode_u64};
        let number = self
            .get(META, key)?
            .map_or(Ok(0), |value| decode_u64(&value))?;
        let after = number.checked_add(1).ok_or_else(used_up)?;
        self.put(META, key, &after.to_be_bytes());
        Ok(number)
    }

    pub(super) fn pack(&self, pack: PackNumber) -> Result<Option<PackSize>, StorageError> {
        let Some(value) = self.get(PACKS, &pack.0.to_be_bytes())? else {
            return Ok(None);
        };
        decode_pack(&value).map(Some)
    }

    pub(super) fn set_pack(&mut self, pack: PackNumber, size: PackSize) {
        self.put(PACKS, &pack.0.to_be_bytes(), &pair(size.total, size.live));
    }

    pub(super) fn set_user(&mut self, user: &hither_proto::UserId, record: &UserRecord) {
        self.put(super::tables::USERS, user.as_bytes(), &record.encode());
    }
}

pub(super) fn decode_pack(value: &[u8]) -> Result<PackSize, StorageError> {
    decode_pair(value).map(|(total, live)| PackSize { total, live })
}

fn used_up() -> StorageError {
    StorageError::Damaged("the numbers of the chunk index are used up".into())
}
