//! Relays: those that this device joined, one long connection to each, and the user's devices that
//! they list.
//!
//! `select.rs` says which relay of a fleet to try, `keep_alive.rs` when to ping it, `network.rs` when
//! the network changed: they are pure or small. `dial.rs` reaches a relay, `connection.rs` speaks
//! on the long connection, `task.rs` is the loop around all of them. `devices.rs` and `cards.rs`
//! keep the list of devices and what these tell of themselves.
//!
//! Invariants: an invitation is used once and kept nowhere; the list of devices is durable, so that
//! it can be looked at when no relay is reached; what a relay says of a device's name and addresses
//! counts only when that device signed it.

mod cards;
pub(crate) mod circuit;
mod connection;
mod connection_state;
mod describe;
mod devices;
mod dial;
mod failing;
mod join;
mod keep_alive;
mod manager;
pub(crate) mod records;
mod select;
#[cfg(test)]
pub(crate) mod tests;
mod trouble;

pub(crate) use circuit::RelayCircuits;
pub(crate) use connection::{Delivery, RelayConnection, RequestError};
pub(crate) use connection_state::{ConnectionState, Relay};
pub(crate) use describe::{carrier_name, devices, name_of};
pub(crate) use dial::RelayError;
#[allow(
    unused_imports,
    reason = "for uploads to stores, and for reading from them"
)]
pub(crate) use dial::{RelayStream, dial, open};
pub(crate) use join::{join, leave};
pub(crate) use records::CardRecord;
pub(crate) use trouble::Trouble;

use crate::daemon::Daemon;
use crate::records::Records;
use hither_api::{ApiError, DeviceInfo, ErrorCode};
use hither_content::storage::StorageError;
use hither_engine::Presence;
use hither_proto::limits::MAX_TICKET_RELAYS;
use hither_proto::{DeviceId, RelayAddress};
use hither_util::sync::RwLock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// Most relays (fleets) that a device joins.
const MAX_JOINED: usize = 8;

/// Every relay that this device joined.
pub(crate) struct Relays {
    all: RwLock<Vec<Arc<Relay>>>,
    /// Counts up when a connection begins or ends, or a list of devices changes.
    changes: watch::Sender<u64>,
    /// Held while a relay is joined or left.
    joining: tokio::sync::Mutex<()>,
    /// Where other relays are, for circuits.
    reached: circuit::Reached,
}

impl Relays {
    /// Those of earlier runs.
    pub(crate) fn load(records: &Records) -> Result<Self, StorageError> {
        let changes = watch::Sender::new(0);
        let relays = records.relays()?.into_iter().filter_map(|(key, record)| {
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
            reached: circuit::Reached::default(),
        })
    }

    /// All that were joined.
    pub(crate) fn all(&self) -> Vec<Arc<Relay>> {
        self.all.read().clone()
    }

    /// The connections that hold.
    pub(crate) fn connected(&self) -> Vec<Arc<RelayConnection>> {
        self.all()
            .iter()
            .filter_map(|relay| relay.connection())
            .collect()
    }

    /// Returns whether a device is there, as far as the relays know that this one is connected to.
    pub(crate) fn presence(&self, device: DeviceId) -> Presence {
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
    pub(crate) fn way_to(&self, device: DeviceId) -> Option<Arc<RelayConnection>> {
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

    /// Why nothing can be sent to `device` before somebody does something: the host of a relay that
    /// lists it, and its trouble. `None` while some way may open by itself.
    pub(crate) fn stuck(&self, device: DeviceId) -> Option<(String, Trouble)> {
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

    /// What a ticket tells of relays: a front of every fleet, as many as a ticket takes. `first`:
    /// the one that keeps the share.
    pub(crate) fn addresses_for_ticket(&self, first: Option<DeviceId>) -> Vec<RelayAddress> {
        let mut all = self.all();
        // Then those that are connected: they are known to work.
        all.sort_by_key(|relay| (Some(relay.url.key) != first, relay.connection().is_none()));
        all.iter()
            .map(|relay| relay.front())
            .take(MAX_TICKET_RELAYS)
            .collect()
    }

    /// Follows connections and lists of devices.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether some relay may be reached any moment: none has failed yet since it was tried last.
    pub(crate) fn connecting(&self) -> bool {
        self.all()
            .iter()
            .any(|relay| matches!(relay.state(), ConnectionState::Connecting))
    }
}

/// Longest wait for relays by calls that tell what relays know: a daemon that was just started has
/// not heard them yet.
const SETTLE: Duration = Duration::from_secs(3);

/// Waits, up to 3 s, until every relay was reached or failed.
pub(crate) async fn settle(daemon: &Daemon) {
    let mut changes = daemon.relays.changes();
    let settled = async {
        while daemon.relays.connecting() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    };
    let _ = timeout(SETTLE, settled).await;
}

/// Longest wait for a device that was named and is not known: it may have joined only just now.
const UNKNOWN: Duration = Duration::from_secs(1);
/// The same while there are devices that have not told their names yet.
const NAMELESS: Duration = Duration::from_secs(3);

/// The device that a user means; everything that takes one asks here.
pub(crate) async fn find(daemon: &Daemon, wanted: &str) -> Result<DeviceInfo, ApiError> {
    settle(daemon).await;
    let mut changes = daemon.relays.changes();
    let begun = Instant::now();
    loop {
        let devices = devices(daemon);
        let error = match devices::resolve(&devices, wanted) {
            Ok(found) => return Ok(found.clone()),
            Err(error) => error,
        };
        let nameless = devices
            .iter()
            .any(|device| device.online && device.name.is_empty());
        let patience = if nameless { NAMELESS } else { UNKNOWN };
        if error.code != ErrorCode::NotFound || daemon.relays.connected().is_empty() {
            return Err(error);
        }
        if !matches!(
            timeout_at(begun + patience, changes.changed()).await,
            Ok(Ok(()))
        ) {
            return Err(error);
        }
    }
}

/// Whether some device of the user is meant, as far as is known now.
pub(crate) fn knows(daemon: &Daemon, wanted: &str) -> bool {
    // Several are some.
    !matches!(devices::resolve(&devices(daemon), wanted), Err(error) if error.code == ErrorCode::NotFound)
}

/// Sends this device's card anew to whoever has another one.
pub(crate) async fn publish_cards(daemon: &Arc<Daemon>) {
    for relay in daemon.relays.all() {
        let Some(connection) = relay.connection() else {
            continue;
        };
        let readers = relay.with_devices(devices::DeviceList::ids);
        cards::publish(daemon, &connection, readers).await;
    }
}

/// Starts the long connections of all relays, and the watch over the network.
pub(crate) fn start(daemon: &Arc<Daemon>) {
    for relay in daemon.relays.all() {
        daemon
            .tasks
            .spawn_forever(crate::groups::run(Arc::clone(daemon), Arc::clone(&relay)));
        daemon
            .tasks
            .spawn_forever(manager::run(Arc::clone(daemon), relay, None));
    }
}
