//! The receivers of relays' messages, as traits that the layers above implement.

use crate::connection::{Delivery, RelayConnection};
use crate::connection_state::Relay;
use crate::records::Digest;
use futures::future::BoxFuture;
use hither_proto::{DeviceId, FetchReceived, GroupChange, StoreFetch};
use std::sync::{Arc, Weak};
use tokio::sync::mpsc;

/// Takes the messages of other devices.
pub trait Deliveries: Send + Sync {
    /// Takes what one connection delivers until it ends, in order.
    fn receive(
        self: Arc<Self>,
        connection: Arc<RelayConnection>,
        deliveries: mpsc::Receiver<Delivery>,
    ) -> BoxFuture<'static, ()>;
}

/// Follows what relays say of groups.
pub trait GroupNews: Send + Sync {
    /// A relay (its key) reports a change of groups; `all`: anything may have.
    fn heard(&self, relay: DeviceId, changes: Vec<GroupChange>, all: bool);

    /// Works with one relay until it is left.
    fn follow(self: Arc<Self>, relay: Arc<Relay>) -> BoxFuture<'static, ()>;
}

/// Says which state this device's catalogue is in, for its card.
pub trait CatalogueDigest: Send + Sync {
    /// The digest of what this device shares now.
    fn digest(&self) -> Digest;
}

/// Hears who reads shares of this device from stores of relays.
pub trait StoreFetches: Send + Sync {
    /// Makes durable what has to be; returns what the relay may forget.
    fn heard(self: Arc<Self>, fetches: Vec<StoreFetch>) -> BoxFuture<'static, Vec<FetchReceived>>;
}

/// Everybody who takes something. They hold the client, so that they are held weakly here.
pub struct Subscribers {
    /// Takes messages.
    pub deliveries: Weak<dyn Deliveries>,
    /// Takes news of groups.
    pub groups: Weak<dyn GroupNews>,
    /// Hears who reads from stores.
    pub fetches: Weak<dyn StoreFetches>,
    /// Has the catalogue.
    pub catalogue: Weak<dyn CatalogueDigest>,
}
