//! Open files and folders, kept open while they are in use and closed when there are too many.
//!
//! Invariant: at most `limit` handles are cached, whatever the number of shares and fetches; what
//! has been evicted is opened again by its owner. A handle that somebody is using stays open until
//! they are done.

use crate::open_files::{register, share_of_limit};
use crate::platform::Dir;
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

/// An open file or folder.
#[derive(Debug, Clone)]
pub(crate) enum Handle {
    File(Arc<File>),
    Dir(Arc<Dir>),
}

/// Whose handle, and of which entry.
type Key = (u64, u32);

#[derive(Debug, Default)]
struct OpenHandles {
    /// Each handle with the number and the time of its last use.
    open: HashMap<Key, (Handle, u64, Instant)>,
    time: u64,
}

/// A bounded cache of open files and folders, one for the whole daemon.
#[derive(Debug)]
pub struct Handles {
    limit: usize,
    state: Mutex<OpenHandles>,
    owners: AtomicU64,
}

impl Handles {
    /// A cache of at most `limit` handles (at least 1), and of fewer where the process may open few
    /// files.
    pub fn new(limit: usize) -> Arc<Self> {
        let limit = share_of_limit(limit);
        let handles = Arc::new(Self {
            limit,
            state: Mutex::default(),
            owners: AtomicU64::new(0),
        });
        register(&handles);
        handles
    }

    /// A number for a new owner of handles.
    pub(crate) fn new_owner(&self) -> u64 {
        self.owners.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn get(&self, owner: u64, entry: u32) -> Option<Handle> {
        let mut state = self.lock();
        state.time += 1;
        let time = state.time;
        state
            .open
            .get_mut(&(owner, entry))
            .map(|(handle, used, at)| {
                (*used, *at) = (time, Instant::now());
                handle.clone()
            })
    }

    pub(crate) fn put(&self, owner: u64, entry: u32, handle: Handle) {
        let mut state = self.lock();
        state.time += 1;
        let time = state.time;
        // The limit is a few hundred, so looking through all of them costs less than opening one.
        if state.open.len() >= self.limit
            && !state.open.contains_key(&(owner, entry))
            && let Some(oldest) = state
                .open
                .iter()
                .min_by_key(|(_, (_, used, _))| *used)
                .map(|(key, _)| *key)
        {
            state.open.remove(&oldest);
        }
        state
            .open
            .insert((owner, entry), (handle, time, Instant::now()));
    }

    pub(crate) fn forget(&self, owner: u64, entry: u32) {
        self.lock().open.remove(&(owner, entry));
    }

    pub(crate) fn forget_owner(&self, owner: u64) {
        self.lock().open.retain(|(of, _), _| *of != owner);
    }

    /// Closes everything that nobody is using.
    pub(crate) fn close_all(&self) {
        self.lock().open.clear();
    }

    /// Closes what was not used for so long: an open file keeps its disk from being unmounted.
    pub fn close_unused(&self, span: Duration) {
        self.lock()
            .open
            .retain(|_, (_, _, used)| used.elapsed() < span);
    }

    fn lock(&self) -> MutexGuard<'_, OpenHandles> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_handle_goes() {
        let handles = Handles::new(2);
        let dir = tempfile::tempdir().unwrap();
        let handle = Handle::Dir(Arc::new(Dir::open(dir.path()).unwrap()));
        let (a, b) = (handles.new_owner(), handles.new_owner());
        handles.put(a, 1, handle.clone());
        handles.put(a, 2, handle.clone());
        assert!(handles.get(a, 1).is_some());
        handles.put(b, 1, handle.clone());
        assert!(
            handles.get(a, 2).is_none()
                && handles.get(a, 1).is_some()
                && handles.get(b, 1).is_some()
        );
        handles.put(b, 1, handle);
        assert!(handles.get(a, 1).is_some());
        handles.close_unused(Duration::from_secs(60));
        assert!(handles.get(a, 1).is_some(), "it was used just now");
        handles.forget_owner(a);
        assert!(handles.get(a, 1).is_none() && handles.get(b, 1).is_some());
        handles.close_unused(Duration::ZERO);
        assert!(handles.get(b, 1).is_none());
    }
}
