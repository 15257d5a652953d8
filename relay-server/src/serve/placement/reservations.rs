//! Room that was promised to uploads and that stores do not count as used yet.
//!
//! Each front remembers its own promises only. Several fronts may promise the same room; the store
//! then refuses the upload that does not fit, and the device asks for another place.

use crate::serve::fleet::Member;
use hither_proto::DeviceId;
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

/// Most promises remembered; beyond it the oldest are forgotten.
const MAX_PROMISES: usize = 65_536;

#[derive(Debug)]
struct Promise {
    store: DeviceId,
    bytes: u64,
    until: Instant,
}

/// Promises by the key of their share.
#[derive(Debug)]
pub(crate) struct Reservations {
    lasts: Duration,
    promises: Mutex<HashMap<String, Promise>>,
}

impl Reservations {
    pub(crate) fn new(lasts: Duration) -> Self {
        Self {
            lasts,
            promises: Mutex::default(),
        }
    }

    /// Promises `bytes` of a store to a share, instead of what was promised to it before.
    pub(crate) fn reserve(&self, store: DeviceId, share: &str, bytes: u64) {
        let now = Instant::now();
        let mut promises = self.lock();
        if promises.len() >= MAX_PROMISES {
            let half = now + self.lasts / 2;
            promises.retain(|_, promise| promise.until > half);
        }
        if promises.len() < MAX_PROMISES || promises.contains_key(share) {
            promises.insert(
                share.to_owned(),
                Promise {
                    store,
                    bytes,
                    until: now + self.lasts,
                },
            );
        }
    }

    /// Takes a promise back.
    pub(crate) fn forget(&self, share: &str) {
        self.lock().remove(share);
    }

    /// Bytes that a store has left for others.
    pub(crate) fn left(&self, store: &Member) -> u64 {
        let now = Instant::now();
        let mut promises = self.lock();
        promises.retain(|_, promise| promise.until > now);
        let promised = promises
            .values()
            .filter(|promise| promise.store == store.address.key);
        let promised = promised.fold(0u64, |sum, promise| sum.saturating_add(promise.bytes));
        store.record.free.saturating_sub(promised)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Promise>> {
        self.promises.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::records::NodeRecord;
    use hither_carrier::Identity;
    use hither_proto::RelayAddress;

    fn member(free: u64) -> Member {
        let key = Identity::generate().unwrap().device_id();
        let address = RelayAddress {
            key,
            udp: Vec::new(),
            tcp: Vec::new(),
        };
        Member {
            address,
            record: NodeRecord {
                free,
                ..NodeRecord::default()
            },
        }
    }

    #[test]
    fn promises_count_once_for_each_share_and_end() {
        let room = Reservations::new(Duration::from_secs(600));
        let (one, other) = (member(100), member(100));
        room.reserve(one.address.key, "a", 30);
        room.reserve(one.address.key, "a", 40);
        room.reserve(one.address.key, "b", 10);
        assert_eq!((room.left(&one), room.left(&other)), (50, 100));
        room.reserve(other.address.key, "a", 200);
        assert_eq!((room.left(&one), room.left(&other)), (90, 0));
        room.forget("b");
        assert_eq!(room.left(&one), 100);
        let short = Reservations::new(Duration::ZERO);
        short.reserve(one.address.key, "a", 30);
        assert_eq!(short.left(&one), 100);
    }
}
