//! Devices on this network: who is there, by which name, and how a stranger becomes known.
//!
//! `names.rs` asks devices what they call themselves and answers that; `introductions.rs` has what
//! strangers want, and what this device wants of strangers; `list.rs` is what users see of it.
//!
//! Invariants: a device that is not known gets this device's name, and an introduction to its user,
//! only while it may see this device ([`Visibility`]); nothing of a stranger is acted upon before
//! the user says yes; whatever strangers say is bounded and cleaned.

mod introductions;
mod list;
mod names;
mod visibility;

pub(crate) use introductions::{Introduced, Offer};
pub(crate) use list::{answer, forget, info, rename, set_visible};

use crate::settings::Setting;
use hither_api::{DeviceInfo, NearbyVisibility};
use hither_proto::{DeviceId, DeviceName, DevicePurpose};
use hither_relay_client::RelayClient;
use hither_swarm::{DeviceStreams, KnownDevices, Relation, Swarm};
use hither_util::tasks::Tasks;
use introductions::Introductions;
use names::{NameStreams, Names};
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::watch;
use visibility::Visibility;

/// The parts that it is made of.
pub(crate) struct NearbyDeps {
    pub device: DeviceId,
    pub name: DeviceName,
    pub swarm: Arc<Swarm>,
    pub relays: Arc<RelayClient>,
    pub visible: Setting<NearbyVisibility>,
    pub tasks: Tasks,
}

/// Knows the members of this device's groups.
pub(crate) trait MemberDirectory: Send + Sync {
    /// Those that are not among `listed`, by name.
    fn members(&self, listed: &[DeviceInfo]) -> Vec<DeviceInfo>;
}

/// The devices on this network.
pub(crate) struct NearbyService {
    pub device: DeviceId,
    pub name: DeviceName,
    pub swarm: Arc<Swarm>,
    pub relays: Arc<RelayClient>,
    pub visibility: Visibility,
    pub tasks: Tasks,
    introductions: Introductions,
    names: Names,
    /// Held weakly: it is above this service.
    members: OnceLock<Weak<dyn MemberDirectory>>,
    /// Counts up whenever what [`info`] says may be something else.
    changes: watch::Sender<u64>,
    /// Keeps what serves the streams of names; the swarm holds it weakly.
    streams: OnceLock<Arc<NameStreams>>,
}

impl NearbyService {
    /// Makes it, and has the swarm give it the streams that are for it.
    pub(crate) fn new(deps: NearbyDeps) -> Arc<Self> {
        let service = Arc::new(Self {
            device: deps.device,
            name: deps.name,
            swarm: deps.swarm,
            relays: deps.relays,
            visibility: Visibility::new(deps.visible),
            tasks: deps.tasks,
            introductions: Introductions::default(),
            names: Names::default(),
            members: OnceLock::new(),
            changes: watch::Sender::new(0),
            streams: OnceLock::new(),
        });
        let introductions: Arc<dyn DeviceStreams> = Arc::clone(&service) as _;
        let names = service
            .streams
            .get_or_init(|| Arc::new(NameStreams(Arc::downgrade(&service))));
        let names: Arc<dyn DeviceStreams> = Arc::clone(names) as _;
        let swarm = &service.swarm;
        swarm.serve_device_streams(DevicePurpose::Introduction, Arc::downgrade(&introductions));
        swarm.serve_device_streams(DevicePurpose::Name, Arc::downgrade(&names));
        service
    }

    /// The devices that the user said yes to.
    pub(crate) fn known(&self) -> &Arc<KnownDevices> {
        self.swarm.known()
    }

    /// Returns whether a device may send to this one: the user's own, and those that the user said
    /// yes to.
    pub(crate) fn may_send(&self, device: DeviceId) -> bool {
        self.known().relation(device).is_some() || self.is_listed(device)
    }

    /// Returns whether it is one of the user's.
    pub(crate) fn is_own(&self, device: DeviceId) -> bool {
        self.known().relation(device) == Some(Relation::Own) || self.is_listed(device)
    }

    /// Returns whether a relay lists it as one of the user's, and the user has not removed it.
    pub(crate) fn is_listed(&self, device: DeviceId) -> bool {
        let relays = self.relays.all();
        !self.known().is_removed(device)
            && relays.iter().any(|relay| relay.presence(device).is_some())
    }

    /// Returns whether one of the user's devices is a page in a browser, as it was made or as a relay
    /// says: it is trusted with less.
    pub(crate) fn is_page(&self, device: DeviceId) -> bool {
        self.known().is_page(device) || self.relays.lists_as_page(device)
    }

    /// Registers who knows the members of groups, who are found by their names too.
    pub(crate) fn find_members(&self, members: Weak<dyn MemberDirectory>) {
        let _ = self.members.set(members); // The first one stays.
    }

    /// Returns whether discovery sees it now.
    pub(crate) fn is_here(&self, device: DeviceId) -> bool {
        self.swarm.links().is_nearby(device)
    }

    /// Counts up whenever something about devices nearby may have changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}
