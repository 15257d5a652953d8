//! An index that is opened again after its disk failed.
//!
//! redb takes no further request after an error of the operating system, such as a full disk, until
//! it is opened again; a relay must go on when there is room again.

use hither_content::storage::{Batch, Engine, Opened, Storage, StorageError, Table, Visit, open};
use hither_util::sync::RwLock;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

type Open = Box<dyn Fn() -> Result<Arc<dyn Storage>, StorageError> + Send + Sync>;

/// Opens the index in the folder `dir` with this engine, creating it when missing. Blocks.
pub fn open_index(dir: &Path, engine: Engine) -> Result<Arc<dyn Storage>, StorageError> {
    let (first, _) = open(dir, engine)?;
    let dir = dir.to_owned();
    let again = move || match open(&dir, engine)? {
        (storage, Opened::Existing) => Ok(storage),
        // An empty index in the place of one that was in use must not be taken for it.
        (_, Opened::Fresh | Opened::Rebuilt { .. }) => Err(StorageError::Damaged(
            "the index was lost while it was in use".into(),
        )),
    };
    Ok(Arc::new(Reopening::new(first, Box::new(again))))
}

/// A storage that is opened again when it has failed.
struct Reopening {
    open: Open,
    current: RwLock<Option<Arc<dyn Storage>>>,
    failed: AtomicBool,
}

impl Reopening {
    fn new(first: Arc<dyn Storage>, open: Open) -> Self {
        Self {
            open,
            current: RwLock::new(Some(first)),
            failed: AtomicBool::new(false),
        }
    }

    fn run<T>(
        &self,
        work: impl FnOnce(&dyn Storage) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let storage = self.current()?;
        let result = work(&*storage);
        // Damage stays damage; what the caller asked for wrongly is the caller's.
        if matches!(
            result,
            Err(StorageError::Io { .. } | StorageError::Engine(_))
        ) {
            self.failed.store(true, Ordering::SeqCst);
        }
        result
    }

    fn current(&self) -> Result<Arc<dyn Storage>, StorageError> {
        if !self.failed.load(Ordering::SeqCst)
            && let Some(storage) = &*self.current.read()
        {
            return Ok(Arc::clone(storage));
        }
        let mut current = self.current.write();
        if !self.failed.load(Ordering::SeqCst)
            && let Some(storage) = &*current
        {
            return Ok(Arc::clone(storage));
        }
        // Others may be at work with it for a moment still; then it is locked, and the next request
        // tries again.
        *current = None;
        let storage = (self.open)()?;
        tracing::info!("the chunk index was opened again");
        *current = Some(Arc::clone(&storage));
        self.failed.store(false, Ordering::SeqCst);
        Ok(storage)
    }
}

impl Storage for Reopening {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.run(|storage| storage.get(table, key))
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        self.run(|storage| storage.scan(table, prefix, visit))
    }

    fn commit(&self, batch: Batch) -> Result<(), StorageError> {
        self.run(|storage| storage.commit(batch))
    }

    fn commit_lazily(&self, batch: Batch) -> Result<(), StorageError> {
        self.run(|storage| storage.commit_lazily(batch))
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.run(|storage| storage.flush())
    }

    fn compare_and_set(
        &self,
        table: Table,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, StorageError> {
        self.run(|storage| storage.compare_and_set(table, key, expected, new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_content::storage::MemoryStorage;
    use std::sync::atomic::AtomicU32;

    const TABLE: Table = Table::new("things");

    /// Fails everything after a failed commit, as redb does.
    struct Fragile(MemoryStorage, Arc<AtomicBool>, AtomicBool);

    impl Fragile {
        fn check(&self) -> Result<(), StorageError> {
            if self.1.load(Ordering::SeqCst) {
                self.2.store(true, Ordering::SeqCst);
            }
            if self.2.load(Ordering::SeqCst) {
                Err(StorageError::Engine("previous error".into()))
            } else {
                Ok(())
            }
        }
    }

    impl Storage for Fragile {
        fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
            self.check()?;
            self.0.get(table, key)
        }
        fn scan(
            &self,
            table: Table,
            prefix: &[u8],
            visit: &mut Visit<'_>,
        ) -> Result<(), StorageError> {
            self.0.scan(table, prefix, visit)
        }
        fn commit(&self, batch: Batch) -> Result<(), StorageError> {
            self.check()?;
            self.0.commit(batch)
        }
        fn commit_lazily(&self, batch: Batch) -> Result<(), StorageError> {
            self.0.commit_lazily(batch)
        }
        fn flush(&self) -> Result<(), StorageError> {
            self.0.flush()
        }
        fn compare_and_set(
            &self,
            table: Table,
            key: &[u8],
            expected: Option<&[u8]>,
            new: Option<&[u8]>,
        ) -> Result<bool, StorageError> {
            self.0.compare_and_set(table, key, expected, new)
        }
    }

    #[test]
    fn a_failed_index_works_again_once_its_disk_does() {
        let (memory, full, opened) = (
            MemoryStorage::new(),
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU32::new(0)),
        );
        let make = {
            let (memory, full, opened) = (memory.clone(), Arc::clone(&full), Arc::clone(&opened));
            move || -> Result<Arc<dyn Storage>, StorageError> {
                opened.fetch_add(1, Ordering::SeqCst);
                Ok(Arc::new(Fragile(
                    memory.clone(),
                    Arc::clone(&full),
                    AtomicBool::new(false),
                )))
            }
        };
        let storage = Reopening::new(make().unwrap(), Box::new(make));
        let put = || {
            let mut batch = Batch::new();
            batch.put(TABLE, b"k", b"v");
            storage.commit(batch)
        };
        full.store(true, Ordering::SeqCst);
        assert!(put().is_err() && put().is_err());
        full.store(false, Ordering::SeqCst);
        put().unwrap();
        assert_eq!(storage.get(TABLE, b"k").unwrap().unwrap(), b"v");
        assert_eq!(opened.load(Ordering::SeqCst), 3);
    }
}
