//! A disk that can be full.

use hither_content::storage::{Batch, MemoryStorage, Storage, StorageError, Table, Visit};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A storage whose disk can be full.
#[derive(Clone, Default)]
pub struct Disk {
    storage: MemoryStorage,
    pub full: Arc<AtomicBool>,
}

impl Disk {
    fn check(&self) -> Result<(), StorageError> {
        if self.full.load(Ordering::SeqCst) {
            let source = io::Error::from(io::ErrorKind::StorageFull);
            return Err(StorageError::Io {
                what: "a full disk",
                source,
            });
        }
        Ok(())
    }
}

impl Storage for Disk {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.storage.get(table, key)
    }
    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        self.storage.scan(table, prefix, visit)
    }
    fn commit(&self, batch: Batch) -> Result<(), StorageError> {
        self.check()?;
        self.storage.commit(batch)
    }
    fn commit_lazily(&self, batch: Batch) -> Result<(), StorageError> {
        self.check()?;
        self.storage.commit_lazily(batch)
    }
    fn flush(&self) -> Result<(), StorageError> {
        self.storage.flush()
    }
    fn compare_and_set(
        &self,
        table: Table,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, StorageError> {
        self.check()?;
        self.storage.compare_and_set(table, key, expected, new)
    }
}
