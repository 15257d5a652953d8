//! What a device and a relay say to each other, as types that can only hold what passed the checks.

mod address;
mod circuit;
mod code;
mod encode;
mod fetches;
mod group;
#[cfg(test)]
#[path = "group/samples.rs"]
mod group_samples;
mod index;
mod own;
mod parse;
mod refusal;
#[cfg(test)]
pub(crate) mod samples;
mod url;
mod visit;
mod wake;
mod web;

pub use address::{Host, HostPort, HostPortError, RelayAddress};
pub use circuit::CircuitMessage;
pub use code::{CodeAnswer, CodeRequest};
pub use fetches::{FetchReceived, StoreFetch};
pub use group::{
    GroupAnswer, GroupAsked, GroupChange, GroupFound, GroupJoin, GroupMember, GroupNo, GroupNote,
    GroupRequest, GroupSealed, GroupStanding,
};
pub use index::{IndexHolder, IndexMessage, index_node};
pub use own::{OwnAnswer, OwnRequest};
pub use refusal::{RelayRefusal, RelayRefusalCode};
pub use url::{RelayUrl, RelayUrlError};
pub use visit::Visiting;
pub use wake::{PushKey, WakeChannel, WakeKind, WakeWays};
pub use web::{WebAddress, WebAddressError};

use crate::device::DeviceId;
use crate::head::UncheckedHead;
use crate::ids::{ChunkId, Invitation, MessageId, ReadKey, ShareId, UserId};
use crate::message::Space;
use crate::range::Ranges;
use crate::wire;
use bytes::Bytes;

/// What a stream to a relay is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelayPurpose {
    /// Which relays should I use? Answered with [`RelayMessage::Assigned`].
    Assign,
    /// The long connection: presence, device list, mailbox, placement.
    Device,
    /// Uploads chunks to a store.
    Upload,
    /// Another node of the same fleet.
    Node,
    /// Which devices hold a share: announces and subscribes, with [`IndexMessage`]s.
    Index,
    /// One end of a circuit, with [`CircuitMessage`]s.
    Circuit,
}

impl RelayPurpose {
    pub(crate) const fn from_wire(purpose: wire::RelayPurpose) -> Option<Self> {
        match purpose {
            wire::RelayPurpose::Assign => Some(Self::Assign),
            wire::RelayPurpose::Device => Some(Self::Device),
            wire::RelayPurpose::Upload => Some(Self::Upload),
            wire::RelayPurpose::Node => Some(Self::Node),
            wire::RelayPurpose::Index => Some(Self::Index),
            wire::RelayPurpose::Circuit => Some(Self::Circuit),
            wire::RelayPurpose::Unspecified => None,
        }
    }

    pub(crate) const fn to_wire(purpose: Option<Self>) -> wire::RelayPurpose {
        match purpose {
            Some(Self::Assign) => wire::RelayPurpose::Assign,
            Some(Self::Device) => wire::RelayPurpose::Device,
            Some(Self::Upload) => wire::RelayPurpose::Upload,
            Some(Self::Node) => wire::RelayPurpose::Node,
            Some(Self::Index) => wire::RelayPurpose::Index,
            Some(Self::Circuit) => wire::RelayPurpose::Circuit,
            None => wire::RelayPurpose::Unspecified,
        }
    }
}

/// What a relay knows of one of the user's devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceEntry {
    /// The device.
    pub device: DeviceId,
    /// It is connected to some relay of the fleet.
    pub online: bool,
    /// When it was last connected, by the relay's clock, Unix milliseconds; 0: never.
    pub last_seen_ms: u64,
    /// Its card, sealed by it for the reader, at most [`MAX_CARD`](crate::limits::MAX_CARD) bytes;
    /// empty while there is none.
    pub card: Bytes,
    /// Both reach the relay from one public address: probably the same LAN.
    pub same_network: bool,
    /// It is a page in a browser: it came with an invitation for one.
    pub web: bool,
}

