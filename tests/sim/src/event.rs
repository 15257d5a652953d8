//! What can happen at a moment of virtual time.

use hither_engine::{Carrier, RequestId};
use hither_proto::{Announcement, Claims, Delta, Ranges, Refusal, Space, Want};
use roaring::RoaringBitmap;

/// Nanoseconds since the start of a run.
pub(crate) type At = u64;

pub(crate) const MS: At = 1_000_000;
pub(crate) const SECOND: At = 1_000 * MS;

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Opener,
    Acceptor,
}

impl End {
    pub const fn other(self) -> Self {
        match self {
            Self::Opener => Self::Acceptor,
            Self::Acceptor => Self::Opener,
        }
    }
}

/// A message on a control stream.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    Announce(Announcement),
    Delta(Delta),
    Claims(Claims),
    NewHead(u64),
}

/// A message from the opener of a bulk stream.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    Want(Want),
    Cancel(RequestId),
}

/// A message from the acceptor of a bulk stream.
#[derive(Debug, Clone)]
pub(crate) enum Answered {
    Chunk {
        request: RequestId,
        space: Space,
        version: u64,
        position: u32,
        length: u32,
        good: bool,
    },
    Served(RequestId),
    NotHeld(RequestId, Ranges),
    Busy(RequestId, u32),
}

/// What a transfer is told by the engine, or tells itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Chosen(u64),
    Complete(Space),
    /// Prepared for the next space of this version.
    Prepared(u64, Space),
    /// Chunks that were here already are copied.
    Copied(u64),
    /// The last checkpoint is through.
    Finished(u64),
}

/// How the opening of a session ended for the opener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialled {
    Opened { session: u64 },
    Refused(Refusal),
    Failed,
}

/// A chunk that has arrived whole.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub version: u64,
    pub space: Space,
    pub request: RequestId,
    pub position: u32,
    /// The device that sent it, when its bytes are wrong.
    pub liar: Option<usize>,
}

/// An event that concerns one life of one device: void when the device has crashed meanwhile.
#[derive(Debug, Clone)]
pub(crate) enum Local {
    Timer(At),
    Begin,
    Seen(usize),
    Gone(usize),
    Dialled(usize, Dialled),
    SessionFailed(usize, u64),
    Tcp(usize),
    Arrived(Received),
    Checkpoint,
    Synced(u64, RoaringBitmap),
    Step(Step),
    UplinkFree,
    /// A device that was frozen goes on.
    Thaw,
    Sent {
        stream: u64,
        request: u64,
    },
    /// A position that was announced is not there.
    Withdraw(u32),
    Publish,
}

/// Anything that happens.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Local {
        device: usize,
        life: u32,
        what: Local,
    },
    /// An open reaches a device.
    Dial {
        from: usize,
        life: u32,
        to: usize,
    },
    /// A control message arrives at one end.
    Say {
        session: u64,
        to: End,
        message: Said,
    },
    SessionEnds {
        session: u64,
        end: End,
    },
    StreamOpens {
        stream: u64,
    },
    Ask {
        stream: u64,
        message: Asked,
    },
    /// Bytes of a bulk stream are at the link of the receiver's site.
    AtTheSite {
        stream: u64,
        message: Answered,
        length: u64,
    },
    /// They are through it.
    InTheSite {
        stream: u64,
        message: Answered,
        length: u64,
    },
    Answer {
        stream: u64,
        message: Answered,
    },
    StreamEnds {
        stream: u64,
        end: End,
    },
    Crash {
        device: usize,
    },
    Return {
        device: usize,
    },
    /// A device sends nothing for a while, though its connections live.
    Freeze {
        device: usize,
        lasts: At,
    },
    Break {
        a: usize,
        b: usize,
        blocked_for: At,
    },
    BreakLane {
        from: usize,
        to: usize,
        carrier: Carrier,
    },
}
