//! One relay that was joined: its record, how it stands with it, and the devices that it lists.

use super::connection::RelayConnection;
use super::devices::DeviceList;
use super::records::{self, RelayRecord};
use super::trouble::Trouble;
use hither_content::storage::{RecordStore, StorageError};
use hither_proto::{DeviceId, RelayAddress, RelayUrl, WebAddress, Welcome};
use hither_util::clock::{unix_millis, unix_seconds};
use hither_util::hex::Hex;
use hither_util::sync::Mutex;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How a relay stands.
#[derive(Debug, Clone)]
pub enum ConnectionState {
    /// It is being tried.
    Connecting,
    /// A connection holds.
    Connected(Arc<RelayConnection>),
    /// Nothing is done until then.
    Waiting {
        /// The last failure.
        trouble: Trouble,
        /// When it is tried again.
        until: Instant,
    },
}

/// A relay (one URL, perhaps a whole fleet behind it) that this device joined.
pub struct Relay {
    /// Its URL, without invitation.
    pub url: RelayUrl,
    /// Cancelled when it was left, or joined anew.
    pub left: CancellationToken,
    changes: watch::Sender<u64>,
    inner: Mutex<Inner>,
}

struct Inner {
    record: RelayRecord,
    devices: DeviceList,
    state: ConnectionState,
}

impl Relay {
    /// A relay of an earlier run; `None` when its record makes no sense.
    pub(crate) fn remembered(record: RelayRecord, changes: watch::Sender<u64>) -> Option<Self> {
        let url = record.url.parse::<RelayUrl>().ok()?.without_invitation();
        let mut devices = DeviceList::remembered(&record.devices);
        // The last word of the relay, not the moment of the restart.
        devices.disconnected(record.as_of * 1000);
        let inner = Mutex::new(Inner {
            record,
            devices,
            state: ConnectionState::Connecting,
        });
        Some(Self {
            url,
            left: CancellationToken::new(),
            changes,
            inner,
        })
    }

