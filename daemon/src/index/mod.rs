//! The indexes of relays: this device says there what it holds of every share, and is told who
//! holds what it fetches.
//!
//! `local_holdings.rs` listens to the inventory as any session does; `nodes.rs` knows where the
//! index is; `manager.rs` decides which share is spoken of where; `node.rs` is the connection to
//! one index node, `announcer.rs` what goes there, `holder_search.rs` what comes of what it tells;
//! `seal.rs` keeps addresses from those who do not know the share.
//!
//! Invariants: spoken of is a share only with relays that this device joined and those that its
//! ticket names, and held things only with `index.announce`; what an index tells is hearsay: it
//! names devices to dial, whose sessions then say the truth.

mod announcer;
mod holder_search;
mod local_holdings;
mod manager;
mod node;
mod nodes;
mod seal;
#[cfg(test)]
mod tests;

use hither_proto::{DeviceId, RelayAddress, ShareId};
use hither_relay_client::RelayClient;
use hither_swarm::Swarm;
use hither_util::sync::Mutex;
use hither_util::tasks::Tasks;
use local_holdings::LocalHoldings;
use nodes::IndexNodes;
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;
use tokio::sync::{Notify, watch};

/// The announcements to indexes, and the queries to them.
#[derive(Default)]
pub(crate) struct Index {
    inner: Mutex<Inner>,
    /// Wakes the task when the nodes or the topics may have to change.
    wake: Notify,
    /// A message is due.
    news: watch::Sender<()>,
}

#[derive(Default)]
struct Inner {
    /// The holdings of this device of the shares that its inventory has reported.
    holdings: HashMap<ShareId, LocalHoldings>,
    followed: HashMap<ShareId, Followed>,
    places: IndexNodes,
}

/// A share that is being fetched.
#[derive(Debug, Clone, Copy, Default)]
struct Followed {
    transfers: usize,
    /// Counts the queries for its holders.
    asked: u64,
}

impl Index {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Records a change of the holdings of a share.
    fn holds(&self, share: ShareId, change: impl FnOnce(&mut LocalHoldings)) {
        let other = {
            let mut inner = self.lock();
            let mut holding = inner.holdings.remove(&share).unwrap_or_default();
            let before = holding.is_nothing();
            change(&mut holding);
            let nothing = holding.is_nothing();
            // Nothing of a version is kept: what comes next is the difference to it.
            if holding != LocalHoldings::default() {
                inner.holdings.insert(share, holding);
            }
            before != nothing
        };
        if other {
            self.wake.notify_one();
        }
        self.news.send_replace(());
    }

    /// Changes what is known of where the index is.
    fn with_places<R>(&self, change: impl FnOnce(&mut IndexNodes, Instant) -> R) -> R {
        let result = change(&mut self.lock().places, Instant::now());
        self.wake.notify_one();
        result
    }

    /// An index node reports the index's new place.
    fn moved(&self, node: DeviceId, nodes: &[RelayAddress]) {
        self.with_places(|places, _| places.moved(node, nodes));
    }

    /// Asks anew for the holders of a share.
    fn ask_again(&self, share: ShareId) {
        if let Some(followed) = self.lock().followed.get_mut(&share) {
            followed.asked += 1;
        }
        self.wake.notify_one();
    }
}

/// A transfer's request for the holders of its share, until it is dropped.
pub(crate) struct Following {
    service: Arc<IndexService>,
    share: ShareId,
}

impl Following {
    /// Nobody gives anything: asks anew.
    pub(crate) fn again(&self) {
        self.service.index.ask_again(self.share);
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut inner = self.service.index.lock();
        if let Some(followed) = inner.followed.get_mut(&self.share) {
            followed.transfers -= 1;
            if followed.transfers == 0 {
                inner.followed.remove(&self.share);
            }
        }
        self.service.index.wake.notify_one();
    }
}

/// Reports a share's holders to the engine from now on.
pub(crate) fn follow(service: &Arc<IndexService>, share: ShareId) -> Following {
    service
        .index
        .lock()
        .followed
        .entry(share)
        .or_default()
        .transfers += 1;
    service.index.wake.notify_one();
    Following {
        service: Arc::clone(service),
        share,
    }
}

/// Begins to speak with indexes.
pub(crate) fn start(service: &Arc<IndexService>) {
    service
        .tasks
        .spawn_forever(manager::run(Arc::clone(service)));
}

/// The service that works with indexes.
pub(crate) struct IndexService {
    pub device: DeviceId,
    pub index: Index,
    pub swarm: Arc<Swarm>,
    pub relays: Arc<RelayClient>,
    pub tasks: Tasks,
    /// True if this device's shares are announced to indexes.
    pub announces: bool,
}
