//! A store in memory, for tests and for simulations: what it holds ends with the last clone of it.

use super::{Batch, Storage, StorageError, Table, Visit, check_entry};
use hither_util::sync::RwLock;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, RwLockReadGuard, RwLockWriteGuard};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;
type Tables = BTreeMap<Table, Entries>;

/// Entries copied out under one hold of the lock while scanning, so that `visit` runs without it.
const SCAN_PAGE: usize = 256;

/// A [`Storage`] in memory. Clones share their content: a clone kept aside is the "disk" of a
/// reopened store.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    tables: Arc<RwLock<Tables>>,
}

impl MemoryStorage {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    // A panic in another thread cannot leave a batch half applied in a way that matters: no code
    // that can panic runs under the write lock.
    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write()
    }

    fn page(&self, table: Table, from: Bound<&[u8]>, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let tables = self.read();
        let Some(entries) = tables.get(&table) else {
            return Vec::new();
        };
        entries
            .range::<[u8], _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(SCAN_PAGE)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

impl Storage for MemoryStorage {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self
            .read()
            .get(&table)
            .and_then(|entries| entries.get(key).cloned()))
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        let mut page = self.page(table, Bound::Included(prefix), prefix);
        loop {
            for (key, value) in &page {
                if visit(key, value).is_break() {
                    return Ok(());
                }
            }
            let Some((last, _)) = page.last().filter(|_| page.len() == SCAN_PAGE) else {
                return Ok(());
            };
            page = self.page(table, Bound::Excluded(last), prefix);
        }
    }

    fn commit(&self, batch: Batch) -> Result<(), StorageError> {
        batch.check()?;
        let mut tables = self.write();
        for (table, changes) in batch.changes {
            let entries = tables.entry(table).or_default();
            for (key, value) in changes {
                set(entries, key, value);
            }
        }
        Ok(())
    }

    fn commit_lazily(&self, batch: Batch) -> Result<(), StorageError> {
        self.commit(batch)
    }

    fn flush(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn compare_and_set(
        &self,
        table: Table,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, StorageError> {
        check_entry(key, new)?;
        let mut tables = self.write();
        let entries = tables.entry(table).or_default();
        if entries.get(key).map(Vec::as_slice) != expected {
            return Ok(false);
        }
        set(entries, key.to_vec(), new.map(<[u8]>::to_vec));
        Ok(true)
    }
}

fn set(entries: &mut Entries, key: Vec<u8>, value: Option<Vec<u8>>) {
    match value {
        Some(value) => entries.insert(key, value),
        None => entries.remove(&key),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::path::PathBuf;
    use std::sync::Mutex;

    #[test]
    fn memory_keeps_the_contract() {
        let disks: Mutex<HashMap<PathBuf, MemoryStorage>> = Mutex::default();
        let dir = tempfile::tempdir().unwrap();
        super::super::conformance::conformance(dir.path(), &|path| {
            Box::new(
                disks
                    .lock()
                    .unwrap()
                    .entry(path.to_owned())
                    .or_default()
                    .clone(),
            )
        });
    }
}
