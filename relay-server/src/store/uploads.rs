//! The uploads that are going on.

use super::error::PutError;
use super::ids::VersionNumber;
use super::progress::Progress;
use hither_proto::{DeviceId, ShareId, UserId};
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};

/// Names what a user keeps of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ShareKey {
    pub(super) user: UserId,
    pub(super) owner: DeviceId,
    pub(super) share: ShareId,
}

/// At most one upload for each share of a user: the caller bounds the number of connections.
#[derive(Default)]
pub(super) struct Uploads(Mutex<HashMap<ShareKey, Arc<Progress>>>);

impl Uploads {
    /// Adds an upload. An older one of the same share ends: its device has come back.
    pub(super) fn enter(&self, key: ShareKey, progress: &Arc<Progress>) {
        let before = self.lock().insert(key, Arc::clone(progress));
        if let Some(before) = before {
            before.fail(PutError::Superseded);
        }
    }

    /// Removes an upload, unless another one has taken over.
    pub(super) fn leave(&self, key: &ShareKey, progress: &Arc<Progress>) {
        let mut uploads = self.lock();
        if uploads
            .get(key)
            .is_some_and(|current| Arc::ptr_eq(current, progress))
        {
            uploads.remove(key);
        }
    }

    /// Ends the upload of a share that is released.
    pub(super) fn end(&self, key: &ShareKey) {
        if let Some(progress) = self.lock().get(key) {
            progress.fail(PutError::Released);
        }
    }

    /// The upload of a version, if it is going on.
    pub(super) fn of(&self, key: &ShareKey, version: VersionNumber) -> Option<Arc<Progress>> {
        self.lock()
            .get(key)
            .filter(|progress| progress.version == version)
            .cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ShareKey, Arc<Progress>>> {
        self.0.lock()
    }
}
