//! A database whose commits are timed, and which can be held still while its files are copied.

use super::labels::Database;
use super::metrics::Metrics;
use hither_content::storage::{Batch, Storage, StorageError, Table, Visit};
use hither_util::sync::RwLock;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

/// The gates of a node's databases. Clones are the same.
#[derive(Debug, Clone)]
pub struct Gates {
    /// Users, devices, mailboxes.
    pub state: Gate,
    /// The chunks of the store.
    pub index: Gate,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            state: Gate::new(Database::State),
            index: Gate::new(Database::Index),
        }
    }
}

impl Gates {
    /// Counts and times commits in these numbers from now on; the first call counts.
    pub fn report_to(&self, metrics: &Arc<Metrics>) {
        for gate in [&self.state, &self.index] {
            let _ = gate.0.metrics.set(Arc::clone(metrics));
        }
    }
}

/// Holds one database still. Clones are the same gate.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    database: Database,
    metrics: OnceLock<Arc<Metrics>>,
    /// Read while something changes, written while nothing may. In it: the storage, as long as
    /// somebody uses it.
    storage: RwLock<Option<Weak<dyn Storage>>>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gate").field(&self.0.database).finish()
    }
}

impl Gate {
    /// A gate with nothing behind it.
    pub fn new(database: Database) -> Self {
        Self(Arc::new(Inner {
            database,
            metrics: OnceLock::new(),
            storage: RwLock::new(None),
        }))
    }

    /// Puts a storage behind the gate, in place of one that was there before (and failed).
    pub fn watch(&self, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        *self.0.storage.write() = Some(Arc::downgrade(&storage));
        Arc::new(Watched {
            storage,
            gate: Arc::clone(&self.0),
        })
    }

    /// Makes everything durable, then works while nothing can change: what is committed meanwhile
    /// waits. Blocks.
    ///
    /// Fails when the storage cannot be flushed; then nothing was done. Without a storage the work
    /// is done as it is.
    pub fn still<T>(&self, work: impl FnOnce() -> T) -> Result<T, StorageError> {
        let storage = self.0.storage.write();
        if let Some(storage) = storage.as_ref().and_then(Weak::upgrade) {
            storage.flush()?;
        }
        Ok(work())
    }
}

/// A storage behind a gate.
struct Watched {
    storage: Arc<dyn Storage>,
    gate: Arc<Inner>,
}

impl Watched {
    /// Makes a change when the gate is open.
    fn change<T>(
        &self,
        change: impl FnOnce(&dyn Storage) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let _open = self.gate.storage.read();
        let changed = change(&*self.storage);
        if let (Err(error), Some(metrics)) = (&changed, self.gate.metrics.get()) {
            tracing::error!(database = ?self.gate.database, %error, "a change was not made durable");
            metrics.commit_failures.of(self.gate.database).add_one();
        }
        changed
    }

    /// The same, timed: for what is durable when it returns.
    fn commit_timed<T>(
        &self,
        change: impl FnOnce(&dyn Storage) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let began = Instant::now();
        let made = self.change(change)?;
        if let Some(metrics) = self.gate.metrics.get() {
            metrics.commits.of(self.gate.database).since(began);
        }
        Ok(made)
    }
}

impl Storage for Watched {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.storage.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        self.storage.scan(table, prefix, visit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StorageError> {
        self.commit_timed(|storage| storage.commit(batch))
    }

    fn commit_lazily(&self, batch: Batch) -> Result<(), StorageError> {
        self.change(|storage| storage.commit_lazily(batch))
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.commit_timed(|storage| storage.flush())
    }

    fn compare_and_set(
        &self,
        table: Table,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, StorageError> {
        self.commit_timed(|storage| storage.compare_and_set(table, key, expected, new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_content::storage::MemoryStorage;
    use std::sync::mpsc;
    use std::time::Duration;

    const TABLE: Table = Table::new("things");

    fn batch() -> Batch {
        let mut batch = Batch::new();
        batch.put(TABLE, b"key", b"value");
        batch
    }

    #[test]
    fn nothing_changes_while_the_gate_is_held_and_commits_are_timed() {
        let (gates, metrics) = (Gates::default(), Arc::new(Metrics::new()));
        gates.report_to(&metrics);
        let storage = gates.index.watch(Arc::new(MemoryStorage::new()));
        let (done, finished) = mpsc::channel();
        let committing = Arc::clone(&storage);
        let held = gates.index.still(|| {
            let thread = std::thread::spawn(move || {
                committing.commit(batch()).unwrap();
                done.send(()).unwrap();
            });
            finished
                .recv_timeout(Duration::from_millis(100))
                .unwrap_err();
            assert_eq!(storage.get(TABLE, b"key").unwrap(), None);
            thread
        });
        finished.recv().unwrap();
        held.unwrap().join().unwrap();
        assert_eq!(storage.get(TABLE, b"key").unwrap().unwrap(), b"value");
        assert_eq!(metrics.commits.of(Database::Index).count(), 1);
        assert_eq!(metrics.commits.of(Database::State).count(), 0);
    }
}
