//! How far an upload is: what is still wanted, what is on its way to the disk, what is durable.
//!
//! Invariant: a position is wanted, or on its way (there is a [`Taken`] for it), or held; it is
//! held only when its chunk is durable and the index refers to it.

use super::error::PutError;
use super::ids::{UserNumber, VersionNumber};
use super::quota::Promise;
use super::records::{SPACES, space_index};
use hither_proto::{Ranges, Space};
use hither_util::sync::Mutex;
use roaring::RoaringBitmap;
use std::sync::{Arc, MutexGuard};
use tokio::sync::Notify;

/// Positions that have become durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Whose positions.
    pub space: Space,
    /// Ascending; none is reported twice.
    pub ranges: Ranges,
}

/// One space of a version.
#[derive(Default)]
pub(super) struct SpaceProgress {
    /// Number of positions.
    pub(super) total: u32,
    /// To be sent.
    pub(super) wanted: RoaringBitmap,
    /// Durable.
    pub(super) held: RoaringBitmap,
    /// Durable and not reported yet.
    fresh: RoaringBitmap,
    /// Pairs of a wanted position and a later one of the same chunk, ascending.
    pub(super) repeats: Vec<(u32, u32)>,
}

#[derive(Default)]
struct UploadState {
    /// Whether what is wanted is known.
    listed: bool,
    spaces: [SpaceProgress; 3],
    on_their_way: u64,
    promise: Option<Promise>,
    failure: Option<PutError>,
    finished: bool,
}

/// The state of one upload, shared by its session and whoever writes its chunks.
pub(super) struct Progress {
    pub(super) version: VersionNumber,
    pub(super) user: UserNumber,
    state: Mutex<UploadState>,
    changed: Notify,
}

impl Progress {
    pub(super) fn new(version: VersionNumber, user: UserNumber) -> Self {
        Self {
            version,
            user,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Says what is held and what is wanted, once.
    pub(super) fn begin(&self, spaces: [SpaceProgress; 3], promise: Promise) {
        let mut state = self.lock();
        state.spaces = spaces;
        state.promise = Some(promise);
        state.listed = true;
    }

    /// Whether what is wanted is known.
    pub(super) fn is_listed(&self) -> bool {
        self.lock().listed
    }

    /// Takes a position out of what is wanted; `None` if it was not wanted (any more).
    pub(super) fn take(
        self: &Arc<Self>,
        space: Space,
        position: u32,
    ) -> Result<Option<Taken>, PutError> {
        let mut state = self.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        let part = &mut state.spaces[space_index(space)];
        if position >= part.total {
            return Err(PutError::Position);
        }
        if !part.wanted.remove(position) {
            return Ok(None);
        }
        state.on_their_way += 1;
        Ok(Some(Taken {
            progress: Arc::clone(self),
            space,
            position,
            settled: false,
        }))
    }

    /// Positions of one upload are durable.
    pub(super) fn settle(&self, taken: &mut [(Taken, u32)]) {
        let mut state = self.lock();
        for (taken, length) in taken {
            taken.settled = true;
            state.on_their_way -= 1;
            if let Some(promise) = &mut state.promise {
                promise.used(u64::from(*length));
            }
            let position = taken.position;
            let part = &mut state.spaces[space_index(taken.space)];
            let from = part.repeats.partition_point(|(first, _)| *first < position);
            let to = part
                .repeats
                .partition_point(|(first, _)| *first <= position);
            let SpaceProgress {
                held,
                fresh,
                repeats,
                ..
            } = part;
            for position in
                std::iter::once(position).chain(repeats[from..to].iter().map(|pair| pair.1))
            {
                held.insert(position);
                fresh.insert(position);
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// The upload cannot go on; the first reason counts.
    pub(super) fn fail(&self, failure: PutError) {
        let mut state = self.lock();
        if !state.finished {
            state.failure.get_or_insert(failure);
        }
        state.promise = None;
        drop(state);
        self.changed.notify_waiters();
    }

    /// The version is complete.
    pub(super) fn finish(&self) {
        let mut state = self.lock();
        state.finished = true;
        state.promise = None;
        drop(state);
        self.changed.notify_waiters();
    }

    pub(super) fn failure(&self) -> Result<(), PutError> {
        self.lock().failure.clone().map_or(Ok(()), Err)
    }

    /// Waits for durable positions that were not reported yet. `None`: the version is complete and
    /// everything was.
    pub(super) async fn stored(&self) -> Result<Option<Stored>, PutError> {
        self.wait(|state| {
            for space in SPACES {
                let fresh = &mut state.spaces[space_index(space)].fresh;
                if !fresh.is_empty() {
                    // Ranges are bounded: what did not fit comes next time.
                    let ranges = Ranges::from_bitmap(fresh);
                    *fresh -= ranges.to_bitmap();
                    return Some(Ok(Some(Stored { space, ranges })));
                }
            }
            match &state.failure {
                Some(failure) => Some(Err(failure.clone())),
                None => state.finished.then_some(Ok(None)),
            }
        })
        .await
    }

    /// Waits until nothing is on its way; then says how many positions are not held.
    pub(super) async fn settled(&self) -> Result<u64, PutError> {
        self.wait(|state| match &state.failure {
            Some(failure) => Some(Err(failure.clone())),
            None if state.on_their_way > 0 => None,
            None => Some(Ok(state
                .spaces
                .iter()
                .map(|part| u64::from(part.total) - part.held.len())
                .sum())),
        })
        .await
    }

    /// What is held of a space; `None` as long as that is not known.
    pub(super) fn held(&self) -> Option<[RoaringBitmap; 3]> {
        let state = self.lock();
        state
            .listed
            .then(|| state.spaces.each_ref().map(|part| part.held.clone()))
    }

    async fn wait<T>(&self, mut check: impl FnMut(&mut UploadState) -> Option<T>) -> T {
        let mut changed = std::pin::pin!(self.changed.notified());
        loop {
            // Before looking, so that what happens between looking and waiting is not missed.
            changed.as_mut().enable();
            if let Some(found) = check(&mut self.lock()) {
                return found;
            }
            changed.as_mut().await;
            changed.set(self.changed.notified());
        }
    }

    fn lock(&self) -> MutexGuard<'_, UploadState> {
        self.state.lock()
    }
}

/// A position whose chunk is on its way to the disk; wanted again if this is dropped before it got
/// there.
pub(super) struct Taken {
    pub(super) progress: Arc<Progress>,
    pub(super) space: Space,
    pub(super) position: u32,
    settled: bool,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.settled {
            let mut state = self.progress.lock();
            state.on_their_way -= 1;
            state.spaces[space_index(self.space)]
                .wanted
                .insert(self.position);
            drop(state);
            self.progress.changed.notify_waiters();
        }
    }
}
