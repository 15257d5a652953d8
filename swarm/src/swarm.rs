//! The handle on all that moves chunks, and what it is made of.

use crate::circuits::CircuitRefusals;
use crate::core::Core;
use crate::device_streams::Handlers;
use crate::foreground::Foreground;
use crate::givings::Givings;
use crate::holders::Holders;
use crate::host_state::HostState;
use crate::interfaces::reachable_addresses;
use crate::known_devices::KnownDevices;
use crate::links::Links;
use crate::marks::Marks;
use crate::nameplates::{Nameplates, ScannedNames};
use crate::ports::{CircuitRelays, Membership};
use crate::punching::Punching;
use crate::routes::{Routes, SupervisorInput};
use crate::shares::{Share, Shares};
use crate::terms::Listeners;
use crate::throttle::Throttles;
use crate::twins::Twins;
use crate::workers::Workers;
use hither_api::{Costs, RateLimits, WorldRules};
use hither_carrier::{Endpoint, InterfaceFilter};
use hither_engine::{SessionId, StreamId};
use hither_proto::{DeviceId, DeviceName};
use hither_util::sync::RwLock;
use hither_util::tasks::Tasks;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::{mpsc, watch};

/// Addresses that others are given: enough for a wired and a wireless network in both families.
const MAX_ADDRESSES: usize = 4;

/// The parts that a swarm is made of.
pub struct SwarmDeps<'a> {
    /// This device.
    pub device: DeviceId,
    /// The name it calls itself by.
    pub name: DeviceName,
    /// The endpoint others connect to, and this device connects from.
    pub endpoint: Arc<Endpoint>,
    /// True if TCP may be used beside QUIC.
    pub tcp: bool,
    /// Limits of what is sent and received.
    pub limits: &'a RateLimits,
    /// The user's rules for the link and the battery.
    pub host_rules: &'a WorldRules,
    /// The costs of sources.
    pub costs: Costs,
    /// The interfaces that lead to others.
    pub interfaces: InterfaceFilter,
    /// The tasks it runs in.
    pub tasks: Tasks,
    /// Says who is barred from what.
    pub membership: Arc<dyn Membership>,
    /// Finds out about other machines with this device's key.
    pub twins: Twins,
    /// The devices that the user said yes to.
    pub known: Arc<KnownDevices>,
}

/// The engine's requests for work that needs tasks; [`Swarm::run`] takes them.
pub struct SwarmInputs(pub(crate) mpsc::UnboundedReceiver<SupervisorInput>);

/// Everything that moves chunks.
pub struct Swarm {
    pub(crate) device: DeviceId,
    pub(crate) name: DeviceName,
    pub(crate) tcp: bool,
    pub(crate) costs: RwLock<Costs>,
    pub(crate) core: Core,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) links: Links,
    pub(crate) shares: Shares,
    pub(crate) listeners: Listeners,
    pub(crate) holders: Holders,
    pub(crate) givings: Givings,
    pub(crate) circuit_refusals: CircuitRefusals,
    pub(crate) workers: Workers,
    pub(crate) throttles: Throttles,
    pub(crate) foreground: Foreground,
    pub(crate) host_state: HostState,
    pub(crate) interfaces: InterfaceFilter,
    pub(crate) tasks: Tasks,
    pub(crate) twins: Twins,
    pub(crate) membership: Arc<dyn Membership>,
    relays: OnceLock<Arc<dyn CircuitRelays>>,
    pub(crate) punching: Arc<Punching>,
    pub(crate) nameplates: Nameplates,
    pub(crate) scanned: ScannedNames,
    pub(crate) device_streams: Handlers,
    pub(crate) known: Arc<KnownDevices>,
    /// Counts up when the network may be another one.
    pub(crate) network: watch::Sender<u64>,
    /// Shares of which a chunk could not be served.
    pub(crate) unreadable: Marks,
    /// Own shares of which others know more than this device.
    pub(crate) behind: Marks,
    next_id: AtomicU64,
}

