//! Addresses of devices, and the links to them: dialled once, shared by everyone who needs one.
//!
//! Invariant: an address is only a hint; a link belongs to the device whose key TLS proved.

mod calling;
mod either;
pub(crate) mod probing;
pub(crate) mod watching;

use futures::future::join_all;
use futures::stream::{self, Stream};
use hither_api::SourceKind;
use hither_carrier::{CarrierKind, Circuits, Endpoint, Link, LinkError, Stream as LinkStream};
use hither_proto::{DeviceId, DeviceName, Host, HostPort, RelayAddress, ShareId};
use hither_util::sync::Mutex;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::timeout;

/// Most devices whose addresses are remembered.
const MAX_KNOWN: usize = 1024;
/// Most addresses remembered of one device.
const MAX_ADDRESSES: usize = 16;
/// Longest wait for the addresses of a store's name.
const RESOLVE: Duration = Duration::from_secs(5);

/// The known facts about where a device is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// By discovery, freshest first.
    addresses: Vec<SocketAddr>,
    /// From the index, sealed by itself for those who know the share.
    indexed: Vec<SocketAddr>,
    /// By checks, through NATs; the latest.
    punched: Option<SocketAddr>,
    /// From tickets.
    hints: Vec<SocketAddr>,
    /// Port of its TCP carrier, when that is not the port of its addresses.
    tcp_port: Option<u16>,
    /// Discovery sees it now.
    pub(crate) nearby: bool,
    /// Somebody else than discovery spoke of it, or it proved something: it was not made up by
    /// anybody on the network.
    named: bool,
    /// The name it calls itself by, sent after a proof.
    pub(crate) name: Option<DeviceName>,
    /// The address it listens at, when it is a store.
    store: Option<RelayAddress>,
    /// The way of the last session with it, when that was not through a relay.
    way: Option<SourceKind>,
    /// The last session with it leads through a relay.
    relayed: bool,
    /// The relay that made the last circuit to it, as people call it.
    through: Option<String>,
}

impl Known {
    fn all(&self) -> Vec<SocketAddr> {
        let mut all: Vec<SocketAddr> = self.punched.into_iter().collect();
        let others = self.addresses.iter().chain(&self.indexed);
        for address in others.chain(&self.hints) {
            if !all.contains(address) {
                all.push(*address);
            }
        }
        all.truncate(MAX_ADDRESSES);
        all
    }
}

/// One slot per device and carrier; its lock makes concurrent dials one. Through a relay one is let
/// in about a share, so that there is one per share too.
type Slot = Arc<AsyncMutex<Option<Link>>>;
/// The purpose of a slot.
type Lane = (DeviceId, CarrierKind, Option<ShareId>);

/// The address book and the open links.
pub struct Links {
    endpoint: Arc<Endpoint>,
    book: Mutex<HashMap<DeviceId, Known>>,
    slots: Mutex<HashMap<Lane, Slot>>,
    /// Told whenever addresses in the book have changed.
    moved: watch::Sender<()>,
    /// Told whenever a device in the book is named that was not before.
    names: watch::Sender<()>,
    /// Counts up whenever the network is another one: dials begin anew.
    network: watch::Sender<u64>,
    calling: calling::Calling,
}

