//! The small key-value store behind which all metadata lives: chunk map, shares, transfers,
//! inventory.
//!
//! [`Storage`] is the contract; [`MemoryStorage`], [`SledStorage`] and [`RedbStorage`] keep it, and
//! one suite, [`conformance`], is run against all of them. [`open()`] is the only way a daemon gets
//! a store from disk; it also changes the engine of one that is there.
//!
//! Invariants every engine keeps:
//! - A [`Batch`] is applied whole or not at all, across tables, also when power is lost in the
//!   middle of it.
//! - When [`Storage::commit`] returns, its batch and every batch committed before it survive a
//!   power loss.
//! - Keys are ordered as byte strings. An empty key and an empty value are a key and a value like
//!   any other.
//! - Memory is bounded: engines cache at most [`CACHE_BYTES`], batches hold at most [`MAX_BATCH`]
//!   bytes.

pub mod conformance;
mod error;
mod memory;
mod migrate;
mod open;
mod record_store;
mod redb;
mod sled;

pub use error::StorageError;
pub use memory::MemoryStorage;
pub use open::{DEFAULT_ENGINE, Engine, Opened, open};
pub use record_store::RecordStore;
pub use redb::RedbStorage;
pub use sled::SledStorage;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Most bytes an engine may keep in its page cache.
pub const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Longest key, bytes. Keys are ids and short tuples of them.
pub const MAX_KEY: usize = 4096;
/// Longest value, bytes: an encrypted root (4 MiB) with room to spare.
pub const MAX_VALUE: usize = 16 * 1024 * 1024;
/// Most bytes of keys and values in one batch: an engine holds a whole batch in memory until it is
/// durable.
pub const MAX_BATCH: usize = 64 * 1024 * 1024;

/// The name of a table, a constant of the module that owns the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(&'static str);

impl Table {
    /// Names a table. The name must be 1 to 64 bytes of `a`–`z`, `0`–`9`, `-` and `_`; in a
    /// constant any other name fails the build.
    pub const fn new(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            assert!(
                matches!(bytes[i], b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'),
                "not a table name"
            );
            i += 1;
        }
        assert!(i >= 1 && i <= 64, "not a table name");
        Self(name)
    }

    /// The name.
    pub const fn name(self) -> &'static str {
        self.0
    }
}

/// Changes that become visible and durable together. Of several changes to one key, the last one
/// counts.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    changes: BTreeMap<Table, BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
    bytes: usize,
}

impl Batch {
    /// A batch without changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value`. Bounds are checked by the commit.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.change(table, key, Some(value.to_vec()));
    }

    /// Removes `key`; that it is not there is no error.
    pub fn remove(&mut self, table: Table, key: &[u8]) {
        self.change(table, key, None);
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of keys and values put in so far (an overwritten change counts too): commit before
    /// [`MAX_BATCH`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn change(&mut self, table: Table, key: &[u8], value: Option<Vec<u8>>) {
        self.bytes = self
            .bytes
            .saturating_add(key.len() + value.as_ref().map_or(0, Vec::len));
        self.changes
            .entry(table)
            .or_default()
            .insert(key.to_vec(), value);
    }

    /// Refuses a batch beyond the bounds, before any of it is written.
    fn check(&self) -> Result<(), StorageError> {
        within("a batch", self.bytes, MAX_BATCH)?;
        self.changes
            .values()
            .flatten()
            .try_for_each(|(key, value)| check_entry(key, value.as_deref()))
    }
}

/// What a scan calls with each key and value; `Break` ends the scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Where metadata lives. Every method may block on the disk: call it from a blocking context.
pub trait Storage: Send + Sync + 'static {
    /// The value of `key`, or `None`.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Calls `visit(key, value)` for every entry whose key begins with `prefix`, in key order,
    /// until it breaks.
    ///
    /// Entries that no commit touches meanwhile are visited exactly once; whether a concurrent
    /// change is seen is up to the engine. `visit` may use the storage.
    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError>;

    /// Applies `batch` atomically; it is durable (fsynced) when this returns.
    ///
    /// After an error the batch may or may not have been applied, but never in part.
    fn commit(&self, batch: Batch) -> Result<(), StorageError>;

    /// Applies `batch` atomically and visibly; it is durable at the latest when the next `commit`,
    /// `flush` or successful `compare_and_set` that begins after this has returned is.
    fn commit_lazily(&self, batch: Batch) -> Result<(), StorageError>;

    /// Makes everything durable that was committed before.
    fn flush(&self) -> Result<(), StorageError>;

    /// Sets `key` to `new` (`None` removes it) if its value is `expected` (`None`: there is none)
    /// and says whether it was; durable when it returns `true`.
    fn compare_and_set(
        &self,
        table: Table,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, StorageError>;
}

fn within(what: &'static str, actual: usize, max: usize) -> Result<(), StorageError> {
    if actual <= max {
        Ok(())
    } else {
        Err(StorageError::TooLarge { what, actual, max })
    }
}

fn check_entry(key: &[u8], value: Option<&[u8]>) -> Result<(), StorageError> {
    within("a key", key.len(), MAX_KEY)?;
    within("a value", value.map_or(0, <[u8]>::len), MAX_VALUE)
}
