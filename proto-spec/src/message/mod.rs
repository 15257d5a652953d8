//! What devices say to each other on a stream, as types that can only hold what passed the checks.

mod candidates;
mod codec;
mod device;

pub use candidates::{Candidate, CandidateKind, Candidates, IceCredentials};
pub use device::{DevicePurpose, Introduction, Letter, OfferKind};

pub(crate) use codec::{parse_space, purpose_to_wire, space_to_wire};

use crate::code::CodeMessage;
use crate::device::{DeviceId, DeviceName};
use crate::head::UncheckedHead;
use crate::ids::{ChunkToken, IdError, MessageId, ShareId};
use crate::price::Price;
use crate::proof::{BlindQuery, BlindReply, Proof};
use crate::range::{RangeError, Ranges};
use crate::relay::{HostPortError, RelayAddress, RelayPurpose};

/// Why a frame was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not protobuf of this type.
    #[error("a message is malformed")]
    Malformed,
    /// An id, proof or key of the wrong length.
    #[error("a message is malformed: {0}")]
    Field(#[from] IdError),
    /// Ranges beyond their bounds.
    #[error("a message is malformed: {0}")]
    Range(#[from] RangeError),
    /// Text that is no `host:port`.
    #[error("a message is malformed: {0}")]
    Address(#[from] HostPortError),
    /// A value that cannot be.
    #[error("a message has an impossible {0}")]
    Value(&'static str),
}

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Announcements and heads, both ways.
    Control,
    /// Wants one way, chunks the other.
    Bulk,
    /// Who holds the share? Answered with [`Message::Elsewhere`], then the stream ends.
    Lookup,
}

/// What the proofs of a stream are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProofKind {
    /// The share's secret.
    #[default]
    Secret,
    /// The share's read key: the other side is a relay, which cannot know the secret.
    ReadKey,
}

/// What a holder can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HolderKind {
    /// Knows the share's secret.
    Device,
    /// Keeps ciphertext; proofs to it are made of the read key.
    Store,
}

/// Who else holds a share, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// How to ask it.
    pub kind: HolderKind,
    /// Its key and addresses: a hint until TLS has proven the key.
    pub address: RelayAddress,
}

/// What is numbered by positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// The encrypted root, one position.
    Root,
    /// The manifest's chunks.
    Manifest,
    /// The chunks of the files.
    Data,
}

/// Answer to an open whose proof holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The acceptor's proof that it knows the secret too.
    pub proof: Proof,
    /// Latest head known there, to be checked by the reader.
    pub head: UncheckedHead,
    /// What the device calls itself.
    pub device_name: DeviceName,
    /// TCP port of its bulk carrier.
    pub tcp_port: Option<u16>,
}

/// Why an open was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not held there, or the proof was wrong: the same answer on purpose.
    NotFound,
    /// The protocol version or purpose is not spoken there.
    Protocol,
    /// Too busy now; ask again after that many milliseconds.
    Busy(u32),
    /// The share ended or was withdrawn by its owner.
    Gone,
}

/// Everything that the sender holds of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The version spoken of.
    pub version: u64,
    /// Changes when the sender starts counting anew.
    pub epoch: u64,
    /// Number of this announcement within the epoch; deltas count on from it.
    pub seq: u64,
    /// All data chunks are held.
    pub complete: bool,
    /// Data positions held, when not complete.
    pub held: Ranges,
    /// Root and manifest can be served.
    pub has_manifest: bool,
}

/// What changed since the announcement or delta before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The version spoken of.
    pub version: u64,
    /// Epoch of the announcement that this continues.
    pub epoch: u64,
    /// One more than the number before.
    pub seq: u64,
    /// Positions now held.
    pub added: Ranges,
    /// Positions no longer held.
    pub removed: Ranges,
}

/// Which first copies a device is getting for itself and its neighbours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// The version spoken of.
    pub version: u64,
    /// The sender fetches it. Otherwise it claims nothing.
    pub fetching: bool,
    /// Data positions being fetched; with `tentative` at most
    /// [`MAX_CLAIMS`](crate::limits::MAX_CLAIMS) runs.
    pub active: Ranges,
    /// Data positions to be fetched in a moment, unless another device has the better right.
    pub tentative: Ranges,
}

/// On what terms a device gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// What it costs its owner.
    pub price: Price,
    /// It would rather not give at all: its battery is low.
    pub reluctant: bool,
}

/// How much of a share a device that fetches it has by now: its own word, for people to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The version spoken of; 0 while the device does not know which.
    pub version: u64,
    /// Bytes of its files that are there, at most
    /// [`MAX_SHARE`](crate::limits::MAX_SHARE).
    pub bytes: u64,
    /// All of it is there, and where its user wants it.
    pub complete: bool,
}