impl Links {
    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self {
            endpoint,
            book: Mutex::default(),
            slots: Mutex::default(),
            moved: watch::Sender::new(()),
            names: watch::Sender::new(()),
            network: watch::Sender::new(0),
            calling: calling::Calling::default(),
        }
    }

    fn book(&self) -> MutexGuard<'_, HashMap<DeviceId, Known>> {
        self.book.lock()
    }

    /// Changes what is known of a device, making room for a new one by forgetting one: best one
    /// that nobody named, then one that is not nearby.
    fn change(&self, device: DeviceId, change: impl FnOnce(&mut Known)) {
        let mut book = self.book();
        if book.len() >= MAX_KNOWN && !book.contains_key(&device) {
            let least = book
                .iter()
                .min_by_key(|(_, known)| (known.named, known.nearby));
            let least = least
                .filter(|(_, known)| !(known.named && known.nearby))
                .map(|(device, _)| *device);
            let Some(least) = least else { return };
            book.remove(&least);
        }
        change(book.entry(device).or_default());
    }

    /// The same for a device of which somebody else than discovery speaks.
    fn name_and(&self, device: DeviceId, change: impl FnOnce(&mut Known)) {
        let mut is_news = false;
        self.change(device, |known| {
            is_news = !std::mem::replace(&mut known.named, true);
            change(known);
        });
        if is_news {
            self.names.send_replace(());
        }
    }

    /// The device proved that it knows a share.
    pub(crate) fn proved(&self, device: DeviceId) {
        self.name_and(device, |_| {});
    }

    /// Returns whether anybody else than discovery spoke of the device, or it proved something.
    pub(crate) fn is_named(&self, device: DeviceId) -> bool {
        self.book().get(&device).is_some_and(|known| known.named)
    }

    /// Follows which devices are named.
    pub(crate) fn names(&self) -> watch::Receiver<()> {
        self.names.subscribe()
    }

    /// Discovery found a device, or found it anew.
    pub(crate) fn seen(
        &self,
        device: DeviceId,
        mut addresses: Vec<SocketAddr>,
        tcp_port: Option<u16>,
    ) {
        addresses.truncate(MAX_ADDRESSES);
        self.change(device, |known| {
            if !known.addresses.is_empty()
                && known.addresses.iter().all(|at| !addresses.contains(at))
            {
                self.endpoint.paths().forget(device);
            }
            known.addresses = addresses;
            known.tcp_port = tcp_port;
            known.nearby = true;
        });
        self.moved.send_replace(());
    }

    /// The device said goodbye.
    pub(crate) fn gone(&self, device: DeviceId) {
        if let Some(known) = self.book().get_mut(&device) {
            known.nearby = false;
        }
        self.moved.send_replace(());
    }

    /// A ticket names its owner's address.
    pub fn hinted(&self, device: DeviceId, hints: &[SocketAddr]) {
        self.name_and(device, |known| known.hints = hints.to_vec());
        self.moved.send_replace(());
    }

    /// The index reports a device's addresses. A peer known as a store stays one.
    pub fn indexed(&self, device: DeviceId, addresses: Vec<SocketAddr>) {
        self.name_and(device, |known| {
            if known.store.is_none() {
                known.indexed = addresses;
            }
        });
        self.moved.send_replace(());
    }

    /// Checks found an address at which the device hears this one. It is tried before all others.
    pub(crate) fn punched(&self, device: DeviceId, address: SocketAddr) {
        self.change(device, |known| known.punched = Some(address));
        self.moved.send_replace(());
    }

    /// This device is on another network: NATs know nothing of it there.
    pub(crate) fn forget_punched(&self) {
        let mut book = self.book();
        book.values_mut().for_each(|known| known.punched = None);
    }

    /// Another holder of a share reports where a device is: for want of something better.
    pub(crate) fn hearsay(&self, device: DeviceId, addresses: Vec<SocketAddr>) {
        self.name_and(device, |known| {
            if known.all().is_empty() && known.store.is_none() {
                known.hints = addresses;
            }
        });
        self.moved.send_replace(());
    }

    /// Records the address of a store. A peer known as a device stays one.
    pub(crate) fn store_at(&self, store: DeviceId, address: RelayAddress) {
        self.name_and(store, |known| {
            if known.all().is_empty() {
                known.store = Some(address);
            }
        });
    }

    /// A session with a device or store is open on this link: what comes from it comes that way.
    pub(crate) fn leads(&self, link: &Link, store: bool) {
        if link.carrier() == CarrierKind::Relayed {
            return self.change(link.device(), |known| known.relayed = true);
        }
        let way = match is_near(link.remote().ip()) {
            _ if store => SourceKind::Store,
            true => SourceKind::Lan,
            false => SourceKind::Direct,
        };
        self.change(link.device(), |known| {
            (known.way, known.relayed) = (Some(way), false)
        });
    }

    /// How what a device gives reaches this one.
    pub fn way(&self, device: DeviceId) -> SourceKind {
        match self.book().get(&device) {
            Some(known) if known.relayed => SourceKind::Relayed,
            known => known.and_then(|known| known.way).unwrap_or(SourceKind::Lan),
        }
    }

    /// How what came from a device without a relay reached this one.
    pub fn direct_way(&self, device: DeviceId) -> SourceKind {
        self.book()
            .get(&device)
            .and_then(|known| known.way)
            .unwrap_or(SourceKind::Direct)
    }

    /// A relay made a circuit to the device.
    pub(crate) fn through(&self, device: DeviceId, relay: String) {
        self.change(device, |known| known.through = Some(relay));
    }

    /// The relay that made the last circuit to the device.
    pub fn relay_to(&self, device: DeviceId) -> Option<String> {
        self.book()
            .get(&device)
            .and_then(|known| known.through.clone())
    }

    /// Records the facts a device sent after a proof.
    pub fn introduced(&self, device: DeviceId, name: DeviceName, tcp_port: Option<u16>) {
        self.name_and(device, |known| {
            known.name = Some(name);
            known.tcp_port = tcp_port.or(known.tcp_port);
        });
    }

    /// Returns whether discovery sees a device.
    pub fn is_nearby(&self, device: DeviceId) -> bool {
        self.book().get(&device).is_some_and(|known| known.nearby)
    }

    /// Devices that discovery sees.
    pub fn nearby(&self) -> Vec<DeviceId> {
        self.book()
            .iter()
            .filter(|(_, known)| known.nearby)
            .map(|(device, _)| *device)
            .collect()
    }

    /// Returns the name a device calls itself by.
    pub fn name(&self, device: DeviceId) -> Option<DeviceName> {
        self.book()
            .get(&device)
            .and_then(|known| known.name.clone())
    }

    fn slot(&self, lane: Lane) -> Slot {
        let mut slots = self.slots.lock();
        // Slots of links that ended are dropped as new ones come: as many stay as there are links
        // and dials.
        slots.retain(|_, slot| {
            Arc::strong_count(slot) > 1
                || slot
                    .try_lock()
                    .is_ok_and(|link| link.as_ref().is_some_and(|l| l.close_reason().is_none()))
        });
        Arc::clone(slots.entry(lane).or_default())
    }

    /// Returns the possible addresses of the device for a carrier.
    fn addresses(&self, device: DeviceId, carrier: CarrierKind) -> Vec<SocketAddr> {
        let book = self.book();
        let Some(known) = book.get(&device) else {
            return Vec::new();
        };
        let mut all = known.all();
        if let Some(port) = known.tcp_port.filter(|_| carrier == CarrierKind::Tcp) {
            all.iter_mut().for_each(|address| address.set_port(port));
        }
        all
    }

    /// The same with the names of a store looked up.
    async fn resolved(&self, device: DeviceId, carrier: CarrierKind) -> Vec<SocketAddr> {
        let store = self
            .book()
            .get(&device)
            .and_then(|known| known.store.clone());
        let Some(store) = store else {
            return self.addresses(device, carrier);
        };
        match carrier {
            CarrierKind::Quic => look_up(&store.udp).await,
            CarrierKind::Tcp => look_up(&store.tcp).await,
            // Stores have addresses of their own.
            CarrierKind::Relayed => Vec::new(),
        }
    }

    /// Returns the possible addresses of a device, as far as they are known.
    pub(crate) fn whereabouts(&self, device: DeviceId) -> Vec<SocketAddr> {
        self.book().get(&device).map(Known::all).unwrap_or_default()
    }

    /// Returns whether no address of it is known.
    fn is_lost(&self, device: DeviceId) -> bool {
        self.book()
            .get(&device)
            .is_none_or(|known| known.store.is_none() && known.all().is_empty())
    }

    /// Returns whether an index or discovery reports its address.
    fn is_told_of(&self, device: DeviceId) -> bool {
        let told = |known: &Known| !(known.addresses.is_empty() && known.indexed.is_empty());
        self.book()
            .get(&device)
            .is_some_and(|known| known.store.is_some() || told(known))
    }

    fn is_store(&self, device: DeviceId) -> bool {
        self.book()
            .get(&device)
            .is_some_and(|known| known.store.is_some())
    }

    /// Returns further possible addresses of the device, as they become known from now on.
    /// Addresses known before may come again.
    fn sightings(&self, device: DeviceId, carrier: CarrierKind) -> impl Stream<Item = SocketAddr> {
        let begin = (self.moved.subscribe(), VecDeque::new());
        stream::unfold(begin, move |(mut moved, mut found)| async move {
            loop {
                if let Some(address) = found.pop_front() {
                    return Some((address, (moved, found)));
                }
                moved.changed().await.ok()?;
                found.extend(self.addresses(device, carrier));
            }
        })
    }

    /// A QUIC link to the device: the open one, or a new one.
    pub(crate) async fn quic(&self, device: DeviceId) -> Result<Link, LinkError> {
        let slot = self.slot((device, CarrierKind::Quic, None));
        let mut open = slot.lock().await;
        if let Some(link) = open.as_ref().filter(|link| link.close_reason().is_none()) {
            return Ok(link.clone());
        }
        let dial = async || {
            let joining = self.sightings(device, CarrierKind::Quic); // first, so that nothing is missed in between
            let addresses = self.resolved(device, CarrierKind::Quic).await;
            self.endpoint
                .dial(hither_carrier::Dial::quic(device, &addresses).joined(joining))
                .await
        };
        let link = tokio::select! {
            dialled = self.on_this_network(dial) => dialled?,
            // It may get through to this device where this one does not get through to it.
            link = self.comes(device) => link,
        };
        *open = Some(link.clone());
        Ok(link)
    }

    /// A TCP link to the device, at the address where `beside` reaches it (or those known when
    /// there is none).
    pub(crate) async fn tcp(
        &self,
        device: DeviceId,
        beside: Option<SocketAddr>,
    ) -> Result<Link, LinkError> {
        let slot = self.slot((device, CarrierKind::Tcp, None));
        let mut open = slot.lock().await;
        if let Some(link) = open.as_ref().filter(|link| link.close_reason().is_none()) {
            return Ok(link.clone());
        }
        let link = self
            .on_this_network(|| self.dial_tcp(device, beside))
            .await?;
        *open = Some(link.clone());
        Ok(link)
    }

    async fn dial_tcp(
        &self,
        device: DeviceId,
        beside: Option<SocketAddr>,
    ) -> Result<Link, LinkError> {
        let joining = self.sightings(device, CarrierKind::Tcp);
        let port = self.book().get(&device).and_then(|known| known.tcp_port);
        // Behind which port of which host a store takes TCP, it says itself.
        let beside = beside
            .filter(|_| !self.is_store(device))
            .map(|address| SocketAddr::new(address.ip(), port.unwrap_or(address.port())));
        let mut addresses = self.resolved(device, CarrierKind::Tcp).await;
        addresses.retain(|address| Some(*address) != beside);
        addresses.splice(0..0, beside);
        self.endpoint
            .dial(hither_carrier::Dial::tcp(device, &addresses).joined(joining))
            .await
    }

    /// Dials, and begins anew when the network becomes another one meanwhile: what was sent into
    /// the old one is lost, and would be repeated later and later.
    async fn on_this_network<F>(&self, dial: impl Fn() -> F) -> Result<Link, LinkError>
    where
        F: Future<Output = Result<Link, LinkError>>,
    {
        let mut network = self.network.subscribe();
        loop {
            tokio::select! {
                dialled = dial() => return dialled,
                Ok(()) = network.changed() => {}
            }
        }
    }

    /// A link to the device through a relay, for what is fetched of a share: the open one, or a new
    /// one by `circuits`.
    pub(crate) async fn relayed(
        &self,
        device: DeviceId,
        share: ShareId,
        circuits: Arc<dyn Circuits>,
    ) -> Result<Link, LinkError> {
        let slot = self.slot((device, CarrierKind::Relayed, Some(share)));
        let mut open = slot.lock().await;
        if let Some(link) = open.as_ref().filter(|link| link.close_reason().is_none()) {
            return Ok(link.clone());
        }
        let dial = || {
            self.endpoint
                .connect_circuits(device, Arc::clone(&circuits))
        };
        let link = self.on_this_network(dial).await?;
        *open = Some(link.clone());
        Ok(link)
    }

    /// A device connected to us: its link serves our own streams to it too, unless there is one
    /// already.
    pub fn accepted(&self, link: Link) {
        self.got_through();
        let slot = self.slot((link.device(), link.carrier(), None));
        match slot.try_lock() {
            Ok(mut open) if open.as_ref().is_none_or(|old| old.close_reason().is_some()) => {
                *open = Some(link)
            }
            Ok(_) => {}
            Err(_) => self.came_meanwhile(link),
        }
    }

    /// Ends the links to a store that nothing is fetched from any more: it has many guests, and
    /// need not keep them all.
    pub(crate) fn leave(&self, store: DeviceId) {
        for link in self
            .open()
            .into_iter()
            .filter(|link| link.device() == store)
        {
            link.close("nothing more to fetch");
        }
    }

    /// Ends the link to a device through a relay, for a share of which nothing is fetched from it
    /// any more.
    pub(crate) fn leave_relayed(&self, device: DeviceId, share: ShareId) {
        let lane = (device, CarrierKind::Relayed, Some(share));
        let slot = self.slots.lock().remove(&lane);
        if let Some(link) = slot.and_then(|slot| slot.try_lock().ok()?.take()) {
            link.close("nothing more to fetch");
        }
    }

    /// Links that are open now.
    pub fn open(&self) -> Vec<Link> {
        let slots = self.slots.lock();
        slots
            .values()
            .filter_map(|slot| slot.try_lock().ok()?.clone())
            .filter(|link| link.close_reason().is_none())
            .collect()
    }

    /// Round-trip time of the link to a device, when there is one: of the one that its session is
    /// on.
    pub fn rtt(&self, device: DeviceId) -> Option<Duration> {
        let relayed = self.way(device) == SourceKind::Relayed;
        let mut links: Vec<Link> = self
            .open()
            .into_iter()
            .filter(|link| link.device() == device)
            .collect();
        links.sort_by_key(|link| (link.carrier() == CarrierKind::Relayed) != relayed);
        links.first().map(Link::rtt)
    }

    /// Waits until addresses in the book have changed.
    pub fn moves(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }
}