    /// A relay that has just welcomed this device. `list`: of its fleet.
    pub(crate) fn joined(
        url: &RelayUrl,
        list: &[RelayAddress],
        welcome: &Welcome,
        changes: watch::Sender<u64>,
    ) -> Self {
        let url = url.without_invitation();
        let record = RelayRecord {
            url: url.to_string(),
            user: welcome.user.to_string(),
            joined: unix_seconds(),
            list: encoded(list),
            front: None,
            max_message: welcome.max_message,
            web: welcome.web.as_ref().map(WebAddress::to_string),
            as_of: unix_seconds(),
            devices: Vec::new(),
        };
        let inner = Inner {
            record,
            devices: DeviceList::default(),
            state: ConnectionState::Connecting,
        };
        Self {
            url,
            left: CancellationToken::new(),
            changes,
            inner: Mutex::new(inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Its key in the store.
    pub fn key(&self) -> String {
        self.url.key.to_string()
    }

    /// How it stands.
    pub fn state(&self) -> ConnectionState {
        self.lock().state.clone()
    }

    pub(crate) fn set_state(&self, state: ConnectionState) {
        let ended = {
            let mut inner = self.lock();
            let ended = matches!(inner.state, ConnectionState::Connected(_))
                && !matches!(state, ConnectionState::Connected(_));
            if ended {
                inner.devices.disconnected(unix_millis());
                inner.record.as_of = unix_seconds();
            }
            inner.state = state;
            ended
        };
        if ended {
            tracing::info!(relay = %self.url.at, "no connection to the relay");
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// The connection that holds.
    pub fn connection(&self) -> Option<Arc<RelayConnection>> {
        match &self.lock().state {
            ConnectionState::Connected(connection) if !connection.is_closed() => {
                Some(Arc::clone(connection))
            }
            _ => None,
        }
    }

    /// The record for the store, as things stand.
    fn record(&self) -> RelayRecord {
        let inner = self.lock();
        RelayRecord {
            devices: inner.devices.records(),
            ..inner.record.clone()
        }
    }

    /// Makes it durable that the relay was joined.
    pub(crate) fn first_save(&self, store: &RecordStore) -> Result<(), StorageError> {
        records::put(store, &self.key(), &self.record())
    }

    pub(crate) fn save(&self, store: &RecordStore) {
        self.report(records::put(store, &self.key(), &self.record()));
    }

    /// The same without waiting for the disk.
    pub(crate) fn save_lazily(&self, store: &RecordStore) {
        self.report(records::put_lazily(store, &self.key(), &self.record()));
    }

    fn report(&self, saved: Result<(), StorageError>) {
        if let Err(error) = saved {
            tracing::error!(%error, "what a relay said could not be kept");
        }
    }

    // --- the fleet ---

    /// The list of the fleet of an earlier run.
    pub(crate) fn list(&self) -> Vec<RelayAddress> {
        self.lock()
            .record
            .list
            .iter()
            .filter_map(|bytes| RelayAddress::decode(&bytes.0).ok())
            .collect()
    }

    /// Keeps a list; returns whether it is another one than before.
    pub(crate) fn set_list(&self, list: &[RelayAddress]) -> bool {
        let list = encoded(list);
        let mut inner = self.lock();
        let other = inner.record.list != list;
        inner.record.list = list;
        other
    }

    /// A relay of the fleet that devices can be told of: where the connection is, else the one of
    /// the URL.
    pub fn front(&self) -> RelayAddress {
        let front = self
            .lock()
            .record
            .front
            .as_ref()
            .and_then(|bytes| RelayAddress::decode(&bytes.0).ok());
        // The URL is how people reach it; what a relay thinks its own addresses are may be worth
        // less.
        front
            .filter(|front| front.key != self.url.key)
            .unwrap_or_else(|| self.url.address())
    }

    /// Records the contents of a relay's welcome to this device.
    pub(crate) fn welcomed(&self, welcome: &Welcome) {
        let mut inner = self.lock();
        inner.record.user = welcome.user.to_string();
        inner.record.max_message = welcome.max_message;
        inner.record.web = welcome.web.as_ref().map(WebAddress::to_string);
        inner.record.front = welcome.front.as_ref().map(|front| Hex(front.encode()));
        inner.record.as_of = unix_seconds();
    }

    /// Longest sealed message that it takes, bytes.
    pub fn max_message(&self) -> usize {
        self.lock().record.max_message as usize
    }

    /// The page at which browsers open shares that it stores, as it said last; `None`: it has none.
    pub fn web(&self) -> Option<WebAddress> {
        self.lock().record.web.as_ref()?.parse().ok()
    }

    /// When it was joined, Unix seconds.
    pub(crate) fn joined_at(&self) -> u64 {
        self.lock().record.joined
    }

    /// When its list of devices was last true, Unix seconds: now, while it is connected.
    pub(crate) fn as_of(&self) -> u64 {
        if self.connection().is_some() {
            unix_seconds()
        } else {
            self.lock().record.as_of
        }
    }

    // --- its list of devices ---

    /// Looks at the list.
    pub fn with_devices<R>(&self, look: impl FnOnce(&DeviceList) -> R) -> R {
        look(&self.lock().devices)
    }

    /// Changes the list.
    pub(crate) fn change_devices<R>(&self, change: impl FnOnce(&mut DeviceList) -> R) -> R {
        let result = {
            let mut inner = self.lock();
            inner.record.as_of = unix_seconds();
            change(&mut inner.devices)
        };
        self.changes.send_modify(|count| *count += 1);
        result
    }

    /// Returns whether a device is online, as far as this relay knows it.
    pub fn presence(&self, device: DeviceId) -> Option<bool> {
        self.with_devices(|list| list.get(device).map(|known| known.online))
    }
}

fn encoded(list: &[RelayAddress]) -> Vec<Hex> {
    list.iter().map(|relay| Hex(relay.encode())).collect()
}
