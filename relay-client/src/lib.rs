//! A device's side of relays: those that it joined, one long connection to each, and the user's
//! devices that they list.
//!
//! [`RelayClient`] is the handle that everybody else has. `select.rs` says which relay of a fleet
//! to try and `keep_alive.rs` when to ping it: they are pure. `dial.rs` reaches a relay,
//! `connection.rs` speaks on the long connection, `manager.rs` is the loop around all of them,
//! `circuit.rs` asks for circuits and takes them. `devices.rs` and `cards.rs` keep the list of
//! devices and what these say of themselves.
//!
//! Invariants: an invitation is used once and kept nowhere; the list of devices is durable, so that
//! it can be looked at when no relay is reached; what a relay says of a device's name and addresses
//! counts only when that device signed it. Deliveries go to subscribers ([`Deliveries`],
//! [`GroupNews`], [`CatalogueDigest`]); nothing here knows what is inside.

mod cards;
mod circuit;
mod client;
mod connection;
mod connection_state;
mod contacts;
mod describe;
mod devices;
mod dial;
mod error;
mod failing;
mod join;
mod keep_alive;
mod manager;
mod records;
mod relays;
mod select;
mod subscribers;
mod trouble;

pub use client::{RelayClient, RelayClientDeps};
pub use connection::{Delivery, RelayConnection};
pub use connection_state::{ConnectionState, Relay};
pub use describe::carrier_name;
pub use devices::{Device, DeviceList, resolve};
pub use dial::{RelayError, RelayStream, dial, open};
pub use error::{FindDeviceError, JoinError, RelayStorageError};
pub use failing::RequestError;
pub use records::{CardRecord, Digest};
pub use relays::Relays;
pub use subscribers::{CatalogueDigest, Deliveries, GroupNews, StoreFetches, Subscribers};
pub use trouble::Trouble;
