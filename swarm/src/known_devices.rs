//! Devices that this one knows without a relay's list: the user's own that were paired, and those of
//! others that the user said yes to; what the user calls devices here; those of the user's that are
//! so no more, whoever still lists them; and which of the user's are pages in browsers.
//!
//! Invariants: a change is durable before it counts; at most [`MAX_KNOWN`] devices are known; what
//! stands here is what the user granted, never what somebody claimed.

use hither_content::storage::{Batch, Storage, StorageError, Table};
use hither_proto::{DeviceId, DeviceName};
use hither_util::clock::unix_seconds;
use hither_util::sync::RwLock;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::sync::watch;

/// The records, by device.
const KNOWN: Table = Table::new("known_devices");
/// Most devices known.
pub const MAX_KNOWN: usize = 1024;
/// The user's names for devices here, by device.
const CALLED: Table = Table::new("device_names");
/// Devices that were removed, by device.
const REMOVED: Table = Table::new("removed_devices");
/// Most removed devices that are remembered; the oldest are forgotten first.
const MAX_REMOVED: usize = 1024;
/// Keys of the user's pages in browsers, by device, and since when.
const PAGES: Table = Table::new("page_devices");
/// Most pages that are remembered; the oldest are forgotten first.
const MAX_PAGES: usize = 1024;

/// How a device belongs to this one's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// It is one of the user's.
    Own,
    /// It is somebody else's, and may send.
    Known,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownDevice {
    /// The name it calls itself, or the user calls it; cleaned.
    pub name: String,
    /// How it belongs to the user.
    pub relation: Relation,
    /// Since when, Unix seconds.
    pub since: u64,
    /// When it was last talked to, Unix seconds; 0: never.
    #[serde(default)]
    pub last_seen: u64,
}

/// A device that was the user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedDevice {
    /// Its former name, cleaned.
    pub name: String,
    /// The device on which the user removed it.
    pub by: String,
    /// When this device learned of that, Unix seconds.
    pub at: u64,
}

/// Why a device was not remembered.
#[derive(Debug, thiserror::Error)]
pub enum RememberError {
    /// As many as may be are known.
    #[error("{MAX_KNOWN} devices are known already")]
    Full,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// All devices that are known.
pub struct KnownDevices {
    storage: Arc<dyn Storage>,
    all: RwLock<BTreeMap<DeviceId, KnownDevice>>,
    called: RwLock<BTreeMap<DeviceId, String>>,
    removed: RwLock<BTreeMap<DeviceId, RemovedDevice>>,
    /// Since when, Unix seconds.
    pages: RwLock<BTreeMap<DeviceId, u64>>,
    changes: watch::Sender<u64>,
}

impl KnownDevices {
    /// Takes up those of earlier runs. Blocks.
    ///
    /// Errors: the store cannot be read.
    pub fn load(storage: Arc<dyn Storage>) -> Result<Self, StorageError> {
        Ok(Self {
            all: RwLock::new(records(storage.as_ref(), KNOWN)?),
            called: RwLock::new(records(storage.as_ref(), CALLED)?),
            removed: RwLock::new(records(storage.as_ref(), REMOVED)?),
            pages: RwLock::new(records(storage.as_ref(), PAGES)?),
            storage,
            changes: watch::Sender::new(0),
        })
    }

    /// Everything known of a device.
    pub fn get(&self, device: DeviceId) -> Option<KnownDevice> {
        self.all.read().get(&device).cloned()
    }

    /// How a device belongs to the user; `None`: it is not known.
    pub fn relation(&self, device: DeviceId) -> Option<Relation> {
        self.all.read().get(&device).map(|known| known.relation)
    }

    /// Every known device, in the order of their ids.
    pub fn all(&self) -> Vec<(DeviceId, KnownDevice)> {
        let all = self.all.read();
        all.iter().map(|(id, known)| (*id, known.clone())).collect()
    }

    /// The user's name for a device here, where that is not what it calls itself.
    pub fn called(&self, device: DeviceId) -> Option<String> {
        self.called.read().get(&device).cloned()
    }

