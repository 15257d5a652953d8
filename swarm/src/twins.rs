//! Another machine that runs with this device's key, as after its home was copied: both are the
//! same device to everybody, take each other's messages and publish over each other's shares.
//!
//! Said only when it is certain: somebody proved the key at or from an address that is not this
//! device's, or a relay told that another run of the daemon has taken this one's place.

use crate::warnings::Warnings;
use hither_carrier::{CarrierKind, Endpoint, Link};
use hither_proto::DeviceId;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Finds out about other machines with this device's key.
pub struct Twins {
    device: DeviceId,
    endpoint: Arc<Endpoint>,
    warnings: Warnings,
    /// The advice about one.
    advice: String,
    /// Names this run of the daemon to relays; random, never 0.
    instance: u64,
    found: AtomicBool,
    /// A device at another address is being queried.
    looking: AtomicBool,
}

impl Twins {
    /// Nothing was found yet. `data`: the folder that makes this device what it is.
    ///
    /// Errors: the system gives no random number.
    pub fn new(
        endpoint: Arc<Endpoint>,
        device: DeviceId,
        warnings: Warnings,
        data: &Path,
    ) -> Result<Self, getrandom::Error> {
        let advice = format!(
            "Messages reach only one of them, and each publishes over the other. Give one of them a new identity: \
             there, run hither down, move the folder {} away, and run hither up.",
            data.display()
        );
        Ok(Self {
            device,
            endpoint,
            warnings,
            advice,
            instance: getrandom::u64()?.max(1),
            found: AtomicBool::new(false),
            looking: AtomicBool::new(false),
        })
    }

    /// Names this run of the daemon to relays; random, never 0.
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// Somebody else has this device's key; `place` completes "Another machine runs with this
    /// device's key …". Returns whether that was known.
    pub fn found(&self, place: &str) -> bool {
        let known = self.found.swap(true, Ordering::Relaxed);
        if known {
            tracing::info!(place, "another machine runs with this device's key");
        } else {
            self.warnings.add(format!(
                "Another machine runs with this device's key {place}. {}",
                self.advice
            ));
        }
        known
    }

    /// Returns what to do about it.
    pub fn advice(&self) -> &str {
        &self.advice
    }

    /// Somebody announces this device at addresses that are not its own: looks whether that is
    /// another machine.
    pub(crate) async fn look(&self, addresses: &[SocketAddr], tcp_port: Option<u16>) {
        if self.found.load(Ordering::Relaxed) || self.looking.swap(true, Ordering::Relaxed) {
            return;
        }
        match self.endpoint.connect_twin(addresses, tcp_port).await {
            // Only a machine with the key comes as far.
            Ok(link) => {
                self.found(&format!("at {}", link.remote().ip()));
                link.close("another machine with the same key");
            }
            Err(error) => {
                tracing::debug!(%error, ?addresses, "who announces this device does not prove to be it")
            }
        }
        self.looking.store(false, Ordering::Relaxed);
    }

    /// A device connected: warns when that is another machine with this device's key.
    pub(crate) fn met(&self, link: &Link) {
        let direct = link.carrier() != CarrierKind::Relayed;
        if direct
            && link.device() == self.device
            && !own_addresses().contains(&link.remote().ip().to_canonical())
        {
            self.found(&format!("at {}", link.remote().ip().to_canonical()));
        }
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
