//! What stands behind the keys of the state, as protobuf messages, and how the keys are written.
//!
//! | bucket | key | value |
//! |---|---|---|
//! | `users` | user | [`User`] |
//! | `devices` | device | [`Device`] |
//! | `seen` | device | [`Seen`] |
//! | `invitations` | BLAKE3 of the token | [`InvitationRecord`] |
//! | `cards` | user `/` reader `/` from | the sealed card itself |
//! | `contacts` | device | keys of devices of other users whose letters it takes, 32 bytes each |
//! | `presence` (ephemeral) | user `/` device | [`Presence`] |
//! | `nodes` (ephemeral) | node | [`NodeRecord`] |
//! | `codes` (ephemeral) | number of the word `/` device | when it ends, 8 bytes of Unix milliseconds |
//! | `shares` | owner `/` share | [`ShareRecord`] |
//! | `fetches` | owner `/` share `/` reader | [`FetchRecord`] |
//! | `usage` | user `/` store | [`Usage`] |
//! | `visits` | BLAKE3 of the invitation | [`VisitRecord`](super::visit::records::VisitRecord) |
//! | `visit_hosts` | user `/` host `/` BLAKE3 of the invitation | one byte |
//! | `visitors` | visitor `/` BLAKE3 of the invitation | [`VisitorRecord`](super::visit::records::VisitorRecord) |
//! | `wake` | device | how it is woken |
//! | `wake_keys` | `vapid` | the key for web push, PKCS #8: secret |
//! | `askers` | asker | [`AskerRecord`](super::visit::records::AskerRecord) |
//!
//! Users, devices, shares and nodes are written in hexadecimal digits. The queue of a device is
//! `mail/` device, the subject of a node `front/` node.

use hither_proto::{DeviceId, ShareId, UserId};
use prost::Message;

/// Names of the buckets.
pub mod bucket {
    /// Users.
    pub const USERS: &str = "users";
    /// Devices.
    pub const DEVICES: &str = "devices";
    /// When devices were connected last.
    pub const SEEN: &str = "seen";
    /// Invitations.
    pub const INVITATIONS: &str = "invitations";
    /// Device cards.
    pub const CARDS: &str = "cards";
    /// Devices of other users whose letters a device takes.
    pub const CONTACTS: &str = "contacts";
    /// Who is connected.
    pub const PRESENCE: &str = "presence";
    /// The nodes of the fleet.
    pub const NODES: &str = "nodes";
    /// Shares and where they are.
    pub const SHARES: &str = "shares";
    /// Devices that show codes, by the words that those begin with.
    pub const CODES: &str = "codes";
    /// Table of who reads what from stores, until the owner knows of it.
    pub const FETCHES: &str = "fetches";
    /// What users keep at stores.
    pub const USAGE: &str = "usage";
    /// Invitations for visitors.
    pub const VISITS: &str = "visits";
    /// The same by whom they visit.
    pub const VISIT_HOSTS: &str = "visit_hosts";
    /// Visitors, by their keys.
    pub const VISITORS: &str = "visitors";
    /// How devices are woken.
    pub const WAKE: &str = "wake";
    /// The relay's keys for that.
    pub const WAKE_KEYS: &str = "wake_keys";
    /// Pages of other sites that ask.
    pub const ASKERS: &str = "askers";
}

/// A user.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct User {
    /// Unix milliseconds.
    #[prost(uint64, tag = "1")]
    pub created_ms: u64,
    /// The keys of the user's devices, 32 bytes each; without revoked ones.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub devices: Vec<Vec<u8>>,
    /// Shown to the operator only.
    #[prost(string, tag = "3")]
    pub label: String,
    /// The keys of devices that were revoked, the latest last.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub revoked: Vec<Vec<u8>>,
    /// Those of `devices` that are pages in browsers.
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub pages: Vec<Vec<u8>>,
}

/// A device.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Device {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub user: Vec<u8>,
    /// Unix milliseconds.
    #[prost(uint64, tag = "2")]
    pub registered_ms: u64,
    /// It may do nothing here any more.
    #[prost(bool, tag = "3")]
    pub revoked: bool,
    /// It is a page in a browser: it came with an invitation for one.
    #[prost(bool, tag = "4")]
    pub web: bool,
}

