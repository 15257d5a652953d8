//! The givings that outlive the daemon: which devices came to have all of a share.
//!
//! Written before a completion is told to anybody; forgotten with the share. Bounded as
//! [`hither_swarm::Givings`] is, which says what makes room.

use crate::json_records;
use crate::library::LibraryListener;
use hither_content::storage::{Batch, Storage, StorageError, Table};
use hither_proto::{DeviceId, ShareId};
use hither_swarm::{FinishedGiving, Givings};
use hither_util::sync::Mutex;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::Arc;

const GIVINGS: Table = Table::new("givings");
/// Bytes of a share's id in a key; the device's follow.
const SHARE: usize = 16;

/// One device that came to have all of one share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct GivingRecord {
    version: u64,
    bytes: u64,
    times: u64,
    since: u64,
    done: u64,
    #[serde(default)]
    given: u64,
    /// A relay said so, of its store.
    #[serde(default)]
    by_store: bool,
    /// The relay's revision of what it said last.
    #[serde(default)]
    revision: u64,
    /// The user does not want to see it.
    #[serde(default)]
    hidden: bool,
}

/// Keeps completions over restarts.
pub(crate) struct KeptGivings {
    storage: Arc<dyn Storage>,
    /// Held while records are written or removed: a share that ends leaves none behind.
    writing: Mutex<()>,
}

fn key(share: ShareId, device: DeviceId) -> Vec<u8> {
    [&share.as_bytes()[..], &device.as_bytes()[..]].concat()
}

impl KeptGivings {
    pub(crate) const fn new(storage: Arc<dyn Storage>) -> Self {
        Self {
            storage,
            writing: Mutex::new(()),
        }
    }

    /// Tells what is kept of shares that are `there`; the rest is forgotten. Blocks.
    pub(crate) fn restore(
        &self,
        givings: &Givings,
        there: impl Fn(ShareId) -> bool,
    ) -> Result<(), StorageError> {
        let all = json_records::all::<GivingRecord>(self.storage.as_ref(), GIVINGS)?;
        let mut gone = Batch::new();
        for (key, record) in all {
            let share = key.get(..SHARE).and_then(|id| ShareId::from_slice(id).ok());
            let device = key
                .get(SHARE..)
                .and_then(|id| DeviceId::from_slice(id).ok());
            let kept = match (share, device) {
                (Some(share), Some(device)) if there(share) => givings.restore(FinishedGiving {
                    share,
                    device,
                    version: record.version,
                    bytes: record.bytes,
                    given: record.given,
                    times: record.times,
                    since: record.since,
                    done: record.done,
                    by_store: record.by_store,
                    revision: record.revision,
                    hidden: record.hidden,
                }),
                _ => false,
            };
            if !kept {
                gone.remove(GIVINGS, &key);
            }
        }
        self.storage.commit(gone)
    }

    /// Makes durable that a device has all of a share which is still `there`. Blocks.
    pub(crate) fn keep(
        &self,
        one: &FinishedGiving,
        there: impl Fn(ShareId) -> bool,
    ) -> Result<(), StorageError> {
        let record = GivingRecord {
            version: one.version,
            bytes: one.bytes,
            times: one.times,
            since: one.since,
            done: one.done,
            given: one.given,
            by_store: one.by_store,
            revision: one.revision,
            hidden: one.hidden,
        };
        let _writing = self.writing.lock();
        if !there(one.share) {
            return Ok(());
        }
        let key = key(one.share, one.device);
        json_records::put(self.storage.as_ref(), GIVINGS, &key, &record)
    }
}

impl LibraryListener for KeptGivings {
    fn published(&self, _: ShareId) {}

    fn ended(&self, share: ShareId) {
        let _writing = self.writing.lock();
        let mut gone = Batch::new();
        let scanned = self.storage.scan(GIVINGS, share.as_bytes(), &mut |key, _| {
            gone.remove(GIVINGS, key);
            ControlFlow::Continue(())
        });
        if let Err(error) = scanned.and_then(|()| self.storage.commit(gone)) {
            // With the next start: its share is not there then.
            tracing::warn!(%error, "who had all of a share that ended could not be forgotten");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_content::storage::MemoryStorage;

    fn finished(n: u8) -> FinishedGiving {
        let device = hither_carrier::Identity::generate().unwrap().device_id();
        FinishedGiving {
            share: ShareId::new([n; 16]),
            device,
            version: 3,
            bytes: 40,
            given: 10,
            times: 2,
            since: 5,
            done: 6,
            by_store: true,
            revision: 9,
            hidden: false,
        }
    }

    #[test]
    fn who_has_all_is_known_after_a_restart_until_the_share_ends() {
        let kept = KeptGivings::new(Arc::new(MemoryStorage::default()));
        let (first, second, third) = (finished(1), finished(2), finished(3));
        for one in [&first, &second, &third] {
            kept.keep(one, |_| true).unwrap();
        }
        kept.keep(&finished(4), |_| false).unwrap();
        kept.ended(second.share);
        // The third one's share is gone after the restart.
        let after = Givings::default();
        kept.restore(&after, |share| share != third.share).unwrap();
        let all = after.all();
        assert_eq!((all.len(), all[0].device), (1, first.device));
        assert_eq!(
            (all[0].times, all[0].complete, all[0].by_store, all[0].done),
            (2, true, true, Some(6))
        );
        let again = Givings::default();
        kept.restore(&again, |_| true).unwrap();
        assert_eq!(again.all().len(), 1, "what was not there was forgotten");
    }
}
