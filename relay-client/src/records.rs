//! The records that the daemon keeps of relays across restarts: where they are, and the devices
//! they reported.
//!
//! An invitation is never part of it: it is spent when the relay has answered.

use hither_content::storage::{RecordStore, StorageError, Table};
use hither_util::hex::Hex;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Relays joined, by the text of their URL's key.
const RELAYS: Table = Table::new("relays");

/// A relay that this device joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RelayRecord {
    /// Its URL, without invitation.
    pub url: String,
    /// How it names the user.
    pub user: String,
    /// When it was joined, Unix seconds.
    pub joined: u64,
    /// The latest list of its fleet, encoded addresses.
    #[serde(default)]
    pub list: Vec<Hex>,
    /// The front that was last connected, encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub front: Option<Hex>,
    /// Longest sealed message that it takes, bytes.
    pub max_message: u32,
    /// The page at which browsers open shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<String>,
    /// When `devices` was last true, Unix seconds.
    pub as_of: u64,
    /// The user's devices.
    pub devices: Vec<DeviceRecord>,
}

/// One device of the user, as a relay listed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceRecord {
    pub device: String,
    pub online: bool,
    /// By the relay's clock, Unix milliseconds; 0: never.
    pub last_seen_ms: u64,
    pub same_network: bool,
    /// A page in a browser.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub web: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardRecord>,
}

/// The facts a device publishes of itself, opened and cleaned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardRecord {
    /// The name it calls itself by, cleaned.
    pub name: String,
    /// The addresses it may be reached at, best first.
    pub addresses: Vec<SocketAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// Port of its TCP carrier, when it has one.
    pub tcp_port: Option<u16>,
    /// When the device made it, by its own clock, Unix milliseconds: a relay cannot bring back an
    /// older one.
    pub made_ms: u64,
    /// Of what the device shares; absent from devices that tell nothing of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<Digest>,
}

/// Which state a device's catalogue is in: equal digests mean equal catalogues.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Number of shares.
    pub shares: u32,
    /// Over all of them, hexadecimal; empty when there is none.
    pub hash: String,
}

pub(crate) fn put(
    store: &RecordStore,
    relay: &str,
    record: &RelayRecord,
) -> Result<(), StorageError> {
    store.put(RELAYS, relay, record)
}

/// The same, durable with the next commit at the latest: for what the relay will tell again anyway.
pub(crate) fn put_lazily(
    store: &RecordStore,
    relay: &str,
    record: &RelayRecord,
) -> Result<(), StorageError> {
    store.put_lazily(RELAYS, relay, record)
}

pub(crate) fn remove(store: &RecordStore, relay: &str) -> Result<(), StorageError> {
    store.remove(RELAYS, relay)
}

pub(crate) fn load(store: &RecordStore) -> Result<Vec<(String, RelayRecord)>, StorageError> {
    store.all(RELAYS)
}
