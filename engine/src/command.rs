//! The commands of the engine, as data. The loop around it carries them out and reports back.

use crate::carrier_choice::Carrier;
use hither_proto::{Announcement, Claims, Delta, DeviceId, HolderKind, Ranges, ShareId, Space};

/// A control stream over which holdings are announced; numbered by the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A bulk stream on which another device asks for chunks; numbered by the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// A request for chunks that this device made; unique for the life of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Why a fetch makes no progress at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Waiting {
    /// No device that has the share can be reached.
    NoHolder,
    /// Devices answer, but none of them has what is missing.
    NotHeld,
    /// All sources of the missing chunks gave damaged data.
    Damaged,
    /// The missing chunks cost more than the fetch may cost.
    TooDear,
    /// Its owner ended the share.
    Gone,
    /// The owner is there and does not know the share, and nobody else has it.
    Unknown,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Open a control stream about `share` to `device`.
    OpenSession {
        /// The share.
        share: ShareId,
        /// The device or store.
        device: DeviceId,
        /// Its kind: a device and a store receive different proofs.
        kind: HolderKind,
    },
    /// Close the control and bulk streams about `share` to `device`.
    CloseSession {
        /// The share.
        share: ShareId,
        /// The device.
        device: DeviceId,
    },
    /// Look for a way through a relay to a device whose session is open: its direct way is slow.
    /// Report one with [`crate::Engine::handle_carrier`].
    FindRelay {
        /// The share.
        share: ShareId,
        /// The device.
        device: DeviceId,
    },
    /// This version will be fetched; answer with [`crate::Engine::plan`].
    VersionChosen {
        /// The share.
        share: ShareId,
        /// Its version.
        version: u64,
    },
    /// Ask a device for chunks.
    Want {
        /// The share.
        share: ShareId,
        /// The device.
        device: DeviceId,
        /// Which carrier to ask over.
        carrier: Carrier,
        /// The request.
        request: RequestId,
        /// The space that the positions belong to.
        space: Space,
        /// The version they belong to.
        version: u64,
        /// The positions.
        ranges: Ranges,
    },
    /// Take a request back.
    Cancel {
        /// The share.
        share: ShareId,
        /// The device that was asked.
        device: DeviceId,
        /// The request.
        request: RequestId,
    },
    /// Everything planned of this space is fetched.
    SpaceComplete {
        /// The share.
        share: ShareId,
        /// The space.
        space: Space,
    },
    /// Send a session everything that is held of its share.
    Announce {
        /// The session.
        session: SessionId,
        /// The message.
        announcement: Announcement,
    },
    /// Send a session the changes of what is held.
    Delta {
        /// The session.
        session: SessionId,
        /// The message.
        delta: Delta,
    },
    /// Send a session the spans that are being fetched from outside the neighbourhood.
    Claims {
        /// The session.
        session: SessionId,
        /// The message.
        claims: Claims,
    },
    /// Send these chunks now, then report [`crate::Engine::request_sent`].
    Serve {
        /// The stream that asked.
        stream: StreamId,
        /// The requester's number of the request.
        request: u64,
        /// The share.
        share: ShareId,
        /// The space that the positions belong to.
        space: Space,
        /// The version they belong to.
        version: u64,
        /// The positions, all held.
        ranges: Ranges,
    },
    /// Stop sending for a request that was taken back.
    Abort {
        /// The stream that asked.
        stream: StreamId,
        /// The requester's number of the request.
        request: u64,
    },
    /// Ask the requester to come back later.
    Busy {
        /// The stream that asked.
        stream: StreamId,
        /// The requester's number of the request.
        request: u64,
        /// After how many milliseconds.
        retry_after_ms: u32,
    },
    /// Inform the requester that some of the chunks are not held here.
    NotHeld {
        /// The stream that asked.
        stream: StreamId,
        /// The requester's number of the request.
        request: u64,
        /// The positions that are not held.
        ranges: Ranges,
    },
}
