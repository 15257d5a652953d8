//! What is said on the admin socket: the bodies of its requests and answers.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Asks for an invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// How many devices may use it.
    pub uses: u32,
    /// How long it is valid, seconds.
    pub valid_s: u64,
    /// Whose devices they become, 32 hexadecimal digits; `None`: a new user's.
    #[serde(default)]
    pub user: Option<String>,
    /// A note about the new user, for the operator.
    #[serde(default)]
    pub label: String,
}

/// An invitation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invited {
    /// What the devices are given: a secret.
    pub url: String,
    /// Whose they become.
    pub user: String,
    /// How many may use it.
    pub uses: u32,
    /// Until when, Unix milliseconds.
    pub expires_ms: u64,
}

impl std::fmt::Debug for Invited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invited")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Some users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// In order of their ids.
    pub users: Vec<User>,
    /// There are more after the last of them.
    pub more: bool,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// 32 hexadecimal digits.
    pub user: String,
    /// The operator's note.
    pub label: String,
    /// Unix milliseconds.
    pub created_ms: u64,
    /// Number of devices, without revoked ones.
    pub devices: usize,
    /// What the user keeps in the store of this node, bytes; `None`: it does not store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Some devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// In order of their keys.
    pub devices: Vec<Device>,
    /// Where to go on; `None`: these were all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its id, as it says it itself.
    pub device: String,
    /// Whose it is.
    pub user: String,
    /// Unix milliseconds.
    pub registered_ms: u64,
    /// When it was connected last, about, Unix milliseconds; 0: never.
    pub seen_ms: u64,
    /// It is connected now, to this node or another one of the fleet.
    #[serde(default)]
    pub online: bool,
    /// It may do nothing any more.
    pub revoked: bool,
}

/// Revokes a device, or all devices of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revoke {
    /// One device.
    Device(String),
    /// Every device that a user has.
    User(String),
}

/// What was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The devices.
    pub devices: Vec<String>,
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Version of the program.
    pub version: String,
    /// The node's id.
    pub node: String,
    /// Why it cannot do its work, if so.
    pub problems: Vec<crate::ops::Problem>,
    /// Devices that are connected to it.
    pub devices_online: u64,
    /// Users; `None`: the state is on another node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<u64>,
    /// Devices registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<u64>,
    /// Groups of devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<u64>,
    /// Memberships in all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memberships: Option<u64>,
    /// Messages that wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    /// Their bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_bytes: Option<u64>,
    /// What is stored; `None`: the node does not store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreStats>,
    /// What is in the index; `None`: the node has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<IndexStats>,
    /// Counts of what browsers are served; `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<WebStats>,
    /// Free bytes under the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_free: Option<u64>,
}

/// Counts of what browsers are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebStats {
    /// The address by which they reach it, as devices make links; `None`: devices make none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Connections that are open.
    pub connections: u64,
    /// Devices in browsers, each with a WebSocket.
    pub websockets: u64,
    /// Requests since the start.
    pub requests: u64,
}

/// What is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreStats {
    /// What users keep, a chunk counted for each of them, bytes.
    pub kept: u64,
    /// What that takes on the disk, bytes.
    pub on_disk: u64,
    /// Packs.
    pub packs: u64,
    /// How often a live byte is kept.
    pub dedupe: f64,
    /// Damaged chunks found since the start.
    pub damaged: u64,
}

/// What is in the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexStats {
    /// Shares that somebody announces or asks for.
    pub topics: u64,
    /// Announcements: a device that holds something of a share.
    pub entries: u64,
    /// Devices that are told of the holders of a share.
    pub subscriptions: u64,
    /// Memory of the announcements, about.
    pub bytes: u64,
}

/// What a pass of giving space back has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Versions that had expired.
    pub expired: u64,
    /// Chunks that nobody kept.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packs deleted.
    pub packs_deleted: u64,
    /// Packs whose live chunks were moved.
    pub packs_compacted: u64,
}

/// Asks for a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Forget what is damaged, so that it can be uploaded again.
    pub repair: bool,
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Everything is as it should be.
    pub clean: bool,
    /// Packs read.
    pub packs: u64,
    /// Sound chunks.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Chunks that are damaged or gone.
    pub damaged: u64,
    /// Packs that are gone or cannot be read.
    pub unreadable_packs: u64,
    /// Packs whose directory is damaged.
    pub bad_directories: u64,
    /// Chunks that are kept by somebody and not here.
    pub dangling: u64,
}

/// Asks for a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The folder to be made, absolute.
    pub to: PathBuf,
}

/// What was saved or brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Where it is.
    pub path: PathBuf,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of them: files that share their space with the original.
    pub linked: u64,
}
