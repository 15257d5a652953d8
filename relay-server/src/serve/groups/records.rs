//! What stands behind the keys of the state that are about groups.
//!
//! | bucket | key | value |
//! |---|---|---|
//! | `groups` | group | what its log says, or that it is being exchanged ([`super::log_store::Record`]) |
//! | `group_log` | group `/` number, 16 hexadecimal digits | a signed entry |
//! | `group_branches` | group `/` hash of the branch's last entry `/` number | a signed entry that is about to be put into the log |
//! | `group_members` | device `/` group | nothing: the device may be a member; the log says whether it is |
//! | `group_names` | group | [`Name`]: groups that can be found |
//! | `group_keys` | group `/` mark of the secret `/` device | [`Sealed`] |
//! | `group_notes` | group `/` device | the sealed note itself |
//! | `group_digests` | group `/` device | the beginning of the BLAKE3 hash of the note |
//! | `group_asks` | group `/` device | [`Ask`] |

use crate::serve::records::{hex, unhex};
use hither_proto::{DeviceId, GroupId, KeyMark};
use prost::Message;

/// Names of the buckets.
pub(crate) mod bucket {
    pub(crate) const GROUPS: &str = "groups";
    pub(in super::super) const LOG: &str = "group_log";
    pub(in super::super) const BRANCHES: &str = "group_branches";
    pub(crate) const MEMBERS: &str = "group_members";
    pub(in super::super) const NAMES: &str = "group_names";
    pub(in super::super) const KEYS: &str = "group_keys";
    pub(in super::super) const NOTES: &str = "group_notes";
    pub(in super::super) const DIGESTS: &str = "group_digests";
    pub(in super::super) const ASKS: &str = "group_asks";
}

/// A group that can be found by its name.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Name {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// 0 open, 1 allow-list, 2 approval.
    #[prost(uint32, tag = "2")]
    pub(super) policy: u32,
    #[prost(uint32, tag = "3")]
    pub(super) members: u32,
}

/// Something sealed by a device for the one that the key names.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Sealed {
    /// 32 bytes: by whom; in requests to join, for whom.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) device: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) sealed: Vec<u8>,
}

/// A request to join.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Ask {
    /// Unix milliseconds.
    #[prost(uint64, tag = "1")]
    pub(super) asked_ms: u64,
    #[prost(message, repeated, tag = "2")]
    pub(super) parts: Vec<Sealed>,
    /// Why not, by whom.
    #[prost(message, optional, tag = "3")]
    pub(super) refused: Option<Sealed>,
}

pub(super) fn group_key(group: &GroupId) -> String {
    hex(group.as_bytes())
}

/// Begins the keys of everything of a group.
pub(super) fn group_prefix(group: &GroupId) -> String {
    format!("{}/", hex(group.as_bytes()))
}

pub(super) fn entry_key(group: &GroupId, number: u64) -> String {
    format!("{}/{number:016x}", hex(group.as_bytes()))
}

pub(super) fn branch_key(group: &GroupId, last: &[u8; 32], number: u64) -> String {
    format!("{}{number:016x}", branch_prefix(group, last))
}

/// Begins the keys of the entries of one branch.
pub(super) fn branch_prefix(group: &GroupId, last: &[u8; 32]) -> String {
    format!("{}/{}/", hex(group.as_bytes()), hex(last))
}

pub(super) fn device_key(group: &GroupId, device: &DeviceId) -> String {
    format!("{}/{}", hex(group.as_bytes()), hex(device.as_bytes()))
}

pub(super) fn member_key(device: &DeviceId, group: &GroupId) -> String {
    format!("{}/{}", hex(device.as_bytes()), hex(group.as_bytes()))
}

/// Begins the keys of the groups of a device.
pub(super) fn member_prefix(device: &DeviceId) -> String {
    format!("{}/", hex(device.as_bytes()))
}

/// Begins the keys of the sealed secrets of one generation.
pub(super) fn keys_prefix(group: &GroupId, mark: &KeyMark) -> String {
    format!("{}/{}/", hex(group.as_bytes()), hex(&mark.as_bytes()[..16]))
}

pub(super) fn secret_key(group: &GroupId, mark: &KeyMark, device: &DeviceId) -> String {
    format!("{}{}", keys_prefix(group, mark), hex(device.as_bytes()))
}

/// The first part of a key, when that names a group.
pub(super) fn first_group(key: &str) -> Option<GroupId> {
    unhex(key.split('/').next()?).map(GroupId::new)
}

/// The last part of a key, when that names a group.
pub(super) fn last_group(key: &str) -> Option<GroupId> {
    unhex(key.rsplit('/').next()?).map(GroupId::new)
}
