//! The shares that other devices of the user announced, on disk.
//!
//! Invariant: at most [`MAX_SHARES`] of each device, each with a ticket of that very device.

use super::notice::{self, Entry, EntryHash, MAX_SHARES, Notice};
use hither_content::storage::{Batch, Storage, StorageError, Table};
use hither_proto::{DeviceId, ShareId};
use hither_relay_client::Digest;
use hither_util::sync::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Shares of other devices, by device and share.
const COPIES: Table = Table::new("catalogue");
/// Length of a device's key, bytes.
const DEVICE: usize = 32;

/// The remote.
pub(super) struct RemoteCatalogue {
    storage: Arc<dyn Storage>,
    /// Held while a copy is changed. Digests of those that were looked at, until they change.
    digests: Mutex<BTreeMap<DeviceId, Digest>>,
}

impl RemoteCatalogue {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Self {
        Self {
            storage,
            digests: Mutex::default(),
        }
    }

    /// Takes a device's notice; it is durable when this returns. Blocks.
    pub(super) fn apply(&self, from: DeviceId, notice: &Notice) -> Result<(), StorageError> {
        let mut digests = self.digests.lock();
        let mut known: BTreeSet<_> = self.of(from)?.into_keys().collect();
        let mut batch = Batch::new();
        let ended = notice
            .ended
            .iter()
            .filter_map(|text| ShareId::from_hex(text).ok());
        let gone: Vec<_> = if notice.whole {
            known.iter().copied().collect()
        } else {
            ended.collect()
        };
        for share in gone {
            known.remove(&share);
            batch.remove(COPIES, &key(from, share));
        }
        let mut refused = 0;
        for entry in &notice.shares {
            let share = entry.checked(from);
            let room = |share: &ShareId| known.contains(share) || known.len() < MAX_SHARES;
            let Some(share) = share.filter(room) else {
                refused += 1;
                continue;
            };
            known.insert(share);
            // Texts and numbers: nothing in it that JSON cannot hold.
            batch.put(
                COPIES,
                &key(from, share),
                &serde_json::to_vec(entry).unwrap_or_default(),
            );
        }
        if refused > 0 {
            tracing::warn!(
                ?from,
                refused,
                "shares that a device told of cannot be its own, or are too many"
            );
        }
        if !batch.is_empty() {
            self.storage.commit(batch)?;
        }
        digests.remove(&from);
        Ok(())
    }

    /// Returns the shares of a device, as far as they are known. Blocks.
    pub(super) fn of(&self, device: DeviceId) -> Result<BTreeMap<ShareId, Entry>, StorageError> {
        let mut all = BTreeMap::new();
        self.storage
            .scan(COPIES, device.as_bytes(), &mut |key, value| {
                let share = key
                    .get(DEVICE..)
                    .and_then(|key| ShareId::from_slice(key).ok());
                // The store is a file that others could have written.
                let entry = serde_json::from_slice::<Entry>(value).ok();
                if let (Some(share), Some(entry)) = (share, entry)
                    && entry.checked(device) == Some(share)
                {
                    all.insert(share, entry);
                }
                ControlFlow::Continue(())
            })?;
        Ok(all)
    }

    /// The digest of what is known of a device. Blocks.
    pub(super) fn digest(&self, device: DeviceId) -> Result<Digest, StorageError> {
        let mut digests = self.digests.lock();
        if let Some(known) = digests.get(&device) {
            return Ok(known.clone());
        }
        let hashes: BTreeMap<ShareId, EntryHash> = self
            .of(device)?
            .into_iter()
            .map(|(share, entry)| (share, entry.hash()))
            .collect();
        let digest = notice::digest(hashes.iter());
        digests.insert(device, digest.clone());
        Ok(digest)
    }

    /// Forgets all devices but these. Blocks.
    pub(super) fn keep_only(&self, devices: &BTreeSet<DeviceId>) -> Result<(), StorageError> {
        let mut digests = self.digests.lock();
        let mut batch = Batch::new();
        self.storage.scan(COPIES, b"", &mut |key, _| {
            let device = key
                .get(..DEVICE)
                .and_then(|key| DeviceId::from_slice(key).ok());
            if device.is_none_or(|device| !devices.contains(&device)) {
                batch.remove(COPIES, key);
            }
            ControlFlow::Continue(())
        })?;
        digests.retain(|device, _| devices.contains(device));
        if batch.is_empty() {
            Ok(())
        } else {
            self.storage.commit(batch)
        }
    }
}

