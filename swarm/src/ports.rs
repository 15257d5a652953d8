//! The services the swarm needs of the layers above it, as traits that they implement.

use crate::shares::Share;
use futures::future::BoxFuture;
use hither_carrier::{LinkError, Stream};
use hither_proto::{DeviceId, Knock, RelayAddress, RelayRefusal};
use std::collections::HashSet;
use tokio::sync::watch;

/// Decides who gets nothing of a share although they know its secret, and who is familiar.
pub trait Membership: Send + Sync {
    /// Returns whether a group with which the share was shared has removed the device.
    fn is_barred(&self, share: &Share, device: &DeviceId) -> bool;

    /// Counts up whenever an answer may be another one.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Every member of a group that `device` is in.
    fn fellow_members(&self, device: &DeviceId) -> HashSet<DeviceId>;
}

/// A relay that this device has joined and is connected to.
#[derive(Debug, Clone)]
pub struct JoinedRelay {
    /// Its key and where it listens.
    pub address: RelayAddress,
    /// The name people call it by: its host and port.
    pub name: String,
    /// True if the requested device is online as far as the relay knows; `None` when the relay does
    /// not list it.
    pub presence: Option<bool>,
}

/// Why there is no circuit.
#[derive(Debug, thiserror::Error)]
pub enum CircuitError {
    /// The relay refuses it.
    #[error("{0}")]
    Refused(RelayRefusal),
    /// The relay is not reached.
    #[error(transparent)]
    Link(LinkError),
    /// The relay answers something else, or nothing; in words.
    #[error("{0}")]
    Broken(String),
}

/// Asks relays for circuits.
pub trait CircuitRelays: Send + Sync {
    /// The relays that are joined and connected, in the order in which they were joined, with what
    /// they say of `device`.
    fn joined(&self, device: DeviceId) -> Vec<JoinedRelay>;

    /// Asks a relay, joined or not, for a circuit to `device`, to which `knock` is shown.
    fn connect<'a>(
        &'a self,
        relay: &'a RelayAddress,
        device: DeviceId,
        knock: Knock,
    ) -> BoxFuture<'a, Result<Stream, CircuitError>>;
}
