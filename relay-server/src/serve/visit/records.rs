//! The records of visitors and askers in the state, and how their keys are written.

use crate::serve::records::{device_key, hex, joined, unhex, user_key};
use hither_proto::{DeviceId, Invitation, UserId};
use prost::Message;

/// Names an invitation for visitors: who reads the state learns no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct VisitKey([u8; 32]);

impl VisitKey {
    /// The name of an invitation.
    pub(crate) fn of(invitation: &Invitation) -> Self {
        Self(*blake3::hash(invitation.expose()).as_bytes())
    }

    /// As a record has it; `None`: it has none.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The last part of a key of the state.
    pub(crate) fn last(key: &str) -> Option<Self> {
        unhex(key.rsplit('/').next()?).map(Self)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As keys of the state have it.
    pub(crate) fn text(&self) -> String {
        hex(&self.0)
    }

    /// Under which visitors with this invitation are present: no user's.
    pub(crate) fn user(&self) -> UserId {
        no_users("hither.v1 relay visit", &self.0)
    }
}

/// For whom an asker's visitors count, and under which it is present: no user's.
pub(crate) fn asker_user(asker: &DeviceId) -> UserId {
    no_users("hither.v1 relay asker", asker.as_bytes())
}

fn no_users(context: &str, of: &[u8]) -> UserId {
    let mut user = [0; 16];
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(of).finalize_xof().fill(&mut user);
    UserId::new(user)
}

/// An invitation for visitors. One record, so that bounds hold whoever changes it beside others.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct VisitRecord {
    /// The device that is visited, 32 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub host: Vec<u8>,
    /// For whom it counts, 16 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub user: Vec<u8>,
    /// Unix milliseconds; from then on nobody may come.
    #[prost(uint64, tag = "3")]
    pub expires_ms: u64,
    /// Ciphertext that all visitors may leave at a time.
    #[prost(uint64, tag = "4")]
    pub bytes: u64,
    /// Visitors that may come.
    #[prost(uint32, tag = "5")]
    pub most: u32,
    /// The site of an asker; empty: the host is a device.
    #[prost(string, tag = "6")]
    pub origin: String,
    /// Those who were there within a day.
    #[prost(message, repeated, tag = "7")]
    pub guests: Vec<Guest>,
    /// Shares that they left, or have a place for.
    #[prost(message, repeated, tag = "8")]
    pub kept: Vec<KeptShare>,
}

/// A visitor that was there.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Guest {
    /// Its key, 32 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub visitor: Vec<u8>,
    /// When it was there last, Unix milliseconds.
    #[prost(uint64, tag = "2")]
    pub seen_ms: u64,
}

/// A share of a visitor.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct KeptShare {
    /// The visitor's key, 32 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub owner: Vec<u8>,
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub share: Vec<u8>,
    /// Ciphertext that it has room for.
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
    /// When it was placed, Unix milliseconds.
    #[prost(uint64, tag = "4")]
    pub placed_ms: u64,
}

/// A visitor, by its key.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct VisitorRecord {
    /// The device that it visits, 32 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub host: Vec<u8>,
    /// When it was there first, Unix milliseconds.
    #[prost(uint64, tag = "2")]
    pub since_ms: u64,
}

/// A page of another site that asks.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct AskerRecord {
    /// The site, as its browser said.
    #[prost(string, tag = "1")]
    pub origin: String,
    /// When it came first, Unix milliseconds.
    #[prost(uint64, tag = "2")]
    pub since_ms: u64,
    /// The invitation that it made, 32 bytes; empty: none yet.
    #[prost(bytes = "vec", tag = "3")]
    pub visit: Vec<u8>,
}

/// Key of an invitation by its host.
pub(super) fn host_key(user: &UserId, host: &DeviceId, visit: &VisitKey) -> String {
    format!(
        "{}/{}",
        joined(&user_key(user), &device_key(host)),
        visit.text()
    )
}

/// Key of a visitor.
pub(super) fn visitor_key(visitor: &DeviceId, visit: &VisitKey) -> String {
    joined(&device_key(visitor), &visit.text())
}