/// The device may stay; everything it must know at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Names the user at this relay.
    pub user: UserId,
    /// The relay expects a ping that often, milliseconds (within
    /// [`RELAY_PING_MS`](crate::limits::RELAY_PING_MS)), and drops who is silent for three
    /// times as long.
    pub ping_ms: u32,
    /// The user's devices, the reader among them; at most
    /// [`MAX_DEVICES`](crate::limits::MAX_DEVICES).
    pub devices: Vec<DeviceEntry>,
    /// Nodes that store, for measuring how near they are; at most
    /// [`MAX_RELAYS`](crate::limits::MAX_RELAYS).
    pub stores: Vec<RelayAddress>,
    /// The front, as devices may dial it again; `None`: as it was dialled.
    pub front: Option<RelayAddress>,
    /// Longest sealed message that the relay takes, bytes; at most
    /// [`MAX_MESSAGE`](crate::limits::MAX_MESSAGE).
    pub max_message: u32,
    /// The page at which browsers open shares; `None`: there is none.
    pub web: Option<WebAddress>,
}

/// What a device says of itself to one of the user's other devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Whom it is sealed for.
    pub reader: DeviceId,
    /// 1 to [`MAX_CARD`](crate::limits::MAX_CARD) bytes.
    pub sealed: Bytes,
}

/// How near a store is, as a device measured it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nearness {
    /// The store.
    pub store: DeviceId,
    /// Round trip, microseconds.
    pub rtt_us: u32,
}

/// Begins an upload: one version of a share, by its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The share.
    pub share: ShareId,
    /// The version's head, to be checked against the key that TLS proved.
    pub head: UncheckedHead,
    /// What readers prove to know.
    pub read_key: ReadKey,
    /// Kept that many seconds after the upload; 0: until released.
    pub keep_s: u64,
}

/// One chunk in a list of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PutRecord {
    /// BLAKE3 of the ciphertext.
    pub id: ChunkId,
    /// Length of the ciphertext, bytes: more than the tag, at most a longest chunk and its tag.
    pub length: u32,
}