/// When a device was connected last.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Seen {
    /// Unix milliseconds.
    #[prost(uint64, tag = "1")]
    pub at_ms: u64,
}

/// An invitation.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct InvitationRecord {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub user: Vec<u8>,
    /// How many more devices may use it.
    #[prost(uint32, tag = "2")]
    pub left: u32,
    /// Unix milliseconds.
    #[prost(uint64, tag = "3")]
    pub expires_ms: u64,
    /// Devices that have used it: they may show it again.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub used_by: Vec<Vec<u8>>,
    /// For pages in browsers.
    #[prost(bool, tag = "5")]
    pub web: bool,
}

/// A device is connected.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Presence {
    /// The front, 32 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub node: Vec<u8>,
    /// Names the connection at that front.
    #[prost(uint64, tag = "2")]
    pub connection: u64,
    /// Since when, Unix milliseconds.
    #[prost(uint64, tag = "3")]
    pub since_ms: u64,
    /// The same for devices of the user that come from one public address, 16 bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub network: Vec<u8>,
    /// Names the run of the device's program; 0: not told.
    #[prost(fixed64, tag = "5")]
    pub instance: u64,
}

/// A node of the fleet.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct NodeRecord {
    /// As [`hither_proto::RelayAddress::encode`] gives it.
    #[prost(bytes = "vec", tag = "1")]
    pub address: Vec<u8>,
    /// It tells devices which fronts to use.
    #[prost(bool, tag = "2")]
    pub assign: bool,
    /// It holds long connections.
    #[prost(bool, tag = "3")]
    pub front: bool,
    /// It keeps the state.
    #[prost(bool, tag = "4")]
    pub control: bool,
    /// It keeps chunks.
    #[prost(bool, tag = "5")]
    pub store: bool,
    /// It is going down: nothing new should go there.
    #[prost(bool, tag = "6")]
    pub draining: bool,
    /// How full it is with connections, thousandths.
    #[prost(uint32, tag = "7")]
    pub load: u32,
    /// Bytes that uploads may still fill.
    #[prost(uint64, tag = "8")]
    pub free: u64,
    /// It knows which devices hold what.
    #[prost(bool, tag = "9")]
    pub index: bool,
}

/// A share that is kept, or to be kept, for its owner.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ShareRecord {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub user: Vec<u8>,
    /// The store node, 32 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub store: Vec<u8>,
    /// Ciphertext that was asked room for, bytes.
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
    /// When it was placed, Unix milliseconds.
    #[prost(uint64, tag = "4")]
    pub placed_ms: u64,
    /// The key that readers prove to know, 32 bytes; empty until the first version is complete.
    /// Secret: never log it.
    #[prost(bytes = "vec", tag = "5")]
    pub read_key: Vec<u8>,
    /// Kept so many seconds after the upload; 0: until released.
    #[prost(uint64, tag = "6")]
    pub keep_s: u64,
    /// When a version was complete last, Unix milliseconds; 0: none was yet.
    #[prost(uint64, tag = "7")]
    pub stored_ms: u64,
    /// A visitor's: BLAKE3 of the invitation that it came with, 32 bytes; else empty.
    #[prost(bytes = "vec", tag = "8")]
    pub visit: Vec<u8>,
    /// A visitor's: the device visited, 32 bytes; else empty.
    #[prost(bytes = "vec", tag = "9")]
    pub host: Vec<u8>,
}

/// The progress of a reader of a share, by its own word.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct FetchRecord {
    /// The version that it reads; 0: not known yet.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// Bytes of its files that it says it has.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    /// It says that it has all of it.
    #[prost(bool, tag = "3")]
    pub complete: bool,
    /// When it was heard, Unix milliseconds.
    #[prost(uint64, tag = "4")]
    pub at_ms: u64,
}

/// What a user keeps at a store.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Usage {
    /// Sum of [`ShareRecord::bytes`].
    #[prost(uint64, tag = "1")]
    pub bytes: u64,
    /// Number of shares.
    #[prost(uint64, tag = "2")]
    pub shares: u64,
}

