//! The daemon against relays that are played in this process.

mod device;
mod fleet;

mod mail;
mod selection;

pub(crate) use device::Device;
pub(crate) use fleet::{Fleet, Node, deliver};
