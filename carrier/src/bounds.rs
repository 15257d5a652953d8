//! How much others can make us hold, all in one place.
//!
//! Taking a place gives a permit whose drop gives it back. Tables that a stranger can fill for free
//! turns nobody away when it is full: unfinished handshakes (`handshakes.rs`) and connections
//! (`places.rs`) give their place to newer ones, and what this device dials has places of its own.
//! A table bounded by device (`Counts`) refuses at once. Nothing queues: a task that waits in a
//! queue is held, too.

use crate::handshakes::Handshakes;
use crate::places::{Place, Places};
use crate::vouched::Vouched;
use hither_proto::DeviceId;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most accepted connections at once, QUIC and TCP together; and again as many dialled ones.
pub const MAX_CONNECTIONS: usize = 1024;
/// Most accepted connections from one address (one /64 network for IPv6). At 4 MiB of window each,
/// one machine without any right here can make us buffer 256 MiB at worst.
pub const MAX_CONNECTIONS_PER_ADDRESS: usize = 64;
/// Most accepted connections of one carrier whose handshake is not finished. Beyond it the oldest
/// goes.
pub const MAX_HANDSHAKES: usize = 64;
/// Most of those from one address (one /64 network for IPv6). Beyond it the oldest of that address
/// goes.
pub const MAX_HANDSHAKES_PER_ADDRESS: usize = 8;
/// With this many unfinished handshakes a QUIC client must first show that its source address is
/// its own (a Retry), so that forged addresses cannot fill the table.
pub const RETRY_ABOVE: usize = 16;
/// Longest handshake, accepted or dialled.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Most accepted QUIC connections of one device.
pub const MAX_LINKS_PER_DEVICE: usize = 8;
/// Most accepted TCP connections of one device.
pub const MAX_TCP_PER_DEVICE: usize = 16;
/// Most open streams that one device has opened to us, over all its connections.
pub const MAX_STREAMS_PER_DEVICE: usize = 64;
/// Most open streams that others have opened to us.
pub const MAX_STREAMS: usize = 4096;
/// Most accepted streams and links that wait to be taken by the owner of the endpoint. Beyond it
/// connections wait with what they have accepted, and the other side is slowed down by flow
/// control.
pub const MAX_INCOMING: usize = 64;
/// Most addresses tried for one dial, of those that are known when it begins, and again of those
/// that join it.
pub const MAX_ADDRESSES: usize = 8;
/// Pause before the next address is tried beside the ones before it (RFC 8305 recommends 150 to 250
/// ms).
pub const DIAL_STAGGER: Duration = Duration::from_millis(150);
/// Longest dial, over all its addresses.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// How much others can make one endpoint hold. The default is that of a device: the constants of
/// this module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most accepted connections at once, QUIC and TCP together; and again as many dialled ones.
    /// Beyond it the oldest goes of those that nobody has vouched for.
    pub connections: usize,
    /// Most accepted connections from one address (one /64 network for IPv6), and most open
    /// streams from there of devices that nobody has vouched for.
    pub connections_per_address: usize,
    /// Most accepted connections of one carrier whose handshake is not finished. Beyond it the
    /// oldest goes.
    pub handshakes: usize,
    /// Most of those from one address (one /64 network for IPv6).
    pub handshakes_per_address: usize,
    /// With this many unfinished handshakes a QUIC client must first show that its source address
    /// is its own.
    pub retry_above: usize,
    /// Most accepted QUIC connections of one device.
    pub links_per_device: usize,
    /// Most accepted TCP connections of one device.
    pub tcp_per_device: usize,
    /// Most open streams that one device has opened to us, over all its connections.
    pub streams_per_device: u32,
    /// Most open streams that others have opened to us.
    pub streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: MAX_CONNECTIONS,
            connections_per_address: MAX_CONNECTIONS_PER_ADDRESS,
            handshakes: MAX_HANDSHAKES,
            handshakes_per_address: MAX_HANDSHAKES_PER_ADDRESS,
            retry_above: RETRY_ABOVE,
            links_per_device: MAX_LINKS_PER_DEVICE,
            tcp_per_device: MAX_TCP_PER_DEVICE,
            streams_per_device: MAX_STREAMS_PER_DEVICE as u32,
            streams: MAX_STREAMS,
        }
    }
}

/// The part of an address that one party can be assumed to own: all of an IPv4 address, the /64 of
/// an IPv6 one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

/// The network around an address that one party may well own: the /24 of an IPv4 address, the /48
/// of an IPv6 one (what RFC 6177 gives to one site at most).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Site(IpAddr);

impl From<IpAddr> for Site {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80)),
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() >> 8 << 8)),
        })
    }
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
            v4 => v4,
        })
    }
}

/// Counts by key, bounded in total and for each key.
pub(crate) struct Counts<K: Eq + Hash + Copy> {
    max_total: usize,
    max_each: usize,
    state: Mutex<(usize, HashMap<K, usize>)>,
}

