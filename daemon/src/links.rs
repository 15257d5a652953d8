//! Addresses of devices, and the links to them: dialled once, shared by everyone who needs one.
//!
//! Invariant: an address is only a hint; a link belongs to the device whose key TLS proved.

use hither_carrier::{CarrierKind, Endpoint, Link, LinkError};
use hither_proto::{DeviceId, DeviceName};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Mutex as AsyncMutex;

/// Most devices whose addresses are remembered.
const MAX_KNOWN: usize = 1024;
/// Most addresses remembered of one device.
const MAX_ADDRESSES: usize = 16;

/// What is known of where a device is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// By discovery, freshest first.
    addresses: Vec<SocketAddr>,
    /// From tickets.
    hints: Vec<SocketAddr>,
    /// Port of its TCP carrier, when that is not the port of its addresses.
    tcp_port: Option<u16>,
    /// Discovery sees it now.
    pub(crate) nearby: bool,
    /// What it calls itself, told after a proof.
    pub(crate) name: Option<DeviceName>,
}

impl Known {
    fn all(&self) -> Vec<SocketAddr> {
        let mut all = self.addresses.clone();
        all.extend(self.hints.iter().filter(|h| !self.addresses.contains(h)));
        all.truncate(MAX_ADDRESSES);
        all
    }
}

/// One slot per device and carrier; its lock makes concurrent dials one.
type Slot = Arc<AsyncMutex<Option<Link>>>;

/// The address book and the open links.
pub(crate) struct Links {
    endpoint: Arc<Endpoint>,
    book: Mutex<HashMap<DeviceId, Known>>,
    slots: Mutex<HashMap<(DeviceId, CarrierKind), Slot>>,
}

impl Links {
    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint, book: Mutex::default(), slots: Mutex::default() }
    }

    fn book(&self) -> MutexGuard<'_, HashMap<DeviceId, Known>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of a device, making room for a new one by forgetting one that is not nearby.
    fn change(&self, device: DeviceId, change: impl FnOnce(&mut Known)) {
        let mut book = self.book();
        if book.len() >= MAX_KNOWN && !book.contains_key(&device) {
            let Some(old) = book.iter().find(|(_, k)| !k.nearby).map(|(d, _)| *d) else { return };
            book.remove(&old);
        }
        change(book.entry(device).or_default());
    }

    /// Discovery found a device, or found it anew.
    pub(crate) fn seen(&self, device: DeviceId, mut addresses: Vec<SocketAddr>, tcp_port: Option<u16>) {
        addresses.truncate(MAX_ADDRESSES);
        self.change(device, |known| {
            known.addresses = addresses;
            known.tcp_port = tcp_port;
            known.nearby = true;
        });
    }

    /// The device said goodbye.
    pub(crate) fn gone(&self, device: DeviceId) {
        if let Some(known) = self.book().get_mut(&device) {
            known.nearby = false;
        }
    }

    /// A ticket says where its owner was.
    pub(crate) fn hinted(&self, device: DeviceId, hints: &[SocketAddr]) {
        self.change(device, |known| known.hints = hints.to_vec());
    }

    /// What a device told after a proof.
    pub(crate) fn introduced(&self, device: DeviceId, name: DeviceName, tcp_port: Option<u16>) {
        self.change(device, |known| {
            known.name = Some(name);
            known.tcp_port = tcp_port.or(known.tcp_port);
        });
    }

    /// Devices that discovery sees.
    pub(crate) fn nearby(&self) -> Vec<DeviceId> {
        self.book().iter().filter(|(_, known)| known.nearby).map(|(device, _)| *device).collect()
    }

    /// What a device calls itself.
    pub(crate) fn name(&self, device: DeviceId) -> Option<DeviceName> {
        self.book().get(&device).and_then(|known| known.name.clone())
    }

    fn slot(&self, device: DeviceId, carrier: CarrierKind) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // Slots of links that ended are dropped as new ones come: as many stay as there are links and dials.
        slots.retain(|_, slot| {
            Arc::strong_count(slot) > 1
                || slot.try_lock().is_ok_and(|link| link.as_ref().is_some_and(|l| l.close_reason().is_none()))
        });
        Arc::clone(slots.entry((device, carrier)).or_default())
    }

    /// A QUIC link to the device: the open one, or a new one.
    pub(crate) async fn quic(&self, device: DeviceId) -> Result<Link, LinkError> {
        let slot = self.slot(device, CarrierKind::Quic);
        let mut open = slot.lock().await;
        if let Some(link) = open.as_ref().filter(|link| link.close_reason().is_none()) {
            return Ok(link.clone());
        }
        let addresses = self.book().get(&device).map(Known::all).unwrap_or_default();
        let link = self.endpoint.connect_quic(device, &addresses).await?;
        *open = Some(link.clone());
        Ok(link)
    }

    /// A TCP link to the device, at the address where `beside` reaches it (or those known when there is none).
    pub(crate) async fn tcp(&self, device: DeviceId, beside: Option<SocketAddr>) -> Result<Link, LinkError> {
        let slot = self.slot(device, CarrierKind::Tcp);
        let mut open = slot.lock().await;
        if let Some(link) = open.as_ref().filter(|link| link.close_reason().is_none()) {
            return Ok(link.clone());
        }
        let known = self.book().get(&device).cloned().unwrap_or_default();
        let mut addresses: Vec<SocketAddr> = beside.into_iter().chain(known.all()).collect();
        if let Some(port) = known.tcp_port {
            addresses.iter_mut().for_each(|address| address.set_port(port));
        }
        addresses.dedup();
        let link = self.endpoint.connect_tcp(device, &addresses).await?;
        *open = Some(link.clone());
        Ok(link)
    }

    /// A device connected to us: its link serves our own streams to it too, unless there is one already.
    pub(crate) fn accepted(&self, link: Link) {
        let slot = self.slot(link.device(), link.carrier());
        if let Ok(mut open) = slot.try_lock()
            && open.as_ref().is_none_or(|old| old.close_reason().is_some())
        {
            *open = Some(link);
        }
    }

    /// Links that are open now.
    pub(crate) fn open(&self) -> Vec<Link> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots
            .values()
            .filter_map(|slot| slot.try_lock().ok()?.clone())
            .filter(|link| link.close_reason().is_none())
            .collect()
    }

    /// Round-trip time of the link to a device, when there is one.
    pub(crate) fn rtt(&self, device: DeviceId) -> Option<std::time::Duration> {
        self.open().into_iter().find(|link| link.device() == device).map(|link| link.rtt())
    }
}
