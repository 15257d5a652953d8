//! Another machine that runs with this device's key, as after its home was copied: both are the
//! same device to everybody, take each other's messages and publish over each other's shares.
//!
//! Said only when it is certain: somebody proved the key at or from an address that is not this
//! device's, or a relay told that another run of the daemon has taken this one's place.

use crate::daemon::Daemon;
use hither_carrier::{CarrierKind, Link};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

/// What was found of another machine with this device's key.
#[derive(Debug)]
pub(crate) struct Twins {
    /// Names this run of the daemon to relays; random, never 0.
    pub(crate) instance: u64,
    told: AtomicBool,
    /// Somebody at another address is being asked.
    looking: AtomicBool,
}

impl Twins {
    /// Nothing was found yet.
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let instance = getrandom::u64()?.max(1);
        Ok(Self {
            instance,
            told: AtomicBool::new(false),
            looking: AtomicBool::new(false),
        })
    }
}

/// Somebody else has this device's key; `place` completes "Another machine runs with this device's
/// key …". Returns whether that was known.
pub(crate) fn found(daemon: &Daemon, place: &str) -> bool {
    let known = daemon.twins.told.swap(true, Ordering::Relaxed);
    if known {
        tracing::info!(place, "another machine runs with this device's key");
    } else {
        daemon.warn(format!(
            "Another machine runs with this device's key {place}. {}",
            advice(daemon)
        ));
    }
    known
}

/// Returns what to do about it.
pub(crate) fn advice(daemon: &Daemon) -> String {
    format!(
        "Messages reach only one of them, and each publishes over the other. Give one of them a new identity: there, run \
         hither down, move the folder {} away, and run hither up.",
        daemon.paths.data.display()
    )
}

/// Somebody announces this device at addresses that are not its own: looks whether that is another
/// machine.
pub(crate) async fn look(daemon: &Daemon, addresses: &[SocketAddr], tcp_port: Option<u16>) {
    let twins = &daemon.twins;
    if twins.told.load(Ordering::Relaxed) || twins.looking.swap(true, Ordering::Relaxed) {
        return;
    }
    let dialled = daemon.endpoint.connect_twin(addresses, tcp_port).await;
    match dialled {
        // Only who has the key comes as far.
        Ok(link) => {
            found(daemon, &format!("at {}", link.remote().ip()));
            link.close("another machine with the same key");
        }
        Err(error) => {
            tracing::debug!(%error, ?addresses, "who announces this device does not prove to be it")
        }
    }
    twins.looking.store(false, Ordering::Relaxed);
}

/// Somebody connected: says so when that is another machine with this device's key.
pub(crate) fn met(daemon: &Daemon, link: &Link) {
    let direct = link.carrier() != CarrierKind::Relayed;
    if direct
        && link.device() == daemon.device
        && !own_addresses().contains(&link.remote().ip().to_canonical())
    {
        found(daemon, &format!("at {}", link.remote().ip().to_canonical()));
    }
}

/// Every address of this machine.
fn own_addresses() -> BTreeSet<IpAddr> {
    if_addrs::get_if_addrs()
        .unwrap_or_default()
        .iter()
        .map(if_addrs::Interface::ip)
        .collect()
}