impl<K: Eq + Hash + Copy> Counts<K> {
    pub(crate) fn new(max_total: usize, max_each: usize) -> Arc<Self> {
        Arc::new(Self {
            max_total,
            max_each,
            state: Mutex::default(),
        })
    }

    /// Takes a place for `key`, or `None` when the bound is reached.
    pub(crate) fn take(self: &Arc<Self>, key: K) -> Option<Permit<K>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, counts) = &mut *state;
        if *total >= self.max_total
            || counts
                .get(&key)
                .is_some_and(|count| *count >= self.max_each)
        {
            return None;
        }
        *total += 1;
        *counts.entry(key).or_default() += 1;
        Some(Permit {
            counts: Arc::clone(self),
            key,
        })
    }

    fn give_back(&self, key: K) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, counts) = &mut *state;
        *total -= 1;
        if let Some(count) = counts.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&key); // so that the table does not grow with every address ever seen
            }
        }
    }
}

/// One place in a [`Counts`]; dropping it gives the place back.
pub(crate) struct Permit<K: Eq + Hash + Copy> {
    counts: Arc<Counts<K>>,
    key: K,
}

impl<K: Eq + Hash + Copy> Drop for Permit<K> {
    fn drop(&mut self) {
        self.counts.give_back(self.key);
    }
}

/// The tables of one endpoint.
pub(crate) struct Bounds {
    /// Dialled connections.
    dialled: Arc<Counts<()>>,
    /// Accepted connections.
    pub(crate) places: Arc<Places>,
    /// Unfinished handshakes over QUIC.
    pub(crate) quic_handshakes: Arc<Handshakes>,
    /// Unfinished handshakes over TCP.
    pub(crate) tcp_handshakes: Arc<Handshakes>,
    /// Unfinished handshakes over circuits.
    pub(crate) circuit_handshakes: Arc<Handshakes>,
    /// Devices that keep their places.
    pub(crate) vouched: Arc<Vouched>,
    /// Unfinished handshakes from which on sources must prove their addresses.
    pub(crate) retry_above: usize,
    /// Accepted QUIC connections by device.
    pub(crate) links: Arc<Counts<DeviceId>>,
    /// Accepted TCP connections by device.
    pub(crate) tcp: Arc<Counts<DeviceId>>,
    /// Accepted streams by device.
    streams: Arc<Counts<DeviceId>>,
    /// Accepted streams by address, while nobody has vouched for their device.
    stream_places: Arc<Places>,
    /// Most of those of one device.
    pub(crate) streams_per_device: u32,
}

impl Bounds {
    pub(crate) fn new(limits: &Limits) -> Self {
        let (connections, each) = (limits.connections, limits.connections_per_address);
        let vouched = Arc::<Vouched>::default();
        let handshakes = || Handshakes::new(limits.handshakes, limits.handshakes_per_address);
        Self {
            dialled: Counts::new(connections, connections),
            places: Places::new(connections, each, Arc::clone(&vouched)),
            quic_handshakes: handshakes(),
            tcp_handshakes: handshakes(),
            circuit_handshakes: handshakes(),
            stream_places: Places::new(limits.streams, each, Arc::clone(&vouched)),
            vouched,
            retry_above: limits.retry_above,
            links: Counts::new(connections, limits.links_per_device),
            tcp: Counts::new(connections, limits.tcp_per_device),
            streams: Counts::new(limits.streams, limits.streams_per_device as usize),
            streams_per_device: limits.streams_per_device,
        }
    }
}

/// The places of one accepted stream.
pub(crate) struct StreamPermit {
    _device: Permit<DeviceId>,
    _address: Place,
}

impl Bounds {
    /// A place for a dialled connection.
    pub(crate) fn dial(&self) -> Option<Permit<()>> {
        self.dialled.take(())
    }

    /// A place for a stream that `device` has opened from `address`.
    pub(crate) fn stream(&self, device: DeviceId, address: IpAddr) -> Option<StreamPermit> {
        let by_device = self.streams.take(device)?;
        Some(StreamPermit {
            _device: by_device,
            _address: self.stream_places.take_free(address, device)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_hold_both_bounds_and_forget_empty_keys() {
        let counts = Counts::new(3, 2);
        let a = [counts.take('a').unwrap(), counts.take('a').unwrap()];
        assert!(counts.take('a').is_none(), "the bound of one key");
        let b = counts.take('b').unwrap();
        assert!(counts.take('c').is_none(), "the bound of all");
        drop(a);
        assert!(counts.take('a').is_some());
        drop(b);
        assert!(counts.state.lock().unwrap().1.is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_source_and_a_mapped_ipv4_address_is_ipv4() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
        let site = |text: &str| Site::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(site("2001:db8:0:1::1"), site("2001:db8:0:ffff::2"));
        assert_ne!(site("2001:db8:0:1::1"), site("2001:db8:1:1::1"));
        assert_eq!(site("10.0.0.1"), site("::ffff:10.0.0.255"));
        assert_ne!(site("10.0.0.1"), site("10.0.1.1"));
    }
}