/// The address that tells how near the other end of a stream is; `None`: it is behind a relay.
pub fn place(carrier: CarrierKind, remote: SocketAddr) -> Option<IpAddr> {
    (carrier != CarrierKind::Relayed).then_some(remote.ip())
}

/// How what is sent on a stream reaches the other end.
pub(crate) fn way(carrier: CarrierKind, remote: SocketAddr) -> SourceKind {
    match place(carrier, remote) {
        None => SourceKind::Relayed,
        Some(ip) if is_near(ip) => SourceKind::Lan,
        Some(_) => SourceKind::Direct,
    }
}

/// Returns whether an address is on a network that this device is on itself.
pub fn is_near(remote: IpAddr) -> bool {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces
        .iter()
        .any(|interface| match (&interface.addr, remote.to_canonical()) {
            (if_addrs::IfAddr::V4(own), IpAddr::V4(remote)) => {
                let mask = u32::from(own.netmask);
                u32::from(own.ip) & mask == u32::from(remote) & mask
            }
            (if_addrs::IfAddr::V6(own), IpAddr::V6(remote)) => {
                let mask = u128::from(own.netmask);
                u128::from(own.ip) & mask == u128::from(remote) & mask
            }
            _ => false,
        })
}

/// The addresses behind `host:port` texts, in their order; a name that is not found has none.
pub(crate) async fn look_up(places: &[HostPort]) -> Vec<SocketAddr> {
    let each = join_all(places.iter().map(async |place| match place.host() {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, place.port())],
        Host::Name(name) => {
            let found = timeout(
                RESOLVE,
                tokio::net::lookup_host((name.as_str(), place.port())),
            )
            .await;
            found
                .ok()
                .and_then(Result::ok)
                .map(Iterator::collect)
                .unwrap_or_default()
        }
    }));
    let mut all: Vec<SocketAddr> = each.await.into_iter().flatten().collect();
    all.dedup();
    all.truncate(MAX_ADDRESSES);
    all
}

/// A link with a stream on it.
async fn opened(
    link: impl Future<Output = Result<Link, LinkError>>,
) -> Result<(Link, LinkStream), LinkError> {
    let link = link.await?;
    let stream = link.open().await?;
    Ok((link, stream))
}
