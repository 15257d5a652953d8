//! What the engine wants done, as data. The loop around it does it and reports back.

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
    /// Whoever has what is missing gave damaged data.
    Damaged,
    /// What is missing costs more than the fetch may cost.
    TooDear,
    /// Its owner ended the share.
    Gone,
    /// Its owner is there and does not know the share, and nobody else has it.
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
        /// Which of both it is: they are shown different proofs.
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
        /// What the positions count.
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
    /// Everything planned of this space is got.
    SpaceComplete {
        /// The share.
        share: ShareId,
        /// The space.
        space: Space,
    },
    /// Tell a session everything that is held of its share.
    Announce {
        /// The session.
        session: SessionId,
        /// What to say.
        announcement: Announcement,
    },
    /// Tell a session what changed.
    Delta {
        /// The session.
        session: SessionId,
        /// What to say.
        delta: Delta,
    },
    /// Tell a session which spans are being got from outside the neighbourhood.
    Claims {
        /// The session.
        session: SessionId,
        /// What to say.
        claims: Claims,
    },
    /// Send these chunks now, then report [`crate::Engine::request_sent`].
    Serve {
        /// The stream that asked.
        stream: StreamId,
        /// The asker's number of the request.
        request: u64,
        /// The share.
        share: ShareId,
        /// What the positions count.
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
        /// The asker's number of the request.
        request: u64,
    },
    /// Tell the asker to come back later.
    Busy {
        /// The stream that asked.
        stream: StreamId,
        /// The asker's number of the request.
        request: u64,
        /// After how many milliseconds.
        retry_after_ms: u32,
    },
    /// Tell the asker that some of what it wants is not held here.
    NotHeld {
        /// The stream that asked.
        stream: StreamId,
        /// The asker's number of the request.
        request: u64,
        /// The positions that are not held.
        ranges: Ranges,
    },
}
