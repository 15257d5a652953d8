//! Keeping shares at stores: what this device shares is uploaded in the background, so that it can
//! be fetched while the device is away.
//!
//! `policy.rs` says what is uploaded, `work.rs` is the loop that uploads and releases, `upload.rs`
//! speaks with a store, `chunks.rs` gives it what it misses, `nearness.rs` measures how far stores
//! are, `records.rs` is what survives a restart, `follow.rs` what users see.
//!
//! Invariants: a share is recorded as kept before a relay is asked for a place, so that it can be
//! released whatever happens; at most [`work::AT_ONCE`] uploads run, each with a few chunks in
//! memory; what is released is asked to be forgotten until the relay says that it is.

mod ahead;
mod check;
mod chunks;
mod flow;
mod follow;
mod nearness;
mod policy;
mod records;
#[cfg(test)]
pub(crate) mod tests;
mod upload;
mod work;

pub(crate) use follow::follow;

use crate::library::{Library, LibraryListener};
use crate::records::Records;
use crate::settings::Setting;
use hither_api::{ErrorCode, UploadRules};
use hither_content::storage::StorageError;
use hither_proto::{DeviceId, RelayAddress, ShareId};
use hither_relay_client::RelayClient;
use hither_swarm::Swarm;
use hither_util::sync::Mutex;
use hither_util::tasks::Tasks;
use nearness::Nearest;
use records::KeptRecord;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// First and longest pause after an upload or release that failed.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How often is looked whether the store still has a share.
const LOOK_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// Why nothing goes on with a share at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trouble {
    /// For scripts.
    reason: Option<ErrorCode>,
    /// For people: how "not uploaded: …" ends.
    words: String,
}

/// The work that is done for one share.
#[derive(Debug, Clone, Default)]
enum Doing {
    /// Nothing yet, or it is done.
    #[default]
    Nothing,
    /// The policy forbids it.
    Off(Trouble),
    /// Something keeps it from being done.
    Waits(Trouble),
    /// Bytes of ciphertext at the store, and in all.
    Uploading { bytes: u64, total: u64 },
}

/// One share.
#[derive(Debug, Clone, Default)]
struct Entry {
    record: Option<KeptRecord>,
    doing: Doing,
    /// The version whose upload was begun last, and the bytes of it that were at the store then.
    begun: Option<(u64, u64)>,
    /// Failures in a row.
    failures: u32,
    /// Nothing is tried before.
    not_before: Option<Instant>,
}

/// Everything that is, or will be, kept at stores.
pub(crate) struct StoreUploads {
    entries: Mutex<HashMap<ShareId, Entry>>,
    /// Something is to be looked at.
    wake: Notify,
    /// Counts up with every change that users see.
    changes: watch::Sender<u64>,
    nearest: Nearest,
    records: Records,
}

