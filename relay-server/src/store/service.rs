//! The store as others use it.

use super::backend::{Backend, blocking};
use super::buffers::Buffers;
use super::check::{CheckReport, check};
use super::config::StoreConfig;
use super::error::{PutError, ReadError, StoreError};
use super::flush::flush;
use super::gc::{GcReport, gc};
use super::index::Rows;
use super::inner::{Inner, ShareKey};
use super::read::{ReadChunk, StoredVersion, candidates, length_of, read};
use super::release::{keep_until, keeps, release, sweep};
use super::session::PutSession;
use super::stats::{StoreStats, Usage, stats};
use hither_content::storage::Storage;
use hither_proto::{DeviceId, PositionRange, ReadKey, ShareId, SignedHead, Space, UserId};
use hither_util::sync::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// A store of encrypted chunks. Needs a tokio runtime.
pub struct Store {
    inner: Arc<Inner>,
    stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("packs", &self.inner.backend)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a store: its index in `storage` (tables `store-…`; best a database of its own), its
    /// packs in `backend`.
    ///
    /// Removes what a kill left behind. Packs and index that do not belong together are refused and
    /// left alone.
    pub async fn open(
        config: StoreConfig,
        storage: Arc<dyn Storage>,
        backend: Backend,
    ) -> Result<Self, StoreError> {
        let inner = super::open::open(config, storage, backend).await?;
        let stop = CancellationToken::new();
        // What an earlier run has released and not swept.
        inner.sweep.notify_one();
        let tasks = vec![
            tokio::spawn(write_packs(Arc::clone(&inner), stop.clone())),
            tokio::spawn(sweep_released(Arc::clone(&inner), stop.clone())),
        ];
        Ok(Self {
            inner,
            stop,
            tasks: Mutex::new(tasks),
        })
    }

    /// Begins to upload a version of a share: `owner` signed `head` (the caller has checked that
    /// `user` may upload for `owner`). It is kept for `keep` after the upload, or until it is
    /// released.
    ///
    /// An upload of the same share that is still going on ends. The caller bounds the number of
    /// uploads.
    pub async fn put(
        &self,
        user: UserId,
        owner: DeviceId,
        head: SignedHead,
        read_key: ReadKey,
        keep: Option<Duration>,
    ) -> Result<PutSession, PutError> {
        PutSession::begin(Arc::clone(&self.inner), user, owner, head, read_key, keep).await
    }

    /// The versions of a share that are here, complete ones first, then the newest first; usually
    /// one.
    pub async fn candidates(
        &self,
        owner: DeviceId,
        share: ShareId,
    ) -> Result<Vec<StoredVersion>, ReadError> {
        candidates(&self.inner, owner, share).await
    }

    /// Reads chunks from the start of `range` on, as many as make [`MAX_READ`](super::MAX_READ)
    /// bytes, at least one. Each was compared with its id. Where a chunk is not to be had the
    /// answer ends before it; as the first one it is the error.
    pub async fn read(
        &self,
        version: &StoredVersion,
        space: Space,
        range: PositionRange,
    ) -> Result<Vec<ReadChunk>, ReadError> {
        self.read_into(&Buffers::new(0), version, space, range)
            .await
    }

    /// Bytes of the ciphertexts of a range, all of which must be held.
    ///
    /// Errors: those of [`read`](Self::read) that show before reading.
    pub async fn length_of(
        &self,
        version: &StoredVersion,
        space: Space,
        range: PositionRange,
    ) -> Result<u64, ReadError> {
        length_of(&self.inner, version, space, range).await
    }

    /// The same, with memory out of `buffers`: for who reads again and again.
    pub async fn read_into(
        &self,
        buffers: &Arc<Buffers>,
        version: &StoredVersion,
        space: Space,
        range: PositionRange,
    ) -> Result<Vec<ReadChunk>, ReadError> {
        read(&self.inner, buffers, version, space, range).await
    }

    /// Gives up whatever a user keeps of a share; `false` if that is nothing. Uploads of it end.
    /// Durable when this returns; the user's bytes are counted down soon after.
    pub async fn release(
        &self,
        user: UserId,
        owner: DeviceId,
        share: ShareId,
    ) -> Result<bool, Arc<StoreError>> {
        release(&self.inner, ShareKey { user, owner, share }).await
    }

