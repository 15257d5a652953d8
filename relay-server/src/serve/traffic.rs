//! Who may use the store at the same time, and what changes in it.

use crate::config::ChunkConfig;
use hither_proto::{DeviceId, ShareId};
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, MutexGuard, Weak};
use tokio::sync::watch;

/// Part of all uploads that visitors may have at a time, and those with one invitation.
const VISITORS_PART: usize = 4;
const VISIT_PART: usize = 16;

/// Places for streams to and from the store.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// Uploads.
    pub(crate) uploads: Slots,
    /// Those of visitors, who take a place of [`uploads`](Self::uploads) too: the devices of users
    /// have most of them.
    pub(crate) visitor_uploads: Slots<[u8; 32]>,
    /// Streams of readers.
    pub(crate) readers: Slots,
    /// Streams of readers that are nobody's device here; they take a place of
    /// [`readers`](Self::readers) too.
    pub(crate) guests: Slots,
    /// Shares that have changed.
    pub(crate) changes: Changes,
}

impl Traffic {
    pub(crate) fn new(config: &ChunkConfig) -> Self {
        Self {
            uploads: Slots::new(config.uploads, config.device_uploads),
            visitor_uploads: Slots::new(
                (config.uploads / VISITORS_PART).max(1),
                (config.uploads / VISIT_PART).max(1),
            ),
            readers: Slots::new(config.readers, config.device_readers),
            guests: Slots::new(config.guest_readers, config.device_readers),
            changes: Changes::default(),
        }
    }
}

/// Places for streams: so many in all, so many of one device (or whatever else they are counted
/// by).
#[derive(Debug, Clone)]
pub(crate) struct Slots<K: Eq + Hash + Copy = DeviceId> {
    total: usize,
    each: usize,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Eq + Hash + Copy> Slots<K> {
    pub(crate) fn new(total: usize, each: usize) -> Self {
        Self {
            total,
            each,
            taken: Arc::default(),
        }
    }

    /// A place, until it is dropped; `None`: there is none left.
    pub(crate) fn enter(&self, of: K) -> Option<Slot<K>> {
        let mut taken = lock(&self.taken);
        let all: usize = taken.values().sum();
        let own = taken.get(&of).copied().unwrap_or(0);
        if all >= self.total || own >= self.each {
            return None;
        }
        taken.insert(of, own + 1);
        Some(Slot {
            taken: Arc::clone(&self.taken),
            of,
        })
    }
}

/// A place of [`Slots`].
#[derive(Debug)]
pub(crate) struct Slot<K: Eq + Hash + Copy = DeviceId> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    of: K,
}

impl<K: Eq + Hash + Copy> Drop for Slot<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.of);
            }
        }
    }
}

/// A share and its owner.
type Key = (DeviceId, ShareId);

/// Tells readers that what the store holds of a share has changed: more of it, another version, or
/// nothing any more. As large as the number of readers, who are bounded.
#[derive(Debug, Default, Clone)]
pub(crate) struct Changes(Arc<Mutex<HashMap<Key, Weak<watch::Sender<()>>>>>);

impl Changes {
    /// Something has changed.
    pub(crate) fn tell(&self, owner: DeviceId, share: ShareId) {
        let sender = lock(&self.0).get(&(owner, share)).and_then(Weak::upgrade);
        if let Some(sender) = sender {
            sender.send_replace(());
        }
    }

    /// Hears of changes from now on.
    pub(crate) fn of(&self, owner: DeviceId, share: ShareId) -> Listener {
        let key = (owner, share);
        let mut all = lock(&self.0);
        let sender = all
            .get(&key)
            .and_then(Weak::upgrade)
            .unwrap_or_else(|| Arc::new(watch::Sender::new(())));
        all.insert(key, Arc::downgrade(&sender));
        Listener {
            heard: sender.subscribe(),
            sender: Some(sender),
            changes: self.clone(),
            key,
        }
    }
}

/// Hears of changes of one share.
#[derive(Debug)]
pub(crate) struct Listener {
    heard: watch::Receiver<()>,
    /// There until the drop.
    sender: Option<Arc<watch::Sender<()>>>,
    changes: Changes,
    key: Key,
}

impl Listener {
    /// Waits for a change since the last call; several at a time are one.
    pub(crate) async fn changed(&mut self) {
        // Never an error: the sender is held here.
        let _ = self.heard.changed().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut all = lock(&self.changes.0);
        self.sender = None;
        // Only when nobody else listens.
        if all
            .get(&self.key)
            .is_some_and(|sender| sender.strong_count() == 0)
        {
            all.remove(&self.key);
        }
    }
}

fn lock<K: Eq + Hash, V>(map: &Mutex<HashMap<K, V>>) -> MutexGuard<'_, HashMap<K, V>> {
    map.lock()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn device() -> DeviceId {
        hither_carrier::Identity::generate().unwrap().device_id()
    }

    #[test]
    fn places_are_bounded_by_device_and_in_all_and_given_back() {
        let slots = Slots::new(3, 2);
        let (a, b) = (device(), device());
        let held = [slots.enter(a), slots.enter(a), slots.enter(b)];
        assert!(held.iter().all(Option::is_some));
        assert!(slots.enter(a).is_none() && slots.enter(b).is_none());
        drop(held);
        assert!(lock(&slots.taken).is_empty());
        let _first = slots.enter(a).unwrap();
        let _second = slots.enter(a).unwrap();
        assert!(
            slots.enter(a).is_none(),
            "one device has taken the place of another"
        );
        assert!(slots.enter(b).is_some());
    }

    #[tokio::test]
    async fn changes_are_heard_once_by_everybody_and_leave_nothing_behind() {
        let changes = Changes::default();
        let (owner, share) = (device(), ShareId::new([1; 16]));
        let (mut one, mut two) = (changes.of(owner, share), changes.of(owner, share));
        changes.tell(owner, ShareId::new([2; 16]));
        assert!(one.changed().now_or_never().is_none());
        changes.tell(owner, share);
        changes.tell(owner, share);
        one.changed().await;
        assert!(one.changed().now_or_never().is_none());
        drop(one);
        changes.tell(owner, share);
        two.changed().await;
        drop(two);
        assert!(lock(&changes.0).is_empty());
    }
}