pub use hither_util::hex::{decode_array as unhex, encode as hex};

/// Key of a device, or of a node.
pub fn device_key(device: &DeviceId) -> String {
    hex(device.as_bytes())
}

/// Key of a user.
pub fn user_key(user: &UserId) -> String {
    hex(user.as_bytes())
}

/// Two parts of a key.
pub fn joined(first: &str, second: &str) -> String {
    format!("{first}/{second}")
}

/// Key of a connected device.
pub fn presence_key(user: &UserId, device: &DeviceId) -> String {
    joined(&user_key(user), &device_key(device))
}

/// Key of a card.
pub fn card_key(user: &UserId, reader: &DeviceId, from: &DeviceId) -> String {
    format!(
        "{}/{}/{}",
        hex(user.as_bytes()),
        hex(reader.as_bytes()),
        hex(from.as_bytes())
    )
}

/// Key of a share.
pub fn share_key(owner: &DeviceId, share: &ShareId) -> String {
    joined(&device_key(owner), &hex(share.as_bytes()))
}

/// Key of what a reader has of a share.
pub fn fetch_key(owner: &DeviceId, share: &ShareId, reader: &DeviceId) -> String {
    joined(&share_key(owner, share), &device_key(reader))
}

/// The part of a key in the middle of three, when that names a share.
pub fn middle_share(key: &str) -> Option<ShareId> {
    unhex(key.split('/').nth(1)?).map(ShareId::new)
}

/// The queue of a device's messages.
pub fn mail_queue(device: &DeviceId) -> String {
    joined("mail", &device_key(device))
}

/// What a front hears.
pub fn front_subject(node: &DeviceId) -> String {
    joined("front", &device_key(node))
}

/// The last part of a key, when that names a device or node.
pub fn last_device(key: &str) -> Option<DeviceId> {
    DeviceId::from_slice(&unhex::<32>(key.rsplit('/').next()?)?).ok()
}

/// The first part of a key, when that names a device.
pub fn first_device(key: &str) -> Option<DeviceId> {
    DeviceId::from_slice(&unhex::<32>(key.split('/').next()?)?).ok()
}

/// The last part of a key, when that names a share.
pub fn last_share(key: &str) -> Option<ShareId> {
    unhex(key.rsplit('/').next()?).map(ShareId::new)
}

/// The first part of a key, when that names a user.
pub fn first_user(key: &str) -> Option<UserId> {
    unhex(key.split('/').next()?).map(UserId::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_round_trip_and_nothing_else_is_read() {
        let bytes = [0x00, 0x9f, 0xa0, 0xff];
        assert_eq!(hex(&bytes), "009fa0ff");
        assert_eq!(unhex("009fa0ff"), Some(bytes));
        for wrong in [
            "",
            "009fa0f",
            "009fa0ff0",
            "009fa0fg",
            "009FA0FF",
            "+09fa0ff",
        ] {
            assert_eq!(unhex::<4>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn keys_are_names_and_can_be_read_back() {
        let device = hither_carrier::Identity::generate().unwrap().device_id();
        let (user, share) = (UserId::new([7; 16]), ShareId::new([9; 16]));
        for key in [
            card_key(&user, &device, &device),
            share_key(&device, &share),
            fetch_key(&device, &share, &device),
        ] {
            crate::state::name::key(&key).unwrap();
        }
        crate::state::name::queue(&mail_queue(&device)).unwrap();
        crate::state::name::subject(&front_subject(&device)).unwrap();
        let key = presence_key(&user, &device);
        assert_eq!(
            (first_user(&key), last_device(&key)),
            (Some(user), Some(device))
        );
        let key = share_key(&device, &share);
        assert_eq!(
            (first_device(&key), last_share(&key)),
            (Some(device), Some(share))
        );
        let key = fetch_key(&device, &share, &device);
        assert_eq!(
            (first_device(&key), middle_share(&key), last_device(&key)),
            (Some(device), Some(share), Some(device))
        );
    }
}
