//! The relays that this device joined, and what they say together.

use crate::circuit::Reached;
use crate::connection::RelayConnection;
use crate::connection_state::{ConnectionState, Relay};
use crate::records;
use crate::trouble::Trouble;
use hither_content::storage::{RecordStore, StorageError};
use hither_engine::Presence;
use hither_proto::limits::MAX_TICKET_RELAYS;
use hither_proto::{DeviceId, RelayAddress};
use hither_util::sync::RwLock;
use std::sync::Arc;
use tokio::sync::watch;

/// Most relays (fleets) that a device joins.
pub(crate) const MAX_JOINED: usize = 8;

/// Every relay that this device joined.
pub struct Relays {
    pub(crate) all: RwLock<Vec<Arc<Relay>>>,
    /// Counts up when a connection begins or ends, or a list of devices changes.
    pub(crate) changes: watch::Sender<u64>,
    /// Held while a relay is joined or left.
    pub(crate) joining: tokio::sync::Mutex<()>,
    /// The addresses of other relays, for circuits.
    pub(crate) reached: Reached,
}

impl Relays {
    /// Those of earlier runs.
    pub(crate) fn load(records: &RecordStore) -> Result<Self, StorageError> {
        let changes = watch::Sender::new(0);
        let relays = records::load(records)?
            .into_iter()
            .filter_map(|(key, record)| {
                let relay = Relay::remembered(record, changes.clone());
                if relay.is_none() {
                    tracing::warn!(key, "the record of a relay cannot be read; left alone");
                }
                relay.map(Arc::new)
            });
        Ok(Self {
            all: RwLock::new(relays.take(MAX_JOINED).collect()),
            changes,
            joining: tokio::sync::Mutex::new(()),
            reached: Reached::default(),
        })
    }

    /// All that were joined.
    pub fn all(&self) -> Vec<Arc<Relay>> {
        self.all.read().clone()
    }

    /// The connections that hold.
    pub fn connected(&self) -> Vec<Arc<RelayConnection>> {
        self.all()
            .iter()
            .filter_map(|relay| relay.connection())
            .collect()
    }

    /// Returns whether a device is there, as far as the relays know that this one is connected to.
    pub fn presence(&self, device: DeviceId) -> Presence {
        let mut presence = Presence::Unknown;
        for relay in self
            .all()
            .iter()
            .filter(|relay| relay.connection().is_some())
        {
            match relay.with_devices(|list| list.get(device).map(|known| known.online)) {
                Some(true) => return Presence::Online,
                Some(false) => presence = Presence::Offline,
                None => {}
            }
        }
        presence
    }

    /// A connection to a relay that lists `device`; one where the device is online if there is one.
    pub fn way_to(&self, device: DeviceId) -> Option<Arc<RelayConnection>> {
        let mut away = None;
        for relay in self.all() {
            let Some(connection) = relay.connection() else {
                continue;
            };
            match relay.presence(device) {
                Some(true) => return Some(connection),
                Some(false) => away = away.or(Some(connection)),
                None => {}
            }
        }
        away
    }

    /// Returns whether a relay lists a device as a page in a browser.
    pub fn lists_as_page(&self, device: DeviceId) -> bool {
        let says = |relay: &Arc<Relay>| {
            relay.with_devices(|list| list.get(device).is_some_and(|known| known.web))
        };
        self.all().iter().any(says)
    }

    /// The joined relay of a key.
    pub fn by_key(&self, key: DeviceId) -> Option<Arc<Relay>> {
        self.all().into_iter().find(|relay| relay.url.key == key)
    }

    /// Why nothing can be sent to `device` before somebody does something: the host of a relay that
    /// lists it, and its trouble. `None` while some way may open by itself.
    pub fn stuck(&self, device: DeviceId) -> Option<(String, Trouble)> {
        let ways = self
            .all()
            .into_iter()
            .filter(|relay| relay.presence(device).is_some());
        let mut stuck = None;
        for relay in ways {
            match relay.state() {
                ConnectionState::Waiting { trouble, .. } if trouble.lasting => {
                    stuck = stuck.or(Some((relay.url.at.to_string(), trouble)));
                }
                _ => return None,
            }
        }
        stuck
    }

    /// Returns the relays that a ticket names: a front of every fleet, as many as a ticket takes.
    /// `first`: the one that keeps the share.
    pub fn addresses_for_ticket(&self, first: Option<DeviceId>) -> Vec<RelayAddress> {
        let mut all = self.all();
        // Then those that are connected: they are known to work.
        all.sort_by_key(|relay| (Some(relay.url.key) != first, relay.connection().is_none()));
        all.iter()
            .map(|relay| relay.front())
            .take(MAX_TICKET_RELAYS)
            .collect()
    }

    /// Follows connections and lists of devices.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns whether some relay may be reached any moment: none has failed yet since it was tried
    /// last.
    pub fn connecting(&self) -> bool {
        self.all()
            .iter()
            .any(|relay| matches!(relay.state(), ConnectionState::Connecting))
    }
}
