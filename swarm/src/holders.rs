//! The other holders of a share: those that tickets, relays and other devices reported, and the
//! stores that turned out to be true.
//!
//! All of it is hearsay until a session has proven it: it costs time when it was wrong, never
//! correctness. Only what was proven here is told on, so that nonsense does not travel. Bounds:
//! [`MAX_HOLDERS`] stores of a share, [`MAX_SHARES`] shares.

use crate::shares::Share;
use crate::swarm::Swarm;
use hither_proto::limits::MAX_HOLDERS;
use hither_proto::{DeviceId, Holder, HolderKind, HostPort, Message, RelayAddress, ShareId};
use hither_util::sync::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::MutexGuard;

/// Most shares whose stores are remembered.
const MAX_SHARES: usize = 4096;

#[derive(Debug)]
struct Store {
    address: RelayAddress,
    /// It has shown the owner's head to us, or we have uploaded there.
    proven: bool,
}

/// The stores of every share that this device has to do with.
#[derive(Debug, Default)]
pub struct Holders {
    stores: Mutex<HashMap<ShareId, BTreeMap<DeviceId, Store>>>,
}

impl Holders {
    fn lock(&self) -> MutexGuard<'_, HashMap<ShareId, BTreeMap<DeviceId, Store>>> {
        self.stores.lock()
    }

    /// A store is reported to hold a share; `false` when there are too many already.
    fn heard(&self, share: ShareId, address: &RelayAddress) -> bool {
        let mut all = self.lock();
        if all.len() >= MAX_SHARES && !all.contains_key(&share) {
            return false;
        }
        let stores = all.entry(share).or_default();
        if stores.len() >= MAX_HOLDERS && !stores.contains_key(&address.key) {
            let Some(unproven) = stores.iter().find(|(_, s)| !s.proven).map(|(key, _)| *key) else {
                return false;
            };
            stores.remove(&unproven);
        }
        let store = stores.entry(address.key).or_insert_with(|| Store {
            address: address.clone(),
            proven: false,
        });
        store.address = address.clone();
        true
    }

    /// Marks a store as one that does hold the share; `true` when that is news.
    fn proven(&self, share: ShareId, store: DeviceId) -> bool {
        let mut all = self.lock();
        let known = all
            .get_mut(&share)
            .and_then(|stores| stores.get_mut(&store));
        known.is_some_and(|store| !std::mem::replace(&mut store.proven, true))
    }

    /// Returns whether any store of a share is known.
    pub fn any(&self, share: ShareId) -> bool {
        self.lock()
            .get(&share)
            .is_some_and(|stores| !stores.is_empty())
    }

    /// The stores of a share that are known, proven or not.
    pub fn stores(&self, share: ShareId) -> Vec<DeviceId> {
        let all = self.lock();
        let stores = all.get(&share).into_iter().flat_map(BTreeMap::keys);
        stores.copied().collect()
    }

    /// The stores that others may know of.
    fn proven_stores(&self, share: ShareId) -> Vec<Holder> {
        let all = self.lock();
        let proven = all
            .get(&share)
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter(|store| store.proven);
        proven
            .map(|s| Holder {
                kind: HolderKind::Store,
                address: s.address.clone(),
            })
            .collect()
    }

    /// A store does not hold the share any more; `true` when it was announced.
    pub(crate) fn forget(&self, share: ShareId, store: Option<DeviceId>) -> bool {
        let mut all = self.lock();
        let Some(stores) = all.get_mut(&share) else {
            return false;
        };
        let was = match store {
            Some(store) => stores.remove(&store).is_some_and(|store| store.proven),
            None => stores.values().any(|store| store.proven),
        };
        if store.is_none() || stores.is_empty() {
            all.remove(&share);
        }
        was
    }
}

impl Swarm {
    /// Returns the message about a share's stores that follows the one about its holdings; `None`
    /// when none is known.
    pub(crate) fn elsewhere(&self, share: ShareId) -> Option<Message> {
        let holders = self.holders.proven_stores(share);
        (!holders.is_empty()).then_some(Message::Elsewhere {
            proof: None,
            holders,
        })
    }

    /// Sends every session about a share the stores that there are now.
    fn announce_stores(&self, share: ShareId) {
        let holders = self.holders.proven_stores(share);
        let proof = None;
        self.core
            .routes
            .tell_sessions(share, &Message::Elsewhere { proof, holders });
    }

    /// Takes up holders that somebody names; those that are not known yet are looked at.
    pub fn hear_holders(&self, share: &Share, holders: &[Holder]) {
        for Holder { kind, address } in holders.iter().take(MAX_HOLDERS) {
            if address.key == self.device {
                continue;
            }
            match kind {
                HolderKind::Store if !self.holders.heard(share.id, address) => continue,
                HolderKind::Store => self.links.store_at(address.key, address.clone()),
                HolderKind::Device => {
                    let places = address.udp.iter().chain(&address.tcp);
                    self.links.hearsay(
                        address.key,
                        places.filter_map(HostPort::socket_addr).collect(),
                    );
                }
            }
            if *kind == HolderKind::Device {
                share.name_holder(address.key);
            }
            self.core
                .with(|engine, now| engine.handle_holder_seen(share.id, address.key, *kind, now));
        }
    }

    /// A store was uploaded to, or has proven to hold the share: others may know.
    pub(crate) fn store_proven(&self, share: ShareId, store: DeviceId) {
        if self.holders.proven(share, store) {
            self.announce_stores(share);
        }
    }

    /// This device keeps a share at a store.
    pub fn store_uploaded(&self, share: ShareId, address: &RelayAddress) {
        if self.holders.heard(share, address) {
            self.store_proven(share, address.key);
        }
    }

    /// A share is not kept at a store any more.
    pub fn store_released(&self, share: ShareId, store: DeviceId) {
        if self.holders.forget(share, Some(store)) {
            self.announce_stores(share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_proto::ShareSecret;

    fn store(port: u16) -> RelayAddress {
        let key = hither_carrier::Identity::generate().unwrap().device_id();
        let at = format!("192.0.2.1:{port}").parse().unwrap();
        RelayAddress {
            key,
            udp: vec![at],
            tcp: Vec::new(),
        }
    }

    #[test]
    fn only_what_was_proven_is_told_on_and_stays_when_there_are_too_many() {
        let (holders, share) = (Holders::default(), ShareSecret::new([1; 16]).share_id());
        let first = store(1);
        assert!(holders.heard(share, &first));
        assert!(
            holders.proven_stores(share).is_empty(),
            "nobody has seen it yet"
        );
        assert!(
            holders.proven(share, first.key) && !holders.proven(share, first.key),
            "news only once"
        );
        for port in 2..100 {
            assert!(holders.heard(share, &store(port)));
        }
        assert_eq!(holders.lock()[&share].len(), MAX_HOLDERS);
        let told: Vec<DeviceId> = holders
            .proven_stores(share)
            .iter()
            .map(|h| h.address.key)
            .collect();
        assert_eq!(told, [first.key]);
        assert!(!holders.proven(share, store(7).key), "never heard of");
        assert!(holders.forget(share, Some(first.key)) && holders.proven_stores(share).is_empty());
    }

    #[test]
    fn a_store_that_moves_is_known_at_its_new_place() {
        let (holders, share) = (Holders::default(), ShareSecret::new([1; 16]).share_id());
        let before = store(1);
        holders.heard(share, &before);
        holders.proven(share, before.key);
        let after = RelayAddress {
            key: before.key,
            ..store(2)
        };
        holders.heard(share, &after);
        assert_eq!(holders.proven_stores(share)[0].address, after);
    }
}
