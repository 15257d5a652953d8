//! Versions that are no longer kept: expiry, release, and the removal of their references piece by
//! piece.
//!
//! A released version is out of sight at once and durably; dropping its references may be
//! interrupted at any point and is taken up again.

use super::backend::blocking;
use super::config::millis;
use super::error::StoreError;
use super::ids::VersionNumber;
use super::index::{Rows, version_numbers};
use super::inner::{Inner, ShareKey};
use super::records::{RECORD, records};
use super::tables::{DUE, LISTS, share_prefix};
use super::version::{Phase, VersionRecord};
use hither_content::storage::StorageError;
use hither_proto::ChunkId;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Versions handled in one go.
const MAX_DUE: usize = 1024;

/// Releases whatever a user keeps of a share; `false` if that is nothing.
pub(super) async fn release(inner: &Arc<Inner>, key: ShareKey) -> Result<bool, Arc<StoreError>> {
    inner.uploads.end(&key);
    let released = inner.writer.run(move |ledger| {
        let versions = ledger.versions_of(&key.user, &key.owner, &key.share)?;
        for (number, record) in &versions {
            ledger.release(*number, record)?;
        }
        Ok(!versions.is_empty())
    });
    let released = released.await?;
    inner.sweep.notify_one();
    Ok(released)
}

/// Lets what a user keeps of a share expire at another time; `false` if nothing is complete there.
pub(super) async fn keep_until(
    inner: &Arc<Inner>,
    key: ShareKey,
    expires_ms: Option<u64>,
) -> Result<bool, Arc<StoreError>> {
    let due = expires_ms.unwrap_or(VersionRecord::NEVER).max(1);
    let kept = inner.writer.run(move |ledger| {
        let mut found = false;
        for (number, record) in ledger.versions_of(&key.user, &key.owner, &key.share)? {
            if record.phase == Phase::Complete {
                ledger.set_due(number, record, due);
                found = true;
            }
        }
        Ok(found)
    });
    kept.await
}

/// Releases what has expired by now; returns how many versions.
pub(super) async fn expire(inner: &Arc<Inner>) -> Result<u64, Arc<StoreError>> {
    let now = inner.config.now_ms();
    let grace = millis(inner.config.pending_grace).max(1);
    let mut expired = 0;
    loop {
        let due = due_versions(inner, 1, now).await?;
        let count = due.len();
        let uploads = Arc::clone(inner);
        let released = inner.writer.run(move |ledger| {
            let mut released = 0;
            for number in due {
                let Some(record) = ledger.version(number)? else {
                    continue;
                };
                let key = ShareKey {
                    user: record.user,
                    owner: record.owner,
                    share: record.share,
                };
                if record.due_ms > now || record.phase == Phase::Released {
                    continue;
                }
                // An upload that is going on is not given up for being slow.
                if record.phase.is_pending() && uploads.uploads.of(&key, number).is_some() {
                    ledger.set_due(number, record, now.saturating_add(grace));
                    continue;
                }
                ledger.release(number, &record)?;
                released += 1;
            }
            Ok(released)
        });
        expired += released.await?;
        if count < MAX_DUE {
            return Ok(expired);
        }
    }
}

/// Drops the references of all released versions.
pub(super) async fn sweep(inner: &Arc<Inner>) -> Result<(), Arc<StoreError>> {
    loop {
        let released = due_versions(inner, 0, 0).await?;
        if released.is_empty() {
            return Ok(());
        }
        for version in released {
            drop_version(inner, version).await?;
        }
    }
}

/// Versions due from one time to another, inclusive, earliest first.
async fn due_versions(
    inner: &Arc<Inner>,
    from: u64,
    to: u64,
) -> Result<Vec<VersionNumber>, Arc<StoreError>> {
    let inner = Arc::clone(inner);
    let look = move || {
        let mut found = Vec::new();
        inner.index.storage().scan(DUE, &[], &mut |key, _| {
            let due = key.first_chunk().map(|due| u64::from_be_bytes(*due));
            let number = key
                .last_chunk()
                .map(|number| VersionNumber(u64::from_be_bytes(*number)));
            let (Some(due), Some(number)) = (due, number) else {
                return ControlFlow::Continue(());
            };
            if due > to || found.len() >= MAX_DUE {
                return ControlFlow::Break(());
            }
            if due >= from {
                found.push(number);
            }
            ControlFlow::Continue(())
        })?;
        Ok::<_, StorageError>(found)
    };
    Ok(blocking(look).await?.map_err(StoreError::from)?)
}

async fn drop_version(inner: &Arc<Inner>, version: VersionNumber) -> Result<(), Arc<StoreError>> {
    let asking = Arc::clone(inner);
    let keys = move || -> Result<_, StorageError> {
        let mut keys = Vec::new();
        asking
            .index
            .storage()
            .scan(LISTS, &version.0.to_be_bytes(), &mut |key, value| {
                keys.push((key.to_vec(), value.len() / RECORD));
                ControlFlow::Continue(())
            })?;
        Ok((asking.index.version(version)?, keys))
    };
    let (record, keys) = blocking(keys).await?.map_err(StoreError::from)?;
    let root = record
        .and_then(|record| record.signed_head().ok())
        .map(|head| head.head().root);
    drop_refs(inner, version, root.into_iter().collect()).await?;
    for (key, _) in &keys {
        let (reading, key) = (Arc::clone(inner), key.clone());
        let block = blocking(move || reading.index.get(LISTS, &key))
            .await?
            .map_err(StoreError::from)?;
        let ids = records(&block.unwrap_or_default())
            .map(|record| record.id)
            .collect();
        drop_refs(inner, version, ids).await?;
    }
    let lists: Vec<_> = keys.into_iter().map(|(key, _)| key).collect();
    inner
        .writer
        .run(move |ledger| ledger.forget(version, &lists))
        .await
}

async fn drop_refs(
    inner: &Inner,
    version: VersionNumber,
    mut ids: Vec<ChunkId>,
) -> Result<(), Arc<StoreError>> {
    let now = inner.config.now_ms();
    ids.sort_unstable();
    ids.dedup();
    inner
        .writer
        .run(move |ledger| ledger.drop_refs(version, &ids, now))
        .await
}

/// Whether anything of a share is kept by a user.
pub(super) fn keeps(inner: &Inner, key: &ShareKey) -> Result<bool, StorageError> {
    let prefix = [
        &share_prefix(&key.owner, &key.share)[..],
        key.user.as_bytes(),
    ]
    .concat();
    Ok(!version_numbers(inner.index.storage(), &prefix)?.is_empty())
}
