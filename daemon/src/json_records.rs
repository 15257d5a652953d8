//! Records of services in the store, as JSON under keys of bytes.

use hither_content::storage::{Batch, Storage, StorageError, Table};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::ControlFlow;

/// Every record of a table with its key; those that cannot be read are left alone. Blocks.
pub(crate) fn all<T: DeserializeOwned>(
    storage: &dyn Storage,
    table: Table,
) -> Result<Vec<(Vec<u8>, T)>, StorageError> {
    let mut all = Vec::new();
    storage.scan(table, b"", &mut |key, value| {
        match serde_json::from_slice(value) {
            Ok(record) => all.push((key.to_vec(), record)),
            Err(_) => tracing::warn!(table = table.name(), "a record cannot be read; left alone"),
        }
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

/// Makes a record durable. Blocks.
pub(crate) fn put<T: Serialize>(
    storage: &dyn Storage,
    table: Table,
    key: &[u8],
    record: &T,
) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    // Texts and numbers: nothing in it that JSON cannot hold.
    batch.put(table, key, &serde_json::to_vec(record).unwrap_or_default());
    storage.commit(batch)
}

/// Forgets a record durably. Blocks.
pub(crate) fn remove(storage: &dyn Storage, table: Table, key: &[u8]) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    batch.remove(table, key);
    storage.commit(batch)
}
