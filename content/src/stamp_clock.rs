//! The stamps that this device gives to what it says again and again: they only grow, across
//! restarts too.
//!
//! Invariant: a stamp is durable before anything that bears it is sent.

use crate::storage::{Batch, Storage, StorageError, Table};
use hither_proto::stamp;
use hither_util::clock::unix_millis;
use hither_util::sync::Mutex;
use std::sync::Arc;

const STAMPS: Table = Table::new("stamps");
const LAST: &[u8] = b"last";

/// Gives stamps.
pub struct StampClock {
    storage: Arc<dyn Storage>,
    last: Mutex<u64>,
}

impl StampClock {
    /// Goes on from the last stamp of the runs before.
    pub fn load(storage: Arc<dyn Storage>) -> Result<Self, StorageError> {
        let kept = storage.get(STAMPS, LAST)?;
        let last = kept
            .and_then(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?)))
            .unwrap_or(0);
        Ok(Self {
            storage,
            last: Mutex::new(last),
        })
    }

    /// A higher stamp than all before. Blocks on the disk.
    pub fn next(&self) -> Result<u64, StorageError> {
        let mut last = self.last.lock();
        let next = stamp::next(*last, unix_millis());
        let mut batch = Batch::default();
        batch.put(STAMPS, LAST, &next.to_be_bytes());
        self.storage.commit(batch)?;
        *last = next;
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    #[test]
    fn stamps_go_on_after_a_restart() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let ahead = unix_millis() + stamp::AHEAD_MS / 2;
        let mut batch = Batch::default();
        batch.put(STAMPS, LAST, &ahead.to_be_bytes());
        storage.commit(batch).unwrap();
        let first = StampClock::load(Arc::clone(&storage))
            .unwrap()
            .next()
            .unwrap();
        let second = StampClock::load(Arc::clone(&storage))
            .unwrap()
            .next()
            .unwrap();
        assert_eq!((first, second), (ahead + 1, ahead + 2));
        // A clock that was years ahead is not followed.
        let mut batch = Batch::default();
        batch.put(
            STAMPS,
            LAST,
            &(ahead + stamp::AUTHOR_AHEAD_MS).to_be_bytes(),
        );
        storage.commit(batch).unwrap();
        assert!(StampClock::load(storage).unwrap().next().unwrap() < ahead);
    }
}
