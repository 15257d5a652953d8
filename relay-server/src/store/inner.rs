//! What the parts of a store share.

use super::backend::{Backend, blocking};
use super::buffers::Buffers;
use super::config::StoreConfig;
use super::error::{Measure, PutError, StoreError};
use super::held::HeldCache;
use super::ids::PackNumber;
use super::index::{Index, Rows};
use super::listings::Listings;
use super::packer::Packer;
use super::quota::{Promise, Promises};
pub(super) use super::uploads::ShareKey;
use super::uploads::Uploads;
use super::writer::Writer;
use hither_proto::UserId;
use hither_util::sync::Mutex;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::{Notify, Semaphore};

/// What was done since the store was opened.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) packs_written: AtomicU64,
    pub(super) bytes_written: AtomicU64,
    pub(super) damaged: AtomicU64,
}

pub(super) struct Inner {
    pub(super) config: StoreConfig,
    pub(super) backend: Backend,
    pub(super) index: Arc<Index>,
    pub(super) writer: Writer,
    pub(super) packer: Packer,
    pub(super) uploads: Uploads,
    /// Memory for what is received, as long as there are uploads.
    buffers: Mutex<Weak<Buffers>>,
    pub(super) promises: Promises,
    pub(super) held: HeldCache,
    pub(super) counters: Counters,
    /// Permits to hash and write packs.
    pub(super) writers: Semaphore,
    /// Permits to read.
    pub(super) readers: Semaphore,
    /// Turns to look through lists.
    pub(super) listings: Listings,
    /// There are released versions.
    pub(super) sweep: Notify,
    /// Held while references are dropped, chunks collected, packs compacted.
    pub(super) cleaning: tokio::sync::Mutex<()>,
    /// Bytes of all packs.
    pub(super) pack_bytes: AtomicU64,
    next_pack: AtomicU64,
    /// Packs of which it is not known whether the index names them.
    doubtful: Mutex<BTreeSet<PackNumber>>,
}

impl Inner {
    pub(super) fn new(
        config: StoreConfig,
        backend: Backend,
        index: Arc<Index>,
        writer: Writer,
        epoch: u32,
        pack_bytes: u64,
    ) -> Result<Self, StoreError> {
        if config.free_floor == 0 {
            return Err(StoreError::Config(
                "the floor of free space must be above zero",
            ));
        }
        Ok(Self {
            packer: Packer::new(&config)?,
            writers: Semaphore::new(config.writers.max(1)),
            readers: Semaphore::new(config.readers.max(1)),
            listings: Listings::new(),
            config,
            backend,
            index,
            writer,
            uploads: Uploads::default(),
            buffers: Mutex::default(),
            promises: Promises::default(),
            held: HeldCache::default(),
            counters: Counters::default(),
            sweep: Notify::new(),
            cleaning: tokio::sync::Mutex::new(()),
            pack_bytes: AtomicU64::new(pack_bytes),
            next_pack: AtomicU64::new(u64::from(epoch) << 32),
            doubtful: Mutex::default(),
        })
    }

    /// Memory for what uploads receive: that of the others while there are others.
    pub(super) fn buffers(&self) -> Arc<Buffers> {
        let mut shared = self.buffers.lock();
        shared.upgrade().unwrap_or_else(|| {
            let buffers = Buffers::new(self.config.buffer_bytes);
            *shared = Arc::downgrade(&buffers);
            buffers
        })
    }

    pub(super) fn next_pack(&self) -> PackNumber {
        PackNumber(self.next_pack.fetch_add(1, Ordering::Relaxed))
    }

    /// Fails unless `more` bytes can be written with the floor of free space, and the quota of the
    /// store, kept.
    pub(super) fn check_floor(&self, more: u64) -> Result<(), StoreError> {
        let used = self.pack_bytes.load(Ordering::Relaxed);
        if self
            .config
            .total_quota
            .is_some_and(|quota| used.saturating_add(more) > quota)
        {
            return Err(StoreError::Full);
        }
        match self.backend.free()? {
            Some(free) if free < self.config.free_floor.saturating_add(more) => {
                Err(StoreError::Full)
            }
            _ => Ok(()),
        }
    }

    /// Promises room for an upload of `bytes`.
    pub(super) async fn promise(
        self: &Arc<Self>,
        user: UserId,
        bytes: u64,
    ) -> Result<Promise, PutError> {
        let inner = Arc::clone(self);
        let record = blocking(move || inner.index.user(&user)).await??;
        let quota = record
            .and_then(|record| record.quota)
            .or(self.config.user_quota);
        let kept = record.map_or(0, |record| record.bytes);
        self.promises.promise(user, bytes, |promised, all| {
            // Who is over a quota that was lowered may still say anew what is here.
            if bytes == 0 {
                return Ok(());
            }
            let used = kept.saturating_add(promised);
            if let Some(quota) = quota.filter(|quota| used.saturating_add(bytes) > *quota) {
                return Err(PutError::Quota {
                    of: Measure::Bytes,
                    quota,
                    used,
                    wanted: bytes,
                });
            }
            Ok(self.check_floor(all.saturating_add(bytes))?)
        })
    }

    /// Remembers a pack that may be of no use, and may not.
    pub(super) fn doubt(&self, pack: PackNumber) {
        self.doubtful.lock().insert(pack);
    }

    /// Deletes doubtful packs that the index does not name. Their writing is over, so it never
    /// will.
    pub(super) async fn settle_doubts(self: &Arc<Self>) -> Result<(), Arc<StoreError>> {
        let doubtful = std::mem::take(&mut *self.doubtful.lock());
        for pack in doubtful {
            // Asked of the writer and in its order: the index as it is after every change before.
            match self
                .writer
                .run(move |ledger| Ok(ledger.pack(pack)?.is_some()))
                .await
            {
                Ok(true) => {}
                Ok(false) => self.discard(pack).await,
                Err(error) => {
                    self.doubt(pack);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Deletes a pack that the index does not name.
    pub(super) async fn discard(&self, pack: PackNumber) {
        if let Err(error) = self.backend.delete(pack).await {
            tracing::warn!(%error, "a pack that is of no use could not be deleted");
            self.doubt(pack);
        }
    }
}
