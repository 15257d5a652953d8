//! Hither's relay: it keeps encrypted shares and messages while the devices they belong to are
//! away.
//!
//! - [`state`]: users, devices, mailboxes and what the nodes of one fleet know of each other,
//!   behind one trait.
//! - [`store`]: the encrypted chunks of shares.
//! - [`index`]: which devices hold what, in memory.
//! - [`Node`]: one running relay; what it says to devices and to other nodes is in `serve`.
//! - [`start`]: from a configuration to a running node. [`config`]: what an operator may set.
//!   [`admin`]: the sub-commands. [`web`]: what browsers are served. [`ops`]: metrics, health, signals, logs.

pub mod admin;
mod clock;
pub mod config;
pub mod index;
mod node;
pub mod ops;
mod serve;
pub mod start;
pub mod state;
pub mod store;
pub mod web;

pub use node::{Node, NodeError, Parts};
pub use serve::join::FleetToken;
pub use serve::registry::{Registry, RegistryError};
