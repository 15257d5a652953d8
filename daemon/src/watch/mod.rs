//! Watched shares: a folder or file that was shared once stays shared as it changes.
//!
//! `fs_watcher.rs` learns of changes from the system, `debounce.rs` says when they are over,
//! `task.rs` publishes. That a share is watched stands in its record; after a start everything
//! watched is looked at, so that what changed meanwhile is seen.
//!
//! Invariant: a watch publishes only new versions of its own share, never a new share.

mod debounce;
mod fs_watcher;
mod task;

use crate::library::LibraryListener;
use crate::publish::Publisher;
use hither_proto::ShareId;
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use tokio_util::sync::CancellationToken;

struct Watched {
    stop: CancellationToken,
    /// Why no version could be published, in words.
    trouble: Option<String>,
}

/// Every share that is watched.
#[derive(Default)]
pub(crate) struct Watches {
    by_share: Mutex<HashMap<ShareId, Watched>>,
}

impl Watches {
    fn lock(&self) -> MutexGuard<'_, HashMap<ShareId, Watched>> {
        self.by_share.lock()
    }

    /// A share is not watched any more.
    pub(crate) fn stop(&self, share: ShareId) {
        if let Some(watched) = self.lock().remove(&share) {
            watched.stop.cancel();
        }
    }

    /// Why no new version of a share could be published, in words.
    pub(crate) fn trouble(&self, share: ShareId) -> Option<String> {
        self.lock().get(&share)?.trouble.clone()
    }

    fn set_trouble(&self, share: ShareId, trouble: Option<String>) {
        if let Some(watched) = self.lock().get_mut(&share) {
            watched.trouble = trouble;
        }
    }
}

impl LibraryListener for Watches {
    fn published(&self, _: ShareId) {}

    fn ended(&self, share: ShareId) {
        self.stop(share);
    }
}

/// Watches a share from now on, if it is not watched already. Must be called inside the runtime.
pub(crate) fn begin(publisher: &Arc<Publisher>, share: ShareId) {
    let stop = publisher.tasks.token.child_token();
    {
        let mut watches = publisher.watches.lock();
        if watches.contains_key(&share) {
            return;
        }
        watches.insert(
            share,
            Watched {
                stop: stop.clone(),
                trouble: None,
            },
        );
    }
    let of = Arc::clone(publisher);
    publisher
        .tasks
        .spawn(async move { task::run(of, share, stop).await });
}

/// Watches what earlier runs watched.
pub(crate) fn start(publisher: &Arc<Publisher>) {
    for (share, record) in publisher.library.share_records() {
        if record.watch.is_some() {
            begin(publisher, share.id);
        }
    }
}
