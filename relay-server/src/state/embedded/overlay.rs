//! What the operations of a group have changed, before it is committed.

use hither_content::storage::{Batch, Storage, StorageError, Table};
use std::collections::BTreeMap;

type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Changes not committed yet over what the storage holds.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    tables: BTreeMap<Table, Rows>,
    bytes: usize,
}

impl Overlay {
    /// The value of a row as if everything here were committed.
    pub(super) fn get(
        &self,
        storage: &dyn Storage,
        table: Table,
        row: &[u8],
    ) -> Result<Option<Vec<u8>>, StorageError> {
        match self.tables.get(&table).and_then(|rows| rows.get(row)) {
            Some(changed) => Ok(changed.clone()),
            None => storage.get(table, row),
        }
    }

    /// Whether a row was changed here.
    pub(super) fn touches(&self, table: Table, row: &[u8]) -> bool {
        self.tables
            .get(&table)
            .is_some_and(|rows| rows.contains_key(row))
    }

    /// Rows put here that begin with `prefix`, in order.
    pub(super) fn added<'a>(
        &'a self,
        table: Table,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let rows = self.tables.get(&table).into_iter();
        rows.flat_map(move |rows| {
            rows.range::<[u8], _>((
                std::ops::Bound::Included(prefix),
                std::ops::Bound::Unbounded,
            ))
        })
        .take_while(move |(row, _)| row.starts_with(prefix))
        .filter_map(|(row, value)| Some((row.as_slice(), value.as_deref()?)))
    }

    pub(super) fn put(&mut self, table: Table, row: Vec<u8>, value: Vec<u8>) {
        self.change(table, row, Some(value));
    }

    pub(super) fn remove(&mut self, table: Table, row: Vec<u8>) {
        self.change(table, row, None);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Bytes of rows and values put in so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything, for one commit.
    pub(super) fn batch(&self) -> Batch {
        let mut batch = Batch::new();
        for (table, rows) in &self.tables {
            for (row, value) in rows {
                match value {
                    Some(value) => batch.put(*table, row, value),
                    None => batch.remove(*table, row),
                }
            }
        }
        batch
    }

    fn change(&mut self, table: Table, row: Vec<u8>, value: Option<Vec<u8>>) {
        self.bytes += row.len() + value.as_ref().map_or(0, Vec::len);
        self.tables.entry(table).or_default().insert(row, value);
    }
}