    /// Changes when what a user keeps of a share expires, Unix milliseconds; `None`: only when it
    /// is released. `false` if nothing is complete there.
    pub async fn keep_until(
        &self,
        user: UserId,
        owner: DeviceId,
        share: ShareId,
        expires_ms: Option<u64>,
    ) -> Result<bool, Arc<StoreError>> {
        keep_until(&self.inner, ShareKey { user, owner, share }, expires_ms).await
    }

    /// Whether a user keeps anything of a share, complete or not.
    pub async fn keeps(
        &self,
        user: UserId,
        owner: DeviceId,
        share: ShareId,
    ) -> Result<bool, StoreError> {
        let inner = Arc::clone(&self.inner);
        Ok(blocking(move || keeps(&inner, &ShareKey { user, owner, share })).await??)
    }

    /// What a user keeps.
    pub async fn usage(&self, user: UserId) -> Result<Usage, StoreError> {
        let inner = Arc::clone(&self.inner);
        let record = blocking(move || inner.index.user(&user)).await??;
        let quota = record
            .and_then(|record| record.quota)
            .or(self.inner.config.user_quota);
        Ok(Usage {
            bytes: record.map_or(0, |record| record.bytes),
            quota,
        })
    }

    /// Sets what a user may keep, bytes; `None`: what the configuration says. Nothing is released
    /// for it.
    pub async fn set_quota(&self, user: UserId, quota: Option<u64>) -> Result<(), Arc<StoreError>> {
        let set = self.inner.writer.run(move |ledger| {
            ledger.user_number(&user)?;
            if let Some(mut record) = ledger.user(&user)? {
                record.quota = quota;
                ledger.set_user(&user, &record);
            }
            Ok(())
        });
        set.await
    }

    /// One pass of giving space back. To be called every few minutes.
    pub async fn gc(&self) -> Result<GcReport, Arc<StoreError>> {
        gc(&self.inner).await
    }

    /// Reads and verifies everything; with `repair` damaged chunks are forgotten, so that they can
    /// be uploaded again.
    pub async fn check(&self, repair: bool) -> Result<CheckReport, Arc<StoreError>> {
        check(&self.inner, repair).await
    }

    /// Counts and sizes.
    pub async fn stats(&self) -> Result<StoreStats, StoreError> {
        stats(&self.inner).await
    }

    /// Writes what was received, and ends. Uploads that go on fail; the folders can be opened again
    /// when they are dropped too.
    pub async fn close(self) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if task.await.is_err() {
                tracing::error!("a task of the store panicked");
            }
        }
        let inner = Arc::clone(&self.inner);
        // Nothing is left to be done about an error: the runtime is going down too then.
        let _ = blocking(move || inner.writer.stop()).await;
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Writes packs as they fill, until the store is closed; then what is left.
async fn write_packs(inner: Arc<Inner>, stop: CancellationToken) {
    let mut flushes = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            packs = inner.packer.ready(false) => {
                for pack in packs {
                    flushes.spawn(flush(Arc::clone(&inner), pack));
                }
            }
            Some(ended) = flushes.join_next() => {
                inner.packer.landed();
                note(ended);
            }
        }
    }
    inner.packer.close();
    for pack in inner.packer.ready(true).await {
        flushes.spawn(flush(Arc::clone(&inner), pack));
    }
    while let Some(ended) = flushes.join_next().await {
        note(ended);
    }
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "writing a pack ended badly");
    }
}

/// Drops the references of released versions soon after they were released.
async fn sweep_released(inner: Arc<Inner>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = inner.sweep.notified() => {}
        }
        let sweeping = async {
            let _turn = inner.cleaning.lock().await;
            sweep(&inner).await
        };
        tokio::select! {
            () = stop.cancelled() => return,
            swept = sweeping => if let Err(error) = swept {
                tracing::warn!(%error, "released versions could not be swept; the next pass goes on");
            }
        }
    }
}
