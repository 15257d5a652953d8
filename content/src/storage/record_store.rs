//! Records as JSON in the metadata store.

use super::{Batch, Storage, StorageError, Table};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Reads and writes records by table and key. A clone is another handle on the same store.
#[derive(Clone)]
pub struct RecordStore {
    storage: Arc<dyn Storage>,
}

impl RecordStore {
    /// Records in this store.
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage }
    }

    /// Writes a record; it is durable when this returns. Blocks.
    pub fn put(
        &self,
        table: Table,
        key: &str,
        record: &impl Serialize,
    ) -> Result<(), StorageError> {
        self.storage.commit(one(table, key, record))
    }

    /// The same, durable with the next commit at the latest.
    pub fn put_lazily(
        &self,
        table: Table,
        key: &str,
        record: &impl Serialize,
    ) -> Result<(), StorageError> {
        self.storage.commit_lazily(one(table, key, record))
    }

    /// Removes a record; that is durable when this returns. Blocks.
    pub fn remove(&self, table: Table, key: &str) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        batch.remove(table, key.as_bytes());
        self.storage.commit(batch)
    }

    /// Every record of a table that can be read, by key; others are logged and left alone.
    pub fn all<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<(String, T)>, StorageError> {
        let mut all = Vec::new();
        self.storage.scan(table, b"", &mut |key, value| {
            let key = String::from_utf8_lossy(key).into_owned();
            match serde_json::from_slice(value) {
                Ok(record) => all.push((key, record)),
                Err(error) => {
                    tracing::warn!(table = table.name(), key, %error, "a record cannot be read; left alone")
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }
}

/// A batch of one record.
fn one(table: Table, key: &str, record: &impl Serialize) -> Batch {
    let mut batch = Batch::new();
    // Records hold nothing that JSON cannot.
    if let Ok(bytes) = serde_json::to_vec(record) {
        batch.put(table, key.as_bytes(), &bytes);
    }
    batch
}