/// A request for chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Chosen by the asker, unique on its stream.
    pub request: u64,
    /// What the positions count.
    pub space: Space,
    /// The version they belong to.
    pub version: u64,
    /// Served in this order; at most [`MAX_WANT`](crate::limits::MAX_WANT) positions.
    pub ranges: Ranges,
}

/// One message on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// First message on a stream, from the side that opened it.
    Open {
        /// Protocol version spoken.
        protocol: u32,
        /// The share that the stream is about.
        share: ShareId,
        /// Proof of its secret or read key.
        proof: Proof,
        /// What the proof is made of.
        proof_kind: ProofKind,
        /// The owner of the share; always there with [`ProofKind::ReadKey`], because a relay
        /// cannot tell who has the right to an id.
        owner: Option<DeviceId>,
        /// The purpose of the stream; `None`: something (a purpose or a kind of proof) of a later
        /// version.
        purpose: Option<Purpose>,
    },
    /// About a code, on a stream of [`DevicePurpose::Code`].
    Code(Box<CodeMessage>),
    /// First message on a stream to a device that nobody has named as a holder of what is looked
    /// for.
    BlindQuery {
        /// Protocol version spoken.
        protocol: u32,
        /// Names the share to a device that knows its secret, and to nobody else.
        query: BlindQuery,
    },
    /// The share is known here: the opener goes on with [`Message::Open`].
    BlindReply {
        /// Shows that the secret is known.
        reply: BlindReply,
    },
    /// The open is granted.
    Opened(Box<Opened>),
    /// The open is refused.
    Refused(Refusal),
    /// Replaces what was announced before.
    Announce(Announcement),
    /// Changes what was announced before.
    HaveDelta(Delta),
    /// Replaces what was claimed before.
    Claims(Claims),
    /// Replaces what was said of the terms before.
    Terms(Terms),
    /// Replaces what the opener said before of how much it has.
    Progress(Progress),
    /// Asks for chunks.
    Want(Want),
    /// Takes a request back; what was sent already may still arrive.
    Cancel {
        /// The request.
        request: u64,
    },
    /// Header of one chunk; `length` bytes of ciphertext follow the frame.
    Chunk {
        /// The request it answers.
        request: u64,
        /// Its position in the request's space.
        position: u32,
        /// Length of the ciphertext, bytes.
        length: u32,
    },
    /// All of a request has been sent.
    Served {
        /// The request.
        request: u64,
    },
    /// The request was not taken; ask again later.
    Busy {
        /// The request.
        request: u64,
        /// After how many milliseconds.
        retry_after_ms: u32,
    },
    /// Some of a request is not held (any more).
    NotHeld {
        /// The request.
        request: u64,
        /// Which of its positions.
        ranges: Ranges,
    },
    /// On a stream for chunks: is there a token for reading them by GET?
    ChunkTokenRequest,
    /// Answers [`Message::ChunkTokenRequest`].
    ChunkToken {
        /// The token; `None`: chunks are not given by GET here, or not now.
        token: Option<ChunkToken>,
        /// Time for which it is good, milliseconds; at most
        /// [`MAX_CHUNK_TOKEN_MS`](crate::limits::MAX_CHUNK_TOKEN_MS).
        lives_ms: u32,
    },
    /// The share has a new version.
    NewHead(UncheckedHead),
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
    /// First message on a stream to a relay; [`RelayMessage`](crate::RelayMessage)s follow it, both
    /// ways.
    RelayOpen {
        /// Protocol version spoken.
        protocol: u32,
        /// The purpose of the stream; `None`: something of a later version.
        purpose: Option<RelayPurpose>,
    },
    /// Who else holds the share, replacing what was said before.
    Elsewhere {
        /// The sender's proof, when this answers a lookup.
        proof: Option<Proof>,
        /// At most [`MAX_HOLDERS`](crate::limits::MAX_HOLDERS).
        holders: Vec<Holder>,
    },
    /// Addresses at which the sender may be reached directly.
    Candidates(Box<Candidates>),
    /// First message on a stream that is about no share.
    DeviceOpen {
        /// Protocol version spoken.
        protocol: u32,
        /// The purpose of the stream; `None`: something of a later version.
        purpose: Option<DevicePurpose>,
    },
    /// A sealed message for the reader.
    Letter(Letter),
    /// A letter is durable at its reader.
    LetterTaken {
        /// Which.
        id: MessageId,
    },
    /// The opener wants to be known, and says what it would send.
    Introduction(Introduction),
    /// The name a device calls itself by.
    Named(DeviceName),
}
