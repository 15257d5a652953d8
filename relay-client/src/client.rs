//! The handle on everything about relays.

use crate::circuit::RelayCircuits;
use crate::connection_state::Relay;
use crate::error::FindDeviceError;
use crate::records::Digest;
use crate::relays::Relays;
use crate::subscribers::Subscribers;
use crate::{cards, contacts, devices, manager};
use hither_api::DeviceInfo;
use hither_carrier::Identity;
use hither_content::StampClock;
use hither_content::storage::{RecordStore, Storage, StorageError};
use hither_proto::{DeviceId, DeviceName};
use hither_swarm::{CircuitRelays, Swarm};
use hither_util::tasks::Tasks;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Longest wait for relays by calls that tell what relays know: a daemon that was just started has
/// not heard them yet.
const SETTLE: Duration = Duration::from_secs(3);
/// Longest wait for a device that was named and is not known: it may have joined only just now.
const UNKNOWN: Duration = Duration::from_secs(1);
/// The same while there are devices that have not sent their names yet.
const NAMELESS: Duration = Duration::from_secs(3);

/// The parts that a client of relays is made of.
pub struct RelayClientDeps {
    /// This device.
    pub device: DeviceId,
    /// The name it calls itself by.
    pub name: DeviceName,
    /// Its key.
    pub identity: Arc<Identity>,
    /// Dials relays, and learns where devices are.
    pub swarm: Arc<Swarm>,
    /// The store for relays' messages.
    pub storage: Arc<dyn Storage>,
    /// Stamps cards.
    pub stamps: Arc<StampClock>,
    /// The tasks it runs in.
    pub tasks: Tasks,
}

/// The relays that this device joined. Their state is in [`Relays`], to which it derefs.
pub struct RelayClient {
    pub(crate) device: DeviceId,
    pub(crate) name: DeviceName,
    pub(crate) identity: Arc<Identity>,
    pub(crate) swarm: Arc<Swarm>,
    pub(crate) records: RecordStore,
    pub(crate) stamps: Arc<StampClock>,
    pub(crate) tasks: Tasks,
    pub(crate) relays: Arc<Relays>,
    pub(crate) circuits: Arc<RelayCircuits>,
    subscribers: OnceLock<Subscribers>,
}

impl Deref for RelayClient {
    type Target = Relays;

    fn deref(&self) -> &Relays {
        &self.relays
    }
}

impl RelayClient {
    /// Takes up the relays of earlier runs; nothing is dialled before [`run`](Self::run). The swarm
    /// asks for circuits through it from now on.
    ///
    /// Errors: the metadata store cannot be read.
    pub fn load(deps: RelayClientDeps) -> Result<Arc<Self>, StorageError> {
        let records = RecordStore::new(deps.storage);
        let relays = Arc::new(Relays::load(&records)?);
        let circuits = Arc::new(RelayCircuits {
            relays: Arc::clone(&relays),
            endpoint: Arc::clone(deps.swarm.endpoint()),
        });
        deps.swarm
            .use_relays(Arc::clone(&circuits) as Arc<dyn CircuitRelays>);
        Ok(Arc::new(Self {
            device: deps.device,
            name: deps.name,
            identity: deps.identity,
            swarm: deps.swarm,
            records,
            stamps: deps.stamps,
            tasks: deps.tasks,
            relays,
            circuits,
            subscribers: OnceLock::new(),
        }))
    }

    /// Registers those who take what relays bring; before, it is dropped.
    pub fn subscribe(&self, subscribers: Subscribers) {
        let _ = self.subscribers.set(subscribers); // The first ones stay.
    }

    pub(crate) fn subscribers(&self) -> Option<&Subscribers> {
        self.subscribers.get()
    }

    /// The digest of this device's catalogue, for its card.
    pub(crate) fn catalogue_digest(&self) -> Option<Digest> {
        let catalogue = self.subscribers()?.catalogue.upgrade()?;
        Some(catalogue.digest())
    }

    /// Starts the long connections of all relays.
    pub fn run(self: &Arc<Self>) {
        for relay in self.all() {
            self.start(relay, None);
        }
        self.tasks.spawn_forever(contacts::run(Arc::clone(self)));
    }

    /// Starts what works with one relay. `first`: the connection by which it was joined.
    pub(crate) fn start(self: &Arc<Self>, relay: Arc<Relay>, first: Option<manager::First>) {
        let groups = self.subscribers().and_then(|s| s.groups.upgrade());
        if let Some(groups) = groups {
            self.tasks.spawn_forever(groups.follow(Arc::clone(&relay)));
        }
        self.tasks
            .spawn_forever(manager::run(Arc::clone(self), relay, first));
    }

    /// Waits, up to 3 s, until every relay was reached or failed.
    pub async fn settle(&self) {
        let mut changes = self.changes();
        let settled = async {
            while self.connecting() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(SETTLE, settled).await;
    }

    /// The device that a user means by its id, its short id or its name. Waits up to 3 s for relays,
    /// and as long again for one that is not known.
    ///
    /// Errors: none is meant, or several may be.
    pub async fn find(&self, wanted: &str) -> Result<DeviceInfo, FindDeviceError> {
        self.settle().await;
        let mut changes = self.changes();
        let begun = Instant::now();
        loop {
            let all = self.devices();
            let error = match devices::resolve(&all, wanted) {
                Ok(found) => return Ok(found.clone()),
                Err(error) => error,
            };
            let nameless = all
                .iter()
                .any(|device| device.online && device.name.is_empty());
            let patience = if nameless { NAMELESS } else { UNKNOWN };
            let is_unknown = matches!(error, FindDeviceError::Unknown { .. });
            if !is_unknown || self.connected().is_empty() {
                return Err(error);
            }
            let changed = timeout_at(begun + patience, changes.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return Err(error);
            }
        }
    }

    /// Returns whether some device of the user may be meant, as far as is known now.
    pub fn knows(&self, wanted: &str) -> bool {
        let found = devices::resolve(&self.devices(), wanted).map(|_| ());
        !matches!(found, Err(FindDeviceError::Unknown { .. }))
    }

    /// Sends this device's card to every device that has another one.
    pub async fn publish_cards(self: &Arc<Self>) {
        for relay in self.all() {
            let Some(connection) = relay.connection() else {
                continue;
            };
            let readers = relay.with_devices(devices::DeviceList::ids);
            cards::publish(self, &connection, readers).await;
        }
    }
}