fn key(device: DeviceId, share: ShareId) -> [u8; DEVICE + ShareId::LEN] {
    let mut key = [0; DEVICE + ShareId::LEN];
    key[..DEVICE].copy_from_slice(device.as_bytes());
    key[DEVICE..].copy_from_slice(share.as_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::notice::Own;
    use hither_carrier::Identity;
    use hither_content::storage::MemoryStorage;
    use hither_proto::{ShareSecret, Ticket};

    fn entry(owner: DeviceId, number: u16, name: &str) -> Entry {
        let mut secret = [7; 16];
        secret[..2].copy_from_slice(&number.to_be_bytes());
        let secret = ShareSecret::new(secret);
        let ticket = Ticket {
            secret,
            owner,
            hints: vec![],
            relays: vec![],
            pin: None,
        };
        let (ticket, name) = (ticket.to_string(), name.to_owned());
        Entry {
            ticket,
            name,
            version: 1,
            files: 1,
            bytes: 1,
            published: u64::from(number),
            expires: None,
        }
    }

    fn device() -> DeviceId {
        Identity::generate().unwrap().device_id()
    }

    fn tell(shares: Vec<Entry>) -> Notice {
        Notice {
            shares,
            ..Notice::default()
        }
    }

    fn names(remote: &RemoteCatalogue, device: DeviceId) -> BTreeSet<String> {
        remote
            .of(device)
            .unwrap()
            .into_values()
            .map(|entry| entry.name)
            .collect()
    }

    #[test]
    fn a_copy_follows_what_is_told_and_has_the_digest_of_its_origin() {
        let (a, b) = (device(), device());
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let remote = RemoteCatalogue::new(Arc::clone(&storage));
        assert_eq!(remote.digest(a).unwrap(), Digest::default());
        let shares = [entry(a, 1, "one"), entry(a, 2, "two")];
        remote.apply(a, &tell(shares.to_vec())).unwrap();
        remote.apply(b, &tell(vec![entry(b, 3, "three")])).unwrap();
        let own = |shares: &[Entry]| {
            Own::new(
                shares
                    .iter()
                    .map(|e| (e.checked(a).unwrap(), e.clone()))
                    .collect(),
            )
        };
        assert_eq!(remote.digest(a).unwrap(), own(&shares).digest);
        let ended = vec![shares[0].checked(a).unwrap().to_string(), "nonsense".into()];
        remote
            .apply(
                a,
                &Notice {
                    ended,
                    ..Notice::default()
                },
            )
            .unwrap();
        assert_eq!(remote.digest(a).unwrap(), own(&shares[1..]).digest);
        // Another run finds it; the whole anew replaces it; a device that is gone is forgotten.
        let remote = RemoteCatalogue::new(storage);
        assert_eq!(
            (names(&remote, a), names(&remote, b)),
            (["two".into()].into(), ["three".into()].into())
        );
        remote
            .apply(
                a,
                &Notice {
                    whole: true,
                    ..tell(vec![entry(a, 9, "nine")])
                },
            )
            .unwrap();
        assert_eq!(names(&remote, a), ["nine".into()].into());
        remote.keep_only(&[b].into()).unwrap();
        assert_eq!((names(&remote, a).len(), names(&remote, b).len()), (0, 1));
        assert_eq!(remote.digest(a).unwrap(), Digest::default());
    }

    #[test]
    fn a_device_speaks_of_its_own_shares_only_and_of_a_bounded_number() {
        let (a, b) = (device(), device());
        let remote = RemoteCatalogue::new(Arc::new(MemoryStorage::default()));
        let strange = Entry {
            ticket: "hither1x".into(),
            ..entry(a, 1, "x")
        };
        let of_b = entry(b, 1, "x");
        remote
            .apply(
                a,
                &tell(vec![of_b, entry(a, 1, "a/b"), entry(a, 1, ".."), strange]),
            )
            .unwrap();
        assert_eq!(names(&remote, a).len() + names(&remote, b).len(), 0);
        let many = (0..MAX_SHARES as u16 + 5)
            .map(|number| entry(a, number, "x"))
            .collect();
        remote.apply(a, &tell(many)).unwrap();
        assert_eq!(remote.of(a).unwrap().len(), MAX_SHARES);
        // A known entry may change all the same.
        remote
            .apply(
                a,
                &tell(vec![entry(a, 9999, "more"), entry(a, 7, "renamed")]),
            )
            .unwrap();
        assert_eq!(names(&remote, a), ["x".into(), "renamed".into()].into());
    }
}