    /// Calls a device by a name of the user's here; `None`: as it calls itself. Blocks.
    ///
    /// Errors: too many have such names, or the store failed.
    pub fn call(&self, device: DeviceId, name: Option<&DeviceName>) -> Result<(), RememberError> {
        let mut called = self.called.write();
        let mut batch = Batch::new();
        match name {
            Some(_) if called.len() >= MAX_KNOWN && !called.contains_key(&device) => {
                return Err(RememberError::Full);
            }
            Some(name) => {
                // A text: nothing in it that JSON cannot hold.
                let bytes = serde_json::to_vec(name.as_str()).unwrap_or_default();
                batch.put(CALLED, device.as_bytes(), &bytes);
            }
            None => batch.remove(CALLED, device.as_bytes()),
        }
        self.storage.commit(batch)?;
        match name {
            Some(name) => drop(called.insert(device, name.as_str().to_owned())),
            None => drop(called.remove(&device)),
        }
        drop(called);
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Returns whether a device was the user's and is so no more.
    pub fn is_removed(&self, device: DeviceId) -> bool {
        self.removed.read().contains_key(&device)
    }

    /// Returns whether a device was made the user's as a page in a browser, whatever a relay says.
    pub fn is_page(&self, device: DeviceId) -> bool {
        self.pages.read().contains_key(&device)
    }

    /// Remembers that a device is a page in a browser; it is durable when this returns. Whose it is
    /// says a relay. Returns whether that is news. Blocks.
    ///
    /// Errors: the store failed.
    pub fn mark_page(&self, device: DeviceId) -> Result<bool, StorageError> {
        let mut pages = self.pages.write();
        if pages.contains_key(&device) {
            return Ok(false);
        }
        let now = unix_seconds();
        let mut batch = Batch::new();
        let bytes = serde_json::to_vec(&now).unwrap_or_default();
        batch.put(PAGES, device.as_bytes(), &bytes);
        let oldest = pages.iter().min_by_key(|(_, since)| **since);
        let spare = oldest
            .filter(|_| pages.len() >= MAX_PAGES)
            .map(|(device, _)| *device);
        if let Some(spare) = spare {
            batch.remove(PAGES, spare.as_bytes());
            pages.remove(&spare);
        }
        self.storage.commit(batch)?;
        pages.insert(device, now);
        drop(pages);
        self.changes.send_modify(|count| *count += 1);
        Ok(true)
    }

    /// Every removed device, in the order of their ids.
    pub fn removed(&self) -> Vec<(DeviceId, RemovedDevice)> {
        let removed = self.removed.read();
        let all = removed.iter();
        all.map(|(device, one)| (*device, one.clone())).collect()
    }

    /// Removes a device: whatever was known of it, and whoever lists it, it is not the user's. It is
    /// durable when this returns. Blocks. Returns whether that is news.
    ///
    /// Errors: the store failed.
    pub fn remove(
        &self,
        device: DeviceId,
        name: &DeviceName,
        by: DeviceId,
    ) -> Result<bool, StorageError> {
        let mut all = self.all.write();
        let mut removed = self.removed.write();
        if removed.contains_key(&device) {
            return Ok(false);
        }
        let record = RemovedDevice {
            name: name.as_str().to_owned(),
            by: by.to_string(),
            at: unix_seconds(),
        };
        let mut batch = Batch::new();
        batch.remove(KNOWN, device.as_bytes());
        // Texts and numbers: nothing in it that JSON cannot hold.
        let bytes = serde_json::to_vec(&record).unwrap_or_default();
        batch.put(REMOVED, device.as_bytes(), &bytes);
        let oldest = removed.iter().min_by_key(|(_, one)| one.at);
        let spare = oldest
            .filter(|_| removed.len() >= MAX_REMOVED)
            .map(|(device, _)| *device);
        if let Some(spare) = spare {
            batch.remove(REMOVED, spare.as_bytes());
        }
        self.storage.commit(batch)?;
        all.remove(&device);
        removed.insert(device, record);
        if let Some(spare) = spare {
            removed.remove(&spare);
        }
        drop((all, removed));
        self.changes.send_modify(|count| *count += 1);
        Ok(true)
    }

    /// Remembers a device until it is forgotten; it is durable when this returns. A device that is
    /// the user's own stays that; one that was removed is so no more. Blocks.
    ///
    /// Errors: too many are known, or the store failed.
    pub fn remember(
        &self,
        device: DeviceId,
        name: &DeviceName,
        relation: Relation,
    ) -> Result<(), RememberError> {
        self.change(device, true, |known| {
            let own = known.is_some_and(|known| known.relation == Relation::Own);
            Some(KnownDevice {
                name: name.as_str().to_owned(),
                relation: if own { Relation::Own } else { relation },
                since: known.map_or_else(unix_seconds, |known| known.since),
                last_seen: unix_seconds(),
            })
        })
    }

    /// Gives a device another name here. Blocks. Returns whether it is known.
    ///
    /// Errors: the store failed.
    pub fn rename(&self, device: DeviceId, name: &DeviceName) -> Result<bool, RememberError> {
        if self.get(device).is_none() {
            return Ok(false);
        }
        self.change(device, true, |known| {
            known.map(|known| KnownDevice {
                name: name.as_str().to_owned(),
                ..known.clone()
            })
        })?;
        Ok(true)
    }

    /// Forgets a device: it is a stranger from now on. Blocks. Returns what was known of it.
    ///
    /// Errors: the store failed.
    pub fn forget(&self, device: DeviceId) -> Result<Option<KnownDevice>, StorageError> {
        let mut all = self.all.write();
        if !all.contains_key(&device) {
            return Ok(None);
        }
        let mut batch = Batch::new();
        batch.remove(KNOWN, device.as_bytes());
        self.storage.commit(batch)?;
        let known = all.remove(&device);
        drop(all);
        self.changes.send_modify(|count| *count += 1);
        Ok(known)
    }

    /// Notes that a known device was talked to just now; what is lost of that when the power goes
    /// does no harm. Blocks.
    pub fn met(&self, device: DeviceId) {
        /// How often that is written, seconds.
        const AGAIN: u64 = 60;
        let now = unix_seconds();
        let is_recent = |known: KnownDevice| now.abs_diff(known.last_seen) < AGAIN;
        if self.get(device).is_none_or(is_recent) {
            return;
        }
        let noted = self.change(device, false, |known| {
            known.map(|known| KnownDevice {
                last_seen: now,
                ..known.clone()
            })
        });
        if let Err(error) = noted {
            tracing::warn!(%error, "when a device was met cannot be kept");
        }
    }

    /// Counts up whenever a device is remembered, renamed or forgotten.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn change(
        &self,
        device: DeviceId,
        durably: bool,
        change: impl FnOnce(Option<&KnownDevice>) -> Option<KnownDevice>,
    ) -> Result<(), RememberError> {
        let mut all = self.all.write();
        let before = all.get(&device);
        if before.is_none() && all.len() >= MAX_KNOWN {
            return Err(RememberError::Full);
        }
        let Some(after) = change(before) else {
            return Ok(());
        };
        let mut removed = self.removed.write();
        let mut batch = Batch::new();
        if removed.contains_key(&device) {
            batch.remove(REMOVED, device.as_bytes());
        }
        // Texts and numbers: nothing in it that JSON cannot hold.
        let bytes = serde_json::to_vec(&after).unwrap_or_default();
        batch.put(KNOWN, device.as_bytes(), &bytes);
        if durably {
            self.storage.commit(batch)?;
        } else {
            self.storage.commit_lazily(batch)?;
        }
        removed.remove(&device);
        all.insert(device, after);
        drop((all, removed));
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }
}

/// Every record of a table about devices; those that cannot be read are left alone.
fn records<T: DeserializeOwned>(
    storage: &dyn Storage,
    table: Table,
) -> Result<BTreeMap<DeviceId, T>, StorageError> {
    let mut all = BTreeMap::new();
    storage.scan(table, b"", &mut |key, value| {
        match (DeviceId::from_slice(key), serde_json::from_slice(value)) {
            (Ok(device), Ok(record)) => drop(all.insert(device, record)),
            _ => tracing::warn!("the record of a known device cannot be read; left alone"),
        }
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_carrier::Identity;
    use hither_content::storage::MemoryStorage;

    fn device() -> DeviceId {
        Identity::generate().unwrap().device_id()
    }

    fn name(text: &str) -> DeviceName {
        DeviceName::clean(text)
    }

    #[test]
    fn w3_a_page_stays_one_over_restarts_whatever_a_relay_says() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let (known, page) = (KnownDevices::load(Arc::clone(&storage)).unwrap(), device());
        assert!(!known.is_page(page));
        assert!(known.mark_page(page).unwrap() && !known.mark_page(page).unwrap());
        let again = KnownDevices::load(storage).unwrap();
        assert!(again.is_page(page) && again.relation(page).is_none());
    }

    #[test]
    fn what_was_granted_is_there_after_a_restart_and_ends_when_it_is_forgotten() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let known = KnownDevices::load(Arc::clone(&storage)).unwrap();
        let (own, other) = (device(), device());
        let changes = known.changes();
        known.remember(own, &name("laptop"), Relation::Own).unwrap();
        known
            .remember(other, &name("anna"), Relation::Known)
            .unwrap();
        // A yes to a stranger's question takes nothing from an own device.
        known
            .remember(own, &name("laptop"), Relation::Known)
            .unwrap();
        assert!(changes.has_changed().unwrap());
        let again = KnownDevices::load(Arc::clone(&storage)).unwrap();
        assert_eq!(again.relation(own), Some(Relation::Own));
        assert_eq!(again.relation(other), Some(Relation::Known));
        assert!(again.rename(other, &name("Anna's phone")).unwrap());
        assert!(!again.rename(device(), &name("x")).unwrap());
        assert_eq!(again.forget(other).unwrap().unwrap().name, "Anna's phone");
        assert_eq!(again.forget(other).unwrap(), None);
        let again = KnownDevices::load(storage).unwrap();
        assert_eq!((again.all().len(), again.relation(other)), (1, None));
    }

    #[test]
    fn a_removed_device_stays_so_until_the_user_takes_it_in_again() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let known = KnownDevices::load(Arc::clone(&storage)).unwrap();
        let (lost, by) = (device(), device());
        known.remember(lost, &name("phone"), Relation::Own).unwrap();
        assert!(known.remove(lost, &name("phone"), by).unwrap());
        assert!(!known.remove(lost, &name("phone"), by).unwrap(), "no news");
        let known = KnownDevices::load(Arc::clone(&storage)).unwrap();
        assert!(known.is_removed(lost) && known.relation(lost).is_none());
        assert_eq!(known.removed()[0].1.by, by.to_string());
        known.remember(lost, &name("phone"), Relation::Own).unwrap();
        let known = KnownDevices::load(storage).unwrap();
        assert!(!known.is_removed(lost));
        for _ in 0..MAX_REMOVED + 3 {
            known.remove(device(), &name("x"), by).unwrap();
        }
        assert_eq!(known.removed().len(), MAX_REMOVED);
    }

    #[test]
    fn a_device_is_called_as_the_user_wants() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let known = KnownDevices::load(Arc::clone(&storage)).unwrap();
        let own = device();
        known.call(own, Some(&name("the old one"))).unwrap();
        let known = KnownDevices::load(storage).unwrap();
        assert_eq!(known.called(own).as_deref(), Some("the old one"));
        known.call(own, None).unwrap();
        assert_eq!(known.called(own), None);
    }

    #[test]
    fn they_are_bounded() {
        let known = KnownDevices::load(Arc::new(MemoryStorage::default())).unwrap();
        let first = device();
        known.remember(first, &name("a"), Relation::Known).unwrap();
        for _ in 1..MAX_KNOWN {
            known
                .remember(device(), &name("a"), Relation::Known)
                .unwrap();
        }
        let more = known.remember(device(), &name("a"), Relation::Known);
        assert!(matches!(more, Err(RememberError::Full)));
        // Those that are there may still change.
        known.remember(first, &name("b"), Relation::Own).unwrap();
    }
}