impl StoreUploads {
    /// Loads the records of earlier runs.
    pub(crate) fn load(records: &Records) -> Result<Self, StorageError> {
        let mut entries = HashMap::new();
        for (id, record) in records.kept()? {
            match ShareId::from_hex(&id) {
                Ok(share) => {
                    entries.insert(
                        share,
                        Entry {
                            record: Some(record),
                            ..Entry::default()
                        },
                    );
                }
                Err(_) => tracing::warn!(id, "the record of an upload cannot be read; left alone"),
            }
        }
        Ok(Self {
            entries: Mutex::new(entries),
            wake: Notify::new(),
            changes: watch::Sender::new(0),
            nearest: Nearest::default(),
            records: records.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ShareId, Entry>> {
        self.entries.lock()
    }

    /// A copy of what is known of a share.
    fn entry(&self, share: ShareId) -> Entry {
        self.lock().get(&share).cloned().unwrap_or_default()
    }

    /// Changes what is known of a share and notifies the watchers.
    fn change(&self, share: ShareId, change: impl FnOnce(&mut Entry)) {
        change(self.lock().entry(share).or_default());
        self.changes.send_modify(|count| *count += 1);
    }

    /// Forgets a share.
    fn forget(&self, share: ShareId) {
        self.lock().remove(&share);
        self.changes.send_modify(|count| *count += 1);
    }

    /// A share is new, has a new version, or is shared otherwise than before: what went wrong
    /// before means nothing now.
    fn shared(&self, share: ShareId) {
        self.change(share, |entry| {
            (entry.failures, entry.not_before) = (0, None)
        });
        self.wake.notify_one();
    }

    /// A relay is connected again: what could not be reached is tried at once.
    fn reconnected(&self) {
        let unreached =
            |doing: &Doing| matches!(doing, Doing::Waits(trouble) if trouble.reason.is_none());
        for entry in self
            .lock()
            .values_mut()
            .filter(|entry| unreached(&entry.doing))
        {
            (entry.failures, entry.not_before) = (0, None);
        }
    }

    /// A share ended: stores need not keep it any more. Durable when this returns.
    fn release(&self, share: ShareId) {
        let Some(mut record) = self.entry(share).record else {
            return self.forget(share);
        };
        record.release = true;
        if let Err(error) = self.records.put_kept(share, &record) {
            tracing::error!(%error, "that a store need not keep a share could not be recorded");
        }
        self.change(share, |entry| {
            *entry = Entry {
                record: Some(record),
                ..Entry::default()
            };
        });
        self.wake.notify_one();
    }

    /// Returns the key of the joined relay that keeps a whole version of a share.
    pub(crate) fn relay_of(&self, share: ShareId) -> Option<DeviceId> {
        let record = self.entry(share).record.filter(|record| !record.release)?;
        record.relay.parse().ok()
    }
}

impl LibraryListener for StoreUploads {
    fn published(&self, share: ShareId) {
        self.shared(share);
    }

    fn ended(&self, share: ShareId) {
        self.release(share);
    }
}

/// The service that uploads to stores.
pub(crate) struct StoreUploadService {
    pub device: DeviceId,
    pub store_uploads: Arc<StoreUploads>,
    pub swarm: Arc<Swarm>,
    pub library: Arc<Library>,
    pub relays: Arc<RelayClient>,
    pub records: Records,
    /// The rules for uploads: which shares, and when.
    pub rules: Setting<UploadRules>,
    pub tasks: Tasks,
}

/// Begins to upload what there is to upload.
pub(crate) fn start(service: &Arc<StoreUploadService>) {
    let kept: Vec<(ShareId, RelayAddress)> = {
        let entries = service.store_uploads.lock();
        let whole = entries.iter().filter_map(|(share, entry)| {
            let record = entry
                .record
                .as_ref()
                .filter(|r| r.version > 0 && !r.release)?;
            Some((*share, record.store()?))
        });
        whole.collect()
    };
    for (share, store) in kept {
        service.swarm.store_uploaded(share, &store);
    }
    service.tasks.spawn_forever(work::run(Arc::clone(service)));
}

impl Entry {
    /// It failed: later again, later each time, within these bounds.
    fn failed(&mut self, trouble: Trouble, pauses: RangeInclusive<Duration>) {
        let doublings = self.failures.min(16);
        let pause = RETRY
            .0
            .saturating_mul(1 << doublings)
            .min(*pauses.end())
            .max(*pauses.start());
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(Instant::now() + pause);
        self.doing = Doing::Waits(trouble);
    }

    /// Returns whether a version is at the store, looked at not too long before `now`, seconds of
    /// the clock of deadlines.
    fn is_kept(&self, version: u64, now: u64) -> bool {
        // A record with a later time than now comes from a clock that was wrong.
        let fresh = |record: &KeptRecord| {
            (record.checked..record.checked.saturating_add(LOOK_AGAIN.as_secs())).contains(&now)
        };
        self.record
            .as_ref()
            .is_some_and(|record| !record.release && record.version == version && fresh(record))
    }
}