impl Swarm {
    /// Makes a swarm in which nothing runs yet. Must be called inside the runtime.
    ///
    /// Errors: the threads of the workers cannot be started.
    pub fn new(deps: SwarmDeps<'_>) -> std::io::Result<(Arc<Self>, SwarmInputs)> {
        let (sender, inputs) = mpsc::unbounded_channel();
        let swarm = Arc::new(Self {
            device: deps.device,
            name: deps.name,
            tcp: deps.tcp,
            costs: RwLock::new(deps.costs),
            core: Core::new(deps.device, Routes::new(sender)),
            links: Links::new(Arc::clone(&deps.endpoint)),
            endpoint: deps.endpoint,
            shares: Shares::default(),
            listeners: Listeners::default(),
            holders: Holders::default(),
            givings: Givings::default(),
            circuit_refusals: CircuitRefusals::default(),
            workers: Workers::start()?,
            throttles: Throttles::new(deps.limits),
            foreground: Foreground::default(),
            host_state: HostState::new(deps.host_rules),
            interfaces: deps.interfaces,
            tasks: deps.tasks,
            twins: deps.twins,
            membership: deps.membership,
            relays: OnceLock::new(),
            punching: Arc::default(),
            nameplates: Nameplates::default(),
            scanned: ScannedNames::default(),
            device_streams: Handlers::default(),
            known: deps.known,
            network: watch::Sender::new(0),
            unreadable: Marks::default(),
            behind: Marks::default(),
            next_id: AtomicU64::new(1),
        });
        swarm
            .core
            .with(|engine, now| engine.set_prices(swarm.prices(), now));
        Ok((swarm, SwarmInputs(inputs)))
    }

    /// Registers what asks relays for circuits; before, and without it, there are none.
    pub fn use_relays(&self, relays: Arc<dyn CircuitRelays>) {
        let _ = self.relays.set(relays); // The first one stays.
    }

    pub(crate) fn relays(&self) -> Option<&Arc<dyn CircuitRelays>> {
        self.relays.get()
    }

    /// A number that no other session of this run has.
    pub fn next_session(&self) -> SessionId {
        SessionId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn next_stream(&self) -> StreamId {
        StreamId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Addresses at which others may reach this device, best first: those that discovery
    /// announces, at most four.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let ips = reachable_addresses(&self.interfaces, MAX_ADDRESSES);
        let port = self.endpoint.port();
        ips.into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect()
    }

    /// The engine.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Returns the endpoint others connect to, and this device connects from.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The address book and the open links.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// First words of the codes that are shown on this network.
    pub fn nameplates(&self) -> &Nameplates {
        &self.nameplates
    }

    /// The names of the codes for scanning that this device shows.
    pub fn scanned(&self) -> &ScannedNames {
        &self.scanned
    }

    /// Every share of which this device knows the secret.
    pub fn shares(&self) -> &Shares {
        &self.shares
    }

    /// The stores of the shares.
    pub fn holders(&self) -> &Holders {
        &self.holders
    }

    /// The record of data that is given.
    pub fn givings(&self) -> &Givings {
        &self.givings
    }

    /// Relays that refused circuits for good.
    pub fn circuit_refusals(&self) -> &CircuitRefusals {
        &self.circuit_refusals
    }

    /// The threads that verify and write what arrives.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// The record of data that is being sent to devices that wait for it.
    pub const fn foreground(&self) -> &Foreground {
        &self.foreground
    }

    /// The limits of what is sent and received.
    pub fn throttles(&self) -> &Throttles {
        &self.throttles
    }

    /// The devices that the user said yes to.
    pub fn known(&self) -> &Arc<KnownDevices> {
        &self.known
    }

    /// Returns the known state of the link and the battery.
    pub fn host_state(&self) -> &HostState {
        &self.host_state
    }

    /// Returns the known other machines with this device's key.
    pub fn twins(&self) -> &Twins {
        &self.twins
    }

    /// Shares of which a chunk could not be served, so that their files should be looked at.
    pub fn unreadable(&self) -> &Marks {
        &self.unreadable
    }

    /// Own shares of which others have shown versions that this device does not know.
    pub fn behind(&self) -> &Marks {
        &self.behind
    }

    /// Marks a share as one of which others know more than this device, if it is an own one and
    /// that is so.
    pub fn mark_if_behind(&self, share: &Share) {
        if share.owner == self.device && share.is_behind().is_some() {
            self.behind.mark(share.id);
        }
    }

    /// Counts up whenever the network may be another one.
    pub fn network(&self) -> watch::Receiver<u64> {
        self.network.subscribe()
    }
}