/// One message between a device and a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayMessage {
    /// Ends the stream.
    Refused(RelayRefusal),
    /// Are you there?
    Ping {
        /// Comes back in the pong.
        nonce: u64,
    },
    /// I am.
    Pong {
        /// The ping's.
        nonce: u64,
    },
    /// Which relays should I use?
    Assign,
    /// These.
    Assigned {
        /// Best first; at most [`MAX_RELAYS`](crate::limits::MAX_RELAYS).
        relays: Vec<RelayAddress>,
    },
    /// First message of a device on its long connection.
    Hello {
        /// For a device that is not registered yet.
        invitation: Option<Invitation>,
        /// Random, the same in one run of the device's program; 0: not told.
        instance: u64,
    },
    /// The device may stay.
    Welcome(Box<Welcome>),
    /// First message of a page that is no device of any user, on its long connection.
    Visit {
        /// Of the link that a visitor was opened with; `None`: an asker.
        invitation: Option<Invitation>,
    },
    /// The page may stay.
    Visiting(Box<Visiting>),
    /// What changed of the user's devices.
    DevicesChanged {
        /// New or changed; at most [`MAX_DEVICES`](crate::limits::MAX_DEVICES).
        changed: Vec<DeviceEntry>,
        /// No longer the user's; at most [`MAX_DEVICES`](crate::limits::MAX_DEVICES).
        removed: Vec<DeviceId>,
    },
    /// Replaces the sender's cards for the readers named; at most
    /// [`MAX_DEVICES`](crate::limits::MAX_DEVICES).
    Cards(Vec<Card>),
    /// The relay will close; go to another one.
    Move {
        /// Best first, at most [`MAX_RELAYS`](crate::limits::MAX_RELAYS); empty: ask for an
        /// assignment.
        relays: Vec<RelayAddress>,
    },
    /// Data for another device of the same user.
    Send {
        /// Chosen by the device, unique on its connection.
        request: u64,
        /// For whom.
        to: DeviceId,
        /// The same on every attempt, so that a repeated one changes nothing.
        id: MessageId,
        /// 1 to [`MAX_MESSAGE`](crate::limits::MAX_MESSAGE) bytes.
        sealed: Bytes,
        /// Kept that many seconds for a device that does not come; 0 or too much: the relay's
        /// maximum.
        keep_s: u32,
    },
    /// It is durable at the relay.
    Sent {
        /// The request.
        request: u64,
        /// The device was there and it was passed on.
        forwarded: bool,
    },
    /// Data from another device of the same user.
    Deliver {
        /// Counts up in the mailbox of the reader.
        seq: u64,
        /// By whom, as the relay says; the seal proves it.
        from: DeviceId,
        /// Chosen by the sender.
        id: MessageId,
        /// 1 to [`MAX_MESSAGE`](crate::limits::MAX_MESSAGE) bytes.
        sealed: Bytes,
        /// When the relay took it, by its clock, Unix milliseconds.
        taken_ms: u64,
    },
    /// The reader has it durably; the relay may forget it and everything before it.
    Received {
        /// The last number.
        seq: u64,
    },
    /// Where may I upload this share?
    Place {
        /// Chosen by the device, unique on its connection.
        request: u64,
        /// The share.
        share: ShareId,
        /// Ciphertext of everything, bytes; at most
        /// [`MAX_CIPHERTEXT`](crate::limits::MAX_CIPHERTEXT).
        bytes: u64,
        /// What the device measured; at most [`MAX_RELAYS`](crate::limits::MAX_RELAYS).
        near: Vec<Nearness>,
    },
    /// Here; it is recorded.
    Placed {
        /// The request.
        request: u64,
        /// The store.
        store: RelayAddress,
    },
    /// The share is no longer kept for its owner.
    Release {
        /// Chosen by the device, unique on its connection.
        request: u64,
        /// The share.
        share: ShareId,
    },
    /// It is forgotten.
    Released {
        /// The request.
        request: u64,
    },
    /// A request of the long connection is refused; the connection stays.
    Failed {
        /// The request.
        request: u64,
        /// Why.
        refusal: RelayRefusal,
    },
    /// Begins an upload.
    Put(Box<Put>),
    /// Ids and lengths of consecutive positions, in order; manifest first, then data.
    PutList {
        /// Manifest or data.
        space: Space,
        /// Position of the first record.
        first: u32,
        /// 1 to [`MAX_PUT_LIST`](crate::limits::MAX_PUT_LIST), none beyond the largest share.
        records: Vec<PutRecord>,
    },
    /// The chunks that are to be sent; comes once, when both lists are complete. May name positions
    /// that are there already: the ranges of both spaces together are at most
    /// [`MAX_RANGES`](crate::limits::MAX_RANGES) ([`Ranges::covering`] keeps to it).
    Missing {
        /// The root.
        root: bool,
        /// Positions of the manifest.
        manifest: Ranges,
        /// Positions of the data.
        data: Ranges,
    },
    /// Header of one chunk; `length` bytes of ciphertext follow the frame.
    PutChunk {
        /// What the position counts.
        space: Space,
        /// Its position; 0 for the root.
        position: u32,
        /// Length of the ciphertext, bytes.
        length: u32,
    },
    /// Verified and durable.
    Stored {
        /// What the positions count.
        space: Space,
        /// Which.
        ranges: Ranges,
    },
    /// Everything missing was sent.
    PutEnd,
    /// The version is complete and durable; it replaces the one before.
    PutDone,
    /// Between a device and an index node.
    Index(Box<IndexMessage>),
    /// About a circuit.
    Circuit(Box<CircuitMessage>),
    /// A device asks something about a group, or wants something changed.
    Group {
        /// Chosen by the device, unique on its connection.
        request: u64,
        /// What.
        what: Box<GroupRequest>,
    },
    /// The answer.
    GroupAnswered {
        /// The request.
        request: u64,
        /// What.
        answer: Box<GroupAnswer>,
    },
    /// A device wants something about codes that are said.
    Code {
        /// Chosen by the device, unique on its connection.
        request: u64,
        /// Its contents.
        what: CodeRequest,
    },
    /// The answer.
    CodeAnswered {
        /// The request.
        request: u64,
        /// Its contents.
        answer: CodeAnswer,
    },
    /// A device wants something about the devices of its user.
    Own {
        /// Chosen by the device, unique on its connection.
        request: u64,
        /// Its contents.
        what: OwnRequest,
    },
    /// The answer.
    OwnAnswered {
        /// The request.
        request: u64,
        /// Its contents.
        answer: OwnAnswer,
    },
    /// Something about groups of the device changed: it asks for what it wants to know.
    GroupNews {
        /// What; at most [`MAX_GROUP_NEWS`](crate::limits::MAX_GROUP_NEWS).
        changes: Vec<GroupChange>,
        /// Anything may have changed.
        all: bool,
    },
    /// The readers of shares of the device from a store; at most
    /// [`MAX_STORE_FETCHES`](crate::limits::MAX_STORE_FETCHES).
    Fetches(Vec<StoreFetch>),
    /// The device knows of them: the relay may forget those that have not changed since; at most
    /// [`MAX_STORE_FETCHES`](crate::limits::MAX_STORE_FETCHES).
    FetchesReceived(Vec<FetchReceived>),
}

#[cfg(test)]
mod tests;
